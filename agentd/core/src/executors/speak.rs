//! The conversation with custom executors: SUBSCRIBE, updates, messages, and what they are handed.
//!
//! Called by `agent` and `kill`. Invariants: a status is acknowledged to its executor only behind its record; a task is
//! handed over at most once per stream, and not at all to an executor that may have had it before.

use nesos_wire::message::AgentToMaster;
use nesos_wire::task::{Reason, Source, TaskState, TaskStatus};
use nesos_wire::{Attempt, ExecutorKey, FrameworkId, TaskId, TaskKey, Uuid};

use super::{ExecutorCall, ExecutorEvent, ExecutorPhase, HEARTBEAT, key_of};
use crate::agent::Agent;
use crate::checkpoint::Record;
use crate::event::{Action, Level};
use crate::task::{Draft, Phase, Task};

impl Agent {
    pub(crate) fn executor_call(&mut self, key: &ExecutorKey, call: ExecutorCall) {
        match call {
            ExecutorCall::Subscribe {
                stream,
                tasks,
                updates,
            } => self.subscribe(key, stream, &tasks, updates),
            ExecutorCall::Update { task, status } => self.executor_update(key, task, *status),
            ExecutorCall::Message { data } => {
                if self.executors.contains_key(key) && self.link.is_connected() {
                    self.out.send.push(AgentToMaster::FrameworkMessage {
                        framework: key.framework.clone(),
                        executor: key.executor.clone(),
                        data,
                    });
                }
            }
            ExecutorCall::Lost { stream } => {
                if let Some(executor) = self
                    .executors
                    .get_mut(key)
                    .filter(|e| e.stream == Some(stream))
                {
                    executor.stream = None;
                    self.note(Level::Info, format!("executor {key} has left its stream"));
                }
            }
        }
    }

    /// From the scheduler. One that cannot be handed over is dropped, as in Mesos: messages are not reliable.
    pub(crate) fn message_to_executor(
        &mut self,
        framework: FrameworkId,
        executor: nesos_wire::ExecutorId,
        data: Vec<u8>,
    ) {
        let key = ExecutorKey {
            framework,
            executor,
        };
        let is_running = |phase| matches!(phase, ExecutorPhase::Running);
        match self
            .executors
            .get(&key)
            .filter(|e| is_running(e.phase))
            .and_then(|e| e.stream)
        {
            Some(stream) => self.say(stream, ExecutorEvent::Message { data }),
            None => self.note(
                Level::Warn,
                format!("a message for executor {key} is dropped: it does not listen"),
            ),
        }
    }

    pub(super) fn say(&mut self, stream: u64, event: ExecutorEvent) {
        self.out
            .actions
            .push(Action::TellExecutor { stream, event });
    }

    /// Says it if the executor listens.
    pub(super) fn say_to(&mut self, key: &ExecutorKey, event: ExecutorEvent) {
        if let Some(stream) = self.executors.get(key).and_then(|executor| executor.stream) {
            self.say(stream, event);
        }
    }

    fn subscribe(
        &mut self,
        key: &ExecutorKey,
        stream: u64,
        tasks: &[TaskId],
        updates: Vec<(TaskId, TaskStatus)>,
    ) {
        let heartbeat_at = self.moment.now + HEARTBEAT;
        let known = self
            .executors
            .get_mut(key)
            .filter(|executor| executor.is_custom());
        let Some(executor) = known.filter(|executor| !executor.is_terminating()) else {
            self.say(stream, ExecutorEvent::Shutdown);
            self.out.actions.push(Action::CloseExecutor { stream });
            return;
        };
        let before = executor.stream.replace(stream);
        let is_first = !std::mem::replace(&mut executor.has_subscribed, true);
        executor.phase = ExecutorPhase::Running;
        executor.heartbeat_at = heartbeat_at;
        let subscribed = ExecutorEvent::Subscribed {
            executor: Box::new(executor.spec.clone()),
            container: executor.container.clone(),
        };
        if let Some(stream) = before {
            self.out.actions.push(Action::CloseExecutor { stream });
        }
        if is_first {
            self.out
                .persist
                .push(Record::ExecutorSubscribed { key: key.clone() });
        }
        self.note(Level::Info, format!("executor {key} has subscribed"));
        self.say(stream, subscribed);
        for (task, status) in updates {
            self.executor_update(key, task, status);
        }
        self.drop_unknown_to(key, tasks);
        self.deliver(key);
        self.remind_of_kills(key);
        self.shut_down_if_pointless(key);
    }

    /// Tasks that were handed over, that it has said nothing of and does not know: they never arrived.
    fn drop_unknown_to(&mut self, key: &ExecutorKey, known: &[TaskId]) {
        let lost = self.keys_of(key, |task| {
            task.phase == Phase::Running
                && task.stream.newest().is_none()
                && !known.contains(&task.spec.key.task)
        });
        for task in lost {
            let Some(held) = self.tasks.get(&task) else {
                continue;
            };
            let state = held.lost_or(TaskState::Dropped);
            let text = "The task did not reach its executor";
            self.finish(&task, Draft::agent(state, Reason::AgentRestarted, text));
        }
    }

    /// Kills that it may have missed while it was away.
    fn remind_of_kills(&mut self, key: &ExecutorKey) {
        let killed = |task: &Task| task.phase == Phase::Running && task.kill_grace_ms.is_some();
        for task in self.keys_of(key, killed) {
            let grace_ms = self.tasks.get(&task).and_then(|task| task.kill_grace_ms);
            self.say_to(
                key,
                ExecutorEvent::Kill {
                    task: task.task,
                    grace_ms,
                },
            );
        }
    }

    /// One that never had a task and has none to come has nothing to live for (all were killed before it was there).
    pub(crate) fn shut_down_if_pointless(&mut self, key: &ExecutorKey) {
        let is_idle = self.keys_of(key, |task| task.phase.is_active()).is_empty();
        let never_given = self
            .executors
            .get(key)
            .is_some_and(|e| e.is_custom() && !e.was_given);
        if is_idle && never_given {
            self.shutdown_executor(key);
        }
    }

    fn executor_update(&mut self, key: &ExecutorKey, task: TaskId, status: TaskStatus) {
        let task_key = TaskKey {
            framework: key.framework.clone(),
            task,
        };
        let Some(uuid) = status.uuid else { return };
        let Some(held) = self
            .tasks
            .get(&task_key)
            .filter(|held| key_of(&held.spec).as_ref() == Some(key))
        else {
            self.note(
                Level::Warn,
                format!("executor {key} tells of task {task_key}, which it does not have"),
            );
            return self.acknowledge_to(key, task_key.task, uuid);
        };
        if held.stream.knows(uuid)
            || held.ties.seen.contains(&uuid)
            || held.latest().is_terminal()
            || held.is_silent
        {
            if held.is_silent && status.state.is_terminal() && held.phase.is_active() {
                self.end_silent(&task_key);
            }
            return self.acknowledge_to(key, task_key.task, uuid);
        }
        if !held.stream.has_room() && !status.state.is_terminal() {
            return self.note(
                Level::Warn,
                format!("task {task_key}: too many updates wait, one is refused"),
            );
        }
        let status = TaskStatus {
            source: Source::Executor,
            agent: self.id.clone(),
            executor: Some(key.executor.clone()),
            container: held.container.clone(),
            unreachable_time: None,
            ..status
        };
        if let Some(executor) = self.executors.get_mut(key) {
            executor.was_given = true;
        }
        if let Some(held) = self
            .tasks
            .get_mut(&task_key)
            .filter(|held| held.phase == Phase::Launching)
        {
            held.phase = Phase::Running;
        }
        if status.state.is_terminal() {
            self.end_task(&task_key, status);
        } else {
            self.push_status(&task_key, status);
        }
        self.acknowledge_to(key, task_key.task, uuid);
    }

    fn end_silent(&mut self, key: &TaskKey) {
        let text = "ended without a word";
        self.finish(key, Draft::executor(TaskState::Killed, text));
    }

    fn acknowledge_to(&mut self, key: &ExecutorKey, task: TaskId, uuid: Uuid) {
        self.say_to(key, ExecutorEvent::Acknowledged { task, uuid });
    }

    /// Hands the executor what waits for it, groups as a whole.
    pub(super) fn deliver(&mut self, key: &ExecutorKey) {
        let ready = |executor: &&mut super::Executor| {
            executor.phase == ExecutorPhase::Running && executor.is_custom()
        };
        let Some(executor) = self.executors.get_mut(key).filter(ready) else {
            return;
        };
        let Some(stream) = executor.stream else {
            return;
        };
        let waiting = self.keys_of(key, |task| task.phase == Phase::Launching);
        if waiting.is_empty() {
            return;
        }
        if let Some(executor) = self.executors.get_mut(key) {
            executor.was_given = true;
        }
        self.resize(key);
        let mut groups: Vec<(Attempt, Vec<TaskKey>)> = Vec::new();
        for task in waiting {
            let Some(held) = self.tasks.get_mut(&task) else {
                continue;
            };
            held.phase = Phase::Running;
            match held.ties.group {
                None => {
                    let task = Box::new(held.spec.clone());
                    self.say(stream, ExecutorEvent::Launch { task });
                }
                Some(group) => match groups.iter_mut().find(|(other, _)| *other == group) {
                    Some((_, members)) => members.push(task),
                    None => groups.push((group, vec![task])),
                },
            }
        }
        for (_, members) in groups {
            let specs = members
                .iter()
                .filter_map(|member| Some(self.tasks.get(member)?.spec.clone()));
            let tasks = specs.collect();
            self.say(stream, ExecutorEvent::LaunchGroup { tasks });
        }
    }
}
