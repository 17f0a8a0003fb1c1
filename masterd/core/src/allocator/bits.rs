//! Sets of small dense numbers, one bit each.
//!
//! Called by the allocator, for clients that refused a bundle and for agents with filters. Grows on insertion.

#[derive(Debug, Clone, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Adds; says whether it is new.
    pub(super) fn insert(&mut self, at: u32) -> bool {
        let word = at as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let is_new = self.0[word] & mask(at) == 0;
        self.0[word] |= mask(at);
        is_new
    }

    /// Takes out; says whether it was there.
    pub(super) fn remove(&mut self, at: u32) -> bool {
        let Some(word) = self.0.get_mut(at as usize / 64) else {
            return false;
        };
        let was_there = *word & mask(at) != 0;
        *word &= !mask(at);
        was_there
    }

    pub(super) fn contains(&self, at: u32) -> bool {
        self.0
            .get(at as usize / 64)
            .is_some_and(|word| word & mask(at) != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(super) fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn extend(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (own, more) in self.0.iter_mut().zip(&other.0) {
            *own |= more;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        ones(self.0.iter().copied())
    }

    /// How many of these are not in `other`.
    pub(super) fn count_without(&self, other: &Self) -> u32 {
        self.without(other).map(u64::count_ones).sum()
    }

    /// These that are not in `other`, ascending.
    pub(super) fn iter_without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u32> + 'a {
        ones(self.without(other))
    }

    fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u64> + 'a {
        let others = other.0.iter().copied().chain(std::iter::repeat(0));
        self.0.iter().zip(others).map(|(own, other)| own & !other)
    }
}

fn mask(at: u32) -> u64 {
    1 << (at % 64)
}

fn ones(words: impl Iterator<Item = u64>) -> impl Iterator<Item = u32> {
    (0u32..).zip(words).flat_map(|(at, mut word)| {
        std::iter::from_fn(move || {
            if word == 0 {
                return None;
            }
            let bit = word.trailing_zeros();
            word &= word - 1;
            Some(at * 64 + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_operations() {
        let (mut a, mut b) = (Bits::default(), Bits::default());
        assert!(a.insert(3) && a.insert(64) && a.insert(200) && !a.insert(3));
        assert!(b.insert(64));
        assert_eq!(a.iter().collect::<Vec<_>>(), [3, 64, 200]);
        assert_eq!(a.iter_without(&b).collect::<Vec<_>>(), [3, 200]);
        assert_eq!((a.count_without(&b), b.count_without(&a)), (2, 0));
        assert!(b.remove(64) && !b.remove(64) && !b.remove(9999) && b.is_empty());
        b.extend(&a);
        assert!(b.contains(200) && !b.contains(201));
    }
}
