//! KILL: from a framework or an operator to the task's agent.
//!
//! Called by `frameworks` and `Master::step`. Invariant: a wish to kill is kept with the task until the task has ended,
//! and sent again whenever its agent comes back, because links break.

use nesos_wire::message::MasterToAgent;
use nesos_wire::{AgentId, FrameworkId, TaskId, TaskKey};

use crate::call::ReconcileTask;
use crate::event::RequestId;
use crate::master::Master;
use crate::ready::Answer;
use crate::state::Kill;

impl Master {
    pub(crate) fn kill(
        &mut self,
        framework: &FrameworkId,
        task: TaskId,
        agent: Option<AgentId>,
        grace_ms: Option<u32>,
    ) {
        self.metrics.messages_kill_task += 1;
        let key = TaskKey {
            framework: framework.clone(),
            task,
        };
        if let (Some(known), Some(named)) = (self.task(&key), &agent)
            && known.agent != *named
        {
            return;
        }
        self.order_kill(&key, grace_ms);
        if self.task(&key).is_none() {
            // Not here (any more): the framework learns what is known.
            self.reconcile_task(
                framework,
                ReconcileTask {
                    task: key.task,
                    agent,
                },
            );
        }
    }

    pub(crate) fn operator_kill(
        &mut self,
        request: RequestId,
        key: &TaskKey,
        grace_ms: Option<u32>,
    ) {
        let answer = if self.order_kill(key, grace_ms) {
            Answer::Done
        } else {
            Answer::NotFound(format!("No running task found with ID {key}"))
        };
        self.answer(request, answer);
    }

    /// Says whether there is such a task, on a reachable agent or not.
    pub(crate) fn order_kill(&mut self, key: &TaskKey, grace_ms: Option<u32>) -> bool {
        let Some(framework) = self.frameworks.get_mut(&key.framework) else {
            return false;
        };
        let kill = Kill { grace_ms };
        if let Some(task) = framework.unreachable.get_mut(&key.task) {
            task.set_kill(kill);
            return true;
        }
        let Some(task) = framework.tasks.get_mut(&key.task) else {
            return false;
        };
        if !task.latest.is_terminal() {
            task.set_kill(kill);
            let agent = task.agent.clone();
            self.send_agent(
                &agent,
                MasterToAgent::Kill {
                    key: key.clone(),
                    grace_ms,
                },
            );
        }
        true
    }
}
