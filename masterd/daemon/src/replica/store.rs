//! The registry as it was saved last: LMDB, one transaction per saving.
//!
//! Not the registry's logic (`masterd_core::registry`) and not the log (`journal`), which has what came after: this puts
//! changes into a database and reads them back. Called by the disk's thread. Invariant: the registry and up to where in the
//! log it goes are saved together or not at all.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use heed::types::{Bytes, Str};
use heed::{Database, Env};
use masterd_core::Registry;
use masterd_core::registry::RegistryError;
use raft_proto::eraftpb::SnapshotMetadata;
use serde::{Deserialize, Serialize};

mod extent;
mod map;

/// Address space for the database; costs no memory. A registry of 10000 agents and 1000 frameworks of the largest size
/// has 70 MB.
const MAP_SIZE: usize = 1 << 30;
/// Reader slots in the lock file: this process is the only one.
const MAX_READERS: u32 = 4;

/// Why the registry cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The folder or its lock.
    #[error("cannot {operation} {path}: {reason}")]
    Folder {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's word.
        reason: std::io::Error,
    },
    /// Another masterd runs on this folder.
    #[error("another masterd uses {0}")]
    InUse(PathBuf),
    /// LMDB says no.
    #[error("cannot {operation} the registry in {path}: {reason}")]
    Database {
        /// What was tried.
        operation: &'static str,
        /// Where.
        path: PathBuf,
        /// LMDB's word.
        reason: heed::Error,
    },
    /// The record of where in the log the registry stands.
    #[error("the registry in {path} is damaged: its place in the log: {reason}")]
    Place {
        /// Where.
        path: PathBuf,
        /// postcard's word.
        reason: postcard::Error,
    },
    /// The bytes are there, and say more than this masterd knows.
    #[error("the registry in {path} cannot be read: {reason}")]
    Later {
        /// Where.
        path: PathBuf,
        /// Which record.
        reason: RegistryError,
    },
    /// The bytes are there, but they are no registry.
    #[error("the registry in {path} is damaged: {reason}")]
    Damaged {
        /// Where.
        path: PathBuf,
        /// Which record.
        reason: RegistryError,
    },
}

/// Where in the log the saved registry stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Whose disk it is: the master's number.
    pub(crate) member: u64,
    /// Up to where, and who the members were.
    pub(crate) place: SnapshotMetadata,
    /// Segments before this one are of a past that a snapshot has replaced.
    pub(crate) first_segment: u64,
}

/// The stored form. Append-only, as all wire enums.
#[derive(Debug, Serialize, Deserialize)]
enum Place {
    V1(Saved),
}

/// Its key. The registry's keys are words.
const PLACE: &str = "!place";

/// Changes by key; `None`: delete.
pub(crate) type Changes = BTreeMap<String, Option<Vec<u8>>>;

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// The registry.
    pub(crate) registry: Registry,
    /// Where it stands; nothing, if no log was ever kept beside it.
    pub(crate) saved: Option<Saved>,
}

/// The database.
#[derive(Debug)]
pub(crate) struct Store {
    env: Env,
    records: Database<Str, Bytes>,
    /// Bytes of all keys and values.
    size: u64,
    path: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens (or makes) the registry in `work_dir`.
    pub(crate) fn open(work_dir: &Path) -> Result<(Self, Found), StoreError> {
        let path = work_dir.join("registry");
        std::fs::create_dir_all(&path).map_err(folder("create", &path))?;
        let lock = lock(work_dir)?;
        let database = |operation| {
            let path = path.clone();
            move |reason| StoreError::Database {
                operation,
                path,
                reason,
            }
        };
        extent::check(&path).map_err(folder("open the registry in", &path))?;
        let env = map::open(&path, MAP_SIZE, MAX_READERS).map_err(database("open"))?;
        let mut txn = env.write_txn().map_err(database("open"))?;
        let records: Database<Str, Bytes> = env
            .create_database(&mut txn, None)
            .map_err(database("open"))?;
        let rows = records
            .iter(&txn)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(database("read"))?;
        let size = rows.iter().map(|(key, value)| length(key, value)).sum();
        let (places, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(key, _)| *key == PLACE);
        let registry = Registry::load(rows).map_err(|reason| {
            let path = path.clone();
            match reason {
                RegistryError::Later { .. } => StoreError::Later { path, reason },
                RegistryError::Damaged { .. } => StoreError::Damaged { path, reason },
            }
        })?;
        let place = places.first().map(|(_, value)| postcard::from_bytes(value));
        let place = place.transpose().map_err(|reason| StoreError::Place {
            path: path.clone(),
            reason,
        })?;
        txn.commit().map_err(database("open"))?;
        let found = Found {
            registry,
            saved: place.map(|Place::V1(saved)| saved),
        };
        let store = Self {
            env,
            records,
            size,
            path,
            _lock: lock,
        };
        Ok((store, found))
    }

    /// Bytes of all keys and values.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Makes the changes durable, and up to where they go.
    pub(crate) fn save(&mut self, changes: &Changes, saved: &Saved) -> Result<(), StoreError> {
        let written = self.write(changes, saved, false);
        self.note(written)
    }

    /// The rows take the place of all.
    pub(crate) fn replace(&mut self, rows: &Changes, saved: &Saved) -> Result<(), StoreError> {
        let written = self.write(rows, saved, true);
        self.note(written)
    }

    fn note(&mut self, written: Result<u64, heed::Error>) -> Result<(), StoreError> {
        self.size = written.map_err(|reason| StoreError::Database {
            operation: "write",
            path: self.path.clone(),
            reason,
        })?;
        Ok(())
    }

    /// Says how large the registry is then.
    fn write(&self, changes: &Changes, saved: &Saved, is_anew: bool) -> Result<u64, heed::Error> {
        let mut txn = self.env.write_txn()?;
        let mut size = self.size;
        if is_anew {
            self.records.clear(&mut txn)?;
            size = 0;
        }
        let place = postcard::to_allocvec(&Place::V1(saved.clone()));
        let place = place.map_err(|reason| heed::Error::Encoding(Box::new(reason)))?;
        let changes = changes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_deref()));
        for (key, value) in changes.chain([(PLACE, Some(&*place))]) {
            let old = self.records.get(&txn, key)?;
            size -= old.map_or(0, |value| length(key, value));
            match value {
                Some(value) => {
                    self.records.put(&mut txn, key, value)?;
                    size += length(key, value);
                }
                None => {
                    self.records.delete(&mut txn, key)?;
                }
            }
        }
        txn.commit()?;
        Ok(size)
    }
}

/// Keeps other masterds out for as long as it is held.
fn lock(work_dir: &Path) -> Result<File, StoreError> {
    let path = work_dir.join("lock");
    let lock = File::create(&path).map_err(folder("create", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse(work_dir.into())),
        Err(std::fs::TryLockError::Error(reason)) => Err(folder("lock", &path)(reason)),
    }
}

fn folder(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_path_buf();
    move |reason| StoreError::Folder {
        operation,
        path,
        reason,
    }
}

fn length(key: &str, value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_wire::FrameworkId;
    use nesos_wire::command::Command;

    fn saved(index: u64) -> Saved {
        Saved {
            member: 7,
            place: SnapshotMetadata {
                index,
                term: 1,
                ..SnapshotMetadata::default()
            },
            first_segment: 3,
        }
    }

    fn changes(registry: &mut Registry, commands: &[Command]) -> Changes {
        let changes = commands.iter().flat_map(|command| registry.apply(command));
        changes.map(|change| (change.key, change.value)).collect()
    }

    #[test]
    fn what_was_saved_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, found) = Store::open(dir.path()).unwrap();
        assert_eq!(found.saved, None);
        assert!(matches!(Store::open(dir.path()), Err(StoreError::InUse(_))));
        let mut registry = found.registry;
        let framework = FrameworkId::new("m-0000");
        let commands = [
            Command::RemoveFramework {
                framework: framework.clone(),
            },
            Command::MasterStarted { start: 2 },
        ];
        let first = changes(&mut registry, &commands[..1]);
        store.save(&first, &saved(1)).unwrap();
        let second = changes(&mut registry, &commands[1..]);
        store.save(&second, &saved(2)).unwrap();
        let size = store.size();
        drop(store);
        let (mut store, found) = Store::open(dir.path()).unwrap();
        assert_eq!((&found.registry, store.size()), (&registry, size));
        assert_eq!(found.saved, Some(saved(2)));
        assert!(registry.is_removed(&framework) && registry.start() == 2);
        let mut other = Registry::default();
        let rows = changes(
            &mut other,
            &[Command::RemoveAgent {
                agent: nesos_wire::AgentId::new("x"),
            }],
        );
        store.replace(&rows, &saved(9)).unwrap();
        drop(store);
        let (_, found) = Store::open(dir.path()).unwrap();
        assert_eq!((found.registry, found.saved), (other, Some(saved(9))));
    }

    #[test]
    fn a_registry_that_was_cut_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(dir.path()).unwrap();
        let mut registry = Registry::default();
        for start in 1..50 {
            let changes = changes(&mut registry, &[Command::MasterStarted { start }]);
            store.save(&changes, &saved(start.into())).unwrap();
        }
        drop(store);
        let path = dir.path().join("registry/data.mdb");
        let whole = std::fs::read(&path).unwrap();
        Store::open(dir.path()).unwrap();
        for length in (8192..whole.len()).step_by(512) {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = Store::open(dir.path()).unwrap_err().to_string();
            assert!(error.contains("cut off"), "{length}: {error}");
        }
        // A head that is damaged itself.
        let mut damaged = whole.clone();
        for head in [0, 4096] {
            damaged[head + 140] = 0x7f;
        }
        std::fs::write(&path, damaged).unwrap();
        let error = Store::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("cut off or damaged"), "{error}");
    }
}
