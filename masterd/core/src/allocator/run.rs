//! One run: gives out what is free on the agents that changed.
//!
//! Called through [`Allocator::allocate`]. Two stages, as in Mesos: first roles get what advances guarantees they have not
//! met, then everybody gets by fairness what no guarantee needs. Within an agent, roles and their frameworks are asked in
//! the tree's order; agents are taken in the order of their numbers. Invariant: a run never gives out more than is
//! available, nor more than a limit or the headroom allows.

use std::collections::BTreeMap;

use nesos_wire::resource::{Resources, Scalar, Value};
use nesos_wire::{AgentId, FrameworkId};

use super::bits::Bits;
use super::quantities::Quantities;
use super::slots::Slot;
use super::tree::{Cursor, Key};
use super::{Allocation, Allocator};

/// Up to this many clients left to ask are sorted on the spot instead of looked for in the order.
const FEW: u32 = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Guarantees,
    Fair,
}

/// What of an agent a role may be offered.
enum Share {
    Nothing,
    Whole,
    Part(Resources, Quantities),
}

/// Scratch space and results of a run.
struct Run<'a> {
    stage: Stage,
    is_eligible: &'a dyn Fn(&FrameworkId, &str, &AgentId) -> bool,
    cursor: Cursor,
    hidden: Bits,
    given: Vec<(u32, u32, Resources)>,
}

impl Allocator {
    /// Gives out what is free on the agents that changed.
    pub fn allocate(&mut self) -> Vec<Allocation> {
        self.allocate_where(|_, _, _| true)
    }

    /// The same, asking first whether a framework's role with offer constraints may be offered an agent. The answer must
    /// not change without `clear_agent_filters` or `put_framework` saying that something did.
    pub fn allocate_where(
        &mut self,
        is_eligible: impl Fn(&FrameworkId, &str, &AgentId) -> bool,
    ) -> Vec<Allocation> {
        if !self.has_work() {
            return Vec::new();
        }
        self.rank_frameworks();
        self.tree.refresh(&self.names);
        let candidates = std::mem::take(&mut self.candidates);
        let mut run = Run {
            stage: Stage::Guarantees,
            is_eligible: &is_eligible,
            cursor: Cursor::new(),
            hidden: Bits::default(),
            given: Vec::with_capacity(candidates.len()),
        };
        for at in &candidates {
            if !self.quotas.has_unsatisfied() {
                break;
            }
            self.give_agent(&mut run, *at);
        }
        let has_two_stages = !run.given.is_empty();
        run.stage = Stage::Fair;
        for at in &candidates {
            self.give_agent(&mut run, *at);
        }
        self.allocations(run.given, has_two_stages)
    }

    /// Framework ids are compared often and change seldom: their places in the order stand for them.
    fn rank_frameworks(&mut self) {
        if !std::mem::take(&mut self.has_new_framework) {
            return;
        }
        for (rank, known) in (0u32..).zip(self.frameworks.values()) {
            for client in known.clients.values() {
                self.tree.clients[*client as usize].rank = rank;
            }
        }
        self.tree.outdate();
    }

    fn give_agent(&mut self, run: &mut Run<'_>, at: u32) {
        let slot = self.slots.get(at);
        if !slot.is_active || slot.available.is_empty() {
            return;
        }
        run.hidden.clear();
        self.filters
            .hidden_from(at, &slot.available, &mut run.hidden);
        self.tree.start(&mut run.cursor);
        while let Some(role) = self.tree.next_role(&mut run.cursor) {
            self.give_role(run, at, role);
            if self.slots.get(at).available.is_empty() {
                return;
            }
        }
    }

    fn give_role(&mut self, run: &mut Run<'_>, at: u32, role: u32) {
        let mut last = None;
        loop {
            let share = self.share_of(self.slots.get(at), role, run.stage);
            let Some(key) = self.next_client(run, at, role, &share, last) else {
                return;
            };
            let client = key.3;
            let resources = match share {
                Share::Nothing => return,
                Share::Whole => self.hold_all(client, at),
                Share::Part(part, sums) => {
                    self.hold(client, at, part.clone(), &sums);
                    part
                }
            };
            run.given.push((client, at, resources));
            if self.slots.get(at).available.is_empty() {
                return;
            }
            last = Some(key);
        }
    }

    /// The first client of the role after `last` that may and wants to have its share of the agent.
    fn next_client(
        &self,
        run: &Run<'_>,
        at: u32,
        role: u32,
        share: &Share,
        last: Option<Key>,
    ) -> Option<Key> {
        if matches!(share, Share::Nothing) {
            return None;
        }
        let slot = self.slots.get(at);
        let node = &self.tree.nodes[role as usize];
        let takes = |key: &Key| self.takes(run, slot, at, key.3, share);
        if node.active_clients > FEW && !run.hidden.is_empty() {
            let open = node.active.count_without(&run.hidden);
            if open <= FEW {
                let open = node.active.iter_without(&run.hidden);
                let open = open.map(|client| self.tree.key(client));
                let mut open: Vec<Key> = open.filter(|key| Some(*key) > last).collect();
                open.sort_unstable();
                return open.into_iter().find(takes);
            }
        }
        self.tree.clients_after(role, last).find(takes)
    }

    fn takes(&self, run: &Run<'_>, slot: &Slot, at: u32, client: u32, share: &Share) -> bool {
        if run.hidden.contains(client) {
            return false;
        }
        let identity = &self.identities[client as usize];
        let may = (!slot.has_gpus || !self.filter_gpu_resources || identity.wants_gpus)
            && (!slot.facts.is_remote || identity.is_region_aware)
            && (slot.facts.is_multi_role || !identity.is_multi_role)
            && (slot.facts.is_hierarchical || !identity.is_nested);
        if !may {
            return false;
        }
        let minima = identity.minima.as_ref().unwrap_or(&self.minima);
        let is_enough = |sums: &Quantities| {
            minima.is_empty() || minima.iter().any(|least| sums.contains(least))
        };
        let fits = match share {
            Share::Nothing => false,
            Share::Whole => is_enough(&slot.available_sums),
            Share::Part(part, sums) => is_enough(sums) && !self.filters.hides(client, at, part),
        };
        fits && (!identity.is_constrained
            || (run.is_eligible)(&identity.framework, &identity.role, &slot.id))
    }

    /// What quota leaves of the agent for a role: in the first stage what advances the role's guarantees and, with that,
    /// what its limits and the surplus over all guarantees allow; in the second the latter only.
    fn share_of(&self, slot: &Slot, role: u32, stage: Stage) -> Share {
        if self.quotas.is_empty() {
            return Share::Whole;
        }
        let entry = self.quotas.entry(self.tree.nodes[role as usize].top);
        let free = &slot.available_sums;
        let mut caps = Quantities::default();
        let (mut advances, mut is_whole) = (false, true);
        for name in 0..free.len() {
            let guaranteed = match (stage, entry) {
                (Stage::Guarantees, Some(entry)) => {
                    entry.unsatisfied().get(name).min(free.get(name))
                }
                _ => 0,
            };
            advances |= guaranteed > 0;
            let surplus = self.slots.free.get(name) - self.quotas.required.get(name);
            let cap = guaranteed.saturating_add(surplus.max(0));
            let cap = entry.map_or(cap, |entry| cap.min(entry.room(name)));
            is_whole &= cap >= free.get(name);
            caps.set(name, cap.min(free.get(name)));
        }
        if stage == Stage::Guarantees && !advances {
            return Share::Nothing;
        }
        if is_whole {
            return Share::Whole;
        }
        let part: Resources = slot
            .available
            .iter()
            .map(|(name, value)| match value {
                Value::Scalar(_) => {
                    let at = self.names.find(name);
                    (name, Value::Scalar(Scalar(at.map_or(0, |at| caps.get(at)))))
                }
                other => (name, other.clone()),
            })
            .collect();
        if part.is_empty() {
            Share::Nothing
        } else {
            Share::Part(part, caps)
        }
    }

    fn allocations(
        &self,
        given: Vec<(u32, u32, Resources)>,
        has_two_stages: bool,
    ) -> Vec<Allocation> {
        let name = |(client, at, resources): (u32, u32, Resources)| {
            let identity = &self.identities[client as usize];
            Allocation {
                framework: identity.framework.clone(),
                role: identity.role.clone(),
                agent: self.slots.get(at).id.clone(),
                resources,
            }
        };
        if !has_two_stages {
            return given.into_iter().map(name).collect();
        }
        // Both stages may have given a client something of the same agent: that is one offer.
        let mut merged: BTreeMap<(u32, u32), Resources> = BTreeMap::new();
        for (client, at, resources) in given {
            merged.entry((at, client)).or_default().add(&resources);
        }
        merged
            .into_iter()
            .map(|((at, client), resources)| name((client, at, resources)))
            .collect()
    }
}
