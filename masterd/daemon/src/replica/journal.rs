//! The log's files: segments made of zeros beforehand, to which one record is appended per flush.
//!
//! Not their bytes (`masterd_core::consensus::segment`). Called by the disk's thread, which alone writes here. Invariants: a
//! segment is whole before it has its name; what was appended is durable when `append` returns; a file is removed only when
//! all of it is saved elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use masterd_core::consensus::segment::{self, Damage, HEAD, SEGMENT};
use masterd_core::consensus::{Restored, Store};
use raft_proto::eraftpb::HardState;

/// Name of a segment that is being made.
const UNFINISHED: &str = "new";
/// Bytes written at a time while a segment is made. Linux may keep pages in one piece that were written in one, and counts all of
/// it as written when one of them is (`write_bytes` of /proc/PID/io), though the disk gets that one only: this keeps the count
/// true.
const PAGE: usize = 4096;

/// Why the log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// The system says no.
    #[error("cannot {operation} {path}: {reason}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's word.
        reason: io::Error,
    },
    /// The bytes are not what was written.
    #[error("the log in {path} is damaged: {reason}")]
    Damaged {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        reason: Damage,
    },
}

/// The open log.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    file: File,
    /// Number of the file.
    segment: u64,
    /// Where the next record goes.
    at: usize,
    /// Length of the file.
    size: usize,
    next_record: u64,
    hard_state: HardState,
    /// Finished segments and the greatest index in each and before it, oldest first.
    older: Vec<(u64, u64)>,
    /// Greatest index appended so far.
    last_index: u64,
}

impl Journal {
    /// Opens the log behind `restored.saved`, which it completes. Segments before `first_segment` are of a past that a
    /// snapshot has replaced.
    pub(crate) fn open(
        folder: &Path,
        first_segment: u64,
        restored: &mut Restored,
    ) -> Result<Self, JournalError> {
        std::fs::create_dir_all(folder).map_err(failed("create", folder))?;
        let mut segments = list(folder)?;
        let outdated = segments
            .iter()
            .take_while(|number| **number < first_segment);
        for number in outdated {
            let path = path(folder, *number);
            std::fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        segments.retain(|number| *number >= first_segment);
        let Some(last) = segments.last().copied() else {
            return Self::begin(folder, first_segment, 0, HardState::default(), SEGMENT);
        };
        let mut older = Vec::new();
        let mut next_record = None;
        let mut end = None;
        for number in segments {
            let path = path(folder, number);
            let bytes = std::fs::read(&path).map_err(failed("read", &path))?;
            let damaged = |reason| JournalError::Damaged {
                path: folder.to_path_buf(),
                reason,
            };
            let first = segment::first_record(&bytes, number).map_err(damaged)?;
            let expected = next_record.unwrap_or(first);
            let read = segment::read(&bytes, number, expected, number == last, restored);
            let read = read.map_err(damaged)?;
            next_record = Some(read.next_record);
            if number == last {
                end = Some((read, bytes));
            } else {
                older.push((number, last_index(restored)));
            }
        }
        let Some((end, bytes)) = end else {
            return Self::begin(folder, first_segment, 0, HardState::default(), SEGMENT);
        };
        let path = path(folder, last);
        let file = OpenOptions::new().write(true).open(&path);
        let file = file.map_err(failed("open", &path))?;
        if bytes[end.at..].iter().any(|byte| *byte != 0) {
            // A record that power was lost in.
            let torn = vec![0; bytes.len() - end.at];
            file.write_all_at(&torn, end.at as u64)
                .and_then(|()| file.sync_data())
                .map_err(failed("write", &path))?;
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            file,
            segment: last,
            at: end.at,
            size: bytes.len(),
            next_record: end.next_record,
            hard_state: restored.hard_state.clone(),
            older,
            last_index: last_index(restored),
        })
    }

    /// Appends what raft wants stored; it is durable then. After an error the same is to be appended again.
    pub(crate) fn append(&mut self, store: &Store) -> Result<(), JournalError> {
        let Some(mut record) = segment::record(self.next_record, store) else {
            return Ok(());
        };
        if self.at + record.len() > self.size {
            // Each segment says term and vote, so that older ones can go.
            let whole = Store {
                entries: store.entries.clone(),
                hard_state: store.hard_state.clone().or(Some(self.hard_state.clone())),
                ..Store::default()
            };
            record = segment::record(self.next_record, &whole).unwrap_or(record);
            self.go_on_in_next(record.len())?;
        }
        let path = path(&self.folder, self.segment);
        self.file
            .write_all_at(&record, self.at as u64)
            .and_then(|()| self.file.sync_data())
            .map_err(failed("write", &path))?;
        self.at += record.len();
        self.next_record += 1;
        if let Some(hard_state) = &store.hard_state {
            self.hard_state.clone_from(hard_state);
        }
        let last = store.entries.last();
        self.last_index = last.map_or(self.last_index, |entry| self.last_index.max(entry.index));
        Ok(())
    }

    /// Removes segments of which all is saved, up to this index, elsewhere.
    pub(crate) fn forget(&mut self, saved: u64) -> Result<(), JournalError> {
        while let Some((number, last)) = self.older.first().copied()
            && last <= saved
        {
            let path = path(&self.folder, number);
            std::fs::remove_file(&path).map_err(failed("remove", &path))?;
            self.older.remove(0);
        }
        Ok(())
    }

    /// Number of the segment after the present one.
    pub(crate) fn next_segment(&self) -> u64 {
        self.segment + 1
    }

    /// Begins anew with [`next_segment`](Self::next_segment): a snapshot has taken the place of all.
    pub(crate) fn restart(&mut self) -> Result<(), JournalError> {
        let (next, hard_state) = (self.next_segment(), self.hard_state.clone());
        let begun = Self::begin(&self.folder, next, self.next_record, hard_state, SEGMENT)?;
        let older = std::mem::replace(self, begun).all_segments();
        self.append(&Store {
            hard_state: Some(self.hard_state.clone()),
            ..Store::default()
        })?;
        for number in older {
            let path = path(&self.folder, number);
            std::fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }

    fn all_segments(self) -> impl Iterator<Item = u64> {
        let older = self.older.into_iter().map(|(number, _)| number);
        older.chain([self.segment])
    }

    fn go_on_in_next(&mut self, record: usize) -> Result<(), JournalError> {
        let (next, hard_state) = (self.next_segment(), self.hard_state.clone());
        let size = SEGMENT.max(HEAD + record);
        let begun = Self::begin(&self.folder, next, self.next_record, hard_state, size)?;
        let finished = std::mem::replace(self, begun);
        self.last_index = finished.last_index;
        self.older = finished.older;
        self.older.push((finished.segment, finished.last_index));
        Ok(())
    }

    /// Makes a segment.
    fn begin(
        folder: &Path,
        segment: u64,
        next_record: u64,
        hard_state: HardState,
        size: usize,
    ) -> Result<Self, JournalError> {
        let unfinished = folder.join(UNFINISHED);
        let make = || {
            let mut file = File::create(&unfinished)?;
            let mut page = [0; PAGE];
            page[..HEAD].copy_from_slice(&segment::head(segment, next_record));
            let mut left = size;
            while left > 0 {
                let some = left.min(PAGE);
                file.write_all(&page[..some])?;
                left -= some;
                page[..HEAD].fill(0);
            }
            file.sync_all()?;
            std::fs::rename(&unfinished, path(folder, segment))?;
            File::open(folder)?.sync_all()?;
            Ok(file)
        };
        let file = make().map_err(failed("make a segment of the log in", folder))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            file,
            segment,
            at: HEAD,
            size,
            next_record,
            hard_state,
            older: Vec::new(),
            last_index: 0,
        })
    }
}

fn last_index(restored: &Restored) -> u64 {
    let last = restored.entries.last();
    last.map_or(restored.saved.index, |entry| entry.index)
}

/// Numbers of the segments that are there, ascending. Other files are left alone.
fn list(folder: &Path) -> Result<Vec<u64>, JournalError> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed("read", folder))? {
        let name = entry.map_err(failed("read", folder))?.file_name();
        let name = name.to_str().filter(|name| name.len() == 16);
        numbers.extend(name.and_then(|name| u64::from_str_radix(name, 16).ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:016x}"))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_path_buf();
    move |reason| JournalError::File {
        operation,
        path,
        reason,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use raft_proto::eraftpb::Entry;

    fn entry(index: u64, length: usize) -> Store {
        Store {
            entries: vec![Entry {
                index,
                term: 2,
                data: vec![7; length].into(),
                ..Entry::default()
            }],
            hard_state: (index == 2).then_some(HardState {
                term: 2,
                vote: 5,
                commit: 1,
            }),
            must_flush: true,
            snapshot: None,
        }
    }

    fn open(folder: &Path, saved: u64) -> Result<(Journal, Restored), JournalError> {
        let mut restored = Restored::founder(5);
        restored.saved.index = saved;
        let journal = Journal::open(folder, 0, &mut restored)?;
        Ok((journal, restored))
    }

    #[test]
    fn what_was_appended_is_there_in_as_many_segments_as_it_takes() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(dir.path(), 1).unwrap();
        for index in 2..12 {
            journal.append(&entry(index, SEGMENT / 4)).unwrap();
        }
        // More than a usual segment holds.
        journal.append(&entry(12, 2 * SEGMENT)).unwrap();
        let (mut journal, restored) = open(dir.path(), 1).unwrap();
        let indices: Vec<u64> = restored.entries.iter().map(|entry| entry.index).collect();
        assert_eq!(indices, (2..13).collect::<Vec<_>>());
        let segments = list(dir.path()).unwrap().len();
        assert!(segments > 3, "{segments}");
        journal.forget(9).unwrap();
        assert!(list(dir.path()).unwrap().len() < segments);
        let (journal, restored) = open(dir.path(), 9).unwrap();
        assert_eq!(restored.entries.first().unwrap().index, 10);
        assert_eq!((restored.hard_state.term, restored.hard_state.vote), (2, 5));
        assert_eq!(journal.last_index, 12);
    }

    #[test]
    fn a_torn_record_is_written_over_and_a_damaged_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(dir.path(), 1).unwrap();
        for index in 2..5 {
            journal.append(&entry(index, 100)).unwrap();
        }
        let file = path(dir.path(), 0);
        let whole = std::fs::read(&file).unwrap();
        let mut torn = whole.clone();
        torn[journal.at - 20..].fill(0);
        std::fs::write(&file, &torn).unwrap();
        let (mut journal, restored) = open(dir.path(), 1).unwrap();
        assert_eq!(restored.entries.len(), 2);
        journal.append(&entry(4, 1)).unwrap();
        let (_, restored) = open(dir.path(), 1).unwrap();
        assert_eq!(restored.entries.len(), 3);
        let mut damaged = whole;
        damaged[HEAD + 40] ^= 1;
        std::fs::write(&file, &damaged).unwrap();
        let error = open(dir.path(), 1).unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{error}");
    }

    #[test]
    fn a_snapshot_begins_a_new_past() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(dir.path(), 1).unwrap();
        journal.append(&entry(2, 10)).unwrap();
        let first = journal.next_segment();
        journal.restart().unwrap();
        journal.append(&entry(21, 10)).unwrap();
        drop(journal);
        let mut restored = Restored::founder(5);
        restored.saved.index = 20;
        Journal::open(dir.path(), first, &mut restored).unwrap();
        assert_eq!(restored.entries.first().unwrap().index, 21);
        // Power may go before the new segment is there.
        let mut restored = Restored::founder(5);
        let journal = Journal::open(dir.path(), first + 1, &mut restored).unwrap();
        assert_eq!((journal.segment, restored.entries.len()), (first + 1, 0));
    }
}
