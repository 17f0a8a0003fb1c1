//! A map of things that want attention at certain times, with an index of those times: an event costs what it touches, not
//! what there is.
//!
//! Called by `agent` and `operations`. Whoever gets hold of a value to change it marks its key; what is marked is looked at
//! again before the index is asked. Invariant: but for what is marked, the index says what a walk over all values would
//! ([`Timed::check`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use nesos_base::time::Instant;

/// Most keys that are marked: a replay changes much and asks for nothing.
const MAX_MARKED: usize = 64;

/// What wants attention at times of `N` kinds.
pub(crate) trait Due<const N: usize> {
    /// When, for each kind.
    fn due(&self) -> [Option<Instant>; N];
}

#[derive(Debug, Clone)]
struct Slot<V, const N: usize> {
    value: V,
    /// As it stands in the index.
    listed: [Option<Instant>; N],
}

/// The map.
#[derive(Debug, Clone)]
pub(crate) struct Timed<K, V, const N: usize> {
    slots: BTreeMap<K, Slot<V, N>>,
    index: [BTreeSet<(Instant, K)>; N],
    /// Values that may have changed since they were listed.
    marked: Vec<K>,
}

impl<K, V, const N: usize> Default for Timed<K, V, N> {
    fn default() -> Self {
        Self {
            slots: BTreeMap::new(),
            index: std::array::from_fn(|_| BTreeSet::new()),
            marked: Vec::new(),
        }
    }
}

impl<K: Ord + Clone + Debug, V: Due<N>, const N: usize> Timed<K, V, N> {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.slots.contains_key(key)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.slots.get(key).map(|slot| &slot.value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots.iter().map(|(key, slot)| (key, &slot.value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.slots.keys()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.slots.values().map(|slot| &slot.value)
    }

    /// To be changed: it is marked.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        if self.marked.len() >= MAX_MARKED {
            self.settle();
        }
        let slot = self.slots.get_mut(key)?;
        if self.marked.last() != Some(key) {
            self.marked.push(key.clone());
        }
        Some(&mut slot.value)
    }

    /// Changes all.
    pub(crate) fn change_all(&mut self, mut change: impl FnMut(&mut V)) {
        for (key, slot) in &mut self.slots {
            change(&mut slot.value);
            list(&mut self.index, key, slot);
        }
    }

    /// Puts it there, in place of what was.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        let listed = [None; N];
        let mut slot = Slot { value, listed };
        list(&mut self.index, &key, &mut slot);
        self.slots.insert(key, slot);
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let slot = self.slots.remove(key)?;
        for (times, listed) in self.index.iter_mut().zip(slot.listed) {
            if let Some(at) = listed {
                times.remove(&(at, key.clone()));
            }
        }
        Some(slot.value)
    }

    /// When the first wants this kind of attention.
    pub(crate) fn first(&mut self, kind: usize) -> Option<Instant> {
        self.settle();
        self.index[kind].first().map(|(at, _)| *at)
    }

    /// Who wants this kind of attention by now, the longest due first.
    pub(crate) fn due(&mut self, kind: usize, now: Instant) -> Vec<K> {
        self.settle();
        let due = self.index[kind].iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, key)| key.clone()).collect()
    }

    fn settle(&mut self) {
        for key in self.marked.drain(..) {
            if let Some(slot) = self.slots.get_mut(&key) {
                list(&mut self.index, &key, slot);
            }
        }
    }

    /// Whether the index is what a walk over all would give; for tests.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut expected: [BTreeSet<(Instant, K)>; N] = std::array::from_fn(|_| BTreeSet::new());
        for (key, slot) in &self.slots {
            if slot.listed != slot.value.due() && !self.marked.contains(key) {
                return Err(format!("{key:?} has changed and is not marked"));
            }
            for (times, listed) in expected.iter_mut().zip(slot.listed) {
                times.extend(listed.map(|at| (at, key.clone())));
            }
        }
        if expected != self.index {
            return Err("the index of times is not that of what there is".into());
        }
        Ok(())
    }
}

/// Brings the index in line with the value.
fn list<K: Ord + Clone, V: Due<N>, const N: usize>(
    index: &mut [BTreeSet<(Instant, K)>; N],
    key: &K,
    slot: &mut Slot<V, N>,
) {
    let due = slot.value.due();
    for (times, (before, now)) in index.iter_mut().zip(slot.listed.iter().zip(&due)) {
        if before == now {
            continue;
        }
        if let Some(at) = before {
            times.remove(&(*at, key.clone()));
        }
        if let Some(at) = now {
            times.insert((*at, key.clone()));
        }
    }
    slot.listed = due;
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Due<2> for [Option<Instant>; 2] {
        fn due(&self) -> [Option<Instant>; 2] {
            *self
        }
    }

    fn at(seconds: u64) -> Option<Instant> {
        Some(Instant::from_secs(seconds))
    }

    #[test]
    fn what_is_due_comes_in_the_order_of_time_and_each_kind_by_itself() {
        let mut timed = Timed::default();
        timed.insert("a", [at(5), None]);
        timed.insert("b", [at(3), at(9)]);
        timed.insert("c", [None, None]);
        assert_eq!(timed.due(0, Instant::from_secs(4)), ["b"]);
        assert_eq!(timed.due(0, Instant::from_secs(5)), ["b", "a"]);
        assert_eq!((timed.first(0), timed.first(1)), (at(3), at(9)));
        assert_eq!(timed.due(1, Instant::from_secs(8)), [""; 0]);
    }

    #[test]
    fn whatever_changes_is_listed_anew() {
        let mut timed = Timed::default();
        timed.insert("a", [at(5), None]);
        timed.insert("b", [at(3), None]);
        *timed.get_mut(&"b").expect("there") = [at(7), at(1)];
        timed.check().expect("marked");
        assert_eq!((timed.first(0), timed.first(1)), (at(5), at(1)));
        timed.change_all(|value| value[0] = value[0].filter(|_| value[1].is_none()));
        timed.check().expect("listed");
        assert_eq!(timed.due(0, Instant::from_secs(9)), ["a"]);
        timed.insert("a", [None, at(4)]);
        assert_eq!((timed.first(0), timed.first(1)), (None, at(1)));
        assert_eq!(timed.remove(&"b"), Some([None, at(1)]));
        assert_eq!((timed.first(1), timed.len()), (at(4), 1));
        timed.check().expect("all");
    }

    #[test]
    fn no_more_is_marked_than_its_bound() {
        let mut timed = Timed::default();
        for key in 0..3 * MAX_MARKED {
            timed.insert(key, [None, None]);
            timed.get_mut(&key).expect("there")[0] = at(key as u64);
            assert!(timed.marked.len() <= MAX_MARKED);
        }
        timed.check().expect("all");
        assert_eq!(timed.due(0, Instant::from_secs(9)).len(), 10);
    }

    #[test]
    fn a_change_that_went_past_the_marks_is_found() {
        let mut timed = Timed::default();
        timed.insert("a", [at(5), None]);
        timed.slots.get_mut("a").expect("there").value = [at(6), None];
        timed.check().expect_err("not marked");
        timed.slots.get_mut("a").expect("there").value = [at(5), None];
        timed.check().expect("as it was");
        timed.index[0].clear();
        timed.check().expect_err("not listed");
    }
}
