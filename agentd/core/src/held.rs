//! What tasks and executors hold together: resources, and bytes of a `Hello`; and which tasks are an executor's. Kept up, so that
//! a launch does not cost what runs already.
//!
//! Called by whoever puts tasks and executors into the agent's maps, ends them, or takes them out. Invariant: it is what a walk
//! over all of them gives ([`Agent::count_held`]); resources count from the launch to the end, all else until it is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use nesos_wire::framework_executor::FrameworkExecutor;
use nesos_wire::resource::Resources;
use nesos_wire::task::TaskSpec;
use nesos_wire::{ExecutorKey, TaskKey};

use crate::admission::spec_bytes;
use crate::agent::Agent;
use crate::executors::{executor_bytes, key_of};

/// The sums.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Held {
    /// In use.
    pub(crate) resources: Resources,
    /// An upper bound of what all descriptions take encoded.
    pub(crate) bytes: usize,
    /// Tasks of executors that are not their own, by their executor.
    members: BTreeMap<ExecutorKey, BTreeSet<TaskKey>>,
}

impl Held {
    /// A task is there, which runs unless `is_over`.
    pub(crate) fn take(&mut self, task: &TaskSpec, is_over: bool) {
        if !is_over {
            self.resources.add(&task.resources);
        }
        self.bytes += spec_bytes(task);
        if let Some(executor) = key_of(task) {
            let members = self.members.entry(executor).or_default();
            members.insert(task.key.clone());
        }
    }

    /// It has ended.
    pub(crate) fn end(&mut self, task: &TaskSpec) {
        self.resources.subtract(&task.resources);
    }

    /// It is gone; `is_over`: it had ended before.
    pub(crate) fn drop(&mut self, task: &TaskSpec, is_over: bool) {
        if !is_over {
            self.end(task);
        }
        self.bytes = self.bytes.saturating_sub(spec_bytes(task));
        if let Some(executor) = key_of(task)
            && let Some(members) = self.members.get_mut(&executor)
        {
            members.remove(&task.key);
            if members.is_empty() {
                self.members.remove(&executor);
            }
        }
    }

    /// Tasks of an executor, in the order of their keys.
    pub(crate) fn members(&self, executor: &ExecutorKey) -> impl Iterator<Item = &TaskKey> {
        self.members.get(executor).into_iter().flatten()
    }

    /// An executor is there.
    pub(crate) fn take_executor(&mut self, executor: &FrameworkExecutor) {
        self.resources.add(&executor.resources);
        self.bytes += executor_bytes(executor);
    }

    /// It is gone.
    pub(crate) fn drop_executor(&mut self, executor: &FrameworkExecutor) {
        self.resources.subtract(&executor.resources);
        self.bytes = self.bytes.saturating_sub(executor_bytes(executor));
    }
}

impl Agent {
    /// The sums, by looking at all.
    pub(crate) fn count_held(&self) -> Held {
        let mut held = Held::default();
        for task in self.tasks.values() {
            held.take(&task.spec, !task.phase.is_active());
        }
        for executor in self.executors.values() {
            held.take_executor(&executor.spec);
        }
        held
    }
}
