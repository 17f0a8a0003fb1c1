//! Jobs as clients are shown them: lists, a summary, the graph.
//!
//! Called by `chronos`. Invariant: what is shown can be sent back.

use std::fmt::Write as _;

use masterd_core::builtin::jobs::{Job, JobState, Jobs, Trigger};
use nesos_api::chronos;
use serde_json::{Value, json};

use super::{Later, Reply};
use crate::convert::job as convert;
use crate::http::query::Query;

/// Jobs that a search answers unless it says how many, as with Chronos.
const SEARCH_LIMIT: u64 = 10;

/// What is shown of a job, as it was at one moment.
struct Seen {
    definition: Vec<u8>,
    past: chronos::Past,
    schedule: Option<String>,
    is_disabled: bool,
}

impl Seen {
    fn of(job: &Job) -> Self {
        Self {
            definition: job.definition().to_vec(),
            past: convert::shown(job),
            schedule: job.schedule(),
            is_disabled: job.is_disabled(),
        }
    }

    /// None if the definition cannot be read, which was read before it was kept.
    fn shown(self) -> Option<Value> {
        let definition = chronos::Job::from_json(&self.definition).ok()?;
        Some(definition.shown(&self.past, self.schedule, self.is_disabled))
    }
}

/// `jobs`
pub(super) fn all(jobs: &Jobs) -> Later {
    let seen: Vec<Seen> = jobs.iter().map(|(_, job)| Seen::of(job)).collect();
    Box::new(|| Reply::Json(seen.into_iter().filter_map(Seen::shown).collect()))
}

/// `job/NAME`
pub(super) fn one(jobs: &Jobs, name: &str) -> Later {
    let seen = jobs.get(name).map(Seen::of);
    let unknown = Reply::invalid(format!("job {name:?} not found"));
    Box::new(|| seen.and_then(Seen::shown).map_or(unknown, Reply::Json))
}

/// `jobs/search`: parts of names and commands, in capitals or not.
pub(super) fn search(jobs: &Jobs, query: &Query) -> Later {
    let bounds = (query.number("limit"), query.number("offset"));
    let (limit, offset) = match bounds {
        (Ok(limit), Ok(offset)) => (limit.unwrap_or(SEARCH_LIMIT), offset.unwrap_or(0)),
        (Err(sentence), _) | (_, Err(sentence)) => {
            return Box::new(|| Reply::invalid(sentence));
        }
    };
    let wanted = |name: &str| {
        let wanted = query.get(name).map(str::to_lowercase);
        wanted.filter(|wanted| !wanted.is_empty())
    };
    let wanted = Wanted {
        name: wanted("name"),
        command: wanted("command"),
        any: wanted("any"),
    };
    let skip = usize::try_from(offset).unwrap_or(usize::MAX);
    let take = usize::try_from(limit).unwrap_or(usize::MAX);
    let seen: Vec<Seen> = jobs.iter().map(|(_, job)| Seen::of(job)).collect();
    Box::new(move || {
        let shown = seen.into_iter().filter_map(Seen::shown);
        let found = shown.filter(|shown| wanted.is(shown));
        Reply::Json(found.skip(skip).take(take).collect())
    })
}

/// Parts of texts, in small letters.
struct Wanted {
    name: Option<String>,
    command: Option<String>,
    any: Option<String>,
}

impl Wanted {
    fn is(&self, shown: &Value) -> bool {
        let has = |field: &str, wanted: &String| {
            let text = shown[field].as_str().unwrap_or_default();
            text.to_lowercase().contains(wanted)
        };
        let Self { name, command, any } = self;
        let is_by_both = name.as_ref().is_none_or(|wanted| has("name", wanted))
            && command.as_ref().is_none_or(|wanted| has("command", wanted));
        let has_any = |wanted: &String| has("name", wanted) || has("command", wanted);
        match any {
            // `any` widens what the others found; alone it is all there is.
            Some(any) if name.is_none() && command.is_none() => has_any(any),
            any => is_by_both || any.as_ref().is_some_and(has_any),
        }
    }
}

/// `jobs/summary`
pub(super) fn summary(jobs: &Jobs) -> Reply {
    let summary = |(name, job): (&str, &Job)| {
        let parents = match &job.facts().trigger {
            Trigger::Parents(parents) => parents.iter().collect(),
            Trigger::Schedule(_) => Vec::new(),
        };
        json!({
            "name": name,
            "status": status(job),
            "state": state(job),
            "schedule": job.schedule().unwrap_or_default(),
            "parents": parents,
            "disabled": job.is_disabled(),
        })
    };
    let all: Vec<Value> = jobs.iter().map(summary).collect();
    Reply::Json(json!({"jobs": all}))
}

/// `graph/csv`
pub(super) fn csv(jobs: &Jobs) -> Reply {
    let mut text = String::new();
    for (name, job) in jobs.iter() {
        let _ = writeln!(text, "node,{name},{},{}", status(job), state(job));
    }
    for (parent, child) in jobs.links() {
        let _ = writeln!(text, "link,{parent},{child}");
    }
    if text.is_empty() {
        // An empty body is taken for a failure by clients.
        text.push('\n');
    }
    Reply::Text(text)
}

/// `graph/dot`
pub(super) fn dot(jobs: &Jobs) -> Reply {
    let number = |name: &str| jobs.iter().position(|(own, _)| own == name);
    let mut text = "digraph G {\n".to_owned();
    for (at, (name, _)) in jobs.iter().enumerate() {
        let _ = writeln!(text, "  {} [ label=\"{name}\" ];", at + 1);
    }
    for (parent, child) in jobs.links() {
        if let (Some(parent), Some(child)) = (number(parent), number(child)) {
            let _ = writeln!(text, "  {} -> {};", parent + 1, child + 1);
        }
    }
    text.push_str("}\n");
    Reply::Text(text)
}

/// How it ended last.
fn status(job: &Job) -> &'static str {
    let progress = job.progress();
    match (progress.last_success, progress.last_error) {
        (None, None) => "fresh",
        (success, error) if success > error => "success",
        _ => "failure",
    }
}

fn state(job: &Job) -> String {
    match job.state() {
        JobState::Idle => "idle".into(),
        JobState::Queued => "queued".into(),
        JobState::Running(count) => format!("{count} running"),
    }
}
