//! A member's disk: the log's segment in its real bytes, and the state machine as it was saved last.
//!
//! Called by `group`. Invariant: what was flushed is there after a power cut; of what was not, the first bytes may be.

use masterd_core::consensus::segment::{self, Damage, End};
use masterd_core::consensus::{Restored, Store};
use raft_proto::eraftpb::SnapshotMetadata;

#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    segment: u64,
    bytes: Vec<u8>,
    /// So many of them survive.
    flushed: usize,
    /// Where the last record of these begins.
    last: usize,
    next_record: u64,
    saved: SnapshotMetadata,
    state: Vec<u64>,
}

impl Disk {
    /// One on which a member has this log, and nothing in its state machine.
    pub(crate) fn new(log: &Restored) -> Self {
        let mut disk = Self::default();
        disk.replace(log, &[]);
        disk
    }

    /// Appends what raft wants stored.
    pub(crate) fn append(&mut self, store: &Store) {
        if let Some(record) = segment::record(self.next_record, store) {
            self.bytes.extend(record);
            self.next_record += 1;
        }
    }

    /// All that was written survives from now on.
    pub(crate) fn flush(&mut self) {
        if self.flushed < self.bytes.len() {
            self.last = self.flushed;
            self.flushed = self.bytes.len();
        }
    }

    /// A new segment and a newly saved state machine take the place of all, in one stroke.
    pub(crate) fn replace(&mut self, log: &Restored, state: &[u64]) {
        self.segment += 1;
        self.saved = log.saved.clone();
        self.state = state.to_vec();
        self.bytes = segment::head(self.segment, self.next_record).to_vec();
        self.flushed = self.bytes.len();
        let all = Store {
            entries: log.entries.clone(),
            hard_state: Some(log.hard_state.clone()),
            ..Store::default()
        };
        self.append(&all);
        self.flush();
    }

    /// Of what was not flushed, so many thousandths are there.
    pub(crate) fn lose_power(&mut self, thousandths: u64) {
        let more = (self.bytes.len() - self.flushed) * thousandths as usize / 1000;
        self.bytes.truncate(self.flushed + more);
    }

    /// Flips a bit of what was flushed, but of the last record: its damage cannot be told from a torn one. Whether it could.
    pub(crate) fn flip(&mut self, place: u64) -> bool {
        let bit = place as usize % (self.last.max(1) * 8);
        let can = self.last > segment::HEAD;
        if can {
            self.bytes[bit / 8] ^= 1u8 << (bit % 8);
        }
        can
    }

    /// What a member finds when it starts; it goes on writing where the last whole record ends.
    pub(crate) fn mount(&mut self) -> Result<(Restored, Vec<u64>), Damage> {
        let (log, end) = self.read()?;
        self.bytes.resize(end.at, 0);
        self.flushed = end.at;
        self.last = self.last.min(end.at);
        self.next_record = end.next_record;
        Ok((log, self.state.clone()))
    }

    /// All of the log that was written.
    pub(crate) fn read(&self) -> Result<(Restored, End), Damage> {
        let mut log = Restored {
            saved: self.saved.clone(),
            ..Restored::default()
        };
        // Segments have zeros behind their records.
        let mut bytes = self.bytes.clone();
        bytes.resize(bytes.len() + 64, 0);
        let first = first_record(&bytes);
        let end = segment::read(&bytes, self.segment, first, true, &mut log)?;
        Ok((log, end))
    }
}

/// The shell knows it from the segment before.
fn first_record(bytes: &[u8]) -> u64 {
    let number = bytes.get(20..28).and_then(|bytes| bytes.first_chunk());
    number.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
