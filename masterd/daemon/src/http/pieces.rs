//! Tasks and agents of `/state` as JSON in pieces, which are made anew only where something has changed.
//!
//! Not what an agent or a task looks like (`state`, `shown`). Called on the thread that renders. Invariants: a text is used
//! again only for the very same task, or for the very same agent while it holds the same tasks in use and its operators
//! want the same of it; texts of what is gone are dropped with the rendering that no longer needs them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::shown::ShownTask;
use super::writer::item;
use bytes::Bytes;
use masterd_core::{Agent, Block, Framework, Shelf, Task, View};
use nesos_wire::command::Upkeep;
use nesos_wire::resource::Resources;
use nesos_wire::{AgentId, TaskId};

/// What was rendered last.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// By the address of their block, which is held and so not used for another one.
    tasks: BTreeMap<usize, Arc<TaskPiece<TaskId>>>,
    ended: BTreeMap<usize, Arc<TaskPiece<u64>>>,
    agents: BTreeMap<usize, Arc<AgentPiece>>,
    /// What operators want of agents, as far as they want anything.
    upkeep: HashMap<AgentId, Upkeep>,
}

/// Tasks that are neighbours.
#[derive(Debug)]
pub(super) struct TaskPiece<K> {
    block: Block<K, Task>,
    pub(super) json: Bytes,
    /// Where each task's text ends.
    ends: Vec<usize>,
    /// What they use together.
    pub(super) used: Resources,
    marks: Vec<(AgentId, u64)>,
}

/// Agents that are neighbours.
#[derive(Debug)]
struct AgentPiece {
    block: Block<AgentId, Agent>,
    registered: Bytes,
    recovered: Bytes,
    /// Where each agent's text ends in the two lists.
    ends: Vec<(usize, usize)>,
}

/// What a view's rendering uses of the last one's, and leaves for the next one.
#[derive(Debug)]
pub(super) struct Rendered<'a> {
    old: &'a mut Pieces,
    new: Pieces,
    /// By their addresses: texts of those of whose block something has changed.
    tasks: HashMap<usize, Bytes>,
    agents: HashMap<usize, (Bytes, Bytes)>,
    /// Of agents with tasks in such blocks: how the tasks in use that they hold differ from before, as a sum of addresses.
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
    /// Begins a rendering of this view.
    pub(super) fn new(old: &'a mut Pieces, view: &View) -> Self {
        let mut rendered = Self {
            old,
            new: Pieces::default(),
            tasks: HashMap::new(),
            agents: HashMap::new(),
            in_use: HashMap::new(),
        };
        let ended = view.completed_frameworks().map(|ended| &ended.framework);
        let mut same = HashSet::new();
        for framework in view.frameworks().chain(ended) {
            same.extend(blocks_of(framework));
        }
        let changed = |address: &&usize| !same.contains(*address);
        for address in rendered.old.tasks.keys().filter(changed) {
            let piece = &rendered.old.tasks[address];
            piece.texts_into(&mut rendered.tasks);
            for (agent, mark) in &piece.marks {
                differ(&mut rendered.in_use, agent, mark.wrapping_neg());
            }
        }
        for address in rendered.old.ended.keys().filter(changed) {
            rendered.old.ended[address].texts_into(&mut rendered.tasks);
        }
        let same: HashSet<usize> = view.agent_blocks().map(|block| block.address()).collect();
        for (address, piece) in &rendered.old.agents {
            if !same.contains(address) {
                piece.texts_into(&mut rendered.agents);
            }
        }
        rendered
    }

    /// Ends it.
    pub(super) fn keep(self) {
        *self.old = self.new;
    }

    /// Tasks that are not over, or were not when their agent became unreachable.
    pub(super) fn tasks(
        &mut self,
        tasks: &Shelf<TaskId, Task>,
    ) -> serde_json::Result<Vec<Arc<TaskPiece<TaskId>>>> {
        let mut pieces = Vec::new();
        for block in tasks.blocks() {
            let address = block.address();
            let piece = match self.old.tasks.get(&address) {
                Some(piece) => Arc::clone(piece),
                None => {
                    let piece = TaskPiece::of(block, &self.tasks)?;
                    for (agent, mark) in &piece.marks {
                        differ(&mut self.in_use, agent, *mark);
                    }
                    Arc::new(piece)
                }
            };
            self.new.tasks.insert(address, Arc::clone(&piece));
            pieces.push(piece);
        }
        Ok(pieces)
    }

    /// Tasks that are over.
    pub(super) fn ended(
        &mut self,
        tasks: &Shelf<u64, Task>,
    ) -> serde_json::Result<Vec<Arc<TaskPiece<u64>>>> {
        let mut pieces = Vec::new();
        for block in tasks.blocks() {
            let address = block.address();
            let piece = match self.old.ended.get(&address) {
                Some(piece) => Arc::clone(piece),
                None => Arc::new(TaskPiece::of(block, &self.tasks)?),
            };
            self.new.ended.insert(address, Arc::clone(&piece));
            pieces.push(piece);
        }
        Ok(pieces)
    }

    /// Agents: those that are registered, and those that are waited for. After the tasks.
    pub(super) fn agents(
        &mut self,
        view: &View,
        registered: impl Fn(&Agent, &mut Vec<u8>) -> serde_json::Result<()>,
        recovered: impl Fn(&Agent, &mut Vec<u8>) -> serde_json::Result<()>,
    ) -> serde_json::Result<(Vec<Bytes>, Vec<Bytes>)> {
        let mut lists = (Vec::new(), Vec::new());
        let touched = self.touched(view);
        for block in view.agent_blocks() {
            let address = block.address();
            let mut known = self.old.agents.get(&address);
            if let Some(piece) = known
                && block.values().any(|agent| touched.contains(&agent.id))
            {
                piece.texts_into(&mut self.agents);
                known = None;
            }
            let piece = match known {
                Some(piece) => Arc::clone(piece),
                None => {
                    let mut piece = AgentTexts::default();
                    for agent in block.values() {
                        let text = self.agents.get(&address_of(agent));
                        match text.filter(|_| !touched.contains(&agent.id)) {
                            Some((known, waited_for)) => {
                                piece.registered.extend_from_slice(known);
                                piece.recovered.extend_from_slice(waited_for);
                            }
                            None => {
                                registered(agent, &mut piece.registered)?;
                                recovered(agent, &mut piece.recovered)?;
                            }
                        }
                        piece.end();
                    }
                    Arc::new(piece.finish(block))
                }
            };
            lists.0.push(piece.registered.clone());
            lists.1.push(piece.recovered.clone());
            self.new.agents.insert(address, piece);
        }
        Ok(lists)
    }

    /// Agents that show something else than before although they themselves may be the same.
    fn touched(&mut self, view: &View) -> HashSet<AgentId> {
        let records = view.registry().agents();
        let wanted = records.filter(|record| record.upkeep != Upkeep::default());
        self.new.upkeep = wanted
            .map(|record| (record.agent.clone(), record.upkeep))
            .collect();
        let (old, new) = (&self.old.upkeep, &self.new.upkeep);
        let ids = old.keys().chain(new.keys());
        let upkeep = ids.filter(|id| old.get(*id) != new.get(*id)).cloned();
        let in_use = self.in_use.iter().filter(|(_, sum)| **sum != 0);
        upkeep.chain(in_use.map(|(id, _)| id.clone())).collect()
    }
}

/// An agents' piece that is being made.
#[derive(Default)]
struct AgentTexts {
    registered: Vec<u8>,
    recovered: Vec<u8>,
    ends: Vec<(usize, usize)>,
}

impl AgentTexts {
    fn end(&mut self) {
        self.ends
            .push((self.registered.len(), self.recovered.len()));
    }

    fn finish(self, block: Block<AgentId, Agent>) -> AgentPiece {
        AgentPiece {
            block,
            registered: self.registered.into(),
            recovered: self.recovered.into(),
            ends: self.ends,
        }
    }
}

impl AgentPiece {
    fn texts_into(&self, texts: &mut HashMap<usize, (Bytes, Bytes)>) {
        let mut from = (0, 0);
        for (agent, to) in self.block.values().zip(&self.ends) {
            let known = self.registered.slice(from.0..to.0);
            let waited_for = self.recovered.slice(from.1..to.1);
            texts.insert(address_of(agent), (known, waited_for));
            from = *to;
        }
    }
}

impl<K> TaskPiece<K> {
    fn of(block: Block<K, Task>, texts: &HashMap<usize, Bytes>) -> serde_json::Result<Self> {
        let mut json = Vec::new();
        let mut ends = Vec::new();
        let mut used = Resources::new();
        let mut marks = Vec::new();
        for task in block.values() {
            match texts.get(&address_of(task)) {
                Some(text) => json.extend_from_slice(text),
                None => item(&mut json, &ShownTask::from(task))?,
            }
            ends.push(json.len());
            if task.is_using_resources() {
                used.add(&task.spec.resources);
                marks.push((task.agent.clone(), mark(task)));
            }
        }
        Ok(Self {
            block,
            json: json.into(),
            ends,
            used,
            marks,
        })
    }

    fn texts_into(&self, texts: &mut HashMap<usize, Bytes>) {
        let mut from = 0;
        for (task, to) in self.block.values().zip(&self.ends) {
            texts.insert(address_of(task), self.json.slice(from..*to));
            from = *to;
        }
    }
}

/// The addresses of all blocks of a framework's tasks.
fn blocks_of(framework: &Framework) -> impl Iterator<Item = usize> {
    let live = framework
        .tasks
        .blocks()
        .chain(framework.unreachable.blocks());
    let ended = framework.completed.blocks().map(|block| block.address());
    live.map(|block| block.address()).chain(ended)
}

fn differ(sums: &mut HashMap<AgentId, u64>, agent: &AgentId, mark: u64) {
    match sums.get_mut(agent) {
        Some(sum) => *sum = sum.wrapping_add(mark),
        None => drop(sums.insert(agent.clone(), mark)),
    }
}

/// No other value has it as long as a block with this one is held.
fn address_of<T>(value: &T) -> usize {
    std::ptr::from_ref(value).addr()
}

/// Differs for any two tasks that are in memory together, the same task before and after a change included.
fn mark(task: &Task) -> u64 {
    // Odd and large, so that sums of neighbouring addresses differ.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    (address_of(task) as u64).wrapping_mul(SPREAD)
}
