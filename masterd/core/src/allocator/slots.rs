//! Agents as the allocator sees them: what they have, who holds what of it, what is free.
//!
//! Called by the master through [`Allocator`]. Invariant: `available` is `total` without all allocations, and
//! `Slots::free` is the sum of what quota may count on.

use std::collections::BTreeMap;

use nesos_wire::resource::{Resources, Scalar};
use nesos_wire::{AgentId, FrameworkId};

use super::quantities::Quantities;
use super::{Allocation, Allocator};

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

#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) id: AgentId,
    pub(super) facts: AgentFacts,
    pub(super) is_active: bool,
    pub(super) has_gpus: bool,
    pub(super) total: Resources,
    total_sums: Quantities,
    pub(super) allocations: BTreeMap<u32, Resources>,
    pub(super) available: Resources,
    pub(super) available_sums: Quantities,
    /// More is in use than there is: what is recovered need not be free.
    is_overcommitted: bool,
}

/// All agents, by dense number.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    numbers: BTreeMap<AgentId, u32>,
    vacant: Vec<u32>,
    pub(super) free: Quantities,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn find(&self, id: &AgentId) -> Option<u32> {
        self.numbers.get(id).copied()
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

    pub(super) fn holding(&self, client: u32) -> Vec<u32> {
        let held = self
            .numbers()
            .filter(|at| self.get(*at).allocations.contains_key(&client));
        held.collect()
    }

    pub(super) fn is_holding(&self, client: u32) -> bool {
        self.iter()
            .any(|slot| slot.allocations.contains_key(&client))
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

    /// The agent is gone with everything allocated on it.
    pub fn remove_agent(&mut self, id: &AgentId) {
        let Some(at) = self.slots.find(id) else {
            return;
        };
        let clients: Vec<u32> = self.slots.get(at).allocations.keys().copied().collect();
        for client in clients {
            self.recover_all(client, at);
            if !self.tree.clients[client as usize].is_active {
                let identity = &self.identities[client as usize];
                let (framework, role) = (identity.framework.clone(), identity.role.clone());
                self.refresh_client(&framework, &role);
            }
        }
        self.set_total(at, Resources::new());
        self.slots.numbers.remove(id);
        self.slots.slots[at as usize] = Slot::default();
        self.slots.vacant.push(at);
        self.filters.clear_agent(at);
        self.candidates.remove(&at);
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
            let sums = self.names.quantities(resources);
            self.hold(client, at, resources.clone(), &sums);
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
        let Some(at) = self.slots.find(agent) else {
            return;
        };
        let Some(client) = self.client(framework, role) else {
            return;
        };
        let Some(held) = self.slots.slots[at as usize].allocations.get_mut(&client) else {
            return;
        };
        if held == resources {
            self.recover_all(client, at);
        } else {
            let mut freed = held.clone();
            held.subtract(resources);
            freed.subtract(held);
            if held.is_empty() {
                self.slots.slots[at as usize].allocations.remove(&client);
            }
            let sums = self.names.quantities(&freed);
            self.release(client, at, freed, &sums);
        }
        if !self.tree.clients[client as usize].is_active {
            self.refresh_client(framework, role);
        }
    }

    /// Replaces what is allocated to a framework's role: the conversions of RESERVE, CREATE and their likes, which change
    /// the agent's total too. Says whether the role held what was to be converted.
    pub fn update_allocation(&mut self, of: &Allocation, converted: &Resources) -> bool {
        let (Some(at), Some(client)) = (
            self.slots.find(&of.agent),
            self.client(&of.framework, &of.role),
        ) else {
            return false;
        };
        let slot = self.slots.get(at);
        if !slot
            .allocations
            .get(&client)
            .is_some_and(|held| held.contains(&of.resources))
        {
            return false;
        }
        let mut total = slot.total.clone();
        total.subtract(&of.resources);
        total.add(converted);
        self.recover(&of.framework, &of.role, &of.agent, &of.resources);
        self.set_total(at, total);
        self.allocated(&of.framework, &of.role, &of.agent, converted);
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
        let clients = slot.into_iter().flat_map(|slot| slot.allocations.keys());
        clients
            .map(|client| self.identities[*client as usize].framework.clone())
            .collect()
    }

    /// What is free on an agent.
    pub fn available(&self, agent: &AgentId) -> Option<&Resources> {
        self.slots
            .find(agent)
            .map(|at| &self.slots.get(at).available)
    }

    pub(super) fn recover_all(&mut self, client: u32, at: u32) {
        if let Some(held) = self.slots.slots[at as usize].allocations.remove(&client) {
            let sums = self.names.quantities(&held);
            self.release(client, at, held, &sums);
        }
    }

    /// Gives free resources to a client.
    pub(super) fn hold(&mut self, client: u32, at: u32, resources: Resources, sums: &Quantities) {
        let slot = &mut self.slots.slots[at as usize];
        if slot.available == resources {
            slot.available = Resources::new();
        } else if slot.available.contains(&resources) {
            slot.available.subtract(&resources);
        } else {
            slot.is_overcommitted = true;
        }
        match slot.allocations.get_mut(&client) {
            Some(held) => held.add(&resources),
            None => {
                slot.allocations.insert(client, resources);
            }
        }
        self.count_available(at, |available| available.subtract(sums));
        self.charge(client, sums);
    }

    /// Gives all that is free on an agent to a client; returns what that is.
    pub(super) fn hold_all(&mut self, client: u32, at: u32) -> Resources {
        let slot = &mut self.slots.slots[at as usize];
        let sums = std::mem::take(&mut slot.available_sums);
        let resources = std::mem::take(&mut slot.available);
        let given = resources.clone();
        match slot.allocations.get_mut(&client) {
            Some(held) => held.add(&resources),
            None => {
                slot.allocations.insert(client, resources);
            }
        }
        self.slots.free.subtract(&sums);
        self.charge(client, &sums);
        given
    }

    fn charge(&mut self, client: u32, sums: &Quantities) {
        self.tree.allocated(&self.names, client, sums);
        let node = self.tree.clients[client as usize].node;
        self.quotas.charge(self.tree.nodes[node as usize].top, sums);
    }

    /// Takes them back; they are out of `allocations` already.
    fn release(&mut self, client: u32, at: u32, resources: Resources, sums: &Quantities) {
        let slot = &mut self.slots.slots[at as usize];
        if slot.available.is_empty() {
            slot.available = resources;
        } else {
            slot.available.add(&resources);
        }
        self.count_available(at, |available| available.add(sums));
        self.tree.unallocated(&self.names, client, sums);
        let node = self.tree.clients[client as usize].node;
        self.quotas
            .release(self.tree.nodes[node as usize].top, sums);
        self.candidates.insert(at);
    }

    fn set_total(&mut self, at: u32, total: Resources) {
        let sums = self.names.quantities(&total);
        let slot = &mut self.slots.slots[at as usize];
        let old = std::mem::replace(&mut slot.total_sums, sums.clone());
        slot.has_gpus = total.scalar("gpus") > Scalar(0);
        slot.total = total;
        // Counted from the ground: what is free may have changed in any way.
        slot.is_overcommitted = true;
        if old != sums {
            self.tree.totals.subtract(&old);
            self.tree.totals.add(&sums);
            self.tree.outdate();
        }
        self.count_available(at, |_| {});
        self.candidates.insert(at);
    }

    /// Brings the sums up to date after a change of what is available.
    fn count_available(&mut self, at: u32, change: impl Fn(&mut Quantities)) {
        let slot = &mut self.slots.slots[at as usize];
        if !slot.is_overcommitted {
            change(&mut slot.available_sums);
            change(&mut self.slots.free);
            return;
        }
        let mut used = Resources::new();
        slot.allocations.values().for_each(|held| used.add(held));
        slot.is_overcommitted = !slot.total.contains(&used);
        slot.available = slot.total.clone();
        slot.available.subtract(&used);
        self.slots.free.subtract(&slot.available_sums);
        slot.available_sums = self.names.quantities(&slot.available);
        self.slots.free.add(&slot.available_sums);
    }
}
