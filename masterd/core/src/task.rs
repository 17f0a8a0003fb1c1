//! A task in the books, in as few bytes as its news need: a master has a hundred thousand of them.
//!
//! Most tasks of a framework differ in little but their ids. What they have in common is kept once, in a [`Pattern`], the
//! rest of their public form as a difference to the pattern's; statuses are kept packed. What only agents and frameworks
//! need (the command, the framework's own protobuf) is not kept at all. Called by whoever launches, hears of or shows
//! tasks. Invariant: [`Task::open`] gives what was launched, but for what is not kept; so do statuses, but for `data`.

use std::ops::Deref;
use std::sync::Arc;

use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::resource::{Resources, Scalar};
use nesos_wire::task::{Command, TaskSpec, TaskState, TaskStatus};
use nesos_wire::{AgentId, Attempt, ExecutorId, TaskId, TaskKey, Uuid};

use crate::state::Kill;

#[cfg(test)]
mod tests;

/// Statuses remembered per task: more than a task has states, unless it flaps.
const MAX_STATUSES: usize = 16;
/// Patterns a framework's new tasks are compared with: more kinds of tasks than most frameworks launch at a time.
const MAX_PATTERNS: usize = 16;
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
    history: Box<[u8]>,
    /// The status that the framework has still to acknowledge, whole.
    pub unacknowledged: Option<Box<TaskStatus>>,
    /// The agent has been heard to know this launch.
    pub confirmed: bool,
    /// It is to be killed.
    pub kill: Option<Kill>,
    /// Uuid of the last acknowledged terminal status.
    pub acknowledged: Option<Uuid>,
}

/// What was launched; derefs to what it has in common with others.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Framework and task id.
    pub key: TaskKey,
    /// Which launch of this id.
    pub attempt: Attempt,
    /// The task's display name.
    pub name: Arc<str>,
    /// The executor's id; a command task's is its task id.
    pub executor: ExecutorId,
    pattern: Arc<Pattern>,
    /// Protobuf of the public `TaskInfo`, as a [`difference`] to what [`Pattern::foretell`] makes of it.
    info: Box<[u8]>,
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
    name: Arc<str>,
    task: TaskId,
    agent: AgentId,
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
}

impl Spec {
    fn info(&self, agent: &AgentId) -> Vec<u8> {
        let foretold = self.pattern.foretell(&self.key.task, agent);
        apply(&self.info, foretold)
    }

    fn open(&self, agent: &AgentId) -> TaskSpec {
        let common = Common::clone(self);
        TaskSpec {
            key: self.key.clone(),
            attempt: self.attempt,
            name: self.name.as_ref().to_owned(),
            executor: self.executor.clone(),
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
            info: self.info(agent),
            framework_info: Vec::new(),
        }
    }
}

impl Patterns {
    /// Keeps what is to be kept of a launch.
    fn pack(&mut self, spec: TaskSpec, agent: &AgentId) -> Spec {
        let common = Common {
            kind: spec.kind,
            role: spec.role,
            resources: spec.resources,
            limits: spec.limits,
            user: spec.command.user,
            kill_grace_ms: spec.kill_grace_ms,
            partition_aware: spec.partition_aware,
            task_killing: spec.task_killing,
            checkpoint: spec.checkpoint,
        };
        let same = self.0.iter().rposition(|known| known.common == common);
        let pattern = match same {
            Some(at) => self.0.remove(at),
            None => Arc::new(Pattern {
                common,
                name: spec.name.as_str().into(),
                task: spec.key.task.clone(),
                agent: agent.clone(),
                info: spec.info.as_slice().into(),
            }),
        };
        if self.0.len() >= MAX_PATTERNS {
            self.0.remove(0);
        }
        self.0.push(Arc::clone(&pattern));
        let name = if *pattern.name == *spec.name {
            Arc::clone(&pattern.name)
        } else {
            spec.name.into()
        };
        // The same text, but in memory once.
        let executor = if spec.executor.as_str() == spec.key.task.as_str() {
            ExecutorId::new(spec.key.task.to_shared())
        } else {
            spec.executor
        };
        let foretold = pattern.foretell(&spec.key.task, agent);
        Spec {
            key: spec.key,
            attempt: spec.attempt,
            name,
            executor,
            pattern,
            info: difference(&spec.info, &foretold),
        }
    }
}

impl Task {
    /// A task in the books of a framework with these patterns.
    pub fn new(spec: TaskSpec, agent: AgentId, patterns: &mut Patterns) -> Self {
        Self {
            spec: patterns.pack(spec, &agent),
            agent,
            state: TaskState::Staging,
            latest: TaskState::Staging,
            history: Box::default(),
            unacknowledged: None,
            confirmed: false,
            kill: None,
            acknowledged: None,
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
        self.spec.info(&self.agent)
    }

    /// As it was launched, without the command (but for its user) and the framework's protobuf.
    pub fn open(&self) -> TaskSpec {
        self.spec.open(&self.agent)
    }

    /// Whether it has had any status yet.
    pub fn has_statuses(&self) -> bool {
        !self.history.is_empty()
    }

    /// Statuses, oldest first, one per run of equal states, without `data`; at most 16.
    pub fn statuses(&self) -> Vec<TaskStatus> {
        // Written below, and nowhere else.
        let packed: Vec<Past> = postcard::from_bytes(&self.history).unwrap_or_default();
        let open = packed.into_iter().map(|past| {
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
    pub fn record(&mut self, status: TaskStatus) {
        self.state = status.state;
        let mut statuses = self.statuses();
        if statuses
            .last()
            .is_some_and(|last| last.state == status.state)
        {
            statuses.pop();
        } else if statuses.len() >= MAX_STATUSES {
            statuses.remove(0);
        }
        statuses.push(status);
        let pack = |mut status: TaskStatus| {
            // The executor's bytes are not kept for history, as in Mesos: they may be large.
            status.data = Vec::new();
            let is_agents = status.agent.take_if(|agent| *agent == self.agent).is_some();
            let own = |executor: &mut ExecutorId| *executor == self.spec.executor;
            let is_executors = status.executor.take_if(own).is_some();
            Past {
                is_agents,
                is_executors,
                status,
            }
        };
        let packed: Vec<Past> = statuses.into_iter().map(pack).collect();
        // It cannot fail: there is memory, and nothing in a status has no form.
        self.history = postcard::to_allocvec(&packed).unwrap_or_default().into();
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

/// What it takes to make `text` of `base`: how much they have in common at both ends, and what stands between.
/// Nothing, if they are the same.
fn difference(text: &[u8], base: &[u8]) -> Box<[u8]> {
    if text == base {
        return Box::default();
    }
    let common = |(a, b): &(&u8, &u8)| a == b;
    let start = text.iter().zip(base).take_while(common).count();
    let (rest, base) = (&text[start..], &base[start..]);
    let end = rest.iter().rev().zip(base.iter().rev());
    let end = end.take_while(common).count();
    let middle = &rest[..rest.len() - end];
    // It cannot fail: there is memory.
    postcard::to_allocvec(&(start, end, middle))
        .unwrap_or_default()
        .into()
}

/// The text again.
fn apply(difference: &[u8], base: Vec<u8>) -> Vec<u8> {
    if difference.is_empty() {
        return base;
    }
    let parts: Result<(usize, usize, &[u8]), _> = postcard::from_bytes(difference);
    let (start, end, middle) = parts.unwrap_or_default();
    let (start, end) = (
        base.get(..start),
        base.get(base.len().saturating_sub(end)..),
    );
    [start.unwrap_or_default(), middle, end.unwrap_or_default()].concat()
}

/// The bytes with every `from` in them replaced.
fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    // Looking for one byte is what processors are good at; a master does this for each task of each agent that returns.
    while let Some(at) = rest
        .iter()
        .position(|byte| Some(byte) == from.as_bytes().first())
    {
        let (before, found) = rest.split_at(at);
        replaced.extend_from_slice(before);
        rest = match found.strip_prefix(from.as_bytes()) {
            Some(behind) => {
                replaced.extend_from_slice(to.as_bytes());
                behind
            }
            None => {
                replaced.extend_from_slice(&found[..1]);
                &found[1..]
            }
        };
    }
    replaced.extend_from_slice(rest);
    replaced
}
