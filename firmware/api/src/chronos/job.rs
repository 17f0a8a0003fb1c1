//! A job's definition: its fields with Chronos's defaults, and what it is shown as.
//!
//! Called by masterd's handlers. Not the schedule's meaning: its text is the scheduler's to read. Invariant: a definition that
//! was read and is written reads back as the same.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use super::container::Container;
use super::fields::{FieldError, Node, Object};

/// How late a start may be, unless the definition says it.
const EPSILON: &str = "PT60S";
/// Retries, unless the definition says how many.
const RETRIES: u64 = 2;
/// What a job needs unless it says something else, as with Chronos.
const CPUS: f64 = 0.1;
const MEM_MB: f64 = 128.0;
const DISK_MB: f64 = 256.0;
/// Most of each list: a definition is read and written whole at each start.
const MAX_LIST: usize = 100;

/// See the module. Its names in JSON are Chronos's.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its name.
    pub name: String,
    /// What is run.
    pub command: String,
    /// Whether a shell runs it.
    pub shell: bool,
    /// Always empty.
    pub executor: String,
    /// Without meaning where there is no executor; shown as it was given.
    pub executor_flags: String,
    /// The same.
    pub task_info_data: String,
    /// How often a run that failed is tried again.
    pub retries: u32,
    /// Whom it belongs to.
    pub owner: String,
    /// The same in words.
    pub owner_name: String,
    /// What it is for.
    pub description: String,
    /// Cores.
    pub cpus: f64,
    /// Disk, MB.
    pub disk: f64,
    /// Memory, MB.
    pub mem: f64,
    /// Neither the time nor its parents start it.
    pub disabled: bool,
    /// Its children are started after a failure, too.
    pub soft_error: bool,
    /// Whether it says how far it is; shown as it was given.
    pub data_processing_job_type: bool,
    /// Files that are brought before it runs.
    pub fetch: Vec<Fetch>,
    /// Its environment.
    pub environment_variables: Vec<Variable>,
    /// Its arguments, if no shell runs it.
    pub arguments: Vec<String>,
    /// Shown as it was given: runs begin in the order in which they became due.
    pub high_priority: bool,
    /// As whom it runs.
    pub run_as_user: String,
    /// A run may begin while another one goes on.
    pub concurrent: bool,
    /// A run that takes longer is killed, seconds; 0: none is.
    pub max_completion_time: u64,
    /// A container of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// What must be true of the agent.
    pub constraints: Vec<Constraint>,
    /// How late a start may be, as ISO 8601 writes durations.
    pub epsilon: String,
    /// Jobs that start it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parents: Option<BTreeSet<String>>,
    /// When it starts; if nothing says what starts it, none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Where the schedule's clock is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub schedule_time_zone: String,
    /// What it counts on from; not written with the definition.
    #[serde(skip)]
    pub past: Past,
}

/// A file that is brought before a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fetch {
    /// From where.
    pub uri: String,
    /// Made executable.
    pub executable: bool,
    /// Kept on the agent.
    pub cache: bool,
    /// Unpacked.
    pub extract: bool,
    /// Under this name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub output_file: String,
}

/// A variable of the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What must be true of an agent: `["rack", "EQUALS", "a"]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Constraint(pub String, pub Operator, pub String);

/// How an agent's attribute is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operator {
    /// It is this.
    Equals,
    /// It matches this pattern.
    Like,
    /// It does not.
    Unlike,
}

/// How a job went, as clients write it and are shown it. Times are texts; empty: never.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Past {
    /// Runs that succeeded.
    pub success_count: u64,
    /// Runs that failed for good.
    pub error_count: u64,
    /// Of these, since the last success.
    pub errors_since_last_success: u64,
    /// End of the last successful run.
    pub last_success: String,
    /// End of the last run that failed for good.
    pub last_error: String,
}

impl Job {
    /// Reads a definition.
    ///
    /// # Errors
    /// It is no JSON, or a field cannot be what it is.
    pub fn from_json(text: &[u8]) -> Result<Self, FieldError> {
        let value: Value =
            serde_json::from_slice(text).map_err(|error| FieldError::Json(error.to_string()))?;
        let object = Node::root(&value).object()?;
        let job = read(&object)?;
        check(&object, &job)?;
        Ok(job)
    }

    /// The definition with its defaults.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What GET answers: the definition, how it went, and what is left of its schedule.
    #[must_use]
    pub fn shown(&self, past: &Past, schedule: Option<String>, is_disabled: bool) -> Value {
        let mut shown = object(self);
        shown.extend(object(past));
        let uris = self
            .fetch
            .iter()
            .map(|fetch| Value::from(fetch.uri.as_str()));
        shown.insert("uris".into(), uris.collect());
        shown.insert("disabled".into(), is_disabled.into());
        if let Some(schedule) = schedule {
            shown.insert("schedule".into(), schedule.into());
            let zone = self.schedule_time_zone.as_str();
            shown.insert("scheduleTimeZone".into(), zone.into());
        }
        Value::Object(shown)
    }
}

fn object(of: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(of) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

fn read(object: &Object<'_>) -> Result<Job, FieldError> {
    let text = |name| object.text(name, "");
    let flag = |name| object.flag(name, false);
    let retries = object.whole("retries", RETRIES)?;
    let container = object.get("container");
    Ok(Job {
        name: object.needed("name", "a name")?,
        command: text("command")?,
        shell: object.flag("shell", true)?,
        executor: text("executor")?,
        executor_flags: text("executorFlags")?,
        task_info_data: text("taskInfoData")?,
        retries: u32::try_from(retries).unwrap_or(u32::MAX),
        owner: text("owner")?,
        owner_name: text("ownerName")?,
        description: text("description")?,
        cpus: object.amount("cpus", CPUS)?,
        disk: object.amount("disk", DISK_MB)?,
        mem: object.amount("mem", MEM_MB)?,
        disabled: flag("disabled")?,
        soft_error: flag("softError")?,
        data_processing_job_type: flag("dataProcessingJobType")?,
        fetch: fetch(object)?,
        environment_variables: object.list("environmentVariables", |node| variable(&node))?,
        arguments: object.texts("arguments")?,
        high_priority: flag("highPriority")?,
        run_as_user: text("runAsUser")?,
        concurrent: flag("concurrent")?,
        max_completion_time: object.whole("maxCompletionTime", 0)?,
        container: container.map(|node| Container::read(&node)).transpose()?,
        constraints: object.list("constraints", |node| constraint(&node))?,
        epsilon: match text("epsilon")? {
            none if none.is_empty() => EPSILON.to_owned(),
            epsilon => epsilon,
        },
        parents: parents(object)?,
        schedule: object.get("schedule").map(|node| node.text()).transpose()?,
        schedule_time_zone: text("scheduleTimeZone")?,
        past: Past {
            success_count: object.whole("successCount", 0)?,
            error_count: object.whole("errorCount", 0)?,
            errors_since_last_success: object.whole("errorsSinceLastSuccess", 0)?,
            last_success: text("lastSuccess")?,
            last_error: text("lastError")?,
        },
    })
}

/// None of a job that has a schedule: some clients write an empty list then.
fn parents(object: &Object<'_>) -> Result<Option<BTreeSet<String>>, FieldError> {
    let parents: BTreeSet<String> = object.texts("parents")?.into_iter().collect();
    let is_said = object.get("parents").is_some();
    let is_by_time = parents.is_empty() && object.get("schedule").is_some();
    Ok(Some(parents).filter(|_| is_said && !is_by_time))
}

/// The rules that span several fields, and what there is not.
fn check(object: &Object<'_>, job: &Job) -> Result<(), FieldError> {
    let refused = |name, reason| Err(object.refused(name, reason));
    if !job.executor.is_empty() {
        return refused(
            "executor",
            "executors of one's own are not supported for jobs",
        );
    }
    let has_image = job.container.is_some() && !job.shell;
    if job.command.trim().is_empty() && !has_image {
        return refused("command", "it must say what is to be run");
    }
    let parents = job.parents.as_ref().map_or(0, BTreeSet::len);
    if parents > 0 && job.schedule.is_some() {
        return refused("parents", "a job has either parents or a schedule");
    }
    for (name, length) in [
        ("fetch", job.fetch.len()),
        ("environmentVariables", job.environment_variables.len()),
        ("arguments", job.arguments.len()),
        ("constraints", job.constraints.len()),
        ("parents", parents),
    ] {
        if length > MAX_LIST {
            return refused(name, "more than 100 are not allowed");
        }
    }
    Ok(())
}

/// `fetch`, or the older `uris`. Chronos shows both, so that both may come back.
fn fetch(object: &Object<'_>) -> Result<Vec<Fetch>, FieldError> {
    let read = |node: Node<'_>| {
        let object = node.object()?;
        Ok(Fetch {
            uri: object.needed("uri", "a URI")?,
            executable: object.flag("executable", false)?,
            cache: object.flag("cache", false)?,
            extract: object.flag("extract", true)?,
            output_file: object.text("output_file", "")?,
        })
    };
    let fetch = object.list("fetch", read)?;
    let uris = object.texts("uris")?;
    if fetch.is_empty() {
        let plain = |uri| Fetch {
            uri,
            executable: false,
            cache: false,
            extract: true,
            output_file: String::new(),
        };
        return Ok(uris.into_iter().map(plain).collect());
    }
    let is_known = |uri: &String| fetch.iter().any(|fetch| fetch.uri == *uri);
    match uris.iter().all(is_known) {
        true => Ok(fetch),
        false => Err(object.refused("uris", "a job has either uris or fetch")),
    }
}

fn variable(node: &Node<'_>) -> Result<Variable, FieldError> {
    let object = node.object()?;
    let name = object.needed("name", "the name of a variable")?;
    if name.contains(['=', '\0']) {
        return Err(object.refused("name", "a variable's name has no '=' in it"));
    }
    let value = object.text("value", "")?;
    Ok(Variable { name, value })
}

fn constraint(node: &Node<'_>) -> Result<Constraint, FieldError> {
    const EXPECTED: &str = "a list of an attribute, EQUALS, LIKE or UNLIKE, and a value";
    let items = node.items()?;
    let [field, operator, value] = &items[..] else {
        return Err(node.wrong(EXPECTED));
    };
    let operator = match operator.text()?.as_str() {
        "EQUALS" => Operator::Equals,
        "LIKE" => Operator::Like,
        "UNLIKE" => Operator::Unlike,
        _ => return Err(node.wrong(EXPECTED)),
    };
    Ok(Constraint(field.text()?, operator, value.text()?))
}
