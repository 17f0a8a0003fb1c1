//! Who has how much: moves resources between agents and clients and keeps every sum that depends on it.
//!
//! Called by `slots` and `run`. What most agents have, resources under no particular terms, takes a short way here: the
//! bag and its sums change hands as they are. Invariant: the tree's sums equal the sums over all holdings, where what is
//! shared counts once per agent for every client, role and subtree that has a holder.

use nesos_wire::resource::{Entry, Resources, Scalar, Value};

use super::Allocator;
use super::order::{ALL, Change, Kind};
use super::quantities::{Quantities, Sums, is_common};
use super::slots::{Holding, MAX_PER_CLIENT};

impl Allocator {
    /// Gives a client all that is free on an agent on which everything is plain; returns what that is.
    pub(super) fn hold_all(&mut self, client: u32, at: u32) -> Resources {
        let slot = &mut self.slots.slots[at as usize];
        let common = std::mem::take(&mut slot.common);
        let given = std::mem::take(&mut slot.available);
        self.slots.free.subtract(&common);
        self.charge(client, &common, &common, Kind::Allocated);
        let slot = &mut self.slots.slots[at as usize];
        let mut places = slot.places(client);
        if places.len() == MAX_PER_CLIENT {
            slot.merge(client, &self.names);
            places.end = places.start + 1;
        }
        if places.is_empty() {
            self.tree.clients[client as usize].agents += 1;
        }
        let holding = Holding {
            client,
            resources: given.clone(),
            sums: Sums::of_common(common),
        };
        slot.holdings.insert(places.end, holding);
        given
    }

    /// Gives a client something of an agent.
    pub(super) fn hold(&mut self, client: u32, at: u32, part: &Resources, kind: Kind) {
        let slot = &mut self.slots.slots[at as usize];
        let place = slot.merge(client, &self.names);
        let old = place.map_or(&[][..], |place| slot.holdings[place].resources.entries());
        let is_new = |entry: &Entry| !old.iter().any(|have| is_same(have, entry));
        let shared = shared(part, is_new);
        let single = part.filter(|entry| !entry.is_shared());
        let sums = self.names.sums(&single);
        self.charge(client, &sums.all, sums.common(), kind);
        for entry in &shared {
            self.charge_shared(client, at, entry, Kind::Added);
        }
        let slot = &mut self.slots.slots[at as usize];
        let place = place.unwrap_or_else(|| {
            let holding = Holding {
                client,
                resources: Resources::new(),
                sums: Sums::default(),
            };
            let place = slot.places(client).start;
            slot.holdings.insert(place, holding);
            self.tree.clients[client as usize].agents += 1;
            place
        });
        let holding = &mut slot.holdings[place];
        holding.resources.add(part);
        holding.sums = self.names.sums(&holding.resources);
        if slot.is_overcommitted || !slot.available.contains(&single) {
            self.recount(at);
        } else {
            slot.available.subtract(&single);
            slot.common.subtract(sums.common());
            self.slots.free.subtract(sums.common());
        }
    }

    /// Takes back what a client has of this, as far as it has it.
    pub(super) fn release(&mut self, client: u32, at: u32, part: &Resources) {
        let slot = &mut self.slots.slots[at as usize];
        let same = |place: &usize| slot.holdings[*place].resources == *part;
        if let Some(place) = slot.places(client).rev().find(same) {
            self.release_place(client, at, place);
            return;
        }
        let Some(place) = slot.merge(client, &self.names) else {
            return;
        };
        let holding = &mut slot.holdings[place];
        let mut left = holding.resources.clone();
        left.subtract(part);
        if left.is_empty() {
            self.release_place(client, at, place);
            return;
        }
        let mut freed = holding.resources.filter(|entry| !entry.is_shared());
        freed.subtract(&left);
        let is_gone = |entry: &Entry| !left.entries().iter().any(|have| is_same(have, entry));
        let shared = shared(&holding.resources, is_gone);
        holding.sums = self.names.sums(&left);
        holding.resources = left;
        let sums = self.names.sums(&freed);
        self.free(client, at, &freed, &sums);
        for entry in &shared {
            self.charge_shared(client, at, entry, Kind::Removed);
        }
    }

    /// Takes back all that a client has on an agent.
    pub(super) fn release_all(&mut self, client: u32, at: u32) {
        for place in self.slots.get(at).places(client).rev() {
            self.release_place(client, at, place);
        }
    }

    fn release_place(&mut self, client: u32, at: u32, place: usize) {
        let slot = &mut self.slots.slots[at as usize];
        let holding = slot.holdings.remove(place);
        if slot.places(client).is_empty() {
            self.tree.clients[client as usize].agents -= 1;
        }
        if holding.sums.is_common() {
            self.free(client, at, &holding.resources, &holding.sums);
            return;
        }
        let single = holding.resources.filter(|entry| !entry.is_shared());
        let sums = self.names.sums(&single);
        self.free(client, at, &single, &sums);
        for entry in &shared(&holding.resources, |_| true) {
            self.charge_shared(client, at, entry, Kind::Removed);
        }
    }

    /// The agent has this in total.
    pub(super) fn set_total(&mut self, at: u32, total: Resources) {
        self.names.learn(&total);
        let sums = self.names.sum(&total, |_| true);
        let slot = &mut self.slots.slots[at as usize];
        slot.has_gpus = total.scalar("gpus") > Scalar(0);
        let is_scalar = |entry: &Entry| matches!(entry.value(), Value::Scalar(_));
        slot.is_scalar = total.entries().iter().all(is_scalar);
        slot.is_plain = total.entries().iter().all(Entry::is_plain);
        let old = std::mem::replace(&mut slot.total, total.clone());
        let old_sums = self.names.sum(&old, |_| true);
        if old_sums != sums {
            self.tree.totals.subtract(&old_sums);
            self.tree.totals.add(&sums);
            self.tree.is_outdated = true;
        }
        self.quotas.set_reserved(&self.names, &old, &total);
        // From the ground: what is free may have changed in any way.
        self.recount(at);
        self.candidates.insert(at);
    }

    /// Puts a client's resources back to what is free; they are out of its holding already.
    fn free(&mut self, client: u32, at: u32, freed: &Resources, sums: &Sums) {
        self.charge(client, &sums.all, sums.common(), Kind::Removed);
        self.candidates.insert(at);
        let slot = &mut self.slots.slots[at as usize];
        if slot.is_overcommitted {
            self.recount(at);
            return;
        }
        slot.available.add(freed);
        slot.common.add(sums.common());
        self.slots.free.add(sums.common());
    }

    fn charge(&mut self, client: u32, amount: &Quantities, common: &Quantities, kind: Kind) {
        let change = Change {
            amount,
            kind,
            reach: ALL,
        };
        self.tree.change(client, change);
        let node = self.tree.clients[client as usize].node;
        let top = self.tree.nodes[node as usize].top;
        let charged = &mut self.tree.nodes[top as usize].common;
        if kind == Kind::Removed {
            charged.subtract(common);
            self.quotas.release(top, common);
        } else {
            charged.add(common);
            self.quotas.charge(top, common);
        }
    }

    /// What is shared counts once per agent in every sum, however many of those summed up hold it.
    fn charge_shared(&mut self, client: u32, at: u32, entry: &Entry, kind: Kind) {
        let others = self.slots.get(at).holdings.iter().filter(|holding| {
            let entries = holding.resources.entries();
            holding.client != client && entries.iter().any(|have| is_same(have, entry))
        });
        let others = others.map(|holding| self.tree.clients[holding.client as usize].node);
        let others: Vec<u32> = others.collect();
        let node = self.tree.clients[client as usize].node;
        let mut levels = 0;
        let mut above = node;
        while above != super::tree::ROOT
            && !others
                .iter()
                .any(|other| self.tree.is_within(*other, above))
        {
            levels += 1;
            above = self.tree.nodes[above as usize].parent;
        }
        let bag: Resources = [entry.clone()].into_iter().collect();
        let amount = self.names.sum(&bag, |_| true);
        let change = Change {
            amount: &amount,
            kind,
            reach: (!others.contains(&node), levels),
        };
        self.tree.change(client, change);
    }

    /// Adds up what is free on an agent.
    fn recount(&mut self, at: u32) {
        let slot = &mut self.slots.slots[at as usize];
        let mut used = Resources::new();
        for holding in slot.holdings.iter() {
            used.add(&holding.resources.filter(|entry| !entry.is_shared()));
        }
        slot.is_overcommitted = !slot.total.contains(&used);
        slot.available = slot.total.clone();
        slot.available.subtract(&used);
        self.slots.free.subtract(&slot.common);
        slot.common = self.names.sum(&slot.available, is_common);
        self.slots.free.add(&slot.common);
    }
}

fn shared(resources: &Resources, is_wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
    let shared = resources.entries().iter().filter(|entry| entry.is_shared());
    shared.filter(|entry| is_wanted(entry)).cloned().collect()
}

/// Whether two entries are the same but for the number of holders.
pub(crate) fn is_same(one: &Entry, other: &Entry) -> bool {
    one.name() == other.name() && one.terms() == other.terms()
}
