//! An ordered map that can be photographed: a clone of it costs one pointer for each block of entries.
//!
//! Readers keep such a clone while the master goes on, so that nothing large is ever shown inside a step. Entries stand
//! in sorted blocks; a block, and a value in it, is copied when it is changed while a clone still holds it, and only
//! then. Not a persistent tree: a clone is O(blocks). Called by `state`, `master` and `registry`. Invariants: keys ascend
//! across blocks, no block is empty or longer than [`MAX_BLOCK`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most entries of one block: what is copied (two counters each) when a photographed block is changed.
const MAX_BLOCK: usize = 64;
/// A block this short is joined with its successor, if both together are at most half full.
const SHORT_BLOCK: usize = MAX_BLOCK / 4;

type Entries<K, V> = Vec<(K, Arc<V>)>;

/// The map.
#[derive(Debug)]
pub struct Shelf<K, V> {
    blocks: Vec<Arc<Entries<K, V>>>,
    len: usize,
    /// Where the last search ended: a guess for the next one, which is mostly for the same key or a neighbour's.
    recent: AtomicUsize,
}

impl<K: PartialEq, V: PartialEq> PartialEq for Shelf<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.blocks == other.blocks
    }
}

/// Where an entry belongs that is not there yet.
#[derive(Debug)]
pub(crate) struct Vacancy {
    block: usize,
    entry: usize,
}

/// Some neighbouring entries, as they were when the shelf was photographed.
#[derive(Debug)]
pub struct Block<K, V>(Arc<Entries<K, V>>);

impl<K, V> Clone for Shelf<K, V> {
    fn clone(&self) -> Self {
        Self {
            blocks: self.blocks.clone(),
            len: self.len,
            recent: AtomicUsize::default(),
        }
    }
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            len: 0,
            recent: AtomicUsize::default(),
        }
    }
}

impl<K, V> Clone for Block<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> Block<K, V> {
    /// Whether both hold the very same entries: a cheap yes, no proof of a no.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A number that no other block has as long as this one is held.
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// The values, by key.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| &**value)
    }
}

impl<K, V> Shelf<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let blocks = self.blocks.iter();
        blocks.flat_map(|block| block.iter().map(|(key, value)| (key, &**value)))
    }

    /// The keys, ascending.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values, by key.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The entries in pieces of at most 64, which stay the same as long as nothing in them changes.
    pub fn blocks(&self) -> impl Iterator<Item = Block<K, V>> {
        self.blocks.iter().map(|block| Block(Arc::clone(block)))
    }
}

impl<K: Ord + Clone, V: Clone> Shelf<K, V> {
    /// The value of this key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.get_shared(key).map(Arc::as_ref)
    }

    /// The same, for who wants to keep it.
    pub(crate) fn get_shared(&self, key: &K) -> Option<&Arc<V>> {
        let (block, entry) = self.find(key).ok()?;
        Some(&self.blocks[block][entry].1)
    }

    /// Whether there is such an entry.
    pub fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    /// The value of this key, to be changed: it counts as changed from now on.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (block, entry) = self.find(key).ok()?;
        let entries = Arc::make_mut(&mut self.blocks[block]);
        Some(Arc::make_mut(&mut entries[entry].1))
    }

    /// Puts a value, which may be shared, at this key; what was there before.
    pub fn insert(&mut self, key: K, value: impl Into<Arc<V>>) -> Option<V> {
        let value = value.into();
        match self.find(&key) {
            Ok((block, entry)) => {
                let entries = Arc::make_mut(&mut self.blocks[block]);
                let old = std::mem::replace(&mut entries[entry].1, value);
                Some(Arc::unwrap_or_clone(old))
            }
            Err((block, entry)) => {
                self.put(block, entry, (key, value));
                None
            }
        }
    }

    /// Where a new entry with this key belongs. `None`: there is one.
    pub(crate) fn vacancy(&self, key: &K) -> Option<Vacancy> {
        let (block, entry) = self.find(key).err()?;
        Some(Vacancy { block, entry })
    }

    /// Puts an entry where its key was found to be missing; nothing has changed since.
    pub(crate) fn fill(&mut self, place: Vacancy, key: K, value: V) {
        self.put(place.block, place.entry, (key, Arc::new(value)));
    }

    /// Puts an entry where its key's search ended.
    fn put(&mut self, block: usize, entry: usize, new: (K, Arc<V>)) {
        self.len += 1;
        let Some(entries) = self.blocks.get_mut(block).map(Arc::make_mut) else {
            self.blocks.push(Arc::new(vec![new]));
            return;
        };
        if entries.len() < MAX_BLOCK {
            entries.insert(entry, new);
        } else if entry == MAX_BLOCK {
            // Keys mostly come in ascending order: leave the full block full.
            self.blocks.insert(block + 1, Arc::new(vec![new]));
        } else {
            let mut upper = entries.split_off(MAX_BLOCK / 2);
            match entry.checked_sub(entries.len()) {
                Some(at) => upper.insert(at, new),
                None => entries.insert(entry, new),
            }
            self.blocks.insert(block + 1, Arc::new(upper));
        }
    }

    /// The values, by key; those that nobody else holds are not copied.
    pub fn into_values(self) -> impl Iterator<Item = V> {
        let blocks = self.blocks.into_iter();
        let entries = blocks.flat_map(Arc::unwrap_or_clone);
        entries.map(|(_, value)| Arc::unwrap_or_clone(value))
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (block, entry) = self.find(key).ok()?;
        let entries = Arc::make_mut(&mut self.blocks[block]);
        let (_, value) = entries.remove(entry);
        self.len -= 1;
        if entries.is_empty() {
            self.blocks.remove(block);
        } else if entries.len() <= SHORT_BLOCK {
            self.join(block);
        }
        Some(Arc::unwrap_or_clone(value))
    }

    /// Takes the entry with the least key out.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        let key = self.keys().next()?.clone();
        self.remove(&key).map(|value| (key, value))
    }

    /// Joins a short block with the next one if that leaves room for more.
    fn join(&mut self, block: usize) {
        let room = MAX_BLOCK / 2;
        let fits = |next: &Arc<Entries<K, V>>| next.len() + self.blocks[block].len() <= room;
        if self.blocks.get(block + 1).is_some_and(fits) {
            let next = self.blocks.remove(block + 1);
            Arc::make_mut(&mut self.blocks[block]).extend(Arc::unwrap_or_clone(next));
        }
    }

    /// Block and place in it where the key is, or would have to be.
    fn find(&self, key: &K) -> Result<(usize, usize), (usize, usize)> {
        let starts_before = |block: &Arc<Entries<K, V>>| block.first().is_some_and(|e| e.0 <= *key);
        let recent = self.recent.load(Ordering::Relaxed);
        let is_there = self.blocks.get(recent).is_some_and(starts_before)
            && !self.blocks.get(recent + 1).is_some_and(starts_before);
        let block = match is_there {
            true => recent,
            false => self.blocks.partition_point(starts_before).saturating_sub(1),
        };
        self.recent.store(block, Ordering::Relaxed);
        let Some(entries) = self.blocks.get(block) else {
            return Err((block, 0));
        };
        match entries.binary_search_by(|(have, _)| have.cmp(key)) {
            Ok(entry) => Ok((block, entry)),
            Err(entry) => Err((block, entry)),
        }
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for Shelf<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut shelf = Self::default();
        for (key, value) in entries {
            shelf.insert(key, value);
        }
        shelf
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Change {
        Insert(u16, u32),
        Fill(u16, u32),
        Remove(u16),
        Edit(u16, u32),
        PopFirst,
        Photograph,
    }

    fn change() -> impl Strategy<Value = Change> {
        let key = 0_u16..300;
        prop_oneof![
            6 => (key.clone(), any::<u32>()).prop_map(|(k, v)| Change::Insert(k, v)),
            3 => (key.clone(), any::<u32>()).prop_map(|(k, v)| Change::Fill(k, v)),
            3 => key.clone().prop_map(Change::Remove),
            2 => (key, any::<u32>()).prop_map(|(k, v)| Change::Edit(k, v)),
            1 => Just(Change::PopFirst),
            1 => Just(Change::Photograph),
        ]
    }

    fn check(shelf: &Shelf<u16, u32>, model: &BTreeMap<u16, u32>) {
        assert!(shelf.iter().eq(model.iter()));
        assert!(shelf.iter().rev().eq(model.iter().rev()));
        assert_eq!(
            (shelf.len(), shelf.is_empty()),
            (model.len(), model.is_empty())
        );
        let sizes = shelf.blocks.iter().map(|block| block.len());
        assert!(sizes.clone().all(|size| (1..=MAX_BLOCK).contains(&size)));
        let shown = shelf.blocks();
        let shown = shown.flat_map(|block| block.values().copied().collect::<Vec<_>>());
        assert!(shown.eq(model.values().copied()));
    }

    proptest! {
        #[test]
        fn it_is_a_map_and_photographs_stay_as_they_were(
            start in 0_u16..300,
            changes in prop::collection::vec(change(), 0..400),
        ) {
            let entries = || (0..start).map(|key| (key, u32::from(key)));
            let mut shelf: Shelf<u16, u32> = entries().collect();
            let mut model: BTreeMap<u16, u32> = entries().collect();
            let mut photographs = Vec::new();
            for change in changes {
                match change {
                    Change::Insert(key, value) => {
                        prop_assert_eq!(shelf.insert(key, value), model.insert(key, value));
                    }
                    Change::Fill(key, value) => {
                        let place = shelf.vacancy(&key);
                        prop_assert_eq!(place.is_none(), model.contains_key(&key));
                        if let Some(place) = place {
                            shelf.fill(place, key, value);
                            model.insert(key, value);
                        }
                    }
                    Change::Remove(key) => prop_assert_eq!(shelf.remove(&key), model.remove(&key)),
                    Change::Edit(key, value) => {
                        prop_assert_eq!(shelf.get(&key), model.get(&key));
                        prop_assert_eq!(shelf.contains_key(&key), model.contains_key(&key));
                        let places = (shelf.get_mut(&key), model.get_mut(&key));
                        if let (Some(place), Some(other)) = places {
                            (*place, *other) = (value, value);
                        }
                    }
                    Change::PopFirst => prop_assert_eq!(shelf.pop_first(), model.pop_first()),
                    Change::Photograph => photographs.push((shelf.clone(), model.clone())),
                }
            }
            check(&shelf, &model);
            photographs.iter().for_each(|(shelf, model)| check(shelf, model));
        }
    }

    #[test]
    fn only_changed_blocks_differ_from_a_photograph() {
        let mut shelf: Shelf<u16, u32> = (0..640).map(|key| (key, 0)).collect();
        let before: Vec<_> = shelf.blocks().collect();
        assert_eq!(before.len(), 10);
        *shelf.get_mut(&100).expect("there") = 1;
        let same = shelf.blocks().zip(&before);
        let same: Vec<bool> = same.map(|(now, before)| now.is_same(before)).collect();
        let changed = same.iter().position(|is_same| !is_same);
        assert_eq!((changed, same.iter().filter(|s| **s).count()), (Some(1), 9));
    }
}
