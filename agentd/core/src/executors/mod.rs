//! Executors that frameworks bring: entities of their own, with containers, streams and ends.
//!
//! A custom executor is a process that speaks the executor API; its tasks are its own affair, the agent only hands them
//! over. The default executor has no process: its tasks are held one by one like command tasks, and it is nothing but
//! what ties them together. Called by the other modules of the agent. Invariant: an executor holds its resources, and its
//! tasks live, exactly as long as it is in the agent's map; `launch` puts it there and `end` takes it away.

mod end;
mod launch;
mod recover;
mod speak;
mod words;

use nesos_base::time::{Duration, Instant};
use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};
use nesos_wire::resource::Resources;
use nesos_wire::task::TaskSpec;
use nesos_wire::{Attempt, ContainerId, ExecutorKey, TaskId, TaskKey, Uuid};

use crate::agent::Agent;
use crate::event::Action;
use crate::task::{Draft, Task};

pub use words::{ExecutorCall, ExecutorEvent};

/// Most executors an agent holds: each custom one is a process of a framework, and boards run few.
pub const MAX_EXECUTORS: usize = 256;
/// How often an executor's stream carries a HEARTBEAT (Mesos: `DEFAULT_EXECUTOR_HEARTBEAT_INTERVAL`).
pub const HEARTBEAT: Duration = Duration::from_secs(30 * 60);
/// How many statuses of a task are remembered that its framework has acknowledged: its executor may repeat them.
pub const MAX_SEEN: usize = 64;

/// At one time an executor wants one thing: which, its phase says.
pub(crate) const EXECUTOR_WISHES: usize = 1;

/// How long executors may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutorTimes {
    /// From the start of its process to SUBSCRIBE.
    pub registration: Duration,
    /// From the agent's return to the executor's.
    pub reregistration: Duration,
    /// From SHUTDOWN to SIGKILL, unless the executor has a period of its own.
    pub shutdown_grace: Duration,
}

impl Default for ExecutorTimes {
    fn default() -> Self {
        Self {
            registration: Duration::from_secs(60),
            // Mesos waits 2 s because its agents register afterwards; ours registers at once, and libraries pause longer.
            reregistration: Duration::from_secs(15),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}

/// Where an executor is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutorPhase {
    /// Its process has not subscribed yet.
    Registering {
        /// When to give it up; none before its process is there.
        until: Option<Instant>,
    },
    /// It has subscribed, though its stream may be broken.
    Running,
    /// The agent has restarted and waits for it to subscribe again.
    Returning {
        /// When to give it up.
        until: Instant,
    },
    /// It was told to end, or is being ended.
    Terminating {
        /// When to kill everything; also between repetitions.
        destroy_at: Instant,
    },
}

/// An executor as displays and the executor API see it.
#[derive(Debug, Clone, Copy)]
pub struct ExecutorView<'a> {
    /// What the master said of it.
    pub spec: &'a FrameworkExecutor,
    /// Its container.
    pub container: &'a ContainerId,
    /// Where it is in its life.
    pub phase: ExecutorPhase,
}

#[derive(Debug, Clone)]
pub(crate) struct Executor {
    pub(crate) spec: FrameworkExecutor,
    pub(crate) container: ContainerId,
    pub(crate) phase: ExecutorPhase,
    /// The stream that its events go out on.
    stream: Option<u64>,
    heartbeat_at: Instant,
    /// It has subscribed at least once, so it may have tasks.
    has_subscribed: bool,
    /// It was given a task at least once.
    was_given: bool,
    /// Why the agent ends it: the last status of its tasks.
    pub(crate) verdict: Option<Draft>,
    has_rebooted: bool,
}

impl Executor {
    fn new(spec: FrameworkExecutor, container: ContainerId) -> Self {
        let phase = match spec.kind {
            ExecutorKind::Default => ExecutorPhase::Running,
            _ => ExecutorPhase::Registering { until: None },
        };
        Self {
            spec,
            container,
            phase,
            stream: None,
            heartbeat_at: Instant::MIN,
            has_subscribed: false,
            was_given: false,
            verdict: None,
            has_rebooted: false,
        }
    }

    fn is_custom(&self) -> bool {
        self.spec.kind != ExecutorKind::Default
    }

    fn is_terminating(&self) -> bool {
        matches!(self.phase, ExecutorPhase::Terminating { .. })
    }

    pub(crate) fn view(&self) -> ExecutorView<'_> {
        ExecutorView {
            spec: &self.spec,
            container: &self.container,
            phase: self.phase,
        }
    }
}

/// What ties a task to its executor and to other tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ties {
    /// Tasks of one group have the same: the attempt of the first of them.
    pub(crate) group: Option<Attempt>,
    /// The container around the task's own: the default executor's.
    pub(crate) parent: Option<ContainerId>,
    /// Newest acknowledged statuses of a custom executor's task, oldest first.
    pub(crate) seen: Vec<Uuid>,
}

impl Ties {
    pub(crate) fn saw(&mut self, uuid: Uuid) {
        if self.seen.len() >= MAX_SEEN {
            self.seen.remove(0);
        }
        self.seen.push(uuid);
    }
}

/// The key of the executor that holds this task; none for a command task.
pub(crate) fn key_of(spec: &TaskSpec) -> Option<ExecutorKey> {
    (spec.kind != ExecutorKind::Command).then(|| ExecutorKey {
        framework: spec.key.framework.clone(),
        executor: spec.executor.clone(),
    })
}

/// An upper bound of the executor's encoded size.
pub(crate) fn executor_bytes(executor: &FrameworkExecutor) -> usize {
    let texts = executor.name.len() + executor.source.len() + executor.role.len();
    texts
        + crate::admission::command_bytes(&executor.command)
        + executor.info.len()
        + executor.framework_info.len()
}

impl Agent {
    /// All executors of frameworks that have not ended.
    pub fn executors(&self) -> impl Iterator<Item = ExecutorView<'_>> {
        self.executors.values().map(Executor::view)
    }

    /// The newest that have ended, with their containers, oldest first.
    pub fn completed_executors(&self) -> impl Iterator<Item = &(FrameworkExecutor, ContainerId)> {
        self.history.executors()
    }

    /// One of those that have not ended.
    pub fn executor(&self, key: &ExecutorKey) -> Option<ExecutorView<'_>> {
        self.executors.get(key).map(Executor::view)
    }

    /// Whether one more status of this task would be taken: its stream has room, or it is not this agent's.
    pub fn has_room(&self, key: &TaskKey) -> bool {
        self.tasks
            .get(key)
            .is_none_or(|task| task.stream.has_room())
    }

    /// The container of a custom executor may use what it and its tasks hold now, no more and no less.
    fn resize(&mut self, key: &ExecutorKey) {
        let executor = self.executors.get(key);
        let Some(executor) = executor.filter(|executor| executor.is_custom()) else {
            return;
        };
        let container = executor.container.clone();
        let spec = Box::new(self.holder(executor));
        self.out.actions.push(Action::Resize { container, spec });
    }

    /// The container of a custom executor in the form in which containers are launched: what it runs, and what it and its
    /// tasks hold together.
    fn holder(&self, executor: &Executor) -> TaskSpec {
        let spec = &executor.spec;
        let mut resources = spec.resources.clone();
        for task in self
            .tasks_of(&spec.key)
            .filter(|task| task.phase.is_active())
        {
            resources.add(&task.spec.resources);
        }
        holder_spec(spec, resources, self.shutdown_grace(spec))
    }

    /// Its tasks, in the order of their keys.
    pub(crate) fn tasks_of(&self, key: &ExecutorKey) -> impl Iterator<Item = &Task> {
        let members = self.held.members(key);
        members.filter_map(|task| self.tasks.get(task))
    }

    /// Keys of its tasks that fit, in the order in which they were launched.
    fn keys_of(&self, key: &ExecutorKey, fits: impl Fn(&Task) -> bool) -> Vec<TaskKey> {
        let mut found: Vec<&Task> = self.tasks_of(key).filter(|task| fits(task)).collect();
        found.sort_by_key(|task| task.spec.attempt);
        found.iter().map(|task| task.spec.key.clone()).collect()
    }

    fn shutdown_grace(&self, spec: &FrameworkExecutor) -> Duration {
        let own = spec
            .shutdown_grace_ms
            .map(|ms| Duration::from_millis(u64::from(ms)));
        own.unwrap_or(self.config.executors.shutdown_grace)
    }
}

fn holder_spec(spec: &FrameworkExecutor, resources: Resources, grace: Duration) -> TaskSpec {
    TaskSpec {
        key: holder_key(&spec.key),
        attempt: spec.attempt,
        name: spec.name.clone(),
        executor: spec.key.executor.clone(),
        kind: ExecutorKind::Custom,
        role: spec.role.clone(),
        resources,
        limits: Default::default(),
        command: spec.command.clone(),
        kill_grace_ms: u32::try_from(grace.as_millis()).unwrap_or(u32::MAX),
        partition_aware: spec.partition_aware,
        task_killing: false,
        checkpoint: spec.checkpoint,
        checks: None,
        // Of the executor: an isolator looks for its container there.
        info: spec.info.clone(),
        framework_info: spec.framework_info.clone(),
    }
}

/// Under which key an executor's container is launched and released; no task is looked up by it.
fn holder_key(key: &ExecutorKey) -> TaskKey {
    TaskKey {
        framework: key.framework.clone(),
        task: TaskId::new(key.executor.as_str()),
    }
}
