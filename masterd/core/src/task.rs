//! A task in the books, in as few bytes as its news need: a master has a hundred thousand of them.
//!
//! Most tasks of a framework differ in little but their ids. What they have in common is kept once, in a [`Pattern`], the
//! rest of their public form as a difference to the pattern's; statuses are kept packed. What only agents and frameworks
//! need (the command, the framework's own protobuf) is not kept at all. Called by whoever launches, hears of or shows
//! tasks. Invariant: [`Task::open`] gives what was launched, but for what is not kept; so do statuses, but for `data`.

use std::mem::take;
use std::ops::Deref;
use std::sync::Arc;

use arcstr::ArcStr;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::resource::{Resources, Scalar};
use nesos_wire::task::{Command, TaskSpec, TaskState, TaskStatus};
use nesos_wire::{AgentId, Attempt, ExecutorId, TaskId, TaskKey, Uuid};

use crate::state::Kill;
use difference::{apply, difference, replace};

mod difference;
#[cfg(test)]
mod tests;

/// Statuses remembered per task: more than a task has states, unless it flaps.
const MAX_STATUSES: usize = 16;
/// Patterns a framework's new tasks are compared with: more kinds of tasks than most frameworks launch at a time.
const MAX_PATTERNS: usize = 16;
/// Longest difference of a `TaskInfo` to that of a task with another executor of its framework's: beyond it what differs is
/// more than ids and sizes, most likely the executors themselves, which are kept once each.
const MAX_NEWS: usize = 128;
/// Longest `TaskInfo` in which ids are replaced: in longer ones they are the least part.
const MAX_FORETOLD: usize = 16 * 1024;

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

/// What many tasks have in common; the fields are those of [`TaskSpec`].
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Common {
    pub kind: ExecutorKind,
    pub role: String,
    pub resources: Resources,
    pub limits: std::collections::BTreeMap<String, Option<Scalar>>,
    /// User to run as; none: the agent's.
    pub user: Option<String>,
    pub kill_grace_ms: u32,
    pub partition_aware: bool,
    pub task_killing: bool,
    pub checkpoint: bool,
}

/// A task that others were like.
#[derive(Debug, PartialEq)]
struct Pattern {
    common: Common,
    name: ArcStr,
    task: TaskId,
    agent: AgentId,
    executor: ExecutorId,
    info: Box<[u8]>,
}

/// What a framework's newest tasks are like, newest last; at most [`MAX_PATTERNS`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patterns(Vec<Arc<Pattern>>);

impl Deref for Spec {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.pattern.common
    }
}

impl Pattern {
    /// What the `TaskInfo` of a task with these ids most likely is.
    fn foretell(&self, task: &TaskId, agent: &AgentId) -> Vec<u8> {
        if self.info.len() > MAX_FORETOLD {
            return self.info.to_vec();
        }
        let info = replace(&self.info, self.task.as_str(), task.as_str());
        replace(&info, self.agent.as_str(), agent.as_str())
    }

    /// What of a launch on this agent is not foretold.
    fn news(&self, spec: &TaskSpec, agent: &AgentId) -> Vec<u8> {
        difference(&spec.info, &self.foretell(&spec.key.task, agent))
    }

    /// Whether a launch has the same executor, or none that its framework sees.
    fn has_executor_of(&self, spec: &TaskSpec) -> bool {
        spec.kind == ExecutorKind::Command || self.executor == spec.executor
    }
}

impl Patterns {
    /// Keeps what is to be kept of a launch. The second is its `TaskInfo`, as a [`difference`] to what
    /// [`Pattern::foretell`] makes of it.
    fn pack(&mut self, mut spec: TaskSpec, agent: &AgentId) -> (Spec, Vec<u8>) {
        let common = Common {
            kind: spec.kind,
            role: take(&mut spec.role),
            resources: take(&mut spec.resources),
            limits: take(&mut spec.limits),
            user: spec.command.user.take(),
            kill_grace_ms: spec.kill_grace_ms,
            partition_aware: spec.partition_aware,
            task_killing: spec.task_killing,
            checkpoint: spec.checkpoint,
        };
        let (pattern, info) = match self.find(&common, &spec, agent) {
            Some((at, news)) => (self.0.remove(at), news),
            None => {
                let pattern = Pattern {
                    common,
                    name: ArcStr::from(spec.name.as_str()),
                    task: spec.key.task.clone(),
                    agent: agent.clone(),
                    executor: spec.executor.clone(),
                    info: spec.info.as_slice().into(),
                };
                (Arc::new(pattern), Vec::new())
            }
        };
        if self.0.len() >= MAX_PATTERNS {
            self.0.remove(0);
        }
        self.0.push(Arc::clone(&pattern));
        let name = if pattern.name == spec.name {
            pattern.name.clone()
        } else {
            spec.name.into()
        };
        // The same text, but in memory once.
        let executor = if spec.executor.as_str() == spec.key.task.as_str() {
            ExecutorId::new(spec.key.task.to_shared())
        } else {
            spec.executor
        };
        let spec = Spec {
            key: spec.key,
            attempt: spec.attempt,
            name,
            executor,
            pattern,
        };
        (spec, info)
    }

    /// The newest pattern that tells enough of a launch, and what it does not tell.
    fn find(&self, common: &Common, spec: &TaskSpec, agent: &AgentId) -> Option<(usize, Vec<u8>)> {
        let is_like = |known: &Arc<Pattern>| known.common == *common;
        let newest = self.0.iter().rposition(is_like)?;
        let news = self.0[newest].news(spec, agent);
        if news.len() <= MAX_NEWS || self.0[newest].has_executor_of(spec) {
            return Some((newest, news));
        }
        let is_own = |known: &Arc<Pattern>| is_like(known) && known.has_executor_of(spec);
        let own = self.0.iter().rposition(is_own)?;
        Some((own, self.0[own].news(spec, agent)))
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
        postcard::to_allocvec(self).unwrap_or_default().into()
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
