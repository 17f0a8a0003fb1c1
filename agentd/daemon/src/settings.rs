//! Flags, environment and cluster.toml, checked once and turned into what the rest of the daemon uses.
//!
//! Flag names are Mesos's where Mesos has the flag. Called by `main`. Invariant: a [`Settings`] needs no further checks.

mod file;

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentd_core::slack::{Rules, Tolerance};
use agentd_core::{ExecutorTimes, Reconfiguration};
use nesos_base::cluster_config::ClusterConfig;
use nesos_base::token::JoinToken;
use nesos_shell::flags::Values;
use nesos_shell::http::access::Access;
use nesos_shell::mdns::Mode;
use nesos_shell::tls;
use nesos_wire::NodeId;
use nesos_wire::domain::Domain;
use nesos_wire::resource::Resources;
use nesos_wire::resource_text;
use nesos_wire::task::Attribute;

use crate::accelerators::{self, Accelerator};
use crate::fetcher::proxy::Proxy;
use crate::fetcher::{authorities, options, proxy};
use crate::http::domain;
use crate::identity;
use crate::images;
use crate::output::OutputRule;
use crate::resources;

/// Where masterd leaves the join token for an agentd on the same board.
const LOCAL_TOKEN: &str = "/run/nesos/join-token";
/// The master on the same board.
const LOCAL_MASTER: &str = "127.0.0.1:5050";
/// Why agentd does not start: names the flag, key or file.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub(crate) struct SettingsError {
    pub(crate) place: String,
    pub(crate) reason: String,
}

impl SettingsError {
    pub(crate) fn new(place: impl Into<String>, reason: impl ToString) -> Self {
        Self {
            place: place.into(),
            reason: reason.to_string(),
        }
    }
}

/// Everything agentd was told, and what it found out about the machine.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) flags: Values,
    /// Absolute.
    pub(crate) work_dir: PathBuf,
    /// Where helpers live: a folder for each container. Absolute.
    pub(crate) runtime_dir: PathBuf,
    pub(crate) node: NodeId,
    /// `host:port`; none: mDNS.
    pub(crate) master: Option<String>,
    /// Without TLS.
    pub(crate) is_plain: bool,
    /// The token, and where it came from; none: the board can only use a certificate it has already.
    pub(crate) token: Option<JoinToken>,
    pub(crate) cluster: Option<String>,
    pub(crate) mdns: Mode,
    pub(crate) listen: (IpAddr, u16),
    pub(crate) advertise_ip: Option<IpAddr>,
    pub(crate) hostname: String,
    pub(crate) resources: Resources,
    pub(crate) attributes: Vec<Attribute>,
    /// With gpu/devices.
    pub(crate) accelerators: Vec<Accelerator>,
    pub(crate) domain: Option<Domain>,
    pub(crate) isolation: Vec<String>,
    pub(crate) executor: PathBuf,
    pub(crate) fetcher: options::Options,
    pub(crate) images: images::options::Options,
    pub(crate) gc_delay: Duration,
    pub(crate) gc_headroom: f64,
    pub(crate) stall_timeout: Duration,
    /// How much is kept of what tasks write.
    pub(crate) output: OutputRule,
    pub(crate) executors: ExecutorTimes,
    pub(crate) recovery_timeout: Duration,
    /// Oversubscription, if it is on: its rules and the pause between two samples.
    pub(crate) oversubscription: Option<(Rules, Duration)>,
    /// What each task and executor begins with in its environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Where executors speak through a unix socket, if they may.
    pub(crate) domain_socket: Option<PathBuf>,
    /// What may change from one start to the next.
    pub(crate) reconfiguration: Reconfiguration,
    /// Where the CAs of HTTPS servers are, if anywhere.
    pub(crate) authorities: Option<PathBuf>,
    /// Through which what tasks ask for is fetched, if not directly.
    pub(crate) proxy: Option<Proxy>,
    /// Where to write how a test of this agent went, if one is to be made.
    pub(crate) self_test: Option<PathBuf>,
    /// The board's updater.
    pub(crate) updater: PathBuf,
    /// Who may change something through the HTTP server.
    pub(crate) access: Access,
}

impl Settings {
    pub(crate) fn new(mut flags: Values) -> Result<Self, SettingsError> {
        let config = file::read(&flags)?;
        file::fill(&mut flags, &config)?;
        let work_dir = flags
            .path("work_dir")
            .ok_or_else(|| SettingsError::new("--work_dir", "is required"))?;
        let work_dir =
            std::path::absolute(&work_dir).map_err(|e| SettingsError::new("--work_dir", e))?;
        let runtime_dir = runtime_dir(&flags, &work_dir)?;
        identity::make_directories(&work_dir, &runtime_dir)?;
        let (token, is_local) = token(&flags, &config)?;
        let master = master(&flags, is_local)?;
        let isolation = file::isolation(&flags, &config);
        let has_gpus = isolation.iter().any(|name| name == "gpu/devices");
        let accelerators = accelerators::of(has_gpus, &flags)?;
        Ok(Self {
            node: identity::node(&flags, &work_dir)?,
            token,
            cluster: flags.text("cluster").map(Into::into),
            mdns: Mode::parse(flags.text_or_empty("mdns")),
            master,
            is_plain: flags.text_or_empty("master_tls") == "off",
            listen: (
                address(&flags, "ip")?.unwrap_or(IpAddr::from([0, 0, 0, 0])),
                flags.number("port").unwrap_or(0) as u16,
            ),
            advertise_ip: address(&flags, "advertise_ip")?,
            hostname: hostname(&flags, config.name.clone()),
            resources: offered(&flags, &config, &work_dir, accelerators.len())?,
            attributes: attributes(&flags, has_gpus)?,
            accelerators,
            domain: flags
                .text("domain")
                .map(nesos_api::domain::parse)
                .transpose()
                .map_err(|e| SettingsError::new("--domain", e))?,
            isolation,
            executor: program(&flags, "executor", "nesos-executor")?,
            fetcher: options::Options::new(&flags, &work_dir)?,
            images: images::options::Options::new(&flags, &work_dir)?,
            gc_delay: flags
                .duration("gc_delay")
                .unwrap_or(Duration::from_secs(7 * 86_400)),
            gc_headroom: headroom(&flags)?,
            output: OutputRule::new(&flags)
                .map_err(|e| SettingsError::new("the output of tasks", e))?,
            stall_timeout: flags
                .duration("fetcher_stall_timeout")
                .unwrap_or(Duration::from_secs(60)),
            executors: executor_times(&flags),
            recovery_timeout: flags
                .duration("recovery_timeout")
                .unwrap_or(Duration::from_secs(15 * 60)),
            oversubscription: oversubscription(&flags),
            environment: environment(&flags, &config)?,
            domain_socket: flags
                .is_on("http_executor_domain_sockets")
                .then(|| domain::location(&work_dir)),
            reconfiguration: reconfiguration(&flags),
            authorities: authorities(&flags)?,
            proxy: Proxy::new(&config),
            self_test: flags.path("self_test"),
            updater: flags.path("updater").unwrap_or_default(),
            access: access(&flags)?,
            work_dir,
            runtime_dir,
            flags,
        })
    }

    /// The address for others, as far as it is known without asking the master; else empty. A master on the same board
    /// sees only the loopback, so then it is looked up.
    pub(crate) fn advertised_ip(&self) -> String {
        let listen = Some(self.listen.0).filter(|ip| !ip.is_unspecified());
        let is_local = || self.master.as_deref() == Some(LOCAL_MASTER) || local_master().is_some();
        let own = || {
            is_local()
                .then(identity::own_address)
                .flatten()
                .map(IpAddr::V4)
        };
        self.advertise_ip
            .or(listen)
            .or_else(own)
            .map(|ip| ip.to_string())
            .unwrap_or_default()
    }
}

fn offered(
    flags: &Values,
    config: &ClusterConfig,
    work_dir: &Path,
    gpus: usize,
) -> Result<Resources, SettingsError> {
    let reserved = config.reserved_memory.map(u64::from);
    resources::all(flags.text_or_empty("resources"), work_dir, gpus, reserved)
}

/// Those of the flag, and what is found of OpenCL.
fn attributes(flags: &Values, has_gpus: bool) -> Result<Vec<Attribute>, SettingsError> {
    let given = resource_text::parse_attributes(flags.text_or_empty("attributes"));
    let mut all = given.map_err(|e| SettingsError::new("--attributes", e))?;
    if has_gpus {
        all.extend(accelerators::platforms());
    }
    Ok(all)
}

fn runtime_dir(flags: &Values, work_dir: &Path) -> Result<PathBuf, SettingsError> {
    match flags.path("runtime_dir") {
        Some(path) => {
            std::path::absolute(&path).map_err(|e| SettingsError::new("--runtime_dir", e))
        }
        None => Ok(work_dir.join("run")),
    }
}

fn reconfiguration(flags: &Values) -> Reconfiguration {
    match flags.text_or_empty("reconfiguration_policy") {
        "equal" => Reconfiguration::Equal,
        "additive" => Reconfiguration::Additive,
        _ => Reconfiguration::Any,
    }
}

/// The join token, and whether it belongs to a master on this very machine.
fn token(
    flags: &Values,
    config: &ClusterConfig,
) -> Result<(Option<JoinToken>, bool), SettingsError> {
    if let Some(text) = flags.text("join_token") {
        let token = JoinToken::parse(text).map_err(|e| SettingsError::new("--join_token", e))?;
        return Ok((Some(token), false));
    }
    if let Some(token) = &config.token {
        return Ok((Some(token.clone()), false));
    }
    if let Some(key) = &config.key {
        let token =
            tls::join_token(key).map_err(|e| SettingsError::new("--config: cluster.key", e))?;
        return Ok((Some(token), true));
    }
    Ok(match local_token() {
        Some(token) => (Some(token), true),
        None => (None, false),
    })
}

/// The token of a masterd on the same board. It may appear after agentd has started.
pub(crate) fn local_token() -> Option<JoinToken> {
    let text = std::fs::read_to_string(LOCAL_TOKEN).ok()?;
    JoinToken::parse(&text).ok()
}

/// The master on the same board, if there is to be one: init makes the name before masterd has written the token.
pub(crate) fn local_master() -> Option<String> {
    std::fs::symlink_metadata(LOCAL_TOKEN)
        .is_ok()
        .then(|| LOCAL_MASTER.to_string())
}

fn master(flags: &Values, is_local: bool) -> Result<Option<String>, SettingsError> {
    let Some(text) = flags.text("master") else {
        return Ok(is_local.then(|| LOCAL_MASTER.to_string()));
    };
    if text.starts_with("zk://") || text.starts_with("etcd://") {
        return Err(SettingsError::new(
            "--master",
            "ZooKeeper and etcd are not used, expected host:port",
        ));
    }
    let valid = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0));
    if !valid {
        return Err(SettingsError::new(
            "--master",
            format!("expected host:port such as 192.168.1.10:5050, found '{text}'"),
        ));
    }
    Ok(Some(text.to_string()))
}

fn address(flags: &Values, name: &str) -> Result<Option<IpAddr>, SettingsError> {
    let Some(text) = flags.text(name) else {
        return Ok(None);
    };
    let parsed = text.parse().map_err(|_| {
        SettingsError::new(
            format!("--{name}"),
            format!("expected an IP address, found '{text}'"),
        )
    });
    parsed.map(Some)
}

/// Part of the disk that is to stay free.
fn headroom(flags: &Values) -> Result<f64, SettingsError> {
    let text = flags.text_or_empty("gc_disk_headroom");
    let part = text.parse::<f64>().ok();
    part.filter(|part| (0.0..=1.0).contains(part))
        .ok_or_else(|| SettingsError::new("--gc_disk_headroom", "expected a number from 0 to 1"))
}

fn executor_times(flags: &Values) -> ExecutorTimes {
    let defaults = ExecutorTimes::default();
    let time = |name: &str, default| {
        let given = flags.duration(name);
        given.map_or(default, |given| {
            nesos_base::time::Duration::from_millis(given.as_millis() as u64)
        })
    };
    ExecutorTimes {
        registration: time("executor_registration_timeout", defaults.registration),
        reregistration: time("executor_reregistration_timeout", defaults.reregistration),
        shutdown_grace: time("executor_shutdown_grace_period", defaults.shutdown_grace),
    }
}

fn oversubscription(flags: &Values) -> Option<(Rules, Duration)> {
    let per_cent = |name| flags.number(name).unwrap_or(0) as f64;
    let tolerance = || Tolerance {
        cpu: per_cent("qos_cpu_pressure"),
        memory: per_cent("qos_memory_pressure"),
    };
    let evicts = (flags.text_or_empty("qos_controller") == "pressure").then(tolerance);
    let rules = Rules {
        lends: flags.text_or_empty("resource_estimator") == "slack",
        evicts,
    };
    let pause = flags.duration("oversubscribed_resources_interval");
    let is_on = rules != Rules::default();
    is_on.then(|| (rules, pause.unwrap_or(Duration::from_secs(15))))
}

/// Mesos passes this one of its own variables on.
const INHERITED: &str = "LIBPROCESS_IP";

fn environment(
    flags: &Values,
    config: &ClusterConfig,
) -> Result<Vec<(String, String)>, SettingsError> {
    let text = flags.text("executor_environment_variables").unwrap_or("{}");
    let given: std::collections::BTreeMap<String, String> =
        serde_json::from_str(text).map_err(|error| {
            let reason = format!("expected a JSON object of texts: {error}");
            SettingsError::new("--executor_environment_variables", reason)
        })?;
    let inherited = std::env::var(INHERITED).ok();
    let inherited = inherited.map(|value| (INHERITED.to_string(), value));
    let proxy = proxy::environment(config);
    Ok(inherited.into_iter().chain(proxy).chain(given).collect())
}

fn authorities(flags: &Values) -> Result<Option<PathBuf>, SettingsError> {
    let Some(path) = flags.path("ca") else {
        return Ok(authorities::find(flags.path("config").as_deref()));
    };
    authorities::load(Some(&path)).map_err(|reason| SettingsError::new("--ca", reason))?;
    Ok(Some(path))
}

fn access(flags: &Values) -> Result<Access, SettingsError> {
    let (name, credentials) = (flags.text_or_empty("api_access"), flags.path("credentials"));
    if name == "authenticated" && credentials.is_none() {
        // cluster.toml speaks to masters too, which have the file: an agent without it lets nobody write.
        return Ok(Access::Authenticated(Default::default()));
    }
    let rule = Access::from_flags(name, credentials.as_deref());
    rule.map_err(|reason| SettingsError::new("the HTTP server", reason))
}

fn hostname(flags: &Values, configured: Option<String>) -> String {
    let given = flags
        .text("hostname")
        .map(String::from)
        .or(configured)
        .or_else(nesos_sys::machine::hostname);
    given.unwrap_or_else(|| "localhost".into())
}

/// The helper that `flag` names, else the one called `name` beside agentd.
pub(crate) fn program(flags: &Values, flag: &str, name: &str) -> Result<PathBuf, SettingsError> {
    let place = format!("--{flag}");
    let path = match flags.path(flag) {
        Some(path) => path,
        None => {
            let own = std::env::current_exe().map_err(|e| SettingsError::new(&place, e))?;
            own.with_file_name(name)
        }
    };
    let path = std::path::absolute(&path).map_err(|e| SettingsError::new(&place, e))?;
    let fail = |what: &str| {
        let reason = format!("{what} {}", path.display());
        Err(SettingsError::new(&place, reason))
    };
    match std::fs::metadata(&path) {
        Ok(file) if !file.is_file() => fail("expected a program, found something else at"),
        Ok(file) if file.permissions().mode() & 0o111 == 0 => {
            fail("expected a program, found a file that is not executable:")
        }
        Ok(_) => Ok(path),
        Err(_) => fail("there is no helper at"),
    }
}
