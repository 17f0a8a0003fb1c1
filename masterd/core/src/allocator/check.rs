//! The allocator's books, added up again: slow and complete.
//!
//! Called by the crate's `check` and by the golden scripts. Each sentence is a bug.

use std::collections::{BTreeMap, BTreeSet};

use nesos_wire::AgentId;
use nesos_wire::resource::{Entry, Resources};

use super::Allocator;
use super::books::is_same;
use super::quantities::{Quantities, is_common};
use super::slots::Slot;
use super::tree::ROOT;

/// Whose sum: a client's, a role's own clients', a subtree's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Client(u32),
    Own(u32),
    Subtree(u32),
}

impl Allocator {
    /// All that is allocated on an agent.
    pub fn allocated_on(&self, agent: &AgentId) -> Resources {
        let slot = self.slots.find(agent).map(|at| self.slots.get(at));
        let held = slot.into_iter().flat_map(|slot| slot.holdings.iter());
        held.fold(Resources::new(), |mut sum, holding| {
            sum.add(&holding.resources);
            sum
        })
    }

    /// Every broken invariant, as a sentence.
    pub fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.check_sums(&mut found);
        let mut free = Quantities::default();
        for slot in self.slots.iter() {
            let mut available = slot.total.clone();
            for holding in slot.holdings.iter() {
                available.subtract(&holding.resources.filter(|entry| !entry.is_shared()));
            }
            if available != slot.available {
                found.push(format!("agent {}: available is wrong", slot.id));
            }
            free.add(&self.names.sum(&available, is_common));
        }
        if free != self.slots.free {
            found.push("the headroom is wrong".to_owned());
        }
        for (role, _) in self.quotas() {
            if !self.is_consumption_right(role) {
                found.push(format!("the consumption of role {role} is wrong"));
            }
        }
        found
    }

    /// What everybody holds and what is common of it by role, against the tree's sums.
    fn check_sums(&self, found: &mut Vec<String>) {
        let mut sums: BTreeMap<Owner, Quantities> = BTreeMap::new();
        let mut common: BTreeMap<u32, Quantities> = BTreeMap::new();
        let mut agents: BTreeMap<u32, u32> = BTreeMap::new();
        for slot in self.slots.iter() {
            self.add_up(slot, &mut sums);
            for holding in slot.holdings.iter() {
                let node = self.tree.clients[holding.client as usize].node;
                let top = self.tree.nodes[node as usize].top;
                let part = self.names.sum(&holding.resources, is_common);
                common.entry(top).or_default().add(&part);
            }
            let clients: BTreeSet<u32> = slot.holdings.iter().map(|at| at.client).collect();
            for client in clients {
                *agents.entry(client).or_default() += 1;
            }
        }
        let is_right = |owner: Owner, sum: &Quantities| {
            sums.get(&owner)
                .map_or_else(|| sum.is_zero(), |right| right == sum)
        };
        for known in self.frameworks.values() {
            for (role, client) in &known.clients {
                let framework = &self.identities[*client as usize].framework;
                let books = &self.tree.clients[*client as usize];
                let is_counted = agents.get(client).copied().unwrap_or(0) == books.agents;
                if !is_counted || !is_right(Owner::Client(*client), &books.held.allocated) {
                    found.push(format!("the tree is wrong about {framework} in {role}"));
                }
            }
        }
        for (at, node) in (0u32..).zip(&self.tree.nodes).skip(1) {
            let is_right = is_right(Owner::Own(at), &node.own.allocated)
                && is_right(Owner::Subtree(at), &node.subtree.allocated)
                && common
                    .get(&at)
                    .map_or_else(|| node.common.is_zero(), |sum| *sum == node.common);
            if !is_right {
                found.push(format!("the tree is wrong about role {}", node.path));
            }
        }
    }

    fn add_up(&self, slot: &Slot, sums: &mut BTreeMap<Owner, Quantities>) {
        let mut counted: Vec<(Owner, &Entry)> = Vec::new();
        for holding in slot.holdings.iter() {
            let mut node = self.tree.clients[holding.client as usize].node;
            let mut owners = vec![Owner::Client(holding.client), Owner::Own(node)];
            while node != ROOT {
                owners.push(Owner::Subtree(node));
                node = self.tree.nodes[node as usize].parent;
            }
            for owner in owners {
                for entry in holding.resources.entries() {
                    let is_counted =
                        |(of, have): &(Owner, &Entry)| *of == owner && is_same(have, entry);
                    if entry.is_shared() {
                        if counted.iter().any(is_counted) {
                            continue;
                        }
                        counted.push((owner, entry));
                    }
                    let bag: Resources = [entry.clone()].into_iter().collect();
                    let amount = self.names.sum(&bag, |_| true);
                    sums.entry(owner).or_default().add(&amount);
                }
            }
        }
    }
}
