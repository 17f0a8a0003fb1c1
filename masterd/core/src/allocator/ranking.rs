//! Competitors in the order of their keys, of which only the first few are kept sorted.
//!
//! Called by the tree of roles. A run asks again and again for those who come first, and each of them then moves back:
//! sorting all of them for every agent is what makes allocators slow. Who stands in the ranking is settled when it is
//! filled; a competitor's place is its rank among equals. Invariant: `front` holds the least of all, in order; it
//! is empty only if nobody takes part.

/// What competitors are compared by: share (bits of a non-negative float, which order as it does), then the number of
/// allocations. One number, since rankings do little but compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u128);

impl Key {
    pub(super) fn new(share: u64, count: u64) -> Self {
        Self(u128::from(share) << 64 | u128::from(count))
    }
}

/// The key of who takes no part.
pub(super) const NOBODY: Key = Key(u128::MAX);

/// So many are kept sorted at least, if there are so many.
const MIN_FRONT: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Ranking {
    /// By place.
    keys: Vec<Key>,
    /// By place: who that is.
    numbers: Vec<u32>,
    /// Places.
    front: Vec<u32>,
    /// So many are kept sorted at least, if so many take part.
    wanted: usize,
    /// How many take part.
    present: usize,
    /// Scratch space of `refill`: keys beside their places, so that sorting looks nowhere else.
    sorting: Vec<(Key, u32)>,
}

/// How far a walk through a ranking has come.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// In the front.
    at: usize,
    /// Once keys change: the places still to come, the last first, and those that are not among the others any more.
    detached: Option<(Vec<u32>, Vec<u32>)>,
    /// The others were added to the places still to come.
    has_others: bool,
}

impl Ranking {
    /// Starts anew with these competitors, equals in this order.
    pub(super) fn fill(&mut self, competitors: impl Iterator<Item = (u32, Key)>) {
        self.keys.clear();
        self.numbers.clear();
        for (number, key) in competitors {
            self.numbers.push(number);
            self.keys.push(key);
        }
        self.wanted = MIN_FRONT.max(8 * self.keys.len().isqrt());
        self.refill();
    }

    /// New keys for all.
    pub(super) fn rekey(&mut self, key: impl Fn(u32) -> Key) {
        for (own, number) in self.keys.iter_mut().zip(&self.numbers) {
            *own = key(*number);
        }
        self.refill();
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    pub(super) fn key(&self, place: u32) -> Key {
        self.keys[place as usize]
    }

    pub(super) fn number(&self, place: u32) -> u32 {
        self.numbers[place as usize]
    }

    pub(super) fn update(&mut self, place: u32, key: Key) {
        let old = std::mem::replace(&mut self.keys[place as usize], key);
        if old == key {
            return;
        }
        if old == NOBODY {
            self.present += 1;
        } else {
            self.present -= usize::from(key == NOBODY);
            self.leave_front(place, old);
        }
        if key != NOBODY {
            self.enter_front(place, key);
        }
        // Those at the very front may be the ones to whom everything is hidden: a short front is not worth walking.
        if self.front.len() < self.present.min(self.wanted / 4) {
            self.refill();
        }
    }

    /// The next place. Keys must not change during a walk that is not detached.
    pub(super) fn next(&self, walk: &mut Walk) -> Option<u32> {
        if walk.detached.is_none() {
            if let Some(place) = self.front.get(walk.at) {
                walk.at += 1;
                return Some(*place);
            }
            if self.front.len() == self.present {
                return None;
            }
            self.detach(walk);
        }
        let (coming, known) = walk.detached.as_mut()?;
        if coming.is_empty() && !std::mem::replace(&mut walk.has_others, true) {
            let others = (0u32..).zip(&self.keys);
            let others = others
                .filter(|(place, key)| **key != NOBODY && known.binary_search(place).is_err());
            coming.extend(others.map(|(place, _)| place));
            coming.sort_unstable_by_key(|place| std::cmp::Reverse((self.key(*place), *place)));
        }
        coming.pop()
    }

    /// From now on keys of places that the walk has passed may change.
    pub(super) fn detach(&self, walk: &mut Walk) {
        if walk.detached.is_none() {
            let coming = self.front.iter().skip(walk.at).rev().copied().collect();
            let mut known = self.front.clone();
            known.sort_unstable();
            walk.detached = Some((coming, known));
        }
    }

    fn leave_front(&mut self, place: u32, old: Key) {
        let is_behind =
            |last: &u32| *last != place && (self.keys[*last as usize], *last) < (old, place);
        if self.front.last().is_some_and(is_behind) {
            return;
        }
        if let Some(at) = self.front.iter().position(|other| *other == place) {
            self.front.remove(at);
        }
    }

    fn enter_front(&mut self, place: u32, key: Key) {
        let is_before = |other: &u32| (self.keys[*other as usize], *other) < (key, place);
        if self.front.last().is_none_or(is_before) {
            // Others may come before it that are not in the front, unless there are none.
            if self.front.len() + 1 == self.present {
                self.front.push(place);
            }
            return;
        }
        let at = self.front.partition_point(is_before);
        self.front.insert(at, place);
        if self.front.len() > 2 * self.wanted {
            self.front.truncate(self.wanted);
        }
    }

    fn refill(&mut self) {
        let sorting = &mut self.sorting;
        sorting.clear();
        let present = self.keys.iter().copied().zip(0u32..);
        sorting.extend(present.filter(|(key, _)| *key != NOBODY));
        self.present = sorting.len();
        if sorting.len() > self.wanted {
            sorting.select_nth_unstable(self.wanted);
            sorting.truncate(self.wanted);
        }
        sorting.sort_unstable();
        self.front.clear();
        self.front.extend(sorting.iter().map(|(_, place)| *place));
    }
}

impl Walk {
    /// Begins anew.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(ranking: &Ranking) -> Vec<u32> {
        let mut walk = Walk::default();
        std::iter::from_fn(|| ranking.next(&mut walk)).collect()
    }

    proptest! {
        #[test]
        fn walks_in_the_order_of_keys_then_places(
            keys in prop::collection::vec(0u64..6, 0..300),
            changes in prop::collection::vec((0usize..300, 0u64..6), 0..400),
        ) {
            let mut keys = keys;
            let key = |share: u64| if share == 5 { NOBODY } else { Key::new(share, 0) };
            let mut ranking = Ranking::default();
            ranking.fill((0u32..).zip(keys.iter().map(|share| key(*share))));
            for (at, share) in changes {
                if at < keys.len() {
                    keys[at] = share;
                    ranking.update(at as u32, key(share));
                }
            }
            let mut expected: Vec<(u64, u32)> = keys.iter().copied().zip(0u32..).collect();
            expected.retain(|(share, _)| *share != 5);
            expected.sort_unstable();
            let expected: Vec<u32> = expected.into_iter().map(|(_, place)| place).collect();
            prop_assert_eq!(order(&ranking), expected);
        }

        #[test]
        fn a_change_of_who_was_passed_disturbs_no_walk(
            keys in prop::collection::vec(0u64..6, 1..300),
            grows in prop::collection::vec(any::<bool>(), 300),
        ) {
            let mut ranking = Ranking::default();
            ranking.fill((0u32..).zip(keys.iter().map(|share| Key::new(*share, 0))));
            let expected = order(&ranking);
            let mut walk = Walk::default();
            let mut passed = Vec::new();
            for grows in grows {
                let Some(place) = ranking.next(&mut walk) else { break };
                passed.push(place);
                if grows {
                    ranking.detach(&mut walk);
                    ranking.update(place, Key::new(100, 0));
                }
            }
            prop_assert_eq!(passed, expected);
        }
    }
}
