//! Competitors in the order of their keys, as a tournament: the first is known at once, a key changes in log n steps.
//!
//! Called by the tree of roles. Who stands in the ranking is settled when it is filled; a competitor's place is its rank
//! among equals. Invariant: `first` of a subtree is the lowest place among those with its least key.

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

#[derive(Debug, Default)]
pub(super) struct Ranking {
    /// By place.
    keys: Vec<Key>,
    /// By place: who that is.
    numbers: Vec<u32>,
    /// By subtree, whose root is 1 and whose leaves begin at the width: the place that comes first in it.
    first: Vec<u32>,
}

/// How far a walk through a ranking has come.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Subtrees not looked at yet: a heap, the best on top.
    open: Vec<u32>,
    /// A subtree that was entered for the place before, and that place.
    entered: Option<(u32, u32)>,
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
        self.keys
            .resize(self.keys.len().next_power_of_two(), NOBODY);
        self.settle();
    }

    /// New keys for all.
    pub(super) fn rekey(&mut self, key: impl Fn(u32) -> Key) {
        for (own, number) in self.keys.iter_mut().zip(&self.numbers) {
            *own = key(*number);
        }
        self.settle();
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
        self.keys[place as usize] = key;
        let mut at = (self.keys.len() + place as usize) / 2;
        while at > 0 {
            let old = self.first[at];
            let new = self.better(self.first[2 * at], self.first[2 * at + 1]);
            if new == old && new != place {
                return;
            }
            self.first[at] = new;
            at /= 2;
        }
    }

    pub(super) fn start(&self, walk: &mut Walk) {
        walk.open.clear();
        walk.entered = None;
        if !self.numbers.is_empty() {
            self.open(walk, 1);
        }
    }

    /// The next place. Keys of places that the walk has passed may change meanwhile.
    pub(super) fn next(&self, walk: &mut Walk) -> Option<u32> {
        if let Some((root, place)) = walk.entered.take() {
            let mut at = self.keys.len() as u32 + place;
            while at > root {
                self.open(walk, at ^ 1);
                at /= 2;
            }
        }
        let root = self.close(walk)?;
        let place = self.first[root as usize];
        walk.entered = Some((root, place));
        Some(place)
    }

    fn settle(&mut self) {
        let width = self.keys.len();
        self.first.clear();
        self.first.resize(width, 0);
        self.first.extend(0..width as u32);
        for at in (1..width).rev() {
            self.first[at] = self.better(self.first[2 * at], self.first[2 * at + 1]);
        }
    }

    /// The left one of equals.
    fn better(&self, left: u32, right: u32) -> u32 {
        if self.keys[right as usize] < self.keys[left as usize] {
            right
        } else {
            left
        }
    }

    fn is_before(&self, one: u32, other: u32) -> bool {
        let (one, other) = (self.first[one as usize], self.first[other as usize]);
        (self.keys[one as usize], one) < (self.keys[other as usize], other)
    }

    fn open(&self, walk: &mut Walk, subtree: u32) {
        if self.keys[self.first[subtree as usize] as usize] == NOBODY {
            return;
        }
        walk.open.push(subtree);
        let mut at = walk.open.len() - 1;
        while at > 0 && self.is_before(walk.open[at], walk.open[(at - 1) / 2]) {
            walk.open.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn close(&self, walk: &mut Walk) -> Option<u32> {
        let open = &mut walk.open;
        if open.is_empty() {
            return None;
        }
        let best = open.swap_remove(0);
        let mut at = 0;
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < open.len() && self.is_before(open[child], open[least]) {
                    least = child;
                }
            }
            if least == at {
                return Some(best);
            }
            open.swap(at, least);
            at = least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(ranking: &Ranking) -> Vec<u32> {
        let mut walk = Walk::default();
        ranking.start(&mut walk);
        std::iter::from_fn(|| ranking.next(&mut walk)).collect()
    }

    proptest! {
        #[test]
        fn walks_in_the_order_of_keys_then_places(
            keys in prop::collection::vec(0u64..6, 0..40),
            changes in prop::collection::vec((0usize..40, 0u64..6), 0..20),
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
            keys in prop::collection::vec(0u64..6, 1..40),
            grows in prop::collection::vec(any::<bool>(), 40),
        ) {
            let mut ranking = Ranking::default();
            ranking.fill((0u32..).zip(keys.iter().map(|share| Key { share: *share, count: 0 })));
            let expected = order(&ranking);
            let mut walk = Walk::default();
            ranking.start(&mut walk);
            let mut passed = Vec::new();
            for grows in grows {
                let Some(place) = ranking.next(&mut walk) else { break };
                passed.push(place);
                if grows {
                    let key = Key { share: 100, ..ranking.key(place) };
                    ranking.update(place, key);
                }
            }
            prop_assert_eq!(passed, expected);
        }
    }
}
