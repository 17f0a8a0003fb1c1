//! The ids of the host that containers with a user namespace have: a part of a configured range for each, and who has which.
//!
//! Pure; the shell makes namespaces of it. Called by the isolator of user namespaces. Invariants: no id is two containers' at a
//! time, however the range was configured when one of them began; a part that was given back rests as long as others are
//! free, since files may still be its.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use nesos_wire::ContainerId;
use nesos_wire::rights::IdRange;

/// Ids of one container: what 16 bits say, so that every id that images and systems use has its place.
pub const COUNT: u32 = 65_536;
/// The lowest that may be a container's: below are users of the host, `nobody` (65,534) among them.
const LOWEST: u32 = 65_536;
/// The highest: the kernel takes the one behind it for "none".
const HIGHEST: u32 = u32::MAX - 1;

/// Why there is no such thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserIdsError {
    /// Not a range.
    #[error(
        "'{0}' is no range of ids FIRST-LAST with {LOWEST} at least, {HIGHEST} at most and room for {COUNT} ids"
    )]
    Text(String),
    /// All are given.
    #[error("all {0} ranges of ids of the agent's user namespaces are in use")]
    NoneFree(u32),
}

/// All ids that containers may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdSpace {
    first: u32,
    last: u32,
}

impl IdSpace {
    /// How many containers have room.
    pub fn capacity(self) -> u32 {
        // Of u32::MAX - LOWEST ids at most, so one more is no overflow.
        (self.last - self.first + 1) / COUNT
    }

    /// The part of this number.
    fn part(self, number: u32) -> IdRange {
        IdRange {
            first: self.first + number * COUNT,
            count: COUNT,
        }
    }

    /// The first part, which shows what the kernel can do.
    pub fn example(self) -> IdRange {
        self.part(0)
    }
}

impl FromStr for IdSpace {
    type Err = UserIdsError;

    fn from_str(text: &str) -> Result<Self, UserIdsError> {
        let read = || {
            let (first, last) = text.split_once('-')?;
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            let is_possible = first >= LOWEST && last <= HIGHEST && first <= last;
            let space = is_possible.then_some(Self { first, last })?;
            (space.capacity() > 0).then_some(space)
        };
        read().ok_or_else(|| UserIdsError::Text(text.into()))
    }
}

impl fmt::Display for IdSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Who has which.
#[derive(Debug, Clone)]
pub struct UserIds {
    space: IdSpace,
    held: BTreeMap<ContainerId, IdRange>,
    /// The number of the part that is looked at first.
    next: u32,
}

impl UserIds {
    /// All are free.
    pub fn new(space: IdSpace) -> Self {
        Self {
            space,
            held: BTreeMap::new(),
            next: 0,
        }
    }

    /// What the container has.
    pub fn of(&self, container: &ContainerId) -> Option<IdRange> {
        self.held.get(container).copied()
    }

    /// A part for the container; the one that it has, if it has one.
    pub fn give(&mut self, container: &ContainerId) -> Result<IdRange, UserIdsError> {
        if let Some(range) = self.of(container) {
            return Ok(range);
        }
        let capacity = self.space.capacity();
        // Both are below the capacity, which is far below half of what fits.
        let mut from_next = (0..capacity).map(|step| (self.next + step) % capacity);
        let free = from_next.find(|number| self.is_free(self.space.part(*number)));
        let number = free.ok_or(UserIdsError::NoneFree(capacity))?;
        self.next = (number + 1) % capacity;
        let range = self.space.part(number);
        self.held.insert(container.clone(), range);
        Ok(range)
    }

    /// What the container of an earlier agentd has, whatever it is.
    pub fn adopt(&mut self, container: &ContainerId, range: IdRange) {
        let behind = range.first.saturating_sub(self.space.first) / COUNT + 1;
        self.next = self.next.max(behind) % self.space.capacity();
        self.held.insert(container.clone(), range);
    }

    /// Takes it back.
    pub fn give_back(&mut self, container: &ContainerId) {
        self.held.remove(container);
    }

    fn is_free(&self, range: IdRange) -> bool {
        let end = |range: IdRange| u64::from(range.first) + u64::from(range.count);
        self.held
            .values()
            .all(|held| end(*held) <= u64::from(range.first) || end(range) <= u64::from(held.first))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ids(text: &str) -> UserIds {
        UserIds::new(text.parse().unwrap())
    }

    fn container(name: &str) -> ContainerId {
        ContainerId::new(name)
    }

    #[test]
    fn a_range_has_room_for_one_and_none_of_the_hosts_users() {
        for (text, capacity) in [
            ("65536-131071", 1),
            ("1879048192-2147483647", 4096),
            ("100000-231071", 2),
            ("100000-231070", 1),
            ("65536-4294967294", 65_534),
        ] {
            let space: IdSpace = text.parse().unwrap();
            assert_eq!(
                (space.capacity(), space.to_string().as_str()),
                (capacity, text)
            );
        }
        for text in [
            "",
            "65536",
            "65536-131070",
            "65535-200000",
            "0-65535",
            "200000-100000",
            "65536-4294967295",
            "65536-99999999999",
            "-1-200000",
            "a-b",
            "65536-131071-",
        ] {
            let error = text.parse::<IdSpace>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{text}'")), "{error}");
        }
    }

    #[test]
    fn each_has_its_own_and_what_was_given_back_rests() {
        let mut ids = ids("65536-262143");
        let first = |ids: &mut UserIds, name: &str| ids.give(&container(name)).unwrap().first;
        assert_eq!(first(&mut ids, "a"), 65_536);
        assert_eq!(first(&mut ids, "a"), 65_536);
        assert_eq!(first(&mut ids, "b"), 131_072);
        ids.give_back(&container("a"));
        assert_eq!(ids.of(&container("a")), None);
        assert_eq!(first(&mut ids, "c"), 196_608);
        assert_eq!(first(&mut ids, "d"), 65_536);
        let error = ids.give(&container("e")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "all 3 ranges of ids of the agent's user namespaces are in use"
        );
        ids.give_back(&container("b"));
        assert_eq!(first(&mut ids, "e"), 131_072);
    }

    #[test]
    fn what_others_brought_along_is_nobody_elses() {
        let mut ids = ids("65536-262143");
        // Of an agent that was configured otherwise: it lies across two parts.
        let strange = IdRange {
            first: 100_000,
            count: COUNT,
        };
        ids.adopt(&container("old"), strange);
        assert_eq!(ids.of(&container("old")), Some(strange));
        assert_eq!(ids.give(&container("new")).unwrap().first, 196_608);
        assert!(ids.give(&container("more")).is_err());
        ids.give_back(&container("old"));
        assert_eq!(ids.give(&container("more")).unwrap().first, 65_536);
        // Far outside of the space, at both ends.
        for first in [0, u32::MAX - COUNT] {
            let range = IdRange {
                first,
                count: COUNT,
            };
            ids.adopt(&container("far"), range);
            ids.give_back(&container("far"));
        }
        assert_eq!(ids.give(&container("last")).unwrap().first, 131_072);
    }
}
