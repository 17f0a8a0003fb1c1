//! A task in the books, in as few bytes as its news need: a master has a hundred thousand of them.
//!
//! Most tasks of a framework differ in little but their ids. What they have in common is kept once, in a [`Pattern`], the
//! rest of their public form as a difference to the pattern's; statuses are kept packed. What only agents and frameworks
//! need (the command, the framework's own protobuf) is not kept at all. Called by whoever launches, hears of or shows
//! tasks. Invariant: [`Task::open`] gives what was launched, but for what is not kept; so do statuses, but for `data`.

use std::ops::Deref;
use std::sync::Arc;

use arcstr::ArcStr;
use nesos_wire::task::{Command, TaskSpec, TaskState, TaskStatus};
use nesos_wire::{AgentId, Attempt, ExecutorId, TaskKey, Uuid};

use crate::state::Kill;

mod difference;
mod pattern;

#[cfg(test)]
mod tests;

use difference::apply;
use pattern::Pattern;
pub use pattern::{Common, Patterns};

/// Statuses remembered per task: more than a task has states, unless it flaps.
const MAX_STATUSES: usize = 16;
/// As many bytes as the [`Packed`] of most tasks.
const MOSTLY: usize = 128;

/// A task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// What was launched.
    pub spec: Spec,
    /// Where.
    pub agent: AgentId,
    /// State of the newest status sent on to the framework; STAGING before the first.
    pub state: TaskState,
    /// Newest state the agent knows: what accounting goes by.
    pub latest: TaskState,
    /// The agent has been heard to know this launch.
    pub confirmed: bool,
    /// [`Packed`]; empty: there is nothing in it.
    packed: Box<[u8]>,
    /// What most tasks lack at most times; there only if some of it is.
    seldom: Option<Box<Seldom>>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Seldom {
    unacknowledged: Option<Box<TaskStatus>>,
    kill: Option<Kill>,
    acknowledged: Option<Uuid>,
}

/// What was launched; derefs to what it has in common with others.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Framework and task id.
    pub key: TaskKey,
    /// Which launch of this id.
    pub attempt: Attempt,
    /// The task's display name.
    pub name: ArcStr,
    /// The executor's id; a command task's is its task id.
    pub executor: ExecutorId,
    pattern: Arc<Pattern>,
}

impl Deref for Spec {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.pattern.common
    }
}

impl Task {
    /// A task in the books of a framework with these patterns.
    pub fn new(spec: TaskSpec, agent: AgentId, patterns: &mut Patterns) -> Self {
        let (spec, info) = patterns.pack(spec, &agent);
        let packed = Packed {
            info: &info,
            statuses: Vec::new(),
        };
        Self {
            spec,
            agent,
            state: TaskState::Staging,
            latest: TaskState::Staging,
            confirmed: false,
            packed: packed.close(),
            seldom: None,
        }
    }

    /// The full name.
    pub fn key(&self) -> &TaskKey {
        &self.spec.key
    }

    /// Whether it still uses its resources.
    pub fn is_using_resources(&self) -> bool {
        !self.latest.is_terminal()
    }

    /// Protobuf of its public `TaskInfo`.
    pub fn info(&self) -> Vec<u8> {
        let foretold = self.spec.pattern.foretell(&self.spec.key.task, &self.agent);
        apply(Packed::open(&self.packed).info, foretold)
    }

    /// As it was launched, without the command (but for its user) and the framework's protobuf.
    pub fn open(&self) -> TaskSpec {
        let spec = &self.spec;
        let common = Common::clone(spec);
        TaskSpec {
            key: spec.key.clone(),
            attempt: spec.attempt,
            name: spec.name.to_string(),
            executor: spec.executor.clone(),
            kind: common.kind,
            role: common.role,
            resources: common.resources,
            limits: common.limits,
            command: Command {
                user: common.user,
                ..Command::default()
            },
            kill_grace_ms: common.kill_grace_ms,
            partition_aware: common.partition_aware,
            task_killing: common.task_killing,
            checkpoint: common.checkpoint,
            checks: None,
            info: self.info(),
            framework_info: Vec::new(),
        }
    }

    /// The status that the framework has still to acknowledge, whole.
    pub fn unacknowledged(&self) -> Option<&TaskStatus> {
        self.seldom.as_ref()?.unacknowledged.as_deref()
    }

    /// From now on this is the status to be acknowledged.
    pub fn set_unacknowledged(&mut self, status: Option<TaskStatus>) {
        self.amend(|seldom| seldom.unacknowledged = status.map(Box::new));
    }

    /// It is to be killed.
    pub fn kill(&self) -> Option<Kill> {
        self.seldom.as_ref()?.kill
    }

    /// From now on it is to be killed.
    pub fn set_kill(&mut self, kill: Kill) {
        self.amend(|seldom| seldom.kill = Some(kill));
    }

    /// Uuid of the last acknowledged terminal status.
    pub fn acknowledged(&self) -> Option<Uuid> {
        self.seldom.as_ref()?.acknowledged
    }

    /// Nothing is left to be acknowledged; the uuid is the terminal status's, if it had one.
    pub fn set_acknowledged(&mut self, uuid: Option<Uuid>) {
        self.amend(|seldom| {
            seldom.unacknowledged = None;
            seldom.acknowledged = uuid;
        });
    }

    fn amend(&mut self, change: impl FnOnce(&mut Seldom)) {
        let mut seldom = self.seldom.take().unwrap_or_default();
        change(&mut seldom);
        self.seldom = (*seldom != Seldom::default()).then_some(seldom);
    }

    /// Whether it has had any status yet.
    pub fn has_statuses(&self) -> bool {
        !Packed::open(&self.packed).statuses.is_empty()
    }

    /// Statuses, oldest first, one per run of equal states, without `data`; at most 16.
    pub fn statuses(&self) -> Vec<TaskStatus> {
        let open = Packed::open(&self.packed).statuses.into_iter().map(|past| {
            let mut status = past.status;
            if past.is_agents {
                status.agent = Some(self.agent.clone());
            }
            if past.is_executors {
                status.executor = Some(self.spec.executor.clone());
            }
            status
        });
        open.collect()
    }

    /// Notes a status that goes to the framework.
    pub fn record(&mut self, mut status: TaskStatus) {
        self.state = status.state;
        let mut packed = Packed::open(&self.packed);
        let statuses = &mut packed.statuses;
        let last = statuses.last();
        if last.is_some_and(|last| last.status.state == status.state) {
            statuses.pop();
        } else if statuses.len() >= MAX_STATUSES {
            statuses.remove(0);
        }
        // The executor's bytes are not kept for history, as in Mesos: they may be large.
        status.data = Vec::new();
        let is_agents = status.agent.take_if(|agent| *agent == self.agent).is_some();
        let own = |executor: &mut ExecutorId| *executor == self.spec.executor;
        let is_executors = status.executor.take_if(own).is_some();
        statuses.push(Past {
            is_agents,
            is_executors,
            status,
        });
        self.packed = packed.close();
    }
}

/// The part of a task that is looked at only when it is shown or changes.
#[derive(serde::Serialize, serde::Deserialize)]
struct Packed<'a> {
    /// Protobuf of the public `TaskInfo`, as a [`difference`] to what [`Pattern::foretell`] makes of it.
    #[serde(with = "serde_bytes")]
    info: &'a [u8],
    statuses: Vec<Past>,
}

impl<'a> Packed<'a> {
    fn open(bytes: &'a [u8]) -> Self {
        // Written below, and nowhere else; nothing is nothing.
        postcard::from_bytes(bytes).unwrap_or(Self {
            info: &[],
            statuses: Vec::new(),
        })
    }

    fn close(&self) -> Box<[u8]> {
        if self.info.is_empty() && self.statuses.is_empty() {
            return Box::default();
        }
        // It cannot fail: there is memory, and nothing in a status has no form.
        let bytes = postcard::to_extend(self, Vec::with_capacity(MOSTLY));
        bytes.unwrap_or_default().into()
    }
}

/// A status as it is kept.
#[derive(serde::Serialize, serde::Deserialize)]
struct Past {
    /// Its agent is the task's, and left out.
    is_agents: bool,
    /// Its executor is the task's, and left out.
    is_executors: bool,
    status: TaskStatus,
}
