//! RECONCILE: what the master knows of a framework's tasks, as statuses without uuid.
//!
//! Called by `frameworks` and `kill`. Invariant: while an agent may still come back with the task, silence is the
//! answer; nothing is declared gone that may be running.

use nesos_wire::task::{Reason, Source, TaskState, TaskStatus};
use nesos_wire::{AgentId, FrameworkId, TaskKey};

use crate::call::ReconcileTask;
use crate::master::Master;
use crate::state::AgentCondition;
use crate::task::Task;

impl Master {
    pub(crate) fn reconcile(&mut self, framework: &FrameworkId, tasks: Vec<ReconcileTask>) {
        self.metrics.messages_reconcile_tasks += 1;
        if !tasks.is_empty() {
            for task in tasks {
                self.reconcile_task(framework, task);
            }
            return;
        }
        let Some(known) = self.frameworks.get(framework) else {
            return;
        };
        let statuses: Vec<(TaskKey, TaskStatus)> = known
            .tasks
            .values()
            .map(|task| (task.spec.key.clone(), self.latest_status(task)))
            .collect();
        for (key, status) in statuses {
            self.forward(key, status);
        }
    }

    /// One task of an explicit reconciliation.
    pub(crate) fn reconcile_task(&mut self, framework: &FrameworkId, asked: ReconcileTask) {
        let key = TaskKey {
            framework: framework.clone(),
            task: asked.task.clone(),
        };
        // Beyond Mesos: a task in the history is answered with its end, so that an end nobody heard of is not lost.
        let status = match self.find_task(&key) {
            Some(task) => Some(self.latest_status(task)),
            None => self.status_of_unknown(framework, &asked),
        };
        if let Some(status) = status {
            self.forward(key, status);
        }
    }

    fn latest_status(&self, task: &Task) -> TaskStatus {
        let mut status = self.master_status(
            task,
            task.state,
            Reason::Reconciliation,
            "Reconciliation: Latest task state".into(),
        );
        // UNREACHABLE, or LOST to frameworks that know no better.
        status.unreachable_time = task
            .statuses()
            .last()
            .and_then(|last| last.unreachable_time);
        status
    }

    /// `None`: say nothing yet.
    fn status_of_unknown(
        &self,
        framework: &FrameworkId,
        asked: &ReconcileTask,
    ) -> Option<TaskStatus> {
        let is_gone = |id: &AgentId| self.registry.is_gone(id);
        let is_recovered = |condition| matches!(condition, AgentCondition::Recovered);
        let (state, message, unreachable_time) =
            match asked.agent.as_ref().map(|id| self.agents.get(id)) {
                Some(Some(agent)) => match agent.condition {
                    AgentCondition::Recovered => return None,
                    AgentCondition::Unreachable(since) => (
                        TaskState::Unreachable,
                        "Reconciliation: Task is unreachable",
                        Some(since),
                    ),
                    AgentCondition::Connected(_) | AgentCondition::Disconnected => (
                        TaskState::Gone,
                        "Reconciliation: Task is unknown to the agent",
                        None,
                    ),
                },
                None if self
                    .agents
                    .values()
                    .any(|agent| is_recovered(agent.condition)) =>
                {
                    return None;
                }
                Some(None) if asked.agent.as_ref().is_some_and(is_gone) => (
                    TaskState::GoneByOperator,
                    "Reconciliation: Task is gone, as its agent is",
                    None,
                ),
                Some(None) | None => (TaskState::Unknown, "Reconciliation: Task is unknown", None),
            };
        let is_aware = self
            .frameworks
            .get(framework)
            .is_some_and(|f| f.facts.is_capable("PARTITION_AWARE"));
        Some(TaskStatus {
            state: if is_aware { state } else { TaskState::Lost },
            source: Source::Master,
            reason: Some(Reason::Reconciliation),
            message: message.to_owned(),
            timestamp: self.wall,
            uuid: None,
            agent: asked.agent.clone(),
            executor: None,
            container: None,
            healthy: None,
            check: None,
            data: Vec::new(),
            unreachable_time,
            extra: Vec::new(),
        })
    }
}
