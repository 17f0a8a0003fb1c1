//! masterd's flags and what they and cluster.toml come to.
//!
//! Called once by `main`. Invariant: a wrong flag or file ends the program with exit code 2 before anything is touched.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use masterd_core::{Config, check_weight};
use nesos_base::cluster_config::{ClusterConfig, DEFAULT_CLUSTER, MDNS, Role};
use nesos_base::time::Duration;
use nesos_base::token::ClusterKey;
use nesos_shell::flags::{Stop, Values, parse_duration};
use nesos_shell::log::Level;
use nesos_shell::mdns::Mode;
use nesos_wire::MasterId;
use nesos_wire::masters::MAX_MASTERS;
use nesos_wire::resource_text;

use crate::http::access::Access;

mod table;

pub(crate) use table::TABLE;

/// How this master was started.
#[derive(Debug)]
pub(crate) struct Options {
    /// Address to listen on.
    pub(crate) ip: IpAddr,
    /// Port to listen on.
    pub(crate) port: u16,
    /// Folder of its state.
    pub(crate) work_dir: PathBuf,
    /// Name as others reach it.
    pub(crate) hostname: String,
    /// Address told to others.
    pub(crate) advertise_ip: Option<IpAddr>,
    /// Port told to others.
    pub(crate) advertise_port: Option<u16>,
    /// Key from cluster.toml.
    pub(crate) key: Option<ClusterKey>,
    /// `master` or `both`, for the advertisement.
    pub(crate) role: &'static str,
    /// Node's name, for the advertisement.
    pub(crate) node: String,
    /// Whom to ask for admission; none: it founds a group.
    pub(crate) join: Option<Join>,
    /// Until how many masters it lets others in by itself.
    pub(crate) masters: usize,
    /// Silence of the leader until others ask to be elected.
    pub(crate) election_timeout: Duration,
    /// What to do instead of serving.
    pub(crate) recovery: Option<Recovery>,
    /// What to make when this master has found its place, if anything.
    pub(crate) ready_file: Option<PathBuf>,
    /// mDNS.
    pub(crate) mdns: Mode,
    /// Who may write.
    pub(crate) access: Access,
    /// Whether agents may link without TLS.
    pub(crate) takes_plain: bool,
    /// The core's.
    pub(crate) core: Config,
    /// Operators' event streams at a time.
    pub(crate) max_watchers: usize,
    /// How long a reader may take over a large answer.
    pub(crate) read_limit: std::time::Duration,
    /// Whether metrics name each framework.
    pub(crate) per_framework_metrics: bool,
    /// For `main`.
    pub(crate) level: Level,
    /// For `/flags`.
    pub(crate) shown: Vec<(&'static str, String)>,
}

/// Where the masters are whose group is to be joined.
#[derive(Debug)]
pub(crate) enum Join {
    /// Where mDNS says.
    Mdns,
    /// At these.
    At(Vec<String>),
}

/// What an operator does by hand when masters are lost.
#[derive(Debug)]
pub(crate) enum Recovery {
    /// Begin anew with what the disk of this master has.
    ForceNew(u64),
    /// Begin anew with a backup.
    Restore(PathBuf),
}

impl Options {
    /// Reads flags, environment and cluster.toml; prints and exits if they are wrong.
    pub(crate) fn from_process(master: MasterId) -> Self {
        match Self::new(TABLE.from_process(), master) {
            Ok(options) => options,
            Err(text) => Stop::Usage(text).exit(TABLE.program),
        }
    }

    fn new(mut values: Values, master: MasterId) -> Result<Self, String> {
        let config = match values.path("config") {
            Some(path) => Some(read_config(&path)?),
            None => None,
        };
        if let Some(config) = &config {
            fill(&mut values, config)?;
        }
        let work_dir = values.path("work_dir").ok_or("--work_dir is required")?;
        let hostname = values
            .text("hostname")
            .map_or_else(system_hostname, Into::into);
        let level = if values.is_on("quiet") {
            "ERROR"
        } else {
            values.text_or_empty("logging_level")
        };
        let level = Level::parse(level)
            .ok_or_else(|| format!("--logging_level: expected {}", Level::NAMES))?;
        let node = config
            .as_ref()
            .and_then(|config| config.name.clone())
            .unwrap_or_else(|| hostname.clone());
        let master_only = config
            .as_ref()
            .is_some_and(|config| config.role == Role::Master);
        Ok(Self {
            ip: address("ip", &values)?.ok_or("--ip: expected an address")?,
            port: port("port", &values).unwrap_or_default(),
            work_dir,
            hostname,
            advertise_ip: address("advertise_ip", &values)?,
            advertise_port: port("advertise_port", &values),
            key: config.and_then(|config| config.key),
            role: if master_only { "master" } else { "both" },
            node,
            join: join(&values)?,
            masters: voting(&values)?,
            election_timeout: Duration::from_millis(
                values.number("election_timeout_ms").unwrap_or_default(),
            ),
            recovery: recovery(&values)?,
            ready_file: values.path("ready_file"),
            mdns: Mode::parse(values.text_or_empty("mdns")),
            access: access(&values)?,
            takes_plain: values.text_or_empty("agent_tls") == "optional",
            core: core(&values, master)?,
            max_watchers: count("max_operator_event_stream_subscribers", &values),
            read_limit: values.duration("large_answer_timeout").unwrap_or_default(),
            per_framework_metrics: values.is_on("publish_per_framework_metrics"),
            level,
            shown: values
                .all()
                .map(|(name, value)| (name, value.to_string()))
                .collect(),
        })
    }
}

fn read_config(path: &std::path::Path) -> Result<ClusterConfig, String> {
    let bytes = std::fs::read(path)
        .map_err(|e| format!("--config: cannot read {}: {e}", path.display()))?;
    ClusterConfig::parse(&bytes).map_err(|e| format!("--config {}: {e}", path.display()))
}

fn fill(values: &mut Values, config: &ClusterConfig) -> Result<(), String> {
    values.fill("api_access", config.api_access.name())?;
    if let Some(domain) = &config.domain {
        values.fill("domain", domain)?;
    }
    if let Some(masters) = config.masters {
        values.fill("masters", &masters.to_string())?;
    }
    if let Some(timeout) = config.election_timeout_ms {
        values.fill("election_timeout_ms", &timeout.to_string())?;
    }
    // `auto` is a master only where no other one is named.
    let is_master = matches!(config.role, Role::Master | Role::Both);
    if let Some(master) = config.master.as_ref().filter(|_| is_master) {
        values.fill("join", master.text())?;
    }
    values.fill("cluster", &config.cluster)
}

fn core(values: &Values, master: MasterId) -> Result<Config, String> {
    let mut core = Config::new(master, values.text("cluster").unwrap_or(DEFAULT_CLUSTER));
    let duration = |name| {
        values
            .duration(name)
            .map(|d| Duration::from_micros(d.as_micros() as u64))
    };
    if let Some(interval) = duration("agent_ping_timeout") {
        core.ping_interval = interval;
    }
    if let Some(misses) = values.number("max_agent_ping_timeouts") {
        core.max_ping_misses = u32::try_from(misses).unwrap_or(u32::MAX);
    }
    if let Some(timeout) = duration("agent_reregister_timeout") {
        core.agent_reregister_timeout = timeout;
    }
    core.offer_timeout = duration("offer_timeout");
    if let Some(text) = values.text("agent_removal_rate_limit") {
        core.agent_removal_pause = Some(pause(text)?);
    }
    if let Some(text) = values.text("roles") {
        core.roles = text
            .split(',')
            .map(str::trim)
            .filter(|role| !role.is_empty())
            .map(Into::into)
            .collect();
    }
    if let Some(text) = values.text("weights") {
        core.weights = weights(text).map_err(|e| format!("--weights: {e}"))?;
    }
    if let Some(timeout) = duration("allocator_recovery_timeout") {
        core.allocator_recovery_timeout = timeout;
    }
    if let Some(text) = values.text("allocator_agent_recovery_factor") {
        core.allocator_agent_recovery_factor =
            fraction(text).map_err(|e| format!("--allocator_agent_recovery_factor: {e}"))?;
    }
    if let Some(text) = values.text("min_allocatable_resources") {
        let parsed: Result<_, _> = text
            .split('|')
            .filter(|t| !t.trim().is_empty())
            .map(resource_text::parse)
            .collect();
        core.min_allocatable = parsed.map_err(|e| format!("--min_allocatable_resources: {e}"))?;
    }
    if let Some(text) = values.text("domain") {
        let parsed = nesos_api::domain::parse(text);
        core.domain = Some(parsed.map_err(|e| format!("--domain: {e}"))?);
    }
    core.filter_gpu_resources = values.is_on("filter_gpu_resources");
    core.root_submissions = values.is_on("root_submissions");
    core.max_completed_frameworks = count("max_completed_frameworks", values);
    core.max_completed_tasks = count("max_completed_tasks_per_framework", values);
    core.max_unreachable_tasks = count("max_unreachable_tasks_per_framework", values);
    Ok(core)
}

/// `role=weight,role=weight`.
fn weights(text: &str) -> Result<BTreeMap<String, f64>, String> {
    let mut weights = BTreeMap::new();
    for item in text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        let (role, weight) = item
            .split_once('=')
            .and_then(|(role, weight)| Some((role.trim(), weight.trim().parse::<f64>().ok()?)))
            .ok_or_else(|| format!("expected role=weight, found '{item}'"))?;
        check_weight(role, weight)?;
        if weights.insert(role.to_owned(), weight).is_some() {
            return Err(format!("role '{role}' stands twice"));
        }
    }
    Ok(weights)
}

fn fraction(text: &str) -> Result<f64, String> {
    let parsed = text.parse::<f64>().ok();
    let is_fraction = |number: &f64| (0.0..=1.0).contains(number);
    parsed
        .filter(is_fraction)
        .ok_or_else(|| format!("expected a number from 0 to 1, found '{text}'"))
}

fn recovery(values: &Values) -> Result<Option<Recovery>, String> {
    match (values.text("force_new_cluster"), values.path("restore")) {
        (None, None) => Ok(None),
        (None, Some(file)) => Ok(Some(Recovery::Restore(file))),
        (Some(number), None) => match u64::from_str_radix(number, 16) {
            Ok(number) => Ok(Some(Recovery::ForceNew(number))),
            Err(_) => Err(format!(
                "--force_new_cluster: expected a master's number as nesos master list shows it, found '{number}'"
            )),
        },
        (Some(_), Some(_)) => Err("--force_new_cluster and --restore cannot both be given".into()),
    }
}

fn join(values: &Values) -> Result<Option<Join>, String> {
    match values.text("join").map(str::trim) {
        None | Some("") => Ok(None),
        Some(MDNS) if Mode::parse(values.text_or_empty("mdns")) == Mode::Off => {
            Err("--join=mdns needs --mdns".into())
        }
        Some(MDNS) => Ok(Some(Join::Mdns)),
        Some(text) => Ok(Some(Join::At(masters(text)?))),
    }
}

/// An even number survives no more losses than the odd one below it.
fn voting(values: &Values) -> Result<usize, String> {
    match values.number("masters") {
        None => Ok(0),
        Some(count) if count % 2 == 1 => Ok(count as usize),
        Some(count) => Err(format!("--masters: expected 1, 3, 5 or 7, found {count}")),
    }
}

/// `host:port,host:port`.
fn masters(text: &str) -> Result<Vec<String>, String> {
    let items = text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    let is_address = |item: &&str| {
        item.rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    let mut found = Vec::new();
    for item in items {
        if !is_address(&item) {
            return Err(format!("--join: expected host:port, found '{item}'"));
        }
        found.push(item.to_owned());
    }
    match found.len() {
        0 => Err(format!(
            "--join: expected host:port or mdns, found '{text}'"
        )),
        1..=MAX_MASTERS => Ok(found),
        many => Err(format!(
            "--join: at most {MAX_MASTERS} masters, found {many}"
        )),
    }
}

/// The pause between two of `count/duration`.
fn pause(text: &str) -> Result<Duration, String> {
    let parsed = text.split_once('/').and_then(|(count, span)| {
        let count = count.parse::<u64>().ok().filter(|count| *count > 0)?;
        let span = parse_duration(span)?.as_micros() / u128::from(count);
        Some(Duration::from_micros(u64::try_from(span).ok()?))
    });
    parsed.ok_or_else(|| {
        format!(
            "--agent_removal_rate_limit: expected count/duration such as 1/10mins, found '{text}'"
        )
    })
}

fn access(values: &Values) -> Result<Access, String> {
    let credentials = values.path("credentials");
    Access::from_flags(values.text_or_empty("api_access"), credentials.as_deref())
}

fn address(name: &str, values: &Values) -> Result<Option<IpAddr>, String> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|_| format!("--{name}: expected an IP address, found '{text}'"))
    };
    values.text(name).map(parse).transpose()
}

/// A number whose flag has a default.
fn count(name: &str, values: &Values) -> usize {
    let number = values.number(name).unwrap_or_default();
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn port(name: &str, values: &Values) -> Option<u16> {
    values
        .number(name)
        .and_then(|port| u16::try_from(port).ok())
}

fn system_hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() {
        "localhost".into()
    } else {
        name.trim().into()
    }
}
