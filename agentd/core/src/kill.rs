//! Killing: one task, a framework's tasks, all tasks.
//!
//! Called by `agent`. Idempotent; a repeated kill can only shorten the grace period (the helper sees to that).

use nesos_base::time::Duration;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::message::{AgentToMaster, TaskUpdate};
use nesos_wire::task::{Reason, TaskState};
use nesos_wire::{FrameworkId, TaskKey};

use crate::agent::Agent;
use crate::checkpoint::Record;
use crate::event::{Action, Level, SHUTDOWN_LIMIT};
use crate::executors::key_of;
use crate::task::{DESTROYED, Draft, Phase};

/// How long after the grace period the helper may take to report before everything is killed without it.
const HELPER_LATE: Duration = Duration::from_secs(5);
/// How long a launch may take to be given up before it is told again; also between repetitions.
pub(crate) const INSIST: Duration = Duration::from_secs(10);

impl Agent {
    pub(crate) fn kill(&mut self, key: &TaskKey, grace_ms: Option<u32>) {
        let Some(task) = self.tasks.get(key) else {
            return self.kill_unknown(key);
        };
        let (executor, group) = (key_of(&task.spec), task.ties.group);
        match (task.spec.kind, executor) {
            (ExecutorKind::Custom, _) => self.kill_given(key, grace_ms),
            (ExecutorKind::Default, Some(executor)) if task.phase.is_active() => {
                self.kill_contained(key, grace_ms);
                self.kill_group(&executor, group);
            }
            _ => self.kill_contained(key, grace_ms),
        }
    }

    /// Ends a task that has a container of its own.
    pub(crate) fn kill_contained(&mut self, key: &TaskKey, grace_ms: Option<u32>) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let Some(container) = task.container.clone() else {
            return;
        };
        let grace_ms = grace_ms.unwrap_or(task.spec.kill_grace_ms);
        let kill_by = self.moment.now + Duration::from_millis(u64::from(grace_ms)) + HELPER_LATE;
        match task.phase {
            Phase::Ended | Phase::Aborting { .. } => return,
            Phase::Launching => {
                task.phase = Phase::Aborting {
                    destroy_at: self.moment.now + INSIST,
                };
                self.out.actions.push(Action::Destroy { container });
            }
            Phase::Starting | Phase::Running => {
                task.phase = Phase::Killing {
                    destroy_at: kill_by,
                };
                self.out.actions.push(Action::Kill {
                    container,
                    grace_ms,
                });
            }
            Phase::Killing { destroy_at } => {
                task.phase = Phase::Killing {
                    destroy_at: destroy_at.min(kill_by),
                };
                self.out.actions.push(Action::Kill {
                    container,
                    grace_ms,
                });
            }
        }
        let is_first = task.kill_grace_ms.replace(grace_ms).is_none();
        let tells_killing =
            is_first && task.spec.task_killing && matches!(task.phase, Phase::Killing { .. });
        if task.is_stored {
            self.out.persist.push(Record::KillRequested {
                key: key.clone(),
                grace_ms,
            });
        }
        if tells_killing {
            self.update(key, Draft::executor(TaskState::Killing, ""));
        }
    }

    pub(crate) fn shutdown_framework(&mut self, framework: &FrameworkId) {
        let keys: Vec<TaskKey> = self
            .tasks
            .keys()
            .filter(|key| key.framework == *framework)
            .cloned()
            .collect();
        self.note(
            Level::Info,
            format!(
                "framework {framework} is gone, with {} tasks here",
                keys.len()
            ),
        );
        for key in keys {
            match self.tasks.get_mut(&key) {
                // Its executor is told to end, and everything with it.
                Some(task) if task.spec.kind == ExecutorKind::Custom && task.phase.is_active() => {
                    task.is_silent = true;
                }
                _ => self.silence(&key),
            }
        }
        self.shutdown_executors_of(framework);
    }

    /// Kills the task without a word to anybody.
    pub(crate) fn silence(&mut self, key: &TaskKey) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        task.is_silent = true;
        if task.phase.is_active() {
            self.kill(key, None);
        } else {
            self.forget(key);
        }
    }

    pub(crate) fn begin_shutdown(&mut self) {
        let keys: Vec<TaskKey> = self
            .tasks
            .iter()
            // A custom executor ends its own.
            .filter(|(_, task)| task.phase.is_active() && task.spec.kind != ExecutorKind::Custom)
            .map(|(key, _)| key.clone())
            .collect();
        let grace_ms = keys
            .iter()
            .filter_map(|key| Some(self.tasks.get(key)?.spec.kill_grace_ms))
            .max()
            .unwrap_or(0);
        let executors = self.shutdown_all_executors();
        let limit = executors.max(Duration::from_millis(u64::from(grace_ms))) + SHUTDOWN_LIMIT;
        self.note(
            Level::Info,
            format!("shutting down: killing {} tasks", keys.len()),
        );
        self.shutdown_at.get_or_insert(self.moment.now + limit);
        for key in keys {
            self.kill(&key, None);
        }
    }

    /// Says goodbye when all tasks have ended or the limit is over.
    pub(crate) fn run_shutdown(&mut self) {
        let Some(limit) = self.shutdown_at else {
            return;
        };
        let is_empty = self.containers.is_empty() && self.executors.is_empty();
        if !is_empty && self.moment.now < limit {
            return;
        }
        self.shutdown_at = None;
        let keys: Vec<TaskKey> = self.tasks.keys().cloned().collect();
        for key in keys {
            self.send_last_status(&key);
            self.forget(&key);
        }
        if self.link.is_connected() {
            self.out.send.push(AgentToMaster::Goodbye);
        }
        self.link.close();
        self.out.actions.push(Action::Stop);
    }

    /// Containers that outlive their kill are destroyed, again and again.
    pub(crate) fn insist_on_kills(&mut self) {
        let now = self.moment.now;
        for key in self.tasks.due(DESTROYED, now) {
            let Some(task) = self.tasks.get_mut(&key) else {
                continue;
            };
            let destroy_at = now + INSIST;
            task.phase = match task.phase {
                Phase::Aborting { .. } => Phase::Aborting { destroy_at },
                _ => Phase::Killing { destroy_at },
            };
            let container = task.container.clone();
            let destroy = container.map(|container| Action::Destroy { container });
            self.out.actions.extend(destroy);
        }
    }

    fn kill_unknown(&mut self, key: &TaskKey) {
        if self.finished.iter().any(|(finished, _)| finished == key) {
            return;
        }
        // Nothing here says what the framework can do, unless another of its tasks does.
        let kin = self
            .tasks
            .values()
            .find(|task| task.spec.key.framework == key.framework);
        let state = kin.map_or(TaskState::Lost, |task| task.lost_or(TaskState::Gone));
        let text = "Cannot find the task on this agent";
        self.send_once(key, Draft::agent(state, Reason::ExecutorTerminated, text));
    }

    fn send_last_status(&mut self, key: &TaskKey) {
        let Some(task) = self
            .tasks
            .get(key)
            .filter(|task| !task.is_silent && self.link.is_live())
        else {
            return;
        };
        if task.is_stored && self.is_store_resting() {
            // What is not on disk must not have been said: the next process would end the task once more.
            return;
        }
        let Some(status) = task
            .stream
            .newest()
            .filter(|status| status.state.is_terminal())
        else {
            return;
        };
        let update = TaskUpdate {
            key: key.clone(),
            status: status.clone(),
            latest: status.state,
        };
        self.out.send.push(AgentToMaster::Update(update));
    }
}
