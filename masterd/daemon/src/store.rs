//! The registry on disk: LMDB, one transaction and one fsync per batch of commands.
//!
//! Not the registry's logic (`masterd_core::registry`): this puts its changes into a database and reads them back. Called
//! by the engine before anything of the same `Ready` is sent. Invariant: after `persist` returned `Ok`, a power cut loses
//! nothing of the batch; after `Err`, nothing of it is on disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use heed::types::{Bytes, Str};
use heed::{Database, Env};
use masterd_core::Registry;
use masterd_core::registry::RegistryError;
use nesos_wire::command::Command;

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
    /// The bytes are there, but they are no registry.
    #[error("the registry in {path} is damaged: {reason}")]
    Damaged {
        /// Where.
        path: PathBuf,
        /// Which record.
        reason: RegistryError,
    },
}

/// The database and the durable copy of the registry.
#[derive(Debug)]
pub(crate) struct Store {
    env: Env,
    records: Database<Str, Bytes>,
    registry: Registry,
    /// Bytes of all keys and values.
    size: u64,
    /// How long it took to read all of it.
    fetched: Duration,
    path: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens (or makes) the registry in `work_dir`.
    pub(crate) fn open(work_dir: &Path) -> Result<Self, StoreError> {
        let path = work_dir.join("registry");
        let folder = |operation, path: &Path| {
            let path = path.to_path_buf();
            move |reason| StoreError::Folder {
                operation,
                path,
                reason,
            }
        };
        std::fs::create_dir_all(&path).map_err(folder("create", &path))?;
        let lock_path = work_dir.join("lock");
        let lock = File::create(&lock_path).map_err(folder("create", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(StoreError::InUse(work_dir.into()));
            }
            Err(std::fs::TryLockError::Error(reason)) => {
                return Err(folder("lock", &lock_path)(reason));
            }
        }
        let database = |operation| {
            let path = path.clone();
            move |reason| StoreError::Database {
                operation,
                path,
                reason,
            }
        };
        extent::check(&path).map_err(folder("open the registry in", &path))?;
        let start = Instant::now();
        let env = map::open(&path, MAP_SIZE, MAX_READERS).map_err(database("open"))?;
        let mut txn = env.write_txn().map_err(database("open"))?;
        let records = env
            .create_database(&mut txn, None)
            .map_err(database("open"))?;
        let (registry, size) = load(&records, &txn).map_err(database("read"))?;
        let registry = registry.map_err(|reason| StoreError::Damaged {
            path: path.clone(),
            reason,
        })?;
        txn.commit().map_err(database("open"))?;
        Ok(Self {
            env,
            records,
            registry,
            size,
            fetched: start.elapsed(),
            path,
            _lock: lock,
        })
    }

    /// What is durable.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Bytes of all keys and values.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// How long it took to read all of it.
    pub(crate) fn fetched(&self) -> Duration {
        self.fetched
    }

    /// Makes the commands durable, in order, all or nothing.
    pub(crate) fn persist(&mut self, commands: &[Command]) -> Result<(), StoreError> {
        if commands.is_empty() {
            return Ok(());
        }
        let mut next = self.registry.clone();
        let written = self.write(&mut next, commands);
        self.size = written.map_err(|reason| StoreError::Database {
            operation: "write",
            path: self.path.clone(),
            reason,
        })?;
        self.registry = next;
        Ok(())
    }

    /// Says how large the registry is then.
    fn write(&self, next: &mut Registry, commands: &[Command]) -> Result<u64, heed::Error> {
        let mut txn = self.env.write_txn()?;
        let mut size = self.size;
        for change in commands.iter().flat_map(|command| next.apply(command)) {
            let key = &change.key;
            let old = self.records.get(&txn, key)?;
            size -= old.map_or(0, |value| length(key, value));
            match change.value {
                Some(value) => {
                    self.records.put(&mut txn, key, &value)?;
                    size += length(key, &value);
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

fn length(key: &str, value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

type Loaded = Result<(Result<Registry, RegistryError>, u64), heed::Error>;

fn load(records: &Database<Str, Bytes>, txn: &heed::RwTxn<'_>) -> Loaded {
    let rows = records.iter(txn)?.collect::<Result<Vec<_>, _>>()?;
    let size = rows.iter().map(|(key, value)| length(key, value)).sum();
    Ok((Registry::load(rows), size))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_wire::FrameworkId;

    #[test]
    fn what_was_persisted_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        assert!(matches!(Store::open(dir.path()), Err(StoreError::InUse(_))));
        store
            .persist(&[Command::MasterStarted { start: 1 }])
            .unwrap();
        let framework = FrameworkId::new("m-0000");
        store
            .persist(&[
                Command::RemoveFramework {
                    framework: framework.clone(),
                },
                Command::MasterStarted { start: 2 },
            ])
            .unwrap();
        let (registry, size) = (store.registry().clone(), store.size());
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!((store.registry(), store.size()), (&registry, size));
        assert!(registry.is_removed(&framework) && registry.start() == 2);
    }

    #[test]
    fn a_registry_that_was_cut_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        for start in 1..50 {
            store.persist(&[Command::MasterStarted { start }]).unwrap();
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
