//! Sums of scalars as dense vectors: one place per resource name, in thousandths.
//!
//! Called by the rest of the allocator. Only scalars count in shares, quota and minima. Invariant: a name keeps its
//! place for the life of the allocator.

use std::collections::BTreeMap;

use nesos_wire::resource::{Entry, Resources, Scalar, Value};

/// The names that boards have by themselves come first, and sums of them need no memory of their own.
const FIRST: [&str; FEW] = ["cpus", "mem", "disk", "gpus"];
const FEW: usize = 4;

/// Amounts by the place of their name; what is not there is zero. Every holding of every agent has one, so what is seldom
/// there takes one word.
#[derive(Debug, Clone, Default, Eq)]
pub(super) struct Quantities {
    few: [i64; FEW],
    more: Option<Box<More>>,
}

/// The amounts beyond the first few.
type More = [Vec<i64>; 1];

impl PartialEq for Quantities {
    fn eq(&self, other: &Self) -> bool {
        self.few == other.few
            && (FEW..self.len().max(other.len())).all(|at| self.get(at) == other.get(at))
    }
}

impl Quantities {
    pub(super) fn get(&self, at: usize) -> i64 {
        match at.checked_sub(FEW) {
            None => self.few[at],
            Some(at) => self.more().get(at).copied().unwrap_or(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        FEW + self.more().len()
    }

    pub(super) fn is_zero(&self) -> bool {
        self.few == [0; FEW] && self.more().iter().all(|amount| *amount == 0)
    }

    pub(super) fn set(&mut self, at: usize, amount: i64) {
        match at.checked_sub(FEW) {
            None => self.few[at] = amount,
            Some(at) => {
                let more = self.more_mut();
                if at >= more.len() {
                    more.resize(at + 1, 0);
                }
                more[at] = amount;
            }
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
    }

    pub(super) fn contains(&self, other: &Self) -> bool {
        self.few
            .iter()
            .zip(&other.few)
            .all(|(own, other)| own >= other)
            && (FEW..other.len()).all(|at| self.get(at) >= other.get(at))
    }

    /// What `self` has more than `other`, nothing where it has less.
    pub(super) fn surplus(&self, other: &Self) -> Self {
        let mut surplus = self.clone();
        surplus.combine(other, |own, other| own.saturating_sub(other).max(0));
        surplus.few = surplus.few.map(|amount| amount.max(0));
        if surplus.more.is_some() {
            surplus
                .more_mut()
                .iter_mut()
                .for_each(|at| *at = (*at).max(0));
        }
        surplus
    }

    #[inline]
    fn combine(&mut self, other: &Self, with: impl Fn(i64, i64) -> i64) {
        for (own, other) in self.few.iter_mut().zip(&other.few) {
            *own = with(*own, *other);
        }
        if other.more.is_some() {
            self.combine_more(other.more(), with);
        }
    }

    #[cold]
    fn combine_more(&mut self, others: &[i64], with: impl Fn(i64, i64) -> i64) {
        let more = self.more_mut();
        if more.len() < others.len() {
            more.resize(others.len(), 0);
        }
        for (own, other) in more.iter_mut().zip(others) {
            *own = with(*own, *other);
        }
    }

    fn more(&self) -> &[i64] {
        self.more.as_deref().map_or(&[], |[more]| more)
    }

    fn more_mut(&mut self) -> &mut Vec<i64> {
        let [more] = self.more.get_or_insert_default().as_mut();
        more
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

/// The sums of a bag.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    pub(super) all: Quantities,
    /// What of that is common, if that is not all.
    common: Option<Box<Quantities>>,
}

impl Sums {
    /// What of it everybody may be given: the only part that quota and its headroom are about.
    pub(super) fn common(&self) -> &Quantities {
        self.common.as_deref().unwrap_or(&self.all)
    }

    pub(super) fn is_common(&self) -> bool {
        self.common.is_none()
    }

    /// Of a bag in which everything is common.
    pub(super) fn of_common(all: Quantities) -> Self {
        Self { all, common: None }
    }
}

/// Whether everybody may be given it for good: neither reserved nor revocable.
pub(super) fn is_common(entry: &Entry) -> bool {
    entry.is_plain()
        || (entry.owner().is_none() && !entry.terms().is_revocable && !entry.is_shared())
}

/// What amounts are divided by to become shares: the cluster's totals; infinity for what counts in no share.
#[derive(Debug, Clone, Default)]
pub(super) struct Scale {
    few: [f64; FEW],
    more: Vec<f64>,
}

impl Scale {
    /// The dominant share: the greatest part of a total, over the names that count.
    ///
    /// A quotient of two integers below 2^53 is rounded correctly, so equal shares of different resources are equal
    /// floats and the order is the exact one up to 2^-53. No other arithmetic is done on floats but the weight's.
    pub(super) fn share(&self, allocated: &Quantities) -> f64 {
        let few = self.few.iter().zip(&allocated.few);
        let more = self.more.iter().zip(allocated.more());
        let greatest = few.fold(0.0_f64, |greatest, (total, amount)| {
            greatest.max(*amount as f64 / total)
        });
        more.fold(greatest, |greatest, (total, amount)| {
            greatest.max(*amount as f64 / total)
        })
    }
}

/// The places of names, and which of them count in no share.
#[derive(Debug)]
pub(super) struct Names {
    names: Vec<String>,
    excluded: Vec<String>,
}

impl Names {
    pub(super) fn new(excluded: &[String]) -> Self {
        Self {
            names: FIRST.map(str::to_owned).to_vec(),
            excluded: excluded.to_vec(),
        }
    }

    pub(super) fn place(&mut self, name: &str) -> usize {
        self.find(name).unwrap_or_else(|| {
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

    /// Gives every scalar's name a place.
    pub(super) fn learn(&mut self, resources: &Resources) {
        for entry in resources.entries() {
            if matches!(entry.value(), Value::Scalar(_)) {
                self.place(entry.name());
            }
        }
    }

    /// What an offer must hold at least.
    pub(super) fn least(&mut self, resources: &Resources) -> Quantities {
        self.learn(resources);
        self.sum(resources, |_| true)
    }

    /// The sums of the scalars that `counts` wants, as far as their names are known. What is shared counts once, however
    /// many hold it.
    pub(super) fn sum(&self, resources: &Resources, counts: impl Fn(&Entry) -> bool) -> Quantities {
        let mut sum = Quantities::default();
        for entry in resources.entries() {
            if let Value::Scalar(scalar) = entry.value()
                && counts(entry)
                && let Some(at) = self.find(entry.name())
            {
                sum.set(at, sum.get(at).saturating_add(scalar.0));
            }
        }
        sum
    }

    /// The sums of a bag.
    pub(super) fn sums(&self, resources: &Resources) -> Sums {
        let all = self.sum(resources, |_| true);
        let is_plain = resources.entries().iter().all(is_common);
        let common = (!is_plain).then(|| Box::new(self.sum(resources, is_common)));
        Sums { all, common }
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
        let amounts = (0..quantities.len()).map(|at| (at, quantities.get(at)));
        amounts
            .filter(|(_, amount)| *amount != 0)
            .map(|(at, amount)| (self.name(at).to_owned(), Scalar(amount)))
            .collect()
    }

    /// What amounts are divided by in a cluster that has `totals`.
    pub(super) fn scale(&self, totals: &Quantities) -> Scale {
        let of = |at: usize| {
            let counts = !self.excluded.iter().any(|name| name == self.name(at));
            if counts && totals.get(at) > 0 {
                totals.get(at) as f64
            } else {
                f64::INFINITY
            }
        };
        Scale {
            few: std::array::from_fn(of),
            more: (FEW..totals.len()).map(of).collect(),
        }
    }
}
