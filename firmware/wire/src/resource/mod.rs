//! Resources as Mesos knows them: amounts by name and by the terms under which they are held.
//!
//! Not the public `Resource` message (that is `nesos-api`; the daemons convert), and without its `allocation_info`: whose
//! a bag is stands beside it. Invariant of [`Resources`]: name and terms are unique and ascending, no value is empty.
//! Clones share memory.

mod terms;
mod value;

use alloc::{sync::Arc, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::role;

pub use terms::{Disk, DiskSource, Name, Reservation, Terms, Volume};
pub use value::{Ranges, Scalar, Value};

/// The terms of what is held under none.
static PLAIN: Terms = Terms {
    reservations: Vec::new(),
    disk: None,
    is_revocable: false,
    is_shared: false,
};

/// An amount of one resource under one set of terms.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    name: Name,
    /// `None`: [`PLAIN`], which most are.
    terms: Option<Arc<Terms>>,
    /// How many hold it, for what is shared; else 1.
    shares: u32,
    value: Value,
}

impl Entry {
    /// `value` of `name` under `terms`.
    pub fn new(name: &str, terms: Terms, value: Value) -> Self {
        Self {
            name: Name::new(name),
            terms: (terms != PLAIN).then(|| Arc::new(terms)),
            shares: 1,
            value,
        }
    }

    /// The same amount under other terms.
    pub fn under(&self, terms: Terms) -> Self {
        Self {
            name: self.name.clone(),
            ..Self::new("", terms, self.value.clone())
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// How much.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The scalar; zero for ranges and sets.
    pub fn scalar(&self) -> Scalar {
        match self.value {
            Value::Scalar(scalar) => scalar,
            _ => Scalar(0),
        }
    }

    /// Its terms.
    pub fn terms(&self) -> &Terms {
        self.terms.as_deref().unwrap_or(&PLAIN)
    }

    /// Whether it is held under no particular terms.
    pub fn is_plain(&self) -> bool {
        self.terms.is_none()
    }

    /// Whether it is reserved, and then innermost to which role.
    pub fn owner(&self) -> Option<&str> {
        self.terms.as_deref().and_then(Terms::owner)
    }

    /// Whether it may be given to `role`: it is unreserved, or reserved to the role or one of its ancestors.
    pub fn is_allocatable_to(&self, role: &str) -> bool {
        self.owner()
            .is_none_or(|owner| owner == role || role::is_below(role, owner))
    }

    /// Whether many may use it at once.
    pub fn is_shared(&self) -> bool {
        self.terms().is_shared
    }

    /// Whether an operation has made it what it is: it is dynamically reserved, or a persistent volume.
    pub fn is_made(&self) -> bool {
        let terms = self.terms();
        terms.volume().is_some() || terms.reservations.iter().any(|made| made.is_dynamic)
    }

    /// What it was before any operation: not a volume, with static reservations only.
    pub fn ground(&self) -> Self {
        if !self.is_made() {
            return self.clone();
        }
        let mut terms = self.terms().clone();
        terms.reservations.retain(|made| !made.is_dynamic);
        terms.is_shared = false;
        terms.disk = terms.disk.and_then(|disk| disk.source).map(|source| Disk {
            source: Some(source),
            volume: None,
        });
        self.under(terms)
    }

    fn key(&self) -> (&Name, Option<&Terms>) {
        (&self.name, self.terms.as_deref())
    }

    fn contains(&self, other: &Self) -> bool {
        if self.terms().is_indivisible() {
            self.value == other.value
        } else {
            self.value.contains(&other.value)
        }
    }
}

/// A bag of resources.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(from = "Vec<Entry>")]
pub struct Resources(Option<Arc<Vec<Entry>>>);

impl Serialize for Resources {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries().serialize(serializer)
    }
}

impl From<Vec<Entry>> for Resources {
    fn from(entries: Vec<Entry>) -> Self {
        // As they are written; whatever else somebody sends is put in order.
        let is_whole = |entry: &Entry| {
            !entry.value.is_empty() && entry.shares > 0 && (entry.shares == 1 || entry.is_shared())
        };
        let ascends = |pair: &[Entry]| pair[0].key() < pair[1].key();
        if !entries.is_empty() && entries.iter().all(is_whole) && entries.windows(2).all(ascends) {
            return Self(Some(Arc::new(entries)));
        }
        entries.into_iter().collect()
    }
}

impl Resources {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds unreserved `value` of `name`, as [`Resources::put`].
    pub fn insert(&mut self, name: &str, value: Value) {
        self.put(Entry::new(name, Terms::default(), value));
    }

    /// Adds an entry: to what is there under its name and terms, or beside it. What is shared gets one more holder
    /// instead. A value of another kind than the one present is ignored (kinds are checked when input is parsed), an
    /// empty one too.
    pub fn put(&mut self, mut entry: Entry) {
        if entry.value.is_empty() || entry.shares == 0 {
            return;
        }
        if !entry.is_shared() {
            entry.shares = 1;
        }
        match self.position(&entry) {
            Ok(at) => {
                let present = &mut self.entries_mut()[at];
                if entry.is_shared() {
                    present.shares = present.shares.saturating_add(entry.shares);
                } else {
                    present.value.add(&entry.value);
                }
            }
            Err(at) => self.entries_mut().insert(at, entry),
        }
    }

    /// Name, terms and value, ascending.
    pub fn entries(&self) -> &[Entry] {
        self.0.as_ref().map_or(&[], |entries| entries.as_slice())
    }

    /// Name and value of every entry, by name; a name that is held under several terms comes more than once.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        let entries = self.entries().iter();
        entries.map(|entry| (entry.name(), &entry.value))
    }

    /// The entries that `keep` wants.
    pub fn filter(&self, mut keep: impl FnMut(&Entry) -> bool) -> Self {
        if self.entries().iter().all(&mut keep) {
            return self.clone();
        }
        let kept = self.entries().iter().filter(|entry| keep(entry));
        kept.cloned().collect()
    }

    /// What is held of `name` under no particular terms.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let mut entries = self.entries().iter();
        let found = entries.find(|entry| entry.is_plain() && entry.name() == name);
        found.map(|entry| &entry.value)
    }

    /// The sum of `name` under all terms; zero if absent or not a scalar.
    pub fn scalar(&self, name: &str) -> Scalar {
        let entries = self.entries().iter().filter(|entry| entry.name() == name);
        Scalar(entries.fold(0, |sum: i64, entry| sum.saturating_add(entry.scalar().0)))
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// Whether `other` can be taken out of `self`. What is shared can be taken any number of times.
    pub fn contains(&self, other: &Self) -> bool {
        self.is_same(other)
            || other.entries().iter().all(|entry| {
                self.position(entry)
                    .is_ok_and(|at| self.entries()[at].contains(entry))
            })
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        if self.is_empty() {
            self.0.clone_from(&other.0);
        } else {
            other.entries().iter().cloned().for_each(|e| self.put(e));
        }
    }

    /// Takes `other` out; never goes below nothing (as Mesos's `Resources`).
    pub fn subtract(&mut self, other: &Self) {
        if self.is_same(other) {
            self.0 = None;
            return;
        }
        for entry in other.entries() {
            let Ok(at) = self.position(entry) else {
                continue;
            };
            let entries = self.entries_mut();
            let present = &mut entries[at];
            if entry.is_shared() {
                present.shares = present.shares.saturating_sub(entry.shares);
            } else {
                present.value.subtract(&entry.value);
            }
            if present.shares == 0 || present.value.is_empty() {
                entries.remove(at);
            }
        }
        if self.is_empty() {
            self.0 = None;
        }
    }

    /// Both are clones of one bag: a cheap yes, no proof of a no.
    fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        }
    }

    fn position(&self, entry: &Entry) -> Result<usize, usize> {
        let entries = self.entries();
        entries.binary_search_by(|have| have.key().cmp(&entry.key()))
    }

    fn entries_mut(&mut self) -> &mut Vec<Entry> {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl FromIterator<Entry> for Resources {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut resources = Self::new();
        entries.into_iter().for_each(|entry| resources.put(entry));
        resources
    }
}

impl<'a> FromIterator<(&'a str, Value)> for Resources {
    fn from_iter<I: IntoIterator<Item = (&'a str, Value)>>(items: I) -> Self {
        let mut resources = Self::new();
        for (name, value) in items {
            resources.insert(name, value);
        }
        resources
    }
}

#[cfg(test)]
mod tests;
