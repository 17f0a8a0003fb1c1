//! Agents as the allocator sees them: what they have, who holds what of it, what is free.
//!
//! Called by the master through [`Allocator`]; the sums behind it are kept in `books`. Invariant: `available` is `total`
//! without all allocations (of what is shared: all of it, always), and `Slots::free` is the sum of what quota may count
//! on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use nesos_base::time::Instant;
use nesos_wire::resource::Resources;
use nesos_wire::{AgentId, FrameworkId};

use super::few::Few;
use super::order::Kind;
use super::quantities::{Names, Quantities, Sums};
use super::{Allocator, Handle, Holder};

/// What of an agent decides who may be offered it, beside its resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentFacts {
    /// It is in another region than the master: for REGION_AWARE frameworks only.
    pub is_remote: bool,
    /// MULTI_ROLE: without it nothing for MULTI_ROLE frameworks.
    pub is_multi_role: bool,
    /// HIERARCHICAL_ROLE: without it nothing for nested roles.
    pub is_hierarchical: bool,
}

impl Default for AgentFacts {
    fn default() -> Self {
        Self {
            is_remote: false,
            is_multi_role: true,
            is_hierarchical: true,
        }
    }
}

/// What one client has on an agent, or the part of it that was given as it was free: that part may well come back as it
/// is.
#[derive(Debug, Default)]
pub(super) struct Holding {
    pub(super) client: u32,
    pub(super) resources: Resources,
    pub(super) sums: Sums,
}

#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) is_active: bool,
    /// Everything it has is held under no particular terms.
    pub(super) is_plain: bool,
    /// It has no ranges and sets.
    pub(super) is_scalar: bool,
    pub(super) has_gpus: bool,
    /// More is in use than there is: what is recovered need not be free.
    pub(super) is_overcommitted: bool,
    pub(super) facts: AgentFacts,
    pub(super) available: Resources,
    /// What of that is neither reserved nor revocable.
    pub(super) common: Quantities,
    /// By client, ascending; at most [`MAX_PER_CLIENT`] each.
    pub(super) holdings: Few<Holding, 2>,
    pub(super) id: AgentId,
    pub(super) total: Resources,
}

/// What is in use, and what was offered last.
pub(super) const MAX_PER_CLIENT: usize = 2;

impl Slot {
    /// The places of a client's holdings.
    pub(super) fn places(&self, client: u32) -> std::ops::Range<usize> {
        let start = self
            .holdings
            .partition_point(|holding| holding.client < client);
        let own = self.holdings[start..].iter();
        start..start + own.take_while(|holding| holding.client == client).count()
    }

    /// What sets the agent apart: it has gpus, is in another region, is too old for MULTI_ROLE frameworks, for nested
    /// roles. For each there are clients that cannot have it, `Allocator::unfit`.
    pub(super) fn needs(&self, filter_gpus: bool) -> [bool; 4] {
        [
            self.has_gpus && filter_gpus,
            self.facts.is_remote,
            !self.facts.is_multi_role,
            !self.facts.is_hierarchical,
        ]
    }

    /// Puts a client's holdings together; says where that is, if it has any.
    pub(super) fn merge(&mut self, client: u32, names: &Names) -> Option<usize> {
        let places = self.places(client);
        if places.len() > 1 {
            let part = self.holdings.remove(places.start + 1);
            let first = &mut self.holdings[places.start];
            first.resources.add(&part.resources);
            first.sums = names.sums(&first.resources);
        }
        (!places.is_empty()).then_some(places.start)
    }
}

/// All agents, by dense number.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub(super) slots: Vec<Slot>,
    numbers: BTreeMap<AgentId, u32>,
    vacant: Vec<u32>,
    pub(super) free: Quantities,
    /// Who was looked for last, and is mostly looked for again.
    recent: AtomicU32,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn find(&self, id: &AgentId) -> Option<u32> {
        let recent = self.recent.load(Ordering::Relaxed);
        let known = self.slots.get(recent as usize);
        // Vacant slots have the empty id, which nobody has.
        if known.is_some_and(|slot| slot.id == *id) && !id.as_str().is_empty() {
            return Some(recent);
        }
        let at = self.numbers.get(id).copied()?;
        self.recent.store(at, Ordering::Relaxed);
        Some(at)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.numbers.values().copied()
    }

    pub(super) fn get(&self, at: u32) -> &Slot {
        &self.slots[at as usize]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.numbers.values().map(|at| self.get(*at))
    }

    pub(super) fn held_by(&self, client: u32) -> Vec<u32> {
        let held = self
            .numbers()
            .filter(|at| !self.get(*at).places(client).is_empty());
        held.collect()
    }
}

impl Allocator {
    /// An agent is here; it was not before.
    pub fn add_agent(&mut self, id: &AgentId, total: Resources) {
        self.remove_agent(id);
        let at = self.slots.vacant.pop().unwrap_or_else(|| {
            self.slots.slots.push(Slot::default());
            self.slots.slots.len() as u32 - 1
        });
        self.slots.slots[at as usize] = Slot {
            id: id.clone(),
            is_active: true,
            ..Slot::default()
        };
        self.slots.numbers.insert(id.clone(), at);
        *self.slots.recent.get_mut() = at;
        self.set_total(at, total);
        if self
            .resume_at
            .is_some_and(|agents| self.slots.len() >= agents)
        {
            self.resume();
        }
    }

    /// The agent has other resources than before.
    pub fn update_agent(&mut self, id: &AgentId, total: Resources) {
        if let Some(at) = self.slots.find(id) {
            self.set_total(at, total);
        }
    }

    /// The agent's region or capabilities.
    pub fn set_agent_facts(&mut self, id: &AgentId, facts: AgentFacts) {
        if let Some(at) = self.slots.find(id) {
            self.slots.slots[at as usize].facts = facts;
            self.candidates.insert(at);
        }
    }

    /// Whether the agent is here.
    pub fn has_agent(&self, id: &AgentId) -> bool {
        self.slots.find(id).is_some()
    }

    /// An inactive agent (disconnected, draining, deactivated) keeps its allocations and is not offered.
    pub fn set_agent_active(&mut self, id: &AgentId, active: bool) {
        if let Some(at) = self.slots.find(id) {
            self.slots.slots[at as usize].is_active = active;
            self.candidates.insert(at);
        }
    }

    /// The agent changed so much that old refusals mean nothing.
    pub fn clear_agent_filters(&mut self, id: &AgentId) {
        if let Some(at) = self.slots.find(id) {
            self.filters.clear_agent(at);
            self.candidates.insert(at);
        }
    }

    /// Lets the books of an agent share memory with those of others that have the same free and in use. For when much
    /// has changed: what changes next is copied first.
    pub fn share_memory(&mut self, id: &AgentId) {
        let Some(at) = self.slots.find(id) else {
            return;
        };
        let slot = &mut self.slots.slots[at as usize];
        let held = slot.holdings.iter_mut().map(|held| &mut held.resources);
        for bag in held.chain([&mut slot.available]) {
            if !bag.is_empty() {
                *bag = self.bags.share(std::mem::take(bag));
            }
        }
    }

    /// The agent is gone with everything allocated on it.
    pub fn remove_agent(&mut self, id: &AgentId) {
        let Some(at) = self.slots.find(id) else {
            return;
        };
        let holdings = self.slots.get(at).holdings.iter();
        let clients: Vec<u32> = holdings.map(|holding| holding.client).collect();
        for client in clients {
            self.release_all(client, at);
            self.forget_if_idle(client);
        }
        self.set_total(at, Resources::new());
        self.slots.numbers.remove(id);
        self.slots.slots[at as usize] = Slot::default();
        self.slots.vacant.push(at);
        self.filters.clear_agent(at);
        self.candidates.remove(at);
        self.held_back.remove(at);
        // Who had something there may lack what it is guaranteed: what was held back elsewhere may be for it.
        let waiting = std::mem::take(&mut self.held_back);
        self.candidates.extend(&waiting);
    }

    /// Something is in use that the allocator did not give out: a task the agent brought along.
    pub fn allocated(
        &mut self,
        framework: &FrameworkId,
        role: &str,
        agent: &AgentId,
        resources: &Resources,
    ) {
        if let Some(at) = self.slots.find(agent) {
            let client = self.ensure_client(framework, role);
            self.names.learn(resources);
            self.hold(client, at, resources, Kind::Allocated);
        }
    }

    /// Something is free again. On an agent that is gone: nothing to do, it went with the agent.
    pub fn recover(
        &mut self,
        framework: &FrameworkId,
        role: &str,
        agent: &AgentId,
        resources: &Resources,
    ) {
        let holder = Holder {
            framework,
            role,
            agent,
            handle: Handle::default(),
        };
        self.give_back(holder, resources);
    }

    /// The same, of what was given out.
    pub fn give_back(&mut self, holder: Holder<'_>, resources: &Resources) {
        if let Some((client, at)) = self.look_up(holder) {
            self.release(client, at, resources);
            self.forget_if_idle(client);
        }
    }

    /// Hides these resources of the agent from the framework's role for a while.
    pub fn refuse(&mut self, holder: Holder<'_>, refused: Resources, until: Instant) {
        if let Some((client, at)) = self.look_up(holder) {
            self.filters.add(client, at, refused, until);
        }
    }

    /// Replaces what is allocated to a framework's role: the conversions of RESERVE, CREATE and their likes, which change
    /// the agent's total too. Says whether the role held what was to be converted. No allocation in the sense of fairness.
    pub fn update_allocation(
        &mut self,
        holder: Holder<'_>,
        consumed: &Resources,
        converted: &Resources,
    ) -> bool {
        let Some((client, at)) = self.look_up(holder) else {
            return false;
        };
        let slot = &mut self.slots.slots[at as usize];
        let place = slot.merge(client, &self.names);
        if !place.is_some_and(|place| slot.holdings[place].resources.contains(consumed)) {
            return false;
        }
        let mut total = slot.total.clone();
        total.subtract(consumed);
        total.add(converted);
        self.release(client, at, consumed);
        self.set_total(at, total);
        self.hold(client, at, converted, Kind::Added);
        true
    }

    /// Converts free resources of an agent, for an operator. Refused if they are not all free.
    pub fn update_available(
        &mut self,
        agent: &AgentId,
        consumed: &Resources,
        converted: &Resources,
    ) -> bool {
        let Some(at) = self.slots.find(agent) else {
            return false;
        };
        let slot = self.slots.get(at);
        if !slot.available.contains(consumed) {
            return false;
        }
        let mut total = slot.total.clone();
        total.subtract(consumed);
        total.add(converted);
        self.set_total(at, total);
        true
    }

    /// Frameworks with anything offered or in use on an agent.
    pub fn holders(&self, agent: &AgentId) -> std::collections::BTreeSet<FrameworkId> {
        let slot = self.slots.find(agent).map(|at| self.slots.get(at));
        let holdings = slot.into_iter().flat_map(|slot| slot.holdings.iter());
        holdings
            .map(|holding| self.identities[holding.client as usize].framework.clone())
            .collect()
    }

    /// What is free on an agent.
    pub fn available(&self, agent: &AgentId) -> Option<&Resources> {
        self.slots
            .find(agent)
            .map(|at| &self.slots.get(at).available)
    }
}
