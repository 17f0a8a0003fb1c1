//! The checkpoint log: an append-only file of `agentd_core::checkpoint` entries.
//!
//! Durability: an append ends with fdatasync before the core's other wishes are done, except when all its records may be
//! lost with the power (`Record::must_sync`); nothing is written while nothing changes. A failed append leaves the file as it was. Invariants: the file always begins with whole entries up to
//! `length`; a compacted log replaces the old one by rename, after both file and directory are synchronised.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use agentd_core::checkpoint::{self, Record};

const LOG: &str = "checkpoint.log";
const NEW_LOG: &str = "checkpoint.new";
/// Longest log that is read: many times what compaction lets it grow to. Beyond it something else stands in its place.
const MAX_LOG: u64 = 256 * 1024 * 1024;
/// A log shorter than this is not worth compacting.
const COMPACT_MIN: u64 = 128 * 1024;
/// A log is compacted when it is this many times longer than it was after the last compaction.
const COMPACT_FACTOR: u64 = 4;

/// Why the log cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}: {reason}", path = .path.display())]
pub(crate) struct StoreError {
    operation: &'static str,
    path: PathBuf,
    reason: String,
}

/// The open log.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    path: PathBuf,
    file: File,
    length: u64,
    compact_at: u64,
}

impl Store {
    /// Opens or creates the log in `directory`; what it holds, and whether parts of it were damaged.
    pub(crate) fn open(directory: &Path) -> Result<(Self, checkpoint::Replay), StoreError> {
        let path = directory.join(LOG);
        let fail = |operation, error: io::Error| StoreError {
            operation,
            path: path.clone(),
            reason: error.to_string(),
        };
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(fail("read", error)),
        };
        let replay = checkpoint::replay(&bytes);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| fail("open", e))?;
        if replay.end < bytes.len() {
            file.set_len(replay.end as u64)
                .map_err(|e| fail("cut the torn end of", e))?;
        }
        sync_directory(directory).map_err(|e| fail("synchronise the directory of", e))?;
        let length = replay.end as u64;
        let store = Self {
            directory: directory.into(),
            file,
            length,
            compact_at: COMPACT_MIN.max(length),
            path: path.clone(),
        };
        Ok((store, replay))
    }

    /// Appends `records`, all or none, and makes them durable unless all of them can bear to be lost.
    pub(crate) fn append(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let mut bytes = Vec::with_capacity(256 * records.len());
        for record in records {
            checkpoint::append(&mut bytes, record).map_err(|e| self.error("append to", e))?;
        }
        let must_sync = records.iter().any(Record::must_sync);
        let written = self.file.write_all_at(&bytes, self.length);
        let written = written.and_then(|()| {
            if must_sync {
                self.file.sync_data()
            } else {
                Ok(())
            }
        });
        if let Err(error) = written {
            // If this fails too, the next append overwrites the same place, and a reader skips a torn entry.
            let _ = self.file.set_len(self.length);
            return Err(self.error("append to", error));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Whether the log has grown enough to be replaced by a snapshot.
    pub(crate) fn wants_compaction(&self) -> bool {
        self.length > self.compact_at
    }

    /// Replaces the log. After a failure the old one goes on.
    pub(crate) fn compact(&mut self, snapshot: &[Record]) -> Result<(), StoreError> {
        let replaced = self.replace(snapshot);
        // A disk that is too full to compact will be so for a while.
        self.compact_at = COMPACT_MIN.max(self.length * COMPACT_FACTOR);
        replaced
    }

    fn replace(&mut self, snapshot: &[Record]) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        for record in snapshot {
            checkpoint::append(&mut bytes, record).map_err(|e| self.error("compact", e))?;
        }
        let new = self.directory.join(NEW_LOG);
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            sync_directory(&self.directory)?;
            Ok(file)
        };
        let file = write().map_err(|e: io::Error| {
            // Gives the space back; if that fails, the next compaction overwrites it.
            let _ = fs::remove_file(&new);
            self.error("compact", e)
        })?;
        self.file = file;
        self.length = bytes.len() as u64;
        Ok(())
    }

    fn error(&self, operation: &'static str, reason: impl ToString) -> StoreError {
        StoreError {
            operation,
            path: self.path.clone(),
            reason: reason.to_string(),
        }
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The whole log; an error if it is no file, as a link to something endless, or too long.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Not blocking: a pipe in its place must not hold the agent up.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_LOG + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_LOG {
        return Err(io::Error::other(format!(
            "it is longer than {MAX_LOG} bytes"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(text: &str) -> Record {
        Record::Boot {
            boot_id: text.into(),
        }
    }

    #[test]
    fn what_was_appended_is_read_again_and_a_torn_end_is_cut() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let (mut store, replay) = Store::open(folder.path()).expect("new");
        assert_eq!(replay.records, []);
        store.append(&[boot("a"), boot("b")]).expect("append");
        let path = folder.path().join(LOG);
        let mut bytes = fs::read(&path).expect("log");
        bytes.extend_from_slice(b"nRc1\x10\0\0\0torn");
        fs::write(&path, &bytes).expect("damage");
        let (mut store, replay) = Store::open(folder.path()).expect("again");
        assert_eq!(replay.records, [boot("a"), boot("b")]);
        assert_eq!(replay.skipped, 12);
        store.append(&[boot("c")]).expect("append");
        let (_, replay) = Store::open(folder.path()).expect("third");
        assert_eq!((replay.records.len(), replay.skipped), (3, 0));
    }

    #[test]
    fn a_snapshot_replaces_the_log_and_appending_goes_on() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let (mut store, _) = Store::open(folder.path()).expect("new");
        let long = boot(&"x".repeat(50_000));
        for _ in 0..3 {
            store.append(std::slice::from_ref(&long)).expect("append");
        }
        assert!(store.wants_compaction());
        store.compact(&[boot("now")]).expect("compact");
        assert!(!store.wants_compaction());
        store.append(&[boot("later")]).expect("append");
        let (_, replay) = Store::open(folder.path()).expect("again");
        assert_eq!(replay.records, [boot("now"), boot("later")]);
    }

    #[test]
    fn a_log_that_is_no_file_is_an_error_at_once() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let path = folder.path().join(LOG);
        std::os::unix::fs::symlink("/dev/zero", &path).expect("link");
        let error = Store::open(folder.path()).expect_err("endless").to_string();
        assert!(error.contains("not a regular file"), "{error}");
        fs::remove_file(&path).expect("remove");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
        assert!(Store::open(folder.path()).is_err());
        fs::remove_file(&path).expect("remove");
        let log = File::create(&path).expect("create");
        log.set_len(MAX_LOG + 1).expect("sparse");
        let error = Store::open(folder.path()).expect_err("long").to_string();
        assert!(error.contains("longer than"), "{error}");
    }
}
