//! Tasks and agents of `/state` as JSON in pieces, which are made anew only where something has changed.
//!
//! Not what an agent or a task looks like (`state`, `shown`). Called on the thread that renders. Invariants: a piece is
//! used again only for the very same block of tasks, or of agents that hold the same tasks in use; pieces of what is gone
//! are dropped with the rendering that no longer needs them.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use masterd_core::{Agent, Block, Shelf, Task, View};
use nesos_wire::command::Upkeep;
use nesos_wire::resource::Resources;
use nesos_wire::{AgentId, TaskId};
use serde::Serialize;

use super::shown::ShownTask;

/// Smaller texts are copied into the text around them.
const MIN_PART: usize = 4096;

/// What was rendered last.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// By the address of their block, which is held and so not used for another one.
    tasks: BTreeMap<usize, TaskPiece<TaskId>>,
    ended: BTreeMap<usize, TaskPiece<u64>>,
    agents: BTreeMap<usize, AgentPiece>,
}

/// Tasks that are neighbours.
#[derive(Debug, Clone)]
pub(super) struct TaskPiece<K> {
    block: Block<K, Task>,
    json: Bytes,
    /// What they use together.
    pub(super) used: Resources,
    marks: Vec<(AgentId, u64)>,
}

/// Agents that are neighbours.
#[derive(Debug, Clone)]
struct AgentPiece {
    block: Block<AgentId, Agent>,
    /// What they show besides what stands in the block.
    marks: Vec<(u64, Upkeep)>,
    registered: Bytes,
    recovered: Bytes,
}

/// A JSON text in parts.
#[derive(Debug)]
pub(super) struct Writer {
    parts: Vec<Bytes>,
    text: Vec<u8>,
    /// The list that is being written has no item yet.
    is_first: bool,
}

/// What a view's rendering uses of the last one's, and leaves for the next one.
#[derive(Debug)]
pub(super) struct Rendered<'a> {
    old: &'a mut Pieces,
    new: Pieces,
    /// Which tasks in use each agent holds, as a sum of their addresses.
    in_use: HashMap<AgentId, u64>,
}

impl Pieces {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes they have.
    pub(super) fn len(&self) -> usize {
        let tasks: usize = self.tasks.values().map(|piece| piece.json.len()).sum();
        let ended: usize = self.ended.values().map(|piece| piece.json.len()).sum();
        let agents = self.agents.values();
        tasks
            + ended
            + agents
                .map(|p| p.registered.len() + p.recovered.len())
                .sum::<usize>()
    }
}

impl<'a> Rendered<'a> {
    /// Begins a rendering.
    pub(super) fn new(old: &'a mut Pieces) -> Self {
        Self {
            old,
            new: Pieces::default(),
            in_use: HashMap::new(),
        }
    }

    /// Ends it.
    pub(super) fn keep(self) {
        *self.old = self.new;
    }

    /// Tasks that are not over, or were not when their agent became unreachable.
    pub(super) fn tasks(
        &mut self,
        tasks: &Shelf<TaskId, Task>,
    ) -> serde_json::Result<Vec<TaskPiece<TaskId>>> {
        let pieces = render(&self.old.tasks, &mut self.new.tasks, tasks)?;
        for (agent, mark) in pieces.iter().flat_map(|piece| &piece.marks) {
            match self.in_use.get_mut(agent) {
                Some(sum) => *sum = sum.wrapping_add(*mark),
                None => drop(self.in_use.insert(agent.clone(), *mark)),
            }
        }
        Ok(pieces)
    }

    /// Tasks that are over.
    pub(super) fn ended(
        &mut self,
        tasks: &Shelf<u64, Task>,
    ) -> serde_json::Result<Vec<TaskPiece<u64>>> {
        render(&self.old.ended, &mut self.new.ended, tasks)
    }

    /// Agents: those that are registered, and those that are waited for. After the tasks.
    pub(super) fn agents(
        &mut self,
        view: &View,
        registered: impl Fn(&Agent, &mut Vec<u8>) -> serde_json::Result<()>,
        recovered: impl Fn(&Agent, &mut Vec<u8>) -> serde_json::Result<()>,
    ) -> serde_json::Result<(Vec<Bytes>, Vec<Bytes>)> {
        let mut lists = (Vec::new(), Vec::new());
        for block in view.agent_blocks() {
            let mark = |agent: &Agent| {
                let in_use = self.in_use.get(&agent.id).copied().unwrap_or_default();
                (in_use, view.upkeep(&agent.id))
            };
            let marks: Vec<_> = block.values().map(mark).collect();
            let address = block.address();
            let piece = match self.old.agents.get(&address) {
                Some(piece) if piece.block.is_same(&block) && piece.marks == marks => piece.clone(),
                _ => {
                    let (mut known, mut waited_for) = (Vec::new(), Vec::new());
                    for agent in block.values() {
                        registered(agent, &mut known)?;
                        recovered(agent, &mut waited_for)?;
                    }
                    AgentPiece {
                        block,
                        marks,
                        registered: known.into(),
                        recovered: waited_for.into(),
                    }
                }
            };
            lists.0.push(piece.registered.clone());
            lists.1.push(piece.recovered.clone());
            self.new.agents.insert(address, piece);
        }
        Ok(lists)
    }
}

fn render<K>(
    old: &BTreeMap<usize, TaskPiece<K>>,
    new: &mut BTreeMap<usize, TaskPiece<K>>,
    tasks: &Shelf<K, Task>,
) -> serde_json::Result<Vec<TaskPiece<K>>>
where
    TaskPiece<K>: Clone,
{
    let mut pieces = Vec::new();
    for block in tasks.blocks() {
        let address = block.address();
        let piece = match old
            .get(&address)
            .filter(|piece| piece.block.is_same(&block))
        {
            Some(piece) => piece.clone(),
            None => TaskPiece::of(block)?,
        };
        new.insert(address, piece.clone());
        pieces.push(piece);
    }
    Ok(pieces)
}

impl<K> TaskPiece<K> {
    fn of(block: Block<K, Task>) -> serde_json::Result<Self> {
        let mut json = Vec::new();
        let mut used = Resources::new();
        let mut marks = Vec::new();
        for task in block.values() {
            item(&mut json, &ShownTask::from(task))?;
            if task.is_using_resources() {
                used.add(&task.spec.resources);
                marks.push((task.agent.clone(), mark(task)));
            }
        }
        Ok(Self {
            block,
            json: json.into(),
            used,
            marks,
        })
    }
}

/// Differs for any two tasks that are in memory together, the same task before and after a change included.
fn mark(task: &Task) -> u64 {
    // Odd and large, so that sums of neighbouring addresses differ.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    (std::ptr::from_ref(task).addr() as u64).wrapping_mul(SPREAD)
}

/// Appends an item of a list, with a comma in front.
pub(super) fn item(list: &mut Vec<u8>, value: &impl Serialize) -> serde_json::Result<()> {
    list.push(b',');
    serde_json::to_writer(list, value)
}

impl Writer {
    /// Begins with an object that has at least one member, and leaves it open.
    pub(super) fn new(head: &impl Serialize) -> serde_json::Result<Self> {
        let mut writer = Self {
            parts: Vec::new(),
            text: Vec::new(),
            is_first: true,
        };
        writer.open(head)?;
        Ok(writer)
    }

    /// The next item of the list, an object that has at least one member; leaves it open.
    pub(super) fn open(&mut self, head: &impl Serialize) -> serde_json::Result<()> {
        if !std::mem::take(&mut self.is_first) {
            self.text.push(b',');
        }
        serde_json::to_writer(&mut self.text, head)?;
        self.text.pop();
        Ok(())
    }

    /// A member of the object that is open: a list that is filled next.
    pub(super) fn list(&mut self, name: &str) {
        self.text.extend_from_slice(b",\"");
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b"\":[");
        self.is_first = true;
    }

    /// Items of the list, each with a comma in front.
    pub(super) fn items(&mut self, items: &Bytes) {
        if items.is_empty() {
            return;
        }
        let from = usize::from(std::mem::take(&mut self.is_first));
        if items.len() < MIN_PART {
            self.text.extend_from_slice(&items[from..]);
            return;
        }
        self.parts.push(std::mem::take(&mut self.text).into());
        self.parts.push(items.slice(from..));
    }

    /// A whole list of tasks.
    pub(super) fn tasks<K>(&mut self, name: &str, pieces: &[TaskPiece<K>]) {
        self.list(name);
        pieces.iter().for_each(|piece| self.items(&piece.json));
        self.end(b']');
    }

    /// Ends a list or an object.
    pub(super) fn end(&mut self, bracket: u8) {
        self.text.push(bracket);
        self.is_first = false;
    }

    /// The text.
    pub(super) fn finish(mut self) -> Vec<Bytes> {
        self.parts.push(self.text.into());
        self.parts.retain(|part| !part.is_empty());
        self.parts
    }
}
