//! The invariants of the agent, for the simulator and the tests to call after every step.

use std::collections::BTreeSet;

use nesos_wire::TaskKey;
use nesos_wire::framework_executor::ExecutorKind;

use crate::agent::Agent;
use crate::executors::key_of;
use crate::task::{Phase, Task};

impl Agent {
    /// The first invariant that does not hold, in words.
    pub fn check(&self) -> Result<(), String> {
        if self.tasks.len() > crate::MAX_TASKS {
            return Err(format!("{} tasks", self.tasks.len()));
        }
        if self.finished.len() > crate::MAX_FINISHED {
            return Err(format!(
                "{} finished tasks are remembered",
                self.finished.len()
            ));
        }
        // What is lent shrinks under those who hold it.
        let own = self.used().filter(|entry| !entry.terms().is_revocable);
        if !self.is_overcommitted && !self.resources().contains(&own) {
            return Err("more is in use than the agent has".into());
        }
        self.tasks.check()?;
        self.executors.check()?;
        self.operations.check()?;
        if self.held != self.count_held() {
            return Err("the sums of what is held are not those of what there is".into());
        }
        self.check_executors()?;
        for (container, key) in &self.containers {
            let owner = self.tasks.get(key).and_then(|task| task.container.as_ref());
            if owner != Some(container) {
                return Err(format!(
                    "container {container} is not the one of its task {key}"
                ));
            }
        }
        self.tasks.iter().try_for_each(|(key, task)| {
            self.check_task(key, task)
                .map_err(|broken| format!("task {key} in {:?}: {broken}", task.phase))
        })
    }

    fn check_executors(&self) -> Result<(), String> {
        if self.executors.len() > crate::MAX_EXECUTORS {
            return Err(format!("{} executors", self.executors.len()));
        }
        for (container, key) in &self.executor_containers {
            let owner = self.executors.get(key).map(|executor| &executor.container);
            if owner != Some(container) {
                return Err(format!(
                    "container {container} is not that of its executor {key}"
                ));
            }
        }
        let customs = self
            .executors
            .values()
            .filter(|executor| executor.spec.kind == ExecutorKind::Custom);
        if customs.count() != self.executor_containers.len() {
            return Err("every custom executor has a container: violated".into());
        }
        Ok(())
    }

    fn check_task(&self, key: &TaskKey, task: &Task) -> Result<(), String> {
        let is_custom = task.spec.kind == ExecutorKind::Custom;
        let is_listed = task
            .container
            .as_ref()
            .is_some_and(|container| match key_of(&task.spec) {
                Some(executor) if is_custom => {
                    let holder = self
                        .executors
                        .get(&executor)
                        .map(|executor| &executor.container);
                    // Of an ended task the executor may live on.
                    holder == Some(container) && task.phase.is_active()
                }
                _ => self.containers.contains_key(container),
            });
        if is_listed != task.phase.is_active() {
            return Err("holds a container exactly while active: violated".into());
        }
        if self
            .finished
            .iter()
            .any(|(finished, attempt)| finished == key && *attempt >= task.spec.attempt)
        {
            return Err("is also among the finished".into());
        }
        let pending = task.stream.pending();
        if pending.len() > crate::MAX_UPDATES + 1 {
            return Err(format!("{} statuses wait", pending.len()));
        }
        if pending.len() == 0 && task.phase == Phase::Ended {
            return Err("has ended, has nothing to say and was not forgotten".into());
        }
        let statuses: Vec<_> = task
            .stream
            .acknowledged()
            .into_iter()
            .chain(pending)
            .collect();
        if statuses
            .iter()
            .rev()
            .skip(1)
            .any(|status| status.state.is_terminal())
        {
            return Err("a status follows a terminal one".into());
        }
        if task.latest().is_terminal() != (task.phase == Phase::Ended) && !task.is_silent {
            return Err(format!("newest state is {:?}", task.latest()));
        }
        let uuids: BTreeSet<_> = statuses.iter().filter_map(|status| status.uuid).collect();
        if uuids.len() != statuses.len() {
            return Err("statuses share a uuid or have none".into());
        }
        Ok(())
    }
}
