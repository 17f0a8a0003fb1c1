//! Sums of scalars as dense vectors: one place per resource name, in thousandths.
//!
//! Called by the rest of the allocator. Only scalars count in shares, quota and minima. Invariant: a name keeps its
//! place for the life of the allocator.

use std::collections::BTreeMap;

use nesos_wire::resource::{Resources, Scalar, Value};

/// Amounts by the place of their name; what is not there is zero.
#[derive(Debug, Clone, Default, Eq)]
pub(super) struct Quantities(Vec<i64>);

impl PartialEq for Quantities {
    fn eq(&self, other: &Self) -> bool {
        let length = self.0.len().max(other.0.len());
        (0..length).all(|at| self.get(at) == other.get(at))
    }
}

impl Quantities {
    pub(super) fn get(&self, at: usize) -> i64 {
        self.0.get(at).copied().unwrap_or(0)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|amount| *amount == 0)
    }

    pub(super) fn set(&mut self, at: usize, amount: i64) {
        if at >= self.0.len() {
            self.0.resize(at + 1, 0);
        }
        self.0[at] = amount;
    }

    pub(super) fn add(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (own, more) in self.0.iter_mut().zip(&other.0) {
            *own = own.saturating_add(*more);
        }
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (own, less) in self.0.iter_mut().zip(&other.0) {
            *own = own.saturating_sub(*less);
        }
    }

    pub(super) fn contains(&self, other: &Self) -> bool {
        other
            .0
            .iter()
            .enumerate()
            .all(|(at, amount)| self.get(at) >= *amount)
    }

    /// What `self` has more than `other`, nothing where it has less.
    pub(super) fn surplus(&self, other: &Self) -> Self {
        let mut surplus = self.clone();
        surplus.subtract(other);
        surplus
            .0
            .iter_mut()
            .for_each(|amount| *amount = (*amount).max(0));
        surplus
    }
}

/// Upper bounds by the place of their name; what is not there is unbounded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Limits(Vec<Option<i64>>);

impl Limits {
    pub(super) fn get(&self, at: usize) -> Option<i64> {
        self.0.get(at).copied().flatten()
    }

    fn set(&mut self, at: usize, limit: i64) {
        if at >= self.0.len() {
            self.0.resize(at + 1, None);
        }
        self.0[at] = Some(limit);
    }
}

/// The places of names, and which of them count in no share.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<String>,
    excluded: Vec<String>,
    counts: Vec<bool>,
}

impl Names {
    pub(super) fn new(excluded: &[String]) -> Self {
        Self {
            names: Vec::new(),
            excluded: excluded.to_vec(),
            counts: Vec::new(),
        }
    }

    pub(super) fn place(&mut self, name: &str) -> usize {
        self.find(name).unwrap_or_else(|| {
            self.counts
                .push(!self.excluded.iter().any(|excluded| excluded == name));
            self.names.push(name.to_owned());
            self.names.len() - 1
        })
    }

    /// A cluster has a handful of names, so a scan is faster than any map.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    pub(super) fn name(&self, at: usize) -> &str {
        self.names.get(at).map_or("", String::as_str)
    }

    pub(super) fn quantities(&mut self, resources: &Resources) -> Quantities {
        let mut sum = Quantities(vec![0; self.names.len()]);
        for (name, value) in resources.iter() {
            if let Value::Scalar(scalar) = value {
                let at = self.place(name);
                sum.set(at, sum.get(at).saturating_add(scalar.0));
            }
        }
        sum
    }

    pub(super) fn limits(&mut self, limits: &BTreeMap<String, Scalar>) -> Limits {
        let mut dense = Limits::default();
        for (name, limit) in limits {
            dense.set(self.place(name), limit.0);
        }
        dense
    }

    pub(super) fn amounts(&mut self, amounts: &BTreeMap<String, Scalar>) -> Quantities {
        let mut dense = Quantities::default();
        for (name, amount) in amounts {
            dense.set(self.place(name), amount.0);
        }
        dense
    }

    pub(super) fn named(&self, quantities: &Quantities) -> BTreeMap<String, Scalar> {
        let amounts = quantities
            .0
            .iter()
            .enumerate()
            .filter(|(_, amount)| **amount != 0);
        amounts
            .map(|(at, amount)| (self.name(at).to_owned(), Scalar(*amount)))
            .collect()
    }

    /// The dominant share: the greatest part of a total, over the names that count.
    ///
    /// A quotient of two integers below 2^53 is rounded correctly, so equal shares of different resources are equal
    /// floats and the order is the exact one up to 2^-53. No other arithmetic is done on floats but the weight's.
    pub(super) fn share(&self, allocated: &Quantities, totals: &Quantities) -> f64 {
        let mut greatest = 0.0_f64;
        for ((amount, total), counts) in allocated.0.iter().zip(&totals.0).zip(&self.counts) {
            if *total > 0 && *amount > 0 && *counts {
                greatest = greatest.max(*amount as f64 / *total as f64);
            }
        }
        greatest
    }
}
