//! The registry's part about the masters: who they are, which wire version each speaks, who was sent away.
//!
//! Not who may vote (raft's). Called by the registry. Invariant: of a master that is none any more nothing is kept but that it
//! was sent away, and that only until it is let in again.

use std::collections::{BTreeMap, VecDeque};

use nesos_wire::masters::MasterRecord;
use nesos_wire::version::{FIRST, Version};

use super::{Change, Record, delete, put};

/// Masters sent away that are remembered: several times what a cluster may have.
const MAX_DISMISSED: usize = 64;

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Group {
    masters: BTreeMap<u64, MasterRecord>,
    /// Of masters that speak another than the first.
    versions: BTreeMap<u64, Version>,
    /// Oldest first.
    dismissed: VecDeque<u64>,
}

impl Group {
    pub(super) fn put(&mut self, master: &MasterRecord) -> Vec<Change> {
        self.masters.insert(master.number, master.clone());
        let mut changes = vec![row(master)];
        let before = self.dismissed.len();
        self.dismissed.retain(|number| *number != master.number);
        if self.dismissed.len() < before {
            changes.push(self.dismissed_row());
        }
        changes
    }

    pub(super) fn remove(&mut self, number: u64) -> Vec<Change> {
        if self.masters.remove(&number).is_none() {
            return Vec::new();
        }
        let mut changes = vec![delete(key(number))];
        if self.versions.remove(&number).is_some() {
            changes.push(delete(version_key(number)));
        }
        self.dismissed.push_back(number);
        if self.dismissed.len() > MAX_DISMISSED {
            self.dismissed.pop_front();
        }
        changes.push(self.dismissed_row());
        changes
    }

    /// Of one that is no master nothing is kept.
    pub(super) fn put_version(&mut self, number: u64, version: Version) -> Vec<Change> {
        if !self.masters.contains_key(&number) {
            return Vec::new();
        }
        let is_first = version == FIRST;
        let before = match is_first {
            true => self.versions.remove(&number),
            false => self.versions.insert(number, version),
        };
        match (before, is_first) {
            (None, true) => Vec::new(),
            (Some(_), true) => vec![delete(version_key(number))],
            (_, false) => vec![version_row(number, version)],
        }
    }

    /// As it was written, in whatever order it is read.
    pub(super) fn load_version(&mut self, number: u64, version: Version) {
        self.versions.insert(number, version);
    }

    /// As it was written; after all masters, for who is put is dismissed no more.
    pub(super) fn load_dismissed(&mut self, dismissed: VecDeque<u64>) {
        self.dismissed = dismissed;
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Change> {
        let masters = self.masters.values().map(row);
        let versions = self.versions.iter();
        let versions = versions.map(|(number, version)| version_row(*number, *version));
        let dismissed = (!self.dismissed.is_empty()).then(|| self.dismissed_row());
        masters.chain(versions).chain(dismissed)
    }

    pub(super) fn masters(&self) -> impl Iterator<Item = &MasterRecord> {
        self.masters.values()
    }

    pub(super) fn master(&self, number: u64) -> Option<&MasterRecord> {
        self.masters.get(&number)
    }

    pub(super) fn version_of(&self, number: u64) -> Version {
        self.versions.get(&number).copied().unwrap_or(FIRST)
    }

    pub(super) fn version(&self) -> Version {
        let versions = self.masters.keys().map(|number| self.version_of(*number));
        versions.min().unwrap_or(FIRST)
    }

    pub(super) fn is_dismissed(&self, number: u64) -> bool {
        self.dismissed.contains(&number)
    }

    fn dismissed_row(&self) -> Change {
        match self.dismissed.is_empty() {
            true => delete("dismissed".into()),
            false => put(
                "dismissed".into(),
                &Record::Dismissed(self.dismissed.clone()),
            ),
        }
    }
}

fn row(master: &MasterRecord) -> Change {
    put(key(master.number), &Record::Master(master.clone()))
}

fn version_row(number: u64, version: Version) -> Change {
    let record = Record::MasterVersion(number, version);
    put(version_key(number), &record)
}

fn key(number: u64) -> String {
    format!("master/{number:016x}")
}

fn version_key(number: u64) -> String {
    format!("master-version/{number:016x}")
}
