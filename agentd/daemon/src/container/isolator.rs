//! Isolators: small parts that each contribute to how a container is set up, chosen by `--isolation`.
//!
//! Called by the containerizer only. A new one is a type that implements [`Isolator`] and a line in [`make`]. Invariant: an
//! isolator that cannot work on this machine is an error at start, never a task that runs unprotected.

use agentd_core::Limitation;
use nesos_sys::cgroup::{Limits, Usage};
use nesos_sys::container::Namespaces;
use nesos_wire::ContainerId;
use nesos_wire::task::TaskSpec;

use super::cgroups::Cgroups;
use crate::settings::{Settings, SettingsError};

const MB: u64 = 1024 * 1024;
/// Least memory of a container (Mesos: `MIN_MEMORY`): less does not start a shell.
const MIN_MEMORY: u64 = 32 * MB;
/// `cpu.weight` per cpu (Mesos: `CPU_SHARES_PER_CPU` of cgroups v2).
const WEIGHT_PER_CPU: u64 = 100;
/// Names that Mesos has and that need nothing here: usage is not limited, files are the agent's.
const PLAIN: [&str; 3] = ["posix/cpu", "posix/mem", "filesystem/posix"];

/// How a container is to be set up.
#[derive(Debug, Clone, Default)]
pub(super) struct Setup {
    pub(super) namespaces: Namespaces,
    /// `Some`: a cgroup of its own with these limits.
    pub(super) limits: Option<Limits>,
    /// Additions to the task's environment.
    pub(super) environment: Vec<(String, String)>,
}

/// One part of isolation.
pub(super) trait Isolator: std::fmt::Debug {
    /// Its name in `--isolation`.
    fn name(&self) -> &'static str;
    /// What the container of this task needs.
    fn prepare(&self, spec: &TaskSpec, setup: &mut Setup);
    /// The limit the container has run into, if any. Asked after its end.
    fn limitation(&self, _usage: &Usage, _limits: &Limits) -> Option<Limitation> {
        None
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Isolators {
    list: Vec<Box<dyn Isolator>>,
    cgroups: Option<Cgroups>,
}

impl Isolators {
    /// Those of `--isolation`, checked on this machine.
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let names = &settings.isolation;
        let list = names
            .iter()
            .filter(|name| !PLAIN.contains(&name.as_str()))
            .map(|name| make(name, settings));
        let list = list.collect::<Result<Vec<_>, _>>()?;
        if !list.is_empty() && !nix::unistd::geteuid().is_root() {
            let reason = format!(
                "{} needs root; without root use posix/cpu,posix/mem",
                names.join(",")
            );
            return Err(SettingsError::new("--isolation", reason));
        }
        let uses_cgroups = names.iter().any(|name| name.starts_with("cgroups/"));
        let root = settings.flags.text_or_empty("cgroups_root");
        let cgroups = uses_cgroups.then(|| Cgroups::new(root)).transpose()?;
        Ok(Self { list, cgroups })
    }

    pub(super) fn prepare(&self, spec: &TaskSpec) -> Setup {
        let mut setup = Setup::default();
        for isolator in &self.list {
            isolator.prepare(spec, &mut setup);
        }
        setup
    }

    pub(super) fn cgroups(&self) -> Option<&Cgroups> {
        self.cgroups.as_ref()
    }

    pub(super) fn usage(&self, container: &ContainerId) -> Option<Usage> {
        self.cgroups
            .as_ref()
            .and_then(|cgroups| cgroups.usage(container))
    }

    /// The limit the container has run into.
    pub(super) fn limitation(&self, container: &ContainerId) -> Option<Limitation> {
        let (usage, limits) = self.cgroups.as_ref()?.state(container)?;
        self.list
            .iter()
            .find_map(|isolator| isolator.limitation(&usage, &limits))
    }
}

/// The isolator of this name. A new one gets its line here.
fn make(name: &str, settings: &Settings) -> Result<Box<dyn Isolator>, SettingsError> {
    let hard = settings.flags.is_on("cgroups_enable_cfs");
    let all: [Box<dyn Isolator>; 4] = [
        Box::new(CgroupsCpu { hard }),
        Box::new(CgroupsMem),
        Box::new(NamespacesPid),
        Box::new(FilesystemLinux),
    ];
    let names: Vec<&str> = PLAIN
        .into_iter()
        .chain(all.iter().map(|isolator| isolator.name()))
        .collect();
    let reason = format!(
        "there is no isolator '{name}'; there are {}",
        names.join(", ")
    );
    all.into_iter()
        .find(|isolator| isolator.name() == name)
        .ok_or_else(|| SettingsError::new("--isolation", reason))
}

/// Shares of the processor, and a hard limit where one is asked for.
#[derive(Debug)]
struct CgroupsCpu {
    /// `--cgroups_enable_cfs`: the request is a hard limit too.
    hard: bool,
}

impl Isolator for CgroupsCpu {
    fn name(&self) -> &'static str {
        "cgroups/cpu"
    }

    fn prepare(&self, spec: &TaskSpec, setup: &mut Setup) {
        let request = spec.resources.scalar("cpus").0;
        let limit = match spec.limits.get("cpus") {
            Some(limit) => limit.map(|limit| limit.0),
            None => self.hard.then_some(request),
        };
        let limits = setup.limits.get_or_insert_default();
        limits.cpu_weight = Some(positive(request) * WEIGHT_PER_CPU / 1000);
        // Thousandths of a cpu are microseconds per millisecond: a period of 100 ms has 100 of them per thousandth.
        limits.cpu_quota_us = limit
            .map(|thousandths| positive(thousandths) * nesos_sys::cgroup::CPU_PERIOD_US / 1000);
    }
}

/// Memory: the request is protected, the limit (or the request) is hard.
#[derive(Debug)]
struct CgroupsMem;

impl Isolator for CgroupsMem {
    fn name(&self) -> &'static str {
        "cgroups/mem"
    }

    fn prepare(&self, spec: &TaskSpec, setup: &mut Setup) {
        let bytes = |thousandths: i64| (positive(thousandths) * MB / 1000).max(MIN_MEMORY);
        let request = spec.resources.scalar("mem").0;
        let limit = match spec.limits.get("mem") {
            Some(limit) => limit.map(|limit| bytes(limit.0)),
            None => Some(bytes(request)),
        };
        let limits = setup.limits.get_or_insert_default();
        limits.memory_low = Some(bytes(request));
        limits.memory_max = limit;
        limits.swap_max = limit.map(|_| 0);
        limits.oom_group = true;
    }

    fn limitation(&self, usage: &Usage, limits: &Limits) -> Option<Limitation> {
        let limit = limits.memory_max?;
        (usage.oom_kills > 0).then_some(Limitation::Memory {
            limit,
            peak: usage.memory_peak,
        })
    }
}

/// The task sees only its own processes.
#[derive(Debug)]
struct NamespacesPid;

impl Isolator for NamespacesPid {
    fn name(&self) -> &'static str {
        "namespaces/pid"
    }

    fn prepare(&self, _spec: &TaskSpec, setup: &mut Setup) {
        setup.namespaces.pid = true;
        // Its own /proc needs a mount table of its own.
        setup.namespaces.mount = true;
    }
}

/// A mount table of its own: a private /tmp, /sys read-only.
#[derive(Debug)]
struct FilesystemLinux;

impl Isolator for FilesystemLinux {
    fn name(&self) -> &'static str {
        "filesystem/linux"
    }

    fn prepare(&self, _spec: &TaskSpec, setup: &mut Setup) {
        setup.namespaces.mount = true;
    }
}

fn positive(thousandths: i64) -> u64 {
    u64::try_from(thousandths).unwrap_or(0)
}

#[cfg(test)]
mod unit {
    use super::*;
    use nesos_wire::resource::Scalar;
    use nesos_wire::resource_text;

    fn spec(resources: &str) -> TaskSpec {
        let key = nesos_wire::TaskKey {
            framework: nesos_wire::FrameworkId::new("f"),
            task: nesos_wire::TaskId::new("t"),
        };
        TaskSpec {
            resources: resource_text::parse(resources).expect("valid"),
            ..super::super::tests::spec(&key)
        }
    }

    #[test]
    fn requests_become_weights_and_limits() {
        let mut setup = Setup::default();
        let task = spec("cpus:0.5;mem:64");
        CgroupsCpu { hard: false }.prepare(&task, &mut setup);
        CgroupsMem.prepare(&task, &mut setup);
        let limits = setup.limits.expect("limited");
        assert_eq!((limits.cpu_weight, limits.cpu_quota_us), (Some(50), None));
        assert_eq!(
            (limits.memory_max, limits.memory_low, limits.swap_max),
            (Some(64 * MB), Some(64 * MB), Some(0))
        );
    }

    #[test]
    fn limits_win_over_requests() {
        let mut setup = Setup::default();
        let mut task = spec("cpus:0.5;mem:1");
        task.limits.insert("cpus".into(), Some(Scalar(2000)));
        task.limits.insert("mem".into(), None);
        CgroupsCpu { hard: true }.prepare(&task, &mut setup);
        CgroupsMem.prepare(&task, &mut setup);
        let limits = setup.limits.expect("limited");
        assert_eq!(limits.cpu_quota_us, Some(200_000));
        assert_eq!(
            (limits.memory_max, limits.memory_low),
            (None, Some(32 * MB))
        );
    }

    #[test]
    fn an_oom_kill_is_a_limitation() {
        let limits = Limits {
            memory_max: Some(MB),
            ..Limits::default()
        };
        let usage = Usage {
            oom_kills: 1,
            memory_peak: MB,
            ..Usage::default()
        };
        assert_eq!(
            CgroupsMem.limitation(&usage, &limits),
            Some(Limitation::Memory {
                limit: MB,
                peak: MB
            })
        );
        assert_eq!(CgroupsMem.limitation(&Usage::default(), &limits), None);
    }
}
