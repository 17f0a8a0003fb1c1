//! The group's log as raft reads it: the entries behind the last snapshot, all of them in memory.
//!
//! Not the log on disk, which the shell keeps equal to this one. Called by raft, and by the parent module when the shell has
//! made something durable. Invariant: entries have consecutive indices, and the first follows the snapshot's.

use std::cell::Cell;
use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

/// What a member knows when it starts: what was durable when it stopped.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Restored {
    /// Term, vote and commit.
    pub hard_state: HardState,
    /// Up to where the state machine was saved, and who the members were then.
    pub saved: SnapshotMetadata,
    /// What follows in the log.
    pub entries: Vec<Entry>,
}

impl Restored {
    /// The beginning of a group that has one member.
    pub fn founder(member: u64) -> Self {
        let saved = SnapshotMetadata {
            conf_state: ConfState::from(([member], [])),
            // Above a newcomer's 0, so that a newcomer is told of the members by a snapshot.
            index: 1,
            term: 1,
        };
        Self {
            hard_state: HardState {
                term: saved.term,
                vote: 0,
                commit: saved.index,
            },
            saved,
            entries: Vec::new(),
        }
    }

    /// raft panics over a log that contradicts itself.
    pub(super) fn check(&self, member: u64) -> Result<(), String> {
        if member == raft::INVALID_ID {
            return Err("0 is nobody's number".to_owned());
        }
        let mut next = self.saved.index + 1;
        let mut term = self.saved.term;
        for entry in &self.entries {
            if entry.index != next || entry.term < term {
                return Err(format!(
                    "entry {} of term {} stands where {next} of term {term} or later is expected",
                    entry.index, entry.term
                ));
            }
            (next, term) = (next + 1, entry.term);
        }
        let commit = self.hard_state.commit;
        if commit >= next || commit < self.saved.index {
            return Err(format!(
                "{commit} is said to be committed, the log has {} to {}",
                self.saved.index,
                next - 1
            ));
        }
        if self.hard_state.term < term {
            let own = self.hard_state.term;
            return Err(format!("the log is of term {term}, this master of {own}"));
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(super) struct Log {
    hard_state: HardState,
    /// Who the members are, as far as the state machine has applied it.
    pub(super) members: ConfState,
    /// The entry before the first: index and term.
    before: (u64, u64),
    entries: VecDeque<Entry>,
    /// The state machine as bytes, when somebody needed it.
    pub(super) snapshot: Option<Snapshot>,
    /// Somebody needs a snapshot from this index on.
    pub(super) wanted: Cell<Option<u64>>,
}

impl Log {
    pub(super) fn new(restored: Restored) -> Self {
        let Restored {
            hard_state,
            saved,
            entries,
        } = restored;
        Self {
            hard_state,
            before: (saved.index, saved.term),
            members: saved.conf_state,
            entries: entries.into(),
            snapshot: None,
            wanted: Cell::new(None),
        }
    }

    pub(super) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// A snapshot has taken the place of all.
    pub(super) fn restart_at(&mut self, saved: &SnapshotMetadata) {
        self.entries.clear();
        self.before = (saved.index, saved.term);
        self.members = saved.conf_state.clone();
        self.snapshot = None;
    }

    /// Appends; what was there under the same indices and later is replaced, as another leader says.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else {
            return;
        };
        let keep = first.index.saturating_sub(self.before.0 + 1);
        self.entries.truncate(keep as usize);
        self.entries.extend(entries.iter().cloned());
    }

    /// Forgets entries up to this one, which the state machine has saved. Says how many are left.
    pub(super) fn forget(&mut self, index: u64) -> usize {
        let known = index.saturating_sub(self.before.0) as usize;
        for entry in self.entries.drain(..known.min(self.entries.len())) {
            self.before = (entry.index, entry.term);
        }
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.data.len()).sum()
    }

    fn at(&self, index: u64) -> Option<&Entry> {
        let place = index.checked_sub(self.before.0 + 1)?;
        self.entries.get(usize::try_from(place).ok()?)
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(
            self.hard_state.clone(),
            self.members.clone(),
        ))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.before.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        let mut found: Vec<Entry> = Vec::new();
        for index in low..high {
            let entry = self
                .at(index)
                .ok_or(Error::Store(StorageError::Unavailable))?;
            found.push(entry.clone());
        }
        raft::util::limit_size(&mut found, max_size.into());
        Ok(found)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.before.0 {
            return Ok(self.before.1);
        }
        if index < self.before.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        let entry = self
            .at(index)
            .ok_or(Error::Store(StorageError::Unavailable))?;
        Ok(entry.term)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.before.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.before.0 + self.entries.len() as u64)
    }

    fn snapshot(&self, request_index: u64, _: u64) -> raft::Result<Snapshot> {
        match &self.snapshot {
            Some(snapshot) if snapshot.get_metadata().index >= request_index.max(self.before.0) => {
                Ok(snapshot.clone())
            }
            _ => {
                self.wanted.set(Some(request_index));
                Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}
