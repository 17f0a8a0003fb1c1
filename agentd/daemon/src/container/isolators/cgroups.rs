//! The isolators that limit by cgroup v2: processor, memory, processes.
//!
//! They say what a task may use; `super::super::cgroups` writes it.

use agentd_core::Limitation;
use nesos_sys::cgroup::{CPU_PERIOD_US, Limits, Usage};
use nesos_wire::ContainerId;
use nesos_wire::task::TaskSpec;

use super::Isolator;
use crate::settings::Settings;

const MB: u64 = 1024 * 1024;
/// Least memory of a container (Mesos: `MIN_MEMORY`): less does not start a shell.
const MIN_MEMORY: u64 = 32 * MB;
/// `cpu.weight` per cpu (Mesos: `CPU_SHARES_PER_CPU` of cgroups v2), and per cpu that can be taken away.
const WEIGHT_PER_CPU: u64 = 100;
const WEIGHT_PER_REVOCABLE_CPU: u64 = 1;

/// Shares of the processor, and a hard limit where one is asked for.
#[derive(Debug)]
pub(super) struct Cpu {
    /// `--cgroups_enable_cfs`: the request is a hard limit too.
    is_hard: bool,
}

impl Cpu {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            is_hard: settings.flags.is_on("cgroups_enable_cfs"),
        }
    }
}

impl Isolator for Cpu {
    fn name(&self) -> &'static str {
        "cgroups/cpu"
    }

    fn limit(&self, spec: &TaskSpec, limits: &mut Option<Limits>) {
        let request = spec.resources.scalar("cpus").0;
        let limit = match spec.limits.get("cpus") {
            Some(limit) => limit.map(|limit| limit.0),
            None => self.is_hard.then_some(request),
        };
        let mut entries = spec.resources.entries().iter();
        let is_revocable =
            entries.any(|entry| entry.name() == "cpus" && entry.terms().is_revocable);
        let weight = if is_revocable {
            WEIGHT_PER_REVOCABLE_CPU
        } else {
            WEIGHT_PER_CPU
        };
        let limits = limits.get_or_insert_default();
        limits.cpu_weight = Some(positive(request) * weight / 1000);
        // Thousandths of a cpu are microseconds per millisecond: a period of 100 ms has 100 of them per thousandth.
        limits.cpu_quota_us = limit.map(|thousandths| positive(thousandths) * CPU_PERIOD_US / 1000);
    }
}

/// Memory: the request is protected, the limit (or the request) is hard.
#[derive(Debug)]
pub(super) struct Memory;

impl Isolator for Memory {
    fn name(&self) -> &'static str {
        "cgroups/mem"
    }

    fn limit(&self, spec: &TaskSpec, limits: &mut Option<Limits>) {
        let bytes = |thousandths: i64| (positive(thousandths) * MB / 1000).max(MIN_MEMORY);
        let request = spec.resources.scalar("mem").0;
        let limit = match spec.limits.get("mem") {
            Some(limit) => limit.map(|limit| bytes(limit.0)),
            None => Some(bytes(request)),
        };
        let mut entries = spec.resources.entries().iter();
        let is_lent = entries.any(|entry| entry.name() == "mem" && entry.terms().is_revocable);
        let limits = limits.get_or_insert_default();
        // What is lent is not protected from those it belongs to.
        limits.memory_low = Some(if is_lent { 0 } else { bytes(request) });
        limits.memory_max = limit;
        limits.swap_max = limit.map(|_| 0);
        limits.oom_group = true;
    }

    fn limitation(
        &self,
        _container: &ContainerId,
        group: Option<&(Usage, Limits)>,
    ) -> Option<Limitation> {
        let (usage, limits) = group?;
        let limit = limits.memory_max?;
        (usage.oom_kills > 0).then_some(Limitation::Memory {
            limit,
            peak: usage.memory_peak,
        })
    }
}

/// Processes and threads.
#[derive(Debug)]
pub(super) struct Pids {
    /// `--cgroups_pids_max`.
    most: u64,
}

impl Pids {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            most: settings.flags.number("cgroups_pids_max").unwrap_or(512),
        }
    }
}

impl Isolator for Pids {
    fn name(&self) -> &'static str {
        "cgroups/pids"
    }

    fn limit(&self, _spec: &TaskSpec, limits: &mut Option<Limits>) {
        limits.get_or_insert_default().pids_max = Some(self.most);
    }
}

fn positive(thousandths: i64) -> u64 {
    u64::try_from(thousandths).unwrap_or(0)
}

#[cfg(test)]
mod tests {
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
            ..crate::container::tests::spec(&key)
        }
    }

    fn limits_of(task: &TaskSpec, is_hard: bool) -> Limits {
        let mut limits = None;
        Cpu { is_hard }.limit(task, &mut limits);
        Memory.limit(task, &mut limits);
        Pids { most: 7 }.limit(task, &mut limits);
        limits.expect("limited")
    }

    #[test]
    fn requests_become_weights_and_limits() {
        let limits = limits_of(&spec("cpus:0.5;mem:64"), false);
        assert_eq!((limits.cpu_weight, limits.cpu_quota_us), (Some(50), None));
        assert_eq!(
            (limits.memory_max, limits.memory_low, limits.swap_max),
            (Some(64 * MB), Some(64 * MB), Some(0))
        );
        assert_eq!(limits.pids_max, Some(7));
    }

    #[test]
    fn limits_win_over_requests() {
        let mut task = spec("cpus:0.5;mem:1");
        task.limits.insert("cpus".into(), Some(Scalar(2000)));
        task.limits.insert("mem".into(), None);
        let limits = limits_of(&task, true);
        assert_eq!(limits.cpu_quota_us, Some(200_000));
        assert_eq!(
            (limits.memory_max, limits.memory_low),
            (None, Some(32 * MB))
        );
    }

    #[test]
    fn what_is_lent_weighs_little_and_is_not_protected() {
        let mut task = spec("cpus:0.5;mem:64");
        let terms = nesos_wire::resource::Terms {
            is_revocable: true,
            ..Default::default()
        };
        let entries = task.resources.entries().iter();
        task.resources = entries.map(|entry| entry.under(terms.clone())).collect();
        let limits = limits_of(&task, false);
        assert_eq!(limits.cpu_weight, Some(0), "the least there is");
        let memory = (limits.memory_max, limits.memory_low);
        assert_eq!(memory, (Some(64 * MB), Some(0)));
    }

    #[test]
    fn an_oom_kill_is_a_limitation() {
        let limits = Limits {
            memory_max: Some(MB),
            ..Limits::default()
        };
        let container = ContainerId::new("c");
        let usage = Usage {
            oom_kills: 1,
            memory_peak: MB,
            ..Usage::default()
        };
        assert_eq!(
            Memory.limitation(&container, Some(&(usage, limits))),
            Some(Limitation::Memory {
                limit: MB,
                peak: MB
            })
        );
        let fine = (Usage::default(), limits);
        assert_eq!(Memory.limitation(&container, Some(&fine)), None);
    }
}
