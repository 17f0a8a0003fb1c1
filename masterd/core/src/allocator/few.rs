//! A list of which the first few items need no memory of their own: they stand where the list stands.
//!
//! Called by the allocator for what nearly every agent has one or two of, so that a round over all agents reads one array
//! from its beginning to its end. Invariant: items beyond the length are defaults.

use std::ops::{Deref, DerefMut};

#[derive(Debug)]
pub(super) enum Few<T, const N: usize> {
    Here([T; N], usize),
    /// Once there were more than `N`, until there are fewer.
    Elsewhere(Vec<T>),
}

impl<T: Default, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Self::Here(std::array::from_fn(|_| T::default()), 0)
    }
}

impl<T: Default, const N: usize> Few<T, N> {
    pub(super) fn insert(&mut self, at: usize, item: T) {
        match self {
            Self::Here(items, len) if *len < N => {
                items[at..=*len].rotate_right(1);
                items[at] = item;
                *len += 1;
            }
            Self::Here(items, _) => {
                let mut many: Vec<T> = items.iter_mut().map(std::mem::take).collect();
                many.insert(at, item);
                *self = Self::Elsewhere(many);
            }
            Self::Elsewhere(items) => items.insert(at, item),
        }
    }

    pub(super) fn push(&mut self, item: T) {
        self.insert(self.len(), item);
    }

    pub(super) fn remove(&mut self, at: usize) -> T {
        match self {
            Self::Here(items, len) => {
                let items = &mut items[at..*len];
                *len -= 1;
                items.rotate_left(1);
                items.last_mut().map(std::mem::take).unwrap_or_default()
            }
            Self::Elsewhere(items) => {
                let item = items.remove(at);
                if items.len() < N {
                    let left = std::mem::take(items);
                    *self = Self::default();
                    left.into_iter().for_each(|item| self.push(item));
                }
                item
            }
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        let mut at = 0;
        while at < self.len() {
            if keep(&self[at]) {
                at += 1;
            } else {
                self.remove(at);
            }
        }
    }
}

impl<T, const N: usize> Deref for Few<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Here(items, len) => &items[..*len],
            Self::Elsewhere(items) => items,
        }
    }
}

impl<T, const N: usize> DerefMut for Few<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::Here(items, len) => &mut items[..*len],
            Self::Elsewhere(items) => items,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_list(changes in prop::collection::vec((any::<bool>(), 0usize..6, 1u8..), 0..60)) {
            let mut few: Few<u8, 2> = Few::default();
            let mut list: Vec<u8> = Vec::new();
            for (is_new, at, item) in changes {
                if is_new {
                    let at = at.min(list.len());
                    few.insert(at, item);
                    list.insert(at, item);
                } else if at < list.len() {
                    prop_assert_eq!(few.remove(at), list.remove(at));
                } else {
                    few.retain(|known| known % 3 != 0);
                    list.retain(|known| known % 3 != 0);
                }
                prop_assert_eq!(&*few, list.as_slice());
            }
        }
    }
}
