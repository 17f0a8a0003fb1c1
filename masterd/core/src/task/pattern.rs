//! What the tasks of a framework have in common, and what is foretold of the next one.
//!
//! Called by `task`. Invariant: what is foretold of a task depends on its pattern and its ids only, so that a difference to it
//! can be undone later.

use std::mem::take;
use std::sync::Arc;

use arcstr::ArcStr;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::resource::{Resources, Scalar};
use nesos_wire::task::TaskSpec;
use nesos_wire::{AgentId, ExecutorId, TaskId};

use super::Spec;
use super::difference::difference;

/// Patterns a framework's new tasks are compared with: more kinds of tasks than most frameworks launch at a time.
pub(super) const MAX_PATTERNS: usize = 32;
/// Of these, such as differ in their `TaskInfo` only: it holds the lengths of ids, so that `task-9` and `task-10` differ.
const MAX_ALIKE: usize = 4;
/// One of so many tasks that no pattern foretells becomes a pattern. Each costs as much as some such tasks.
const PATIENCE: u32 = 16;
/// Longest difference of a `TaskInfo` to that of a task with another executor of its framework's: beyond it what differs is
/// more than ids and sizes, most likely the executors themselves, which are kept once each.
const MAX_NEWS: usize = 128;
/// Longest `TaskInfo` in which ids are replaced: in longer ones they are the least part.
const MAX_FORETOLD: usize = 16 * 1024;

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
pub(super) struct Pattern {
    pub(super) common: Common,
    name: ArcStr,
    executor: ExecutorId,
    info: Box<[u8]>,
    /// Where in `info` ids stand, ascending.
    ids: Box<[Place]>,
}

/// Where an id stands.
#[derive(Debug, PartialEq)]
struct Place {
    start: usize,
    end: usize,
    /// The task's; else the agent's.
    is_task: bool,
}

/// What a framework's newest tasks are like.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patterns {
    /// The newest last; at most [`MAX_PATTERNS`].
    pub(super) known: Vec<Arc<Pattern>>,
    /// Tasks that none of them foretold.
    misses: u32,
}

impl Pattern {
    fn new(common: Common, spec: &TaskSpec, agent: &AgentId) -> Self {
        let (task, info) = (&spec.key.task, spec.info.as_slice());
        let mut ids = Vec::new();
        if info.len() <= MAX_FORETOLD {
            find(info, 0, task.as_str(), true, &mut ids);
            let tasks = std::mem::take(&mut ids);
            let mut start = 0;
            // An agent's id may be part of a task's, but is not looked for there.
            for place in tasks {
                find(&info[..place.start], start, agent.as_str(), false, &mut ids);
                start = place.end;
                ids.push(place);
            }
            find(info, start, agent.as_str(), false, &mut ids);
        }
        Self {
            common,
            name: spec.name.as_str().into(),
            executor: spec.executor.clone(),
            info: info.into(),
            ids: ids.into(),
        }
    }

    /// What the `TaskInfo` of a task with these ids most likely is, in pieces.
    fn pieces<'a>(
        &'a self,
        task: &'a TaskId,
        agent: &'a AgentId,
    ) -> impl Iterator<Item = &'a [u8]> {
        let ends = self.ids.iter().map(|place| place.end);
        let starts = [0].into_iter().chain(ends);
        let places = self.ids.iter().map(Some).chain([None]);
        starts
            .zip(places)
            .flat_map(move |(start, place)| match place {
                Some(place) if place.is_task => {
                    [&self.info[start..place.start], task.as_str().as_bytes()]
                }
                Some(place) => [&self.info[start..place.start], agent.as_str().as_bytes()],
                None => [&self.info[start..], &[]],
            })
    }

    /// The same as a whole.
    pub(super) fn foretell(&self, task: &TaskId, agent: &AgentId) -> Vec<u8> {
        let mut foretold = Vec::with_capacity(self.info.len() + 64);
        self.pieces(task, agent)
            .for_each(|piece| foretold.extend_from_slice(piece));
        foretold
    }

    /// Whether that is what the launch has.
    fn has_foretold(&self, spec: &TaskSpec, agent: &AgentId) -> bool {
        let mut info = spec.info.as_slice();
        let is_next = |piece: &[u8]| {
            let rest = info.strip_prefix(piece);
            info = rest.unwrap_or_default();
            rest.is_some()
        };
        self.pieces(&spec.key.task, agent).all(is_next) && info.is_empty()
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
    pub(super) fn pack(&mut self, mut spec: TaskSpec, agent: &AgentId) -> (Spec, Vec<u8>) {
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
            Some((at, news)) => (self.known.remove(at), news),
            None => (Arc::new(Pattern::new(common, &spec, agent)), Vec::new()),
        };
        if self.known.len() >= MAX_PATTERNS {
            self.known.remove(0);
        }
        self.known.push(Arc::clone(&pattern));
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

    /// The newest pattern that tells enough of a launch, and what it does not tell. `None`: the launch is to become one.
    fn find(
        &mut self,
        common: &Common,
        spec: &TaskSpec,
        agent: &AgentId,
    ) -> Option<(usize, Vec<u8>)> {
        let is_like = |known: &Arc<Pattern>| known.common == *common;
        let foretells = |known: &Arc<Pattern>| is_like(known) && known.has_foretold(spec, agent);
        if let Some(at) = self.known.iter().rposition(foretells) {
            return Some((at, Vec::new()));
        }
        let newest = self.known.iter().rposition(is_like)?;
        if spec.kind == ExecutorKind::Command {
            self.misses = self.misses.wrapping_add(1);
            let alike = self.known.iter().filter(|known| is_like(known)).count();
            if alike < MAX_ALIKE {
                return None;
            }
            if self.misses.is_multiple_of(PATIENCE) {
                let oldest = self.known.iter().position(is_like)?;
                self.known.remove(oldest);
                return None;
            }
        }
        let news = self.known[newest].news(spec, agent);
        if news.len() <= MAX_NEWS || self.known[newest].has_executor_of(spec) {
            return Some((newest, news));
        }
        let is_own = |known: &Arc<Pattern>| is_like(known) && known.has_executor_of(spec);
        let own = self.known.iter().rposition(is_own)?;
        Some((own, self.known[own].news(spec, agent)))
    }
}

/// Notes where `id` stands in the bytes from `start` on.
fn find(bytes: &[u8], mut start: usize, id: &str, is_task: bool, places: &mut Vec<Place>) {
    let id = id.as_bytes();
    while let Some(window) = bytes.get(start..).filter(|rest| rest.len() >= id.len()) {
        let Some(at) = window.windows(id.len().max(1)).position(|have| have == id) else {
            return;
        };
        let end = start + at + id.len();
        places.push(Place {
            start: start + at,
            end,
            is_task,
        });
        start = end;
    }
}
