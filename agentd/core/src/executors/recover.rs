//! Executors across a restart of the agent: replayed, adopted, waited for, written down again.
//!
//! Called by `recovery`. Invariant: a task that its executor may have is never handed over again.

use nesos_base::time::Duration;
use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};
use nesos_wire::task::{Reason, TaskState};
use nesos_wire::{Attempt, ContainerId, ExecutorKey, TaskKey};

use super::{Executor, ExecutorPhase, Ties, key_of};
use crate::agent::Agent;
use crate::checkpoint::Record;
use crate::event::Action;
use crate::lending::record_of;
use crate::task::{Draft, Phase, Task};

impl Agent {
    /// The records that only executors and their tasks have.
    pub(crate) fn replay_of_executor(&mut self, record: Record) {
        match record {
            Record::Given {
                spec,
                container,
                parent,
                group,
            } => {
                let ties = Ties {
                    group,
                    parent,
                    ..Ties::default()
                };
                let task = Task::new(*spec, Some(container));
                self.replay_task(Task { ties, ..task });
            }
            Record::Seen { key, uuids } => {
                if let Some(task) = self.tasks.get_mut(&key) {
                    uuids.into_iter().for_each(|uuid| task.ties.saw(uuid));
                }
            }
            Record::ExecutorLaunched {
                executor,
                container,
            } => self.replay_executor(*executor, container),
            Record::ExecutorSubscribed { key } => self.replay_subscribed(&key),
            Record::ExecutorShutdown { key } => self.replay_shutdown(&key),
            Record::ExecutorEnded { key, attempt } => self.replay_executor_end(&key, attempt),
            _ => {}
        }
    }

    fn replay_executor(&mut self, spec: FrameworkExecutor, container: ContainerId) {
        let key = spec.key.clone();
        self.replay_executor_end(&key, spec.attempt);
        if spec.kind == ExecutorKind::Custom {
            self.executor_containers
                .insert(container.clone(), key.clone());
        }
        self.executors.insert(key, Executor::new(spec, container));
    }

    fn replay_subscribed(&mut self, key: &ExecutorKey) {
        if let Some(executor) = self.executors.get_mut(key) {
            executor.has_subscribed = true;
            executor.was_given = true;
        }
    }

    fn replay_shutdown(&mut self, key: &ExecutorKey) {
        let destroy_at = self.moment.now;
        if let Some(executor) = self.executors.get_mut(key) {
            executor.phase = ExecutorPhase::Terminating { destroy_at };
        }
    }

    fn replay_executor_end(&mut self, key: &ExecutorKey, attempt: Attempt) {
        if self
            .executors
            .get(key)
            .is_some_and(|known| known.spec.attempt <= attempt)
            && let Some(executor) = self.executors.remove(key)
        {
            self.executor_containers.remove(&executor.container);
        }
    }

    /// Before tasks are adopted: what is there of a custom executor is found again, and its tasks wait for it.
    pub(crate) fn adopt_executors(&mut self, has_rebooted: bool) {
        let now = self.moment.now;
        let times = self.config.executors;
        let keys: Vec<ExecutorKey> = self.executors.keys().cloned().collect();
        for key in keys {
            let Some(executor) = self.executors.get(&key) else {
                continue;
            };
            let grace = self.shutdown_grace(&executor.spec);
            let Some(executor) = self.executors.get_mut(&key) else {
                continue;
            };
            executor.has_rebooted = has_rebooted;
            executor.phase = match executor.phase {
                ExecutorPhase::Terminating { .. } => ExecutorPhase::Terminating {
                    destroy_at: now
                        + if executor.verdict.is_some() {
                            Duration::from_secs(0)
                        } else {
                            grace
                        },
                },
                _ if !executor.is_custom() => ExecutorPhase::Running,
                _ if executor.has_subscribed => ExecutorPhase::Returning {
                    until: now + times.reregistration,
                },
                _ => ExecutorPhase::Registering {
                    until: Some(now + times.registration),
                },
            };
            if executor.is_custom() {
                let container = executor.container.clone();
                self.out.actions.push(Action::Adopt {
                    container,
                    rebooted: has_rebooted,
                });
            }
        }
    }

    /// After tasks are adopted: those without their executor (its record was damaged) end, pods without tasks too; and
    /// containers get what is theirs now, which the last agent may not have come to after it had written down why.
    pub(crate) fn settle_executors(&mut self) {
        let is_orphan = |agent: &Self, key: &TaskKey| {
            agent.tasks.get(key).is_some_and(|task| {
                let executor = key_of(&task.spec).and_then(|key| agent.executors.get(&key));
                let is_held = executor
                    .is_some_and(|executor| Some(&executor.container) == task.container.as_ref());
                task.spec.kind == ExecutorKind::Custom && task.phase.is_active() && !is_held
            })
        };
        let orphans: Vec<TaskKey> = self
            .tasks
            .keys()
            .filter(|key| is_orphan(self, key))
            .cloned()
            .collect();
        for key in orphans {
            let text = "The record of the task's executor is damaged";
            self.finish(
                &key,
                Draft::agent(TaskState::Failed, Reason::ExecutorTerminated, text),
            );
        }
        let keys: Vec<ExecutorKey> = self.executors.keys().cloned().collect();
        for key in keys {
            self.settle_pod(&key);
            self.resize(&key);
        }
    }

    /// The phase in which a custom executor's task is found again.
    pub(crate) fn phase_of_given(&self, key: &TaskKey) -> Phase {
        let Some(task) = self.tasks.get(key) else {
            return Phase::Ended;
        };
        let executor = key_of(&task.spec).and_then(|key| self.executors.get(&key));
        match executor {
            _ if task.latest().is_terminal() => Phase::Ended,
            Some(executor) if !executor.has_subscribed => Phase::Launching,
            _ => Phase::Running,
        }
    }

    pub(crate) fn snapshot_executors(&self, records: &mut Vec<Record>) {
        for (key, executor) in self.executors.iter() {
            records.push(Record::ExecutorLaunched {
                executor: Box::new(executor.spec.clone()),
                container: executor.container.clone(),
            });
            if executor.has_subscribed {
                records.push(Record::ExecutorSubscribed { key: key.clone() });
            }
            if executor.is_terminating() {
                records.push(Record::ExecutorShutdown { key: key.clone() });
            }
            let verdict = executor.verdict.as_ref();
            records.extend(record_of(&executor.container, verdict));
        }
    }
}
