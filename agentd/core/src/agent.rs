//! The agent: one owner of all state, stepped by events.
//!
//! Here: dispatch, statuses, timers, and the hand-over in [`Agent::ready`]. The conversation with the master, launching,
//! killing, container events, storing and recovery are in their own modules. Called by the shell and the simulator.

use std::collections::{BTreeMap, VecDeque};

use nesos_base::time::Instant;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::message::{AgentToMaster, TaskUpdate};
use nesos_wire::resource::Resources;
use nesos_wire::task::{TaskSpec, TaskState, TaskStatus};
use nesos_wire::{AgentId, Attempt, ContainerId, ExecutorKey, TaskKey, Uuid};

use crate::checkpoint::Record;
use crate::event::{Action, Config, Event, Level, Moment, Note, Ready};
use crate::executors::{EXECUTOR_WISHES, Executor, key_of};
use crate::held::Held;
use crate::history::{Completed, Counters, History};
use crate::lending::Lending;
use crate::link::{Link, LinkView};
use crate::operations::Operations;
use crate::probing;
use crate::rng::Rng;
use crate::stream::Stream;
use crate::task::{DESTROYED, Draft, LOOKED_AT, Phase, STORED_SENT, Task, UNSTORED_SENT, WISHES};
use crate::timed::Timed;

/// The state machine. See the crate header for how to drive it.
#[derive(Debug, Clone)]
pub struct Agent {
    pub(crate) config: Config,
    pub(crate) id: Option<AgentId>,
    pub(crate) link: Link,
    pub(crate) tasks: Timed<TaskKey, Task, WISHES>,
    pub(crate) operations: Operations,
    /// What tasks and executors hold together.
    pub(crate) held: Held,
    /// Containers of tasks that exist, by id: their tasks are active.
    pub(crate) containers: BTreeMap<ContainerId, TaskKey>,
    /// What frameworks have brought, live.
    pub(crate) executors: Timed<ExecutorKey, Executor, EXECUTOR_WISHES>,
    /// Containers of custom executors.
    pub(crate) executor_containers: BTreeMap<ContainerId, ExecutorKey>,
    /// The newest ended tasks, oldest first.
    pub(crate) finished: VecDeque<(TaskKey, Attempt)>,
    pub(crate) rng: Rng,
    pub(crate) moment: Moment,
    pub(crate) out: Ready,
    /// The disk refused the last write; records rest in `out.persist` until then.
    pub(crate) store_blocked: Option<Blocked>,
    /// A shutdown was asked for and gives up waiting then.
    pub(crate) shutdown_at: Option<Instant>,
    /// More is in use than the agent has: it came back with smaller resources.
    pub(crate) is_overcommitted: bool,
    pub(crate) lending: Lending,
    pub(crate) history: History,
}

#[derive(Debug, Clone)]
pub(crate) struct Blocked {
    pub(crate) retry_at: Instant,
    pub(crate) reason: String,
}

/// A task as displays see it.
#[derive(Debug, Clone, Copy)]
pub struct TaskView<'a> {
    /// What was launched.
    pub spec: &'a TaskSpec,
    /// Where it is in its life.
    pub phase: Phase,
    /// Newest state.
    pub latest: TaskState,
    /// Its container, unless the launch was refused; of a custom executor's task the executor's.
    pub container: Option<&'a ContainerId>,
    /// The container around its own, if it is of a pod.
    pub parent: Option<&'a ContainerId>,
    /// Its newest status.
    pub status: Option<&'a TaskStatus>,
    /// The newest status that its framework has acknowledged.
    pub acknowledged: Option<&'a TaskStatus>,
    stream: &'a Stream,
}

impl<'a> TaskView<'a> {
    /// What is known of its statuses, oldest first: the newest acknowledged one, then those that wait.
    pub fn statuses(&self) -> impl Iterator<Item = &'a TaskStatus> + use<'a> {
        self.acknowledged.into_iter().chain(self.stream.pending())
    }
}

impl Agent {
    /// Changes memory only; call [`Agent::ready`] afterwards.
    pub fn step(&mut self, event: Event, moment: Moment) {
        self.moment = moment;
        match event {
            Event::Tick => {}
            Event::LinkUp { link } => self.link_up(link),
            Event::LinkDown { link, error } => self.link_down(link, &error),
            Event::Message { link, message } if self.link.is_current(link) => {
                self.link.heard(moment.now);
                self.message(message);
            }
            Event::Message { .. } => {}
            Event::Container { container, event } => self.container_event(&container, event),
            Event::Probed {
                container,
                kind,
                result,
            } => self.probed(&container, kind, result),
            Event::Executor { key, call } => self.executor_call(&key, call),
            Event::FileRead {
                link,
                request,
                result,
            } => {
                if self.link.is_current(link) && self.link.is_connected() {
                    self.out
                        .send
                        .push(AgentToMaster::FileData { request, result });
                }
            }
            Event::Measured { rules, sample } => self.measured(rules, &sample),
            Event::NotStored { ready, reason } => self.not_stored(*ready, reason),
            Event::Shutdown => self.begin_shutdown(),
        }
        self.run_timers();
    }

    /// Hands out what there is to do. Persist first; see [`Ready`].
    pub fn ready(&mut self) -> Ready {
        let mut ready = std::mem::take(&mut self.out);
        if self.is_store_resting() {
            self.out.persist = std::mem::take(&mut ready.persist);
            self.out.actions = take_waiting(&mut ready.actions);
        } else {
            self.store_blocked = None;
        }
        ready.deadline = self.deadline();
        ready
    }

    /// The agent's id, once a master has given it one.
    pub fn id(&self) -> Option<&AgentId> {
        self.id.as_ref()
    }

    /// Where the link to the master is.
    pub fn link(&self) -> LinkView {
        self.link.view()
    }

    /// What the agent was configured with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// All tasks the agent holds, ended but unacknowledged ones included.
    pub fn tasks(&self) -> impl Iterator<Item = TaskView<'_>> {
        self.tasks.values().map(|task| TaskView {
            spec: &task.spec,
            phase: task.phase,
            latest: task.latest(),
            container: task.container.as_ref(),
            parent: task.ties.parent.as_ref(),
            status: task.stream.newest(),
            acknowledged: task.stream.acknowledged(),
            stream: &task.stream,
        })
    }

    /// The newest tasks that are over and acknowledged, oldest first.
    pub fn completed(&self) -> impl Iterator<Item = &Completed> {
        self.history.completed()
    }

    /// How often what happened.
    pub fn counters(&self) -> &Counters {
        &self.history.counters
    }

    /// What is in use.
    pub fn used(&self) -> Resources {
        self.held.resources.clone()
    }

    /// What new tasks may get. Any number of tasks may have what is shared.
    pub(crate) fn free(&self) -> Resources {
        let mut free = self.total();
        free.subtract(&exclusive(&self.used()));
        free
    }

    pub(crate) fn note(&mut self, level: Level, text: String) {
        self.out.notes.push(Note { level, text });
    }

    /// Appends a status to the task's stream and its record to what must become durable.
    pub(crate) fn update(&mut self, key: &TaskKey, draft: Draft) {
        let uuid = self.rng.uuid();
        let status = self.status(key, draft, Some(uuid));
        self.push_status(key, status);
    }

    pub(crate) fn push_status(&mut self, key: &TaskKey, status: TaskStatus) {
        let Some(task) = self.tasks.get_mut(key).filter(|task| !task.is_silent) else {
            return;
        };
        let was_taken = task.stream.push(status.clone());
        let is_command = task.spec.kind == ExecutorKind::Command;
        self.history.count(status.state, was_taken, is_command);
        if was_taken && task.is_stored {
            self.out.persist.push(Record::Updated {
                key: key.clone(),
                status: Box::new(status),
            });
        }
    }

    pub(crate) fn status(&self, key: &TaskKey, draft: Draft, uuid: Option<Uuid>) -> TaskStatus {
        let task = self.tasks.get(key);
        let (healthy, check) = probing::of_new_status(task, draft.state);
        TaskStatus {
            state: draft.state,
            source: draft.source,
            reason: draft.reason,
            message: draft.message,
            timestamp: self.moment.unix,
            uuid,
            agent: self.id.clone(),
            executor: task.map(|task| task.spec.executor.clone()),
            container: task.and_then(Task::shown_container),
            healthy,
            check,
            data: Vec::new(),
            unreachable_time: None,
            extra: task.map(|task| task.extra.clone()).unwrap_or_default(),
        }
    }

    /// The task's last status, and the end of its container.
    pub(crate) fn finish(&mut self, key: &TaskKey, draft: Draft) {
        let uuid = self.rng.uuid();
        let status = self.status(key, draft, Some(uuid));
        self.end_task(key, status);
    }

    /// The same with a whole status.
    pub(crate) fn end_task(&mut self, key: &TaskKey, status: TaskStatus) {
        let Some(task) = self.tasks.get(key) else {
            return;
        };
        let text = format!("task {key} is {:?}: {}", status.state, status.message);
        let is_silent = task.is_silent;
        if let Some(container) = &task.container {
            self.containers.remove(container);
        }
        self.push_status(key, status);
        if let Some(task) = self.tasks.get_mut(key)
            && task.phase.is_active()
        {
            task.phase = Phase::Ended;
            self.held.end(&task.spec);
        }
        self.note(Level::Info, text);
        self.after_end(key);
        if is_silent {
            self.forget(key);
        }
    }

    /// Drops the task's record and remembers that this attempt is over.
    pub(crate) fn forget(&mut self, key: &TaskKey) {
        let Some(attempt) = self.drop_task(key) else {
            return;
        };
        self.out.persist.push(Record::Forgotten {
            key: key.clone(),
            attempt,
        });
    }

    pub(crate) fn drop_task(&mut self, key: &TaskKey) -> Option<Attempt> {
        let task = self.tasks.remove(key)?;
        self.held.drop(&task.spec, !task.phase.is_active());
        let attempt = task.spec.attempt;
        let executor = key_of(&task.spec);
        // A custom executor's task has nothing of its own.
        let own = |_: &ContainerId| task.spec.kind != ExecutorKind::Custom;
        if let Some(container) = task.container.clone().filter(own) {
            self.containers.remove(&container);
            self.out.actions.push(Action::Release {
                container,
                key: key.clone(),
            });
        }
        self.history.remember(Completed {
            container: task.container,
            parent: task.ties.parent,
            state: task.stream.latest(),
            status: task.stream.newest().cloned(),
            spec: task.spec,
        });
        self.remember_finished(key.clone(), attempt);
        if let Some(executor) = executor {
            self.settle_pod(&executor);
        }
        Some(attempt)
    }

    pub(crate) fn remember_finished(&mut self, key: TaskKey, attempt: Attempt) {
        self.finished.retain(|(other, _)| *other != key);
        if self.finished.len() >= crate::MAX_FINISHED {
            self.finished.pop_front();
        }
        self.finished.push_back((key, attempt));
    }

    fn run_timers(&mut self) {
        let now = self.moment.now;
        self.insist_on_kills();
        self.run_executor_timers();
        self.run_shutdown();
        self.run_probes();
        if self.link.is_overdue(now) {
            self.hang_up();
            let random = self.rng.next_u32();
            self.link.failed(now, random);
            self.lost_link("the master is silent, dialling again".into());
        }
        if let Some((link, leader)) = self.link.take_dial(now) {
            self.out.actions.push(Action::Dial { link, leader });
        }
        if self.link.is_live() {
            self.tell_lent();
            self.send_updates();
            self.send_operations();
        }
    }

    fn send_updates(&mut self) {
        for wish in self.sendable() {
            for key in self.tasks.due(*wish, self.moment.now) {
                let Some(task) = self.tasks.get_mut(&key) else {
                    continue;
                };
                let latest = task.stream.latest();
                if let Some(status) = task.stream.take_due(self.moment.now) {
                    let status = status.clone();
                    let update = TaskUpdate {
                        key,
                        status,
                        latest,
                    };
                    self.out.send.push(AgentToMaster::Update(update));
                }
            }
        }
    }

    /// Heads of which streams may be sent: while the disk rests only those that need not be on it.
    fn sendable(&self) -> &'static [usize] {
        match (self.link.is_live(), self.is_store_resting()) {
            (false, _) => &[],
            (true, true) => &[UNSTORED_SENT],
            (true, false) => &[STORED_SENT, UNSTORED_SENT],
        }
    }

    fn deadline(&mut self) -> Option<Instant> {
        let is_resting = self.is_store_resting();
        let sendable = self.sendable().iter();
        let sending = sendable.filter_map(|wish| self.tasks.first(*wish)).min();
        let operations = match self.link.is_live() {
            true => self.operations.deadline(is_resting),
            false => None,
        };
        let others = [
            self.tasks.first(DESTROYED),
            self.tasks.first(LOOKED_AT),
            sending,
            self.executors.first(0),
            operations,
            self.link.deadline(),
            self.shutdown_at,
            self.store_blocked
                .as_ref()
                .map(|blocked| blocked.retry_at)
                .filter(|_| is_resting),
        ];
        others.into_iter().flatten().min()
    }
}

/// What nobody else can have at the same time.
pub(crate) fn exclusive(resources: &Resources) -> Resources {
    resources.filter(|entry| !entry.is_shared())
}

/// Takes out what says that something is on disk, and what of the same stream comes behind that.
fn take_waiting(actions: &mut Vec<Action>) -> Vec<Action> {
    let mut waits = |action: &mut Action| matches!(action, Action::TellExecutor { event, .. } if event.waits_for_disk());
    actions.extract_if(.., &mut waits).collect()
}
