//! What the agent remembers of tasks that are over, for displays: the newest ones, and counters of all.
//!
//! Not durable and never asked by the agent's own decisions. Called by `agent` and `container`. Invariant: never more than
//! [`MAX_COMPLETED`] tasks and [`MAX_COMPLETED_BYTES`] of descriptions.

use std::collections::{BTreeMap, VecDeque};

use nesos_wire::ContainerId;
use nesos_wire::framework_executor::FrameworkExecutor;
use nesos_wire::task::{TaskSpec, TaskState, TaskStatus};

use crate::admission::spec_bytes;
use crate::executors::executor_bytes;

/// Most completed tasks shown: Mesos keeps 150 executors per framework, a board with 128 MB fewer.
pub const MAX_COMPLETED: usize = 128;
/// Most bytes that their specs have together: a quarter of what an idle agent takes.
pub const MAX_COMPLETED_BYTES: usize = 512 * 1024;
/// Most completed executors shown; one whose description is large is not.
pub const MAX_COMPLETED_EXECUTORS: usize = 32;

/// A task that is over and acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub struct Completed {
    /// What was launched.
    pub spec: TaskSpec,
    /// Its container, unless the launch was refused.
    pub container: Option<ContainerId>,
    /// The container around its own, if it was of a pod.
    pub parent: Option<ContainerId>,
    /// Its last state.
    pub state: TaskState,
    /// Its last status.
    pub status: Option<TaskStatus>,
}

/// How often what happened since this process started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Tasks by their last state.
    pub ended: BTreeMap<TaskState, u64>,
    /// Executors that have ended: those of frameworks, and one for each command task.
    pub executors: u64,
    /// Statuses taken into a stream.
    pub updates: u64,
    /// Statuses for which there was no room, or that came after the last one.
    pub refused_updates: u64,
    /// Containers that could not be launched.
    pub launch_errors: u64,
    /// Containers that were ended because what was lent to them was wanted back.
    pub preempted: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// Oldest first.
    completed: VecDeque<Completed>,
    bytes: usize,
    /// Executors that have ended, oldest first.
    executors: VecDeque<(FrameworkExecutor, ContainerId)>,
    pub(crate) counters: Counters,
}

impl History {
    pub(crate) fn completed(&self) -> impl Iterator<Item = &Completed> {
        self.completed.iter()
    }

    pub(crate) fn remember(&mut self, task: Completed) {
        self.bytes += spec_bytes(&task.spec);
        self.completed.push_back(task);
        while self.completed.len() > MAX_COMPLETED || self.bytes > MAX_COMPLETED_BYTES {
            let Some(oldest) = self.completed.pop_front() else {
                break;
            };
            self.bytes -= spec_bytes(&oldest.spec);
        }
    }

    pub(crate) fn executors(&self) -> impl Iterator<Item = &(FrameworkExecutor, ContainerId)> {
        self.executors.iter()
    }

    pub(crate) fn remember_executor(
        &mut self,
        executor: FrameworkExecutor,
        container: ContainerId,
    ) {
        self.counters.executors += 1;
        if executor_bytes(&executor) > MAX_COMPLETED_BYTES / MAX_COMPLETED_EXECUTORS {
            return;
        }
        if self.executors.len() >= MAX_COMPLETED_EXECUTORS {
            self.executors.pop_front();
        }
        self.executors.push_back((executor, container));
    }

    /// `has_own_executor`: it is a command task's.
    pub(crate) fn count(&mut self, state: TaskState, was_taken: bool, has_own_executor: bool) {
        if !was_taken {
            self.counters.refused_updates += 1;
            return;
        }
        self.counters.updates += 1;
        if state.is_terminal() {
            *self.counters.ended.entry(state).or_default() += 1;
            self.counters.executors += u64::from(has_own_executor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(number: usize, info: usize) -> Completed {
        let mut spec = crate::tests::spec(&format!("t{number}"), 1);
        spec.info = vec![0; info];
        Completed {
            spec,
            container: None,
            parent: None,
            state: TaskState::Finished,
            status: None,
        }
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_they_are_too_large() {
        let mut history = History::default();
        for number in 0..MAX_COMPLETED + 5 {
            history.remember(completed(number, 0));
        }
        assert_eq!(history.completed().count(), MAX_COMPLETED);
        let first = history.completed().next().expect("one");
        assert_eq!(first.spec.key, crate::tests::key("t5"));
        for number in 0..10 {
            history.remember(completed(1000 + number, 100 * 1024));
            assert!(history.bytes <= MAX_COMPLETED_BYTES);
        }
        let last = history.completed().last().expect("one");
        assert_eq!(last.spec.key, crate::tests::key("t1009"));
        history.remember(completed(1, MAX_COMPLETED_BYTES));
        assert_eq!((history.completed().count(), history.bytes), (0, 0));
    }
}
