//! How much of an agent a role may be offered, and what of that a framework can take.
//!
//! Called by `run`. Unreserved resources are cut to what quota allows; reserved ones are for their role and the roles
//! below it whatever quota says; ranges and sets are never cut, nor are disks that only come whole. Invariant: an agent
//! without reservations in a cluster without quota is always offered whole, without looking into its bag.

use nesos_wire::resource::{Entry, Resources, Scalar, Value};

use super::Allocator;
use super::books::is_same;
use super::quantities::{Quantities, is_common};
use super::run::{Run, Stage};
use super::slots::Slot;

/// What of an agent a role may be offered.
pub(super) enum Share {
    Nothing,
    /// All that is free, which is plain.
    Whole,
    Part(Resources),
}

impl Allocator {
    /// What quota and reservations leave of the agent for a role. In the first stage nothing, unless it advances the role's
    /// guarantees.
    pub(super) fn share_of(&self, run: &Run<'_>, at: u32, role: u32) -> Share {
        let slot = self.slots.get(at);
        if self.quotas.is_empty() && slot.is_plain {
            return Share::Whole;
        }
        let node = &self.tree.nodes[role as usize];
        let Some(caps) = self.caps(slot, node.top, run.stage) else {
            return Share::Nothing;
        };
        if slot.is_plain && caps.contains(&slot.common) {
            return Share::Whole;
        }
        let given = run.shared.get(&at);
        let is_given = |entry: &Entry| {
            given.is_some_and(|given| given.entries().iter().any(|have| is_same(have, entry)))
        };
        let mut left = caps;
        let entries = slot.available.entries().iter();
        let part = entries.filter_map(|entry| {
            if entry.is_shared() && is_given(entry) || !entry.is_allocatable_to(&node.path) {
                None
            } else if is_common(entry) {
                self.cut(entry, &mut left)
            } else {
                Some(entry.clone())
            }
        });
        let part: Resources = part.collect();
        if part.is_empty() {
            Share::Nothing
        } else {
            Share::Part(part)
        }
    }

    /// How much of what is common on the agent the top-level role may have: what it is guaranteed and lacks in the first
    /// stage, and in both what no guarantee needs; all within its limits.
    fn caps(&self, slot: &Slot, top: u32, stage: Stage) -> Option<Quantities> {
        if self.quotas.is_empty() {
            return Some(slot.common.clone());
        }
        let entry = self.quotas.entry(top);
        let free = &slot.common;
        let mut caps = Quantities::default();
        let mut advances = false;
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
            caps.set(name, cap.min(free.get(name)));
        }
        (advances || stage == Stage::Fair).then_some(caps)
    }

    fn cut(&self, entry: &Entry, left: &mut Quantities) -> Option<Entry> {
        let Value::Scalar(Scalar(amount)) = *entry.value() else {
            return Some(entry.clone());
        };
        let name = self.names.find(entry.name())?;
        let cap = left.get(name);
        if amount <= cap {
            left.set(name, cap - amount);
            return Some(entry.clone());
        }
        if cap <= 0 || entry.terms().is_indivisible() {
            return None;
        }
        left.set(name, 0);
        let part = Value::Scalar(Scalar(cap));
        Some(Entry::new(entry.name(), entry.terms().clone(), part))
    }

    /// What of its role's share the client can take, if it is enough, wanted and allowed.
    pub(super) fn wanted(
        &self,
        run: &Run<'_>,
        client: u32,
        at: u32,
        share: &Share,
    ) -> Option<Resources> {
        let identity = &self.identities[client as usize];
        let minima = identity.minima.as_ref().unwrap_or(&self.minima);
        let is_enough = |sums: &Quantities| {
            minima.is_empty() || minima.iter().any(|least| sums.contains(least))
        };
        let slot = self.slots.get(at);
        let part = match share {
            Share::Nothing => return None,
            Share::Whole if is_enough(&slot.common) => Resources::new(),
            Share::Whole => return None,
            Share::Part(part) => {
                let part = part.filter(|entry| {
                    entry.is_plain() || {
                        let terms = entry.terms();
                        (!terms.is_revocable || identity.wants_revocable)
                            && (!terms.is_shared || identity.wants_shared)
                            && (terms.reservations.len() < 2 || identity.wants_refined)
                    }
                });
                let is_fitting = !part.is_empty()
                    && is_enough(&self.names.sum(&part, |_| true))
                    && !self.filters.hides(client, at, &part);
                is_fitting.then_some(part)?
            }
        };
        let is_allowed = !identity.is_constrained
            || (run.is_eligible)(&identity.framework, &identity.role, &slot.id);
        is_allowed.then_some(part)
    }
}
