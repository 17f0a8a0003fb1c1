//! How executors end: told to, given up, or by themselves; and what that means for their tasks.
//!
//! Called by `agent`, `container` and `kill`. Invariants: everything that ends an executor goes through `end_executor`; its
//! tasks are ended before the master hears of it.

use nesos_base::time::{Duration, Instant};
use nesos_wire::executor::Outcome;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::task::{Reason, TaskState};
use nesos_wire::{ContainerId, ExecutorKey, FrameworkId, TaskKey};

use super::launch::NO_STATUS;
use super::{
    EXECUTOR_WISHES, Executor, ExecutorEvent, ExecutorPhase, HEARTBEAT, holder_key, key_of,
};
use crate::agent::Agent;
use crate::checkpoint::Record;
use crate::event::{Action, ContainerEvent, Finish, Level};
use crate::kill::INSIST;
use crate::task::{Draft, Phase, Task, limitation_draft, outcome_text};
use crate::timed::Due;

impl Agent {
    /// Asks it to end its tasks and itself.
    pub(crate) fn shutdown_executor(&mut self, key: &ExecutorKey) {
        let Some(executor) = self
            .executors
            .get(key)
            .filter(|executor| !executor.is_terminating())
        else {
            return;
        };
        let destroy_at = self.moment.now + self.shutdown_grace(&executor.spec);
        let is_custom = executor.is_custom();
        self.note(Level::Info, format!("shutting down executor {key}"));
        self.terminate(key, destroy_at);
        self.out
            .persist
            .push(Record::ExecutorShutdown { key: key.clone() });
        if is_custom {
            return self.say_to(key, ExecutorEvent::Shutdown);
        }
        for task in self.keys_of(key, |task| {
            task.phase.is_active() && task.kill_grace_ms.is_none()
        }) {
            self.kill_contained(&task, None);
        }
        self.settle_pod(key);
    }

    pub(crate) fn shutdown_executors_of(&mut self, framework: &FrameworkId) {
        let keys: Vec<ExecutorKey> = self
            .executors
            .keys()
            .filter(|key| key.framework == *framework)
            .cloned()
            .collect();
        keys.iter().for_each(|key| self.shutdown_executor(key));
    }

    pub(crate) fn shutdown_all_executors(&mut self) -> Duration {
        let keys: Vec<ExecutorKey> = self.executors.keys().cloned().collect();
        let graces = self
            .executors
            .values()
            .map(|executor| self.shutdown_grace(&executor.spec));
        let longest = graces.max().unwrap_or_default();
        keys.iter().for_each(|key| self.shutdown_executor(key));
        longest
    }

    fn terminate(&mut self, key: &ExecutorKey, destroy_at: Instant) {
        if let Some(executor) = self.executors.get_mut(key) {
            executor.phase = ExecutorPhase::Terminating { destroy_at };
        }
    }

    /// What became of a custom executor's container.
    pub(crate) fn holder_event(&mut self, container: &ContainerId, event: ContainerEvent) {
        let Some(key) = self.executor_containers.get(container).cloned() else {
            return;
        };
        match event {
            // What its tasks' statuses say of networks is the executor's to tell.
            ContainerEvent::Networked { .. } => {}
            ContainerEvent::Started | ContainerEvent::Running => self.holder_started(&key),
            ContainerEvent::LaunchFailed { message } => {
                self.history.counters.launch_errors += 1;
                let draft = Draft::agent(TaskState::Failed, Reason::ContainerLaunchFailed, message);
                self.end_executor(&key, draft, NO_STATUS);
            }
            ContainerEvent::Finished(finish) => {
                let draft = draft_finish(&finish);
                let status = match finish.record.outcome {
                    Outcome::Exit(code) => i32::from(code) << 8,
                    Outcome::Signal(signal) => i32::from(signal),
                    Outcome::NotStarted(_) => NO_STATUS,
                };
                self.end_executor(&key, draft, status);
            }
            ContainerEvent::Vanished => {
                let has_rebooted = self
                    .executors
                    .get(&key)
                    .is_some_and(|executor| executor.has_rebooted);
                let draft = if has_rebooted {
                    Draft::agent(
                        TaskState::Gone,
                        Reason::AgentRestarted,
                        "The board restarted",
                    )
                } else {
                    let text = "The executor ended without an exit record";
                    Draft::agent(TaskState::Failed, Reason::ExecutorTerminated, text)
                };
                self.end_executor(&key, draft, NO_STATUS);
            }
        }
    }

    /// Its time to subscribe begins.
    fn holder_started(&mut self, key: &ExecutorKey) {
        let until = Some(self.moment.now + self.config.executors.registration);
        if let Some(executor) = self.executors.get_mut(key)
            && executor.phase == (ExecutorPhase::Registering { until: None })
        {
            executor.phase = ExecutorPhase::Registering { until };
        }
    }

    /// It is over: its tasks end with it.
    pub(crate) fn end_executor(&mut self, key: &ExecutorKey, draft: Draft, status: i32) {
        let tasks = self.keys_of(key, |task| {
            task.phase.is_active() && task.spec.kind == ExecutorKind::Custom
        });
        let Some(executor) = self.executors.remove(key) else {
            return;
        };
        self.held.drop_executor(&executor.spec);
        self.executor_containers.remove(&executor.container);
        let draft = executor.verdict.clone().unwrap_or(draft);
        self.note(
            Level::Info,
            format!("executor {key} has ended: {}", draft.message),
        );
        for task in tasks {
            if let Some(held) = self.tasks.get(&task) {
                let draft = told_to(held, draft.clone());
                self.finish(&task, draft);
            }
        }
        if let Some(stream) = executor.stream {
            self.out.actions.push(Action::CloseExecutor { stream });
        }
        self.bury(&executor, status);
    }

    /// The executor's record goes, and what its container has left.
    fn bury(&mut self, executor: &Executor, status: i32) {
        let (key, attempt) = (executor.spec.key.clone(), executor.spec.attempt);
        self.out.persist.push(Record::ExecutorEnded {
            key: key.clone(),
            attempt,
        });
        if executor.is_custom() {
            self.out.actions.push(Action::Release {
                container: executor.container.clone(),
                key: holder_key(&key),
            });
        }
        self.tell_ended(&key, attempt, status);
        self.history
            .remember_executor(executor.spec.clone(), executor.container.clone());
    }

    /// A default executor is over when it has no tasks, acknowledged ends included; one that was told to end does not wait
    /// for acknowledgements.
    pub(crate) fn settle_pod(&mut self, key: &ExecutorKey) {
        let Some(executor) = self
            .executors
            .get(key)
            .filter(|executor| !executor.is_custom())
        else {
            return;
        };
        let is_terminating = executor.is_terminating();
        if self
            .keys_of(key, |task| !is_terminating || task.phase.is_active())
            .is_empty()
        {
            let draft = Draft::agent(
                TaskState::Failed,
                Reason::ExecutorTerminated,
                "all of its tasks are over",
            );
            self.end_executor(key, draft, 0);
        }
    }

    /// What the end of one task means for others: a pod's group dies with a member that did not finish, and a custom
    /// executor has less from now on.
    pub(crate) fn after_end(&mut self, key: &TaskKey) {
        let Some(task) = self.tasks.get(key) else {
            return;
        };
        let (executor, group) = (key_of(&task.spec), task.ties.group);
        let takes_others = task.latest() != TaskState::Finished;
        let is_custom = task.spec.kind == ExecutorKind::Custom;
        let Some(executor) = executor else { return };
        if is_custom {
            return self.resize(&executor);
        }
        if takes_others && group.is_some() {
            self.kill_group(&executor, group);
        }
        self.settle_pod(&executor);
    }

    /// Kills whoever of the group is not being killed yet.
    pub(crate) fn kill_group(
        &mut self,
        executor: &ExecutorKey,
        group: Option<nesos_wire::Attempt>,
    ) {
        let member = |task: &Task| {
            task.ties.group == group && task.phase.is_active() && task.kill_grace_ms.is_none()
        };
        for task in self.keys_of(executor, member) {
            self.kill_contained(&task, None);
        }
    }

    /// A kill of a task that a custom executor has, or is to have.
    pub(crate) fn kill_given(&mut self, key: &TaskKey, grace_ms: Option<u32>) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let Some(executor) = key_of(&task.spec) else {
            return;
        };
        match task.phase {
            Phase::Launching => {
                let group = task.ties.group;
                let waits =
                    |task: &Task| task.phase == Phase::Launching && task.ties.group == group;
                let together = match group {
                    Some(_) => self.keys_of(&executor, waits),
                    None => vec![key.clone()],
                };
                for one in together {
                    let Some(task) = self.tasks.get(&one) else {
                        continue;
                    };
                    let draft = task.draft_killed_during_launch();
                    self.finish(&one, draft);
                }
                self.shut_down_if_pointless(&executor);
            }
            Phase::Running => {
                let recorded = grace_ms.unwrap_or(task.spec.kill_grace_ms);
                task.kill_grace_ms = Some(recorded);
                self.out.persist.push(Record::KillRequested {
                    key: key.clone(),
                    grace_ms: recorded,
                });
                let task = key.task.clone();
                self.say_to(&executor, ExecutorEvent::Kill { task, grace_ms });
            }
            _ => {}
        }
    }

    pub(crate) fn run_executor_timers(&mut self) {
        let now = self.moment.now;
        for key in self.executors.due(0, now) {
            self.executor_is_due(&key);
        }
    }

    fn executor_is_due(&mut self, key: &ExecutorKey) {
        let now = self.moment.now;
        let limit = self.config.executors;
        let Some(executor) = self.executors.get_mut(key) else {
            return;
        };
        let verdict = match executor.phase {
            ExecutorPhase::Registering { .. } => {
                let text = format!(
                    "Executor did not register within {} s",
                    limit.registration.as_secs()
                );
                Draft::agent(TaskState::Failed, Reason::ExecutorRegistrationTimeout, text)
            }
            ExecutorPhase::Returning { .. } => {
                let text = format!(
                    "Executor did not reregister within {} s",
                    limit.reregistration.as_secs()
                );
                Draft::agent(TaskState::Gone, Reason::ExecutorReregistrationTimeout, text)
            }
            ExecutorPhase::Running => {
                executor.heartbeat_at = now + HEARTBEAT;
                return self.say_to(key, ExecutorEvent::Heartbeat);
            }
            ExecutorPhase::Terminating { .. } => {
                let container = executor.container.clone();
                executor.phase = ExecutorPhase::Terminating {
                    destroy_at: now + INSIST,
                };
                return self.out.actions.push(Action::Destroy { container });
            }
        };
        let text = format!("executor {key} is ended: {}", verdict.message);
        let container = executor.container.clone();
        executor.verdict = Some(verdict);
        executor.phase = ExecutorPhase::Terminating {
            destroy_at: now + INSIST,
        };
        self.out
            .persist
            .push(Record::ExecutorShutdown { key: key.clone() });
        self.out.actions.push(Action::Destroy { container });
        self.note(Level::Warn, text);
    }
}

impl Due<EXECUTOR_WISHES> for Executor {
    fn due(&self) -> [Option<Instant>; EXECUTOR_WISHES] {
        if !self.is_custom() {
            return [None];
        }
        [match self.phase {
            ExecutorPhase::Registering { until } => until,
            ExecutorPhase::Returning { until } => Some(until),
            ExecutorPhase::Running => self.stream.map(|_| self.heartbeat_at),
            ExecutorPhase::Terminating { destroy_at } => Some(destroy_at),
        }]
    }
}

/// The draft as this task's framework knows it: GONE is LOST for one that is not partition-aware.
fn told_to(task: &Task, draft: Draft) -> Draft {
    let state = match draft.state {
        TaskState::Gone => task.lost_or(TaskState::Gone),
        state => state,
    };
    Draft { state, ..draft }
}

fn draft_finish(finish: &Finish) -> Draft {
    if let Some(limitation) = finish.limitation {
        return limitation_draft(limitation);
    }
    match &finish.record.outcome {
        Outcome::NotStarted(why) => Draft::agent(
            TaskState::Failed,
            Reason::ContainerLaunchFailed,
            why.clone(),
        ),
        outcome => {
            let text = outcome_text("Executor", outcome);
            Draft::agent(TaskState::Failed, Reason::ExecutorTerminated, text)
        }
    }
}
