//! Quota of top-level roles: what they are guaranteed, and what they may have at most.
//!
//! Scalars only. Called by the allocator: `charge` and `release` keep each role's consumption (its subtree's unreserved
//! allocations and all its reservations), `required` what must be held back for guarantees not met yet. Invariant:
//! `required` is the sum over all entries of what the guarantee exceeds the consumption by.

use std::collections::BTreeMap;

use nesos_wire::resource::{Entry as Resource, Resources, Scalar};

use super::Allocator;
use super::quantities::{Limits, Names, Quantities};

/// A top-level role's quota. The default guarantees nothing and limits nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quota {
    /// Amounts held back for the role until it has them.
    pub guarantees: BTreeMap<String, Scalar>,
    /// Amounts that the role never exceeds; what is not named is not limited.
    pub limits: BTreeMap<String, Scalar>,
}

impl Quota {
    /// Whether it says nothing.
    pub fn is_default(&self) -> bool {
        self.limits.is_empty() && self.guarantees.values().all(|amount| amount.0 <= 0)
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    quota: Quota,
    guarantees: Quantities,
    limits: Limits,
    consumed: Quantities,
    unsatisfied: Quantities,
}

impl Entry {
    /// What of its guarantees the role has not got yet.
    pub(super) fn unsatisfied(&self) -> &Quantities {
        &self.unsatisfied
    }

    /// How much more of a name the role may have.
    pub(super) fn room(&self, at: usize) -> i64 {
        self.limits
            .get(at)
            .map_or(i64::MAX, |limit| (limit - self.consumed.get(at)).max(0))
    }
}

#[derive(Debug, Default)]
pub(super) struct Quotas {
    /// By the role's node in the tree, which is kept while there is an entry.
    entries: BTreeMap<u32, Entry>,
    nodes: BTreeMap<String, u32>,
    /// By top-level role, what is reserved to it and to all roles below it, on all agents, given out or not.
    reserved: BTreeMap<String, Quantities>,
    unsatisfied: usize,
    pub(super) required: Quantities,
}

impl Quotas {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn has(&self, role: &str) -> bool {
        self.nodes.contains_key(role)
    }

    pub(super) fn entry(&self, node: u32) -> Option<&Entry> {
        self.entries.get(&node)
    }

    /// Whether the role of this node lacks some of its guarantees.
    pub(super) fn is_unsatisfied(&self, node: u32) -> bool {
        let entry = self.entries.get(&node);
        entry.is_some_and(|entry| !entry.unsatisfied.is_zero())
    }

    /// Whether the role is at its limits for everything that there is.
    pub(super) fn is_full(&self, node: u32, totals: &Quantities) -> bool {
        self.entries.get(&node).is_some_and(|entry| {
            (0..totals.len()).all(|name| totals.get(name) == 0 || entry.room(name) == 0)
        })
    }

    pub(super) fn has_unsatisfied(&self) -> bool {
        self.unsatisfied > 0
    }

    pub(super) fn charge(&mut self, node: u32, sums: &Quantities) {
        self.change(node, |consumed| consumed.add(sums));
    }

    pub(super) fn release(&mut self, node: u32, sums: &Quantities) {
        self.change(node, |consumed| consumed.subtract(sums));
    }

    /// An agent has other resources than before.
    pub(super) fn set_reserved(&mut self, names: &Names, old: &Resources, new: &Resources) {
        let owned = |bag: &Resources| bag.filter(|entry| entry.owner().is_some());
        let (old, new) = (owned(old), owned(new));
        if old == new {
            return;
        }
        let amount = |entry: &Resource| names.sum(&[entry.clone()].into_iter().collect(), |_| true);
        for entry in old.entries() {
            let amount = amount(entry);
            self.reserve(top(entry), |reserved| reserved.subtract(&amount));
        }
        for entry in new.entries() {
            let amount = amount(entry);
            self.reserve(top(entry), |reserved| reserved.add(&amount));
        }
        self.reserved.retain(|_, reserved| !reserved.is_zero());
    }

    fn reserve(&mut self, role: &str, change: impl Fn(&mut Quantities)) {
        change(self.reserved.entry(role.to_owned()).or_default());
        if let Some(node) = self.nodes.get(role).copied() {
            self.change(node, change);
        }
    }

    fn change(&mut self, node: u32, change: impl Fn(&mut Quantities)) {
        let Some(entry) = self.entries.get_mut(&node) else {
            return;
        };
        change(&mut entry.consumed);
        let unsatisfied = entry.guarantees.surplus(&entry.consumed);
        self.required.subtract(&entry.unsatisfied);
        self.required.add(&unsatisfied);
        self.unsatisfied -= usize::from(!entry.unsatisfied.is_zero());
        self.unsatisfied += usize::from(!unsatisfied.is_zero());
        entry.unsatisfied = unsatisfied;
    }

    fn remove(&mut self, role: &str) -> Option<u32> {
        let node = self.nodes.remove(role)?;
        let entry = self.entries.remove(&node)?;
        self.required.subtract(&entry.unsatisfied);
        self.unsatisfied -= usize::from(!entry.unsatisfied.is_zero());
        Some(node)
    }
}

impl Allocator {
    /// Sets a top-level role's quota; the default removes it. Outstanding offers are not touched.
    pub fn set_quota(&mut self, role: &str, quota: Quota) {
        if let Some(node) = self.quotas.remove(role) {
            let quotas = &self.quotas;
            self.tree.collapse(node, |path| quotas.has(path));
        }
        if !quota.is_default() {
            let node = self.tree.ensure(role);
            let entry = Entry {
                guarantees: self.names.amounts(&quota.guarantees),
                limits: self.names.limits(&quota.limits),
                consumed: Quantities::default(),
                unsatisfied: Quantities::default(),
                quota,
            };
            self.quotas.nodes.insert(role.to_owned(), node);
            self.quotas.entries.insert(node, entry);
            let consumed = self.consumption(role);
            self.quotas.charge(node, &consumed);
        }
        self.consider_all();
    }

    /// A role's quota.
    pub fn quota(&self, role: &str) -> Option<&Quota> {
        let node = self.quotas.nodes.get(role)?;
        self.quotas.entries.get(node).map(|entry| &entry.quota)
    }

    /// All roles with quota, sorted.
    pub fn quotas(&self) -> impl Iterator<Item = (&str, &Quota)> {
        let nodes = self.quotas.nodes.iter();
        nodes
            .filter_map(|(role, node)| Some((role.as_str(), &self.quotas.entries.get(node)?.quota)))
    }

    /// What counts against a top-level role's quota: reservations and what its subtree was allocated beside them, offers
    /// included.
    pub fn consumed(&self, role: &str) -> BTreeMap<String, Scalar> {
        self.names.named(&self.consumption(role))
    }

    /// What guarantees that are not met lack beyond all that is free, by name.
    pub fn missing_for_guarantees(&self) -> BTreeMap<String, Scalar> {
        self.names
            .named(&self.quotas.required.surplus(&self.slots.free))
    }

    pub(super) fn is_consumption_right(&self, role: &str) -> bool {
        let entry = self.quotas.nodes.get(role).and_then(|node| {
            let entry = self.quotas.entries.get(node)?;
            Some(entry.consumed == self.consumption(role))
        });
        entry.unwrap_or(true)
    }

    fn consumption(&self, role: &str) -> Quantities {
        let node = self.tree.find(role);
        let mut consumed = node.map_or_else(Quantities::default, |node| {
            self.tree.nodes[node as usize].common.clone()
        });
        if let Some(reserved) = self.quotas.reserved.get(role) {
            consumed.add(reserved);
        }
        consumed
    }
}

/// The top-level role to whose quota a reservation counts.
fn top(reserved: &Resource) -> &str {
    let owner = reserved.owner().unwrap_or_default();
    owner.split('/').next().unwrap_or_default()
}
