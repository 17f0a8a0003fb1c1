//! Competitors in the order of their keys, of which only the first few are kept sorted.
//!
//! Called by the tree of roles. A run asks again and again for those who come first, and each of them then moves back:
//! sorting all of them for every agent is what makes allocators slow. Who stands in the ranking is settled when it is
//! filled; a competitor's place is its rank among equals. Invariant: `front` holds the least of all, in order; it
//! is empty only if nobody takes part.

/// What competitors are compared by: share (bits of a non-negative float, which order as it does), then the number of
/// allocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) share: u64,
    pub(super) count: u64,
}

/// The key of who takes no part.
pub(super) const NOBODY: Key = Key {
    share: u64::MAX,
    count: u64::MAX,
};

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
    /// How many take part.
    present: usize,
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
        if self.front.len() < self.present.min(self.wanted() / 4) {
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
        let wanted = self.wanted();
        if self.front.len() > 2 * wanted {
            self.front.truncate(wanted);
        }
    }

    fn wanted(&self) -> usize {
        MIN_FRONT.max(8 * self.keys.len().isqrt())
    }

    fn refill(&mut self) {
        let keys = &self.keys;
        let by_key = |place: &u32| (keys[*place as usize], *place);
        self.front.clear();
        let present = (0u32..).zip(keys).filter(|(_, key)| **key != NOBODY);
        self.front.extend(present.map(|(place, _)| place));
        self.present = self.front.len();
        let wanted = self.wanted();
        if self.front.len() > wanted {
            self.front.select_nth_unstable_by_key(wanted, by_key);
            self.front.truncate(wanted);
        }
        self.front.sort_unstable_by_key(by_key);
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
            let key = |share: u64| if share == 5 { NOBODY } else { Key { share, count: 0 } };
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
            ranking.fill((0u32..).zip(keys.iter().map(|share| Key { share: *share, count: 0 })));
            let expected = order(&ranking);
            let mut walk = Walk::default();
            let mut passed = Vec::new();
            for grows in grows {
                let Some(place) = ranking.next(&mut walk) else { break };
                passed.push(place);
                if grows {
                    ranking.detach(&mut walk);
                    let key = Key { share: 100, ..ranking.key(place) };
                    ranking.update(place, key);
                }
            }
            prop_assert_eq!(passed, expected);
        }
    }
}
