//! The cgroups of containers: `<root>/executors` for the helpers, `<root>/<container>` for each task, and for what runs
//! inside one, whose name is `<container>.<name>`, a group in that one's.
//!
//! Called by isolators and lives. Invariant: a task's limits are in force before its first process exists.

use std::fs;
use std::time::Duration;

use nesos_sys::cgroup::statistics::Statistics;
use nesos_sys::cgroup::{Cgroup, CgroupError, Limits, Usage};
use nesos_wire::ContainerId;

use crate::settings::SettingsError;

/// Where helpers live: outside the tasks' limits, inside the agent's tree.
pub(crate) const EXECUTORS: &str = "executors";
/// Controllers that tasks are limited with.
const CONTROLLERS: [&str; 4] = ["cpu", "memory", "pids", "io"];
/// A group is busy until its last process is reaped: tries, and the pause between them.
const REMOVE_TRIES: usize = 100;
const REMOVE_PAUSE: Duration = Duration::from_millis(20);

/// The agent's part of the cgroup tree.
#[derive(Debug)]
pub(super) struct Cgroups {
    root: Cgroup,
}

impl Cgroups {
    /// Makes the agent's groups below `name`.
    /// `by_processor`: with the controller that says on which processors tasks run.
    pub(super) fn new(name: &str, by_processor: bool) -> Result<Self, SettingsError> {
        let fail = |reason: String| SettingsError::new("--isolation=cgroups/…", reason);
        let plain =
            !name.is_empty() && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !plain {
            return Err(SettingsError::new(
                "--cgroups_root",
                "expected a relative path such as nesos",
            ));
        }
        let top = Cgroup::find_root().ok_or_else(|| {
            fail("this machine has no cgroup v2 tree with the controllers cpu and memory".into())
        })?;
        let root = top.child(name);
        let make = || {
            let more: &[&str] = if by_processor { &["cpuset"] } else { &[] };
            let controllers = [&CONTROLLERS, more].concat();
            top.delegate(&controllers)?;
            root.create()?;
            root.delegate(&controllers)?;
            root.child(EXECUTORS).create()
        };
        make().map_err(|e: CgroupError| fail(e.to_string()))?;
        Ok(Self { root })
    }

    /// The task's group with its limits, still empty.
    pub(super) fn create(
        &self,
        container: &ContainerId,
        limits: &Limits,
    ) -> Result<Cgroup, CgroupError> {
        let group = self.of(container);
        group.create()?;
        group.limit(limits)?;
        Ok(group)
    }

    /// A group in that of the container around this one, under its limits. It gets no controllers of its own, or the
    /// processes of that one could not stay where they are.
    pub(super) fn create_inside(&self, container: &ContainerId) -> Result<Cgroup, CgroupError> {
        let group = self.of(container);
        group.create()?;
        Ok(group)
    }

    /// New limits for a group; none: it is not there.
    pub(super) fn resize(
        &self,
        container: &ContainerId,
        limits: &Limits,
    ) -> Result<Option<Cgroup>, CgroupError> {
        let Some((_, in_force)) = self.state(container) else {
            return Ok(None);
        };
        // As in Mesos the hard limit is only raised: what an executor still holds of ended tasks must not kill it.
        let least = in_force.memory_max.unwrap_or(0);
        let group = self.of(container);
        group.limit(&Limits {
            memory_max: limits.memory_max.map(|most| most.max(least)),
            ..*limits
        })?;
        Ok(Some(group))
    }

    /// Where helpers are born.
    pub(super) fn executors(&self) -> Cgroup {
        self.root.child(EXECUTORS)
    }

    /// Names of all containers that have a group.
    pub(super) fn list(&self) -> Vec<String> {
        let mut names = self.root.children();
        names.retain(|name| name != EXECUTORS);
        names
    }

    pub(super) fn usage(&self, container: &ContainerId) -> Option<Usage> {
        let group = self.of(container);
        group.exists().then(|| group.usage())
    }

    /// All that the group tells beside its usage.
    pub(super) fn statistics(&self, container: &ContainerId) -> Option<Statistics> {
        let group = self.of(container);
        group.exists().then(|| group.statistics())
    }

    /// Usage, and the limits as they are in force.
    pub(super) fn state(&self, container: &ContainerId) -> Option<(Usage, Limits)> {
        let group = self.of(container);
        let usage = group.exists().then(|| group.usage())?;
        let memory_max = fs::read_to_string(group.path().join("memory.max")).ok();
        let memory_max = memory_max.and_then(|text| text.trim().parse().ok());
        Some((
            usage,
            Limits {
                memory_max,
                ..Limits::default()
            },
        ))
    }

    /// SIGKILL to all processes of the task.
    pub(super) fn kill(&self, container: &ContainerId) {
        let group = self.of(container);
        if group.exists()
            && let Err(error) = group.kill()
        {
            tracing::warn!("container {container}: {error}");
        }
    }

    /// Ends whatever is left and removes the group.
    pub(super) async fn remove(&self, container: &ContainerId) {
        let group = self.of(container);
        let mut result = Ok(());
        for _ in 0..REMOVE_TRIES {
            if !group.exists() {
                return;
            }
            self.kill(container);
            result = group.remove();
            if result.is_ok() {
                return;
            }
            tokio::time::sleep(REMOVE_PAUSE).await;
        }
        if let Err(error) = result {
            tracing::warn!("container {container}: {error}");
        }
    }

    fn of(&self, container: &ContainerId) -> Cgroup {
        self.root.child(&container.as_str().replace('.', "/"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_runs_inside_lies_in_the_outer_ones_group() {
        let folder = tempfile::tempdir().unwrap();
        let groups = Cgroups {
            root: Cgroup::at(folder.path()),
        };
        let [outer, inner] = ["task", "task.helper"].map(ContainerId::new);
        groups.create(&outer, &Limits::default()).unwrap();
        let group = groups.create_inside(&inner).unwrap();
        assert_eq!(group.path(), folder.path().join("task/helper"));
        let files = fs::read_dir(group.path()).unwrap().count();
        assert_eq!(files, 0, "no limit of its own");
        assert_eq!(groups.list(), ["task"]);
    }

    #[test]
    fn a_hard_limit_is_raised_and_never_lowered() {
        let folder = tempfile::tempdir().unwrap();
        let root = Cgroup::at(folder.path());
        let groups = Cgroups { root };
        let container = ContainerId::new("c");
        let limits = |memory| Limits {
            memory_max: Some(memory),
            memory_low: Some(memory),
            ..Limits::default()
        };
        groups.create(&container, &limits(100)).unwrap();
        for (given, most) in [(50, "100"), (200, "200"), (150, "200")] {
            groups.resize(&container, &limits(given)).unwrap();
            let read = |file| fs::read_to_string(folder.path().join("c").join(file)).unwrap();
            assert_eq!(read("memory.max"), most);
            assert_eq!(read("memory.low"), given.to_string());
        }
        let unknown = ContainerId::new("unknown");
        assert!(groups.resize(&unknown, &limits(1)).unwrap().is_none());
        assert!(!folder.path().join("unknown").exists());
    }
}
