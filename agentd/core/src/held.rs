//! What tasks and executors hold together: resources, and bytes of a `Hello`. A running sum, so that a launch does not cost
//! what runs already.
//!
//! Called by whoever puts tasks and executors into the agent's maps, ends them, or takes them out. Invariant: it is what a walk
//! over all of them gives ([`Agent::count_held`]); resources count from the launch to the end, bytes until it is forgotten.

use nesos_wire::framework_executor::FrameworkExecutor;
use nesos_wire::resource::Resources;
use nesos_wire::task::TaskSpec;

use crate::admission::spec_bytes;
use crate::agent::Agent;
use crate::executors::executor_bytes;

/// The sums.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Held {
    /// In use.
    pub(crate) resources: Resources,
    /// An upper bound of what all descriptions take encoded.
    pub(crate) bytes: usize,
}

impl Held {
    /// A task is there, which runs unless `is_over`.
    pub(crate) fn take(&mut self, task: &TaskSpec, is_over: bool) {
        if !is_over {
            self.resources.add(&task.resources);
        }
        self.bytes += spec_bytes(task);
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
