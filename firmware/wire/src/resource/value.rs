//! How much of one resource: fixed-point scalars, inclusive ranges, sets, with Mesos's exact arithmetic.
//!
//! Called by [`super::Resources`]; knows no names and no reservations. Invariant: ranges are sorted, disjoint and not
//! adjacent, whatever bytes they came from.

use alloc::{collections::BTreeSet, string::String, vec::Vec};
use core::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// A scalar in thousandths (Mesos rounds to three digits), so `cpus:0.1` times ten is exactly one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Scalar(pub i64);

impl Scalar {
    /// Rounds half away from zero to thousandths, as Mesos's `llround`. `None` for NaN, infinities and values beyond
    /// 9.2e15.
    pub fn from_f64(value: f64) -> Option<Self> {
        let thousandths = value * 1000.0;
        if !thousandths.is_finite() || thousandths.abs() > 9.2e18 {
            return None;
        }
        let half = if thousandths < 0.0 { -0.5 } else { 0.5 };
        Some(Self((thousandths + half) as i64))
    }

    /// The value in units.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

/// Sorted, disjoint, non-adjacent inclusive ranges of u64.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>")]
pub struct Ranges(Vec<(u64, u64)>);

impl From<Vec<(u64, u64)>> for Ranges {
    fn from(pairs: Vec<(u64, u64)>) -> Self {
        Self::new(pairs.into_iter().map(|(begin, end)| begin..=end))
    }
}

impl Ranges {
    /// Builds from ranges in any order; overlapping and adjacent ones merge, inverted ones are dropped.
    pub fn new(ranges: impl IntoIterator<Item = RangeInclusive<u64>>) -> Self {
        let mut sorted: Vec<(u64, u64)> = ranges
            .into_iter()
            .filter(|r| r.start() <= r.end())
            .map(RangeInclusive::into_inner)
            .collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(sorted.len());
        for (begin, end) in sorted {
            match merged.last_mut() {
                Some(last) if begin <= last.1.saturating_add(1) => last.1 = last.1.max(end),
                _ => merged.push((begin, end)),
            }
        }
        Self(merged)
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> + '_ {
        self.0.iter().map(|&(begin, end)| begin..=end)
    }

    /// Whether there is no value in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every value of `other` is in `self`.
    pub fn contains(&self, other: &Self) -> bool {
        other
            .0
            .iter()
            .all(|&(begin, end)| self.0.iter().any(|&(b, e)| b <= begin && end <= e))
    }

    fn add(&mut self, other: &Self) {
        *self = Self::new(self.iter().chain(other.iter()));
    }

    fn subtract(&mut self, other: &Self) {
        for &(begin, end) in &other.0 {
            let mut left = Vec::with_capacity(self.0.len() + 1);
            for &(b, e) in &self.0 {
                if e < begin || end < b {
                    left.push((b, e));
                    continue;
                }
                if b < begin {
                    left.push((b, begin - 1));
                }
                if end < e {
                    left.push((end + 1, e));
                }
            }
            self.0 = left;
        }
    }
}

/// How much of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Value {
    /// An amount: cpus, mem (MB), disk (MB), gpus.
    Scalar(Scalar),
    /// Numbers: ports.
    Ranges(Ranges),
    /// Names.
    Set(BTreeSet<String>),
}

impl Value {
    /// Whether there is nothing of it. Negative scalars count as nothing.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Scalar(scalar) => scalar.0 <= 0,
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(set) => set.is_empty(),
        }
    }

    /// Whether `other` can be taken out of `self`. Values of different kinds contain nothing of each other.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => a >= b,
            (Self::Ranges(a), Self::Ranges(b)) => a.contains(b),
            (Self::Set(a), Self::Set(b)) => b.is_subset(a),
            _ => false,
        }
    }

    /// Adds `other`; one of another kind is ignored (kinds are checked when input is parsed).
    pub fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => a.0 = a.0.saturating_add(b.0),
            (Self::Ranges(a), Self::Ranges(b)) => a.add(b),
            (Self::Set(a), Self::Set(b)) => a.extend(b.iter().cloned()),
            _ => {}
        }
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => a.0 = a.0.saturating_sub(b.0).max(0),
            (Self::Ranges(a), Self::Ranges(b)) => a.subtract(b),
            (Self::Set(a), Self::Set(b)) => a.retain(|item| !b.contains(item)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn ranges_merge_and_split() {
        let mut ranges = Ranges::new([5..=9, 1..=4, 20..=30]);
        assert_eq!(ranges.iter().collect::<Vec<_>>(), vec![1..=9, 20..=30]);
        ranges.subtract(&Ranges::new([8..=22]));
        assert_eq!(ranges.iter().collect::<Vec<_>>(), vec![1..=7, 23..=30]);
    }

    #[test]
    fn ranges_from_bytes_are_put_in_order() {
        let bytes = postcard::to_allocvec(&vec![(5u64, 9u64), (1, 4), (8, 2)]).expect("small");
        let ranges: Ranges = postcard::from_bytes(&bytes).expect("pairs");
        assert_eq!(ranges, Ranges::new([1..=9]));
    }

    #[test]
    fn not_a_number_is_refused() {
        assert_eq!(Scalar::from_f64(f64::NAN), None);
        assert_eq!(Scalar::from_f64(f64::INFINITY), None);
        assert_eq!(Scalar::from_f64(0.0005), Some(Scalar(1)));
    }
}
