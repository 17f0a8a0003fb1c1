//! What an operator does by hand when the majority of the masters is lost: begin anew with what one disk has, or with a backup.
//!
//! Called by `main` instead of serving; masterd ends after it. Not for a running group, which heals by itself. Invariants:
//! nothing happens while another masterd uses the folder, nor with a number that is not this disk's; the new group shares no
//! number with the old one, so that the flag, left where it was, and old masters that return, do nothing.

use std::path::{Path, PathBuf};

use masterd_core::Registry;
use masterd_core::consensus::Restored;
use masterd_core::registry::backup::{self, BackupError};
use nesos_wire::command::Command;
use raft_proto::eraftpb::{ConfState, EntryType, SnapshotMetadata};

use super::disk::DiskError;
use super::journal::Journal;
use super::store::{Changes, Saved, Store};

/// Largest backup that is read: as the largest snapshot.
const MAX_BACKUP: u64 = 128 << 20;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Nothing is there.
    #[error("{0} has no master's registry: there is nothing to begin anew with")]
    Nothing(PathBuf),
    /// Something is there.
    #[error("{path} belongs to master {number:016x} already: restore into a folder that is new")]
    Taken {
        /// Where.
        path: PathBuf,
        /// Whose.
        number: u64,
    },
    /// The operator means another disk.
    #[error(
        "--force_new_cluster names master {said:016x}, but {path} is the disk of master {is:016x}: nothing was done"
    )]
    OtherMaster {
        /// Which was named.
        said: u64,
        /// Where.
        path: PathBuf,
        /// Whose that is.
        is: u64,
    },
    /// An entry of the log is of a later version.
    #[error("entry {index} of the log cannot be read: {reason}")]
    Entry {
        /// Where.
        index: u64,
        /// postcard's word.
        reason: postcard::Error,
    },
    /// The file.
    #[error("cannot read the backup {path}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's word.
        reason: std::io::Error,
    },
    /// What is in it.
    #[error("{path} cannot be restored: {reason}")]
    Backup {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: BackupError,
    },
}

/// What the new group begins with.
#[derive(Debug)]
pub(crate) struct Begun {
    /// Its only master.
    pub(crate) number: u64,
    /// The registry.
    pub(crate) registry: Registry,
}

/// Makes master `said`, whose disk is in `work_dir`, the only one of a new group, as `number`. Entries that were not agreed on
/// yet count as if they had been: nobody can tell any more.
pub(crate) fn force_new(work_dir: &Path, said: u64, number: u64) -> Result<Begun, RecoverError> {
    let (mut store, found) = Store::open(work_dir).map_err(DiskError::from)?;
    let mut registry = found.registry;
    let saved = found
        .saved
        .ok_or_else(|| RecoverError::Nothing(work_dir.into()))?;
    if saved.member != said {
        return Err(RecoverError::OtherMaster {
            said,
            path: work_dir.into(),
            is: saved.member,
        });
    }
    let mut log = Restored {
        saved: saved.place,
        ..Restored::default()
    };
    let folder = work_dir.join("log");
    let journal = Journal::open(&folder, saved.first_segment, &mut log).map_err(DiskError::from)?;
    let (mut index, mut term) = (log.saved.index, log.saved.term);
    for entry in log.entries {
        (index, term) = (entry.index, entry.term);
        if entry.entry_type != EntryType::EntryNormal || entry.data.is_empty() {
            continue;
        }
        let commands: Vec<Command> = postcard::from_bytes(&entry.data)
            .map_err(|reason| RecoverError::Entry { index, reason })?;
        for command in &commands {
            registry.apply(command);
        }
    }
    let place = SnapshotMetadata {
        conf_state: ConfState::from(([number], [])),
        index: index.max(1),
        term: term.max(log.hard_state.term) + 1,
    };
    begin(&mut store, registry, place, number, journal.next_segment())
}

/// Makes a new folder that of the only master of a new group that begins with a backup.
pub(crate) fn restore(work_dir: &Path, file: &Path, number: u64) -> Result<Begun, RecoverError> {
    let failed = |reason| RecoverError::File {
        path: file.into(),
        reason,
    };
    let length = std::fs::metadata(file).map_err(failed)?.len();
    if length > MAX_BACKUP {
        let reason = format!("it has {length} bytes, at most {MAX_BACKUP} are expected");
        return Err(failed(std::io::Error::other(reason)));
    }
    let bytes = std::fs::read(file).map_err(failed)?;
    let registry = backup::read(&bytes).map_err(|reason| RecoverError::Backup {
        path: file.into(),
        reason,
    })?;
    let (mut store, found) = Store::open(work_dir).map_err(DiskError::from)?;
    if let Some(saved) = found.saved {
        return Err(RecoverError::Taken {
            path: work_dir.into(),
            number: saved.member,
        });
    }
    let place = Restored::founder(number).saved;
    begin(&mut store, registry, place, number, 0)
}

fn begin(
    store: &mut Store,
    registry: Registry,
    place: SnapshotMetadata,
    number: u64,
    first_segment: u64,
) -> Result<Begun, RecoverError> {
    let rows = registry.rows().into_iter();
    let rows: Changes = rows.map(|(key, value)| (key, Some(value))).collect();
    let saved = Saved {
        member: number,
        place,
        first_segment,
    };
    store.replace(&rows, &saved).map_err(DiskError::from)?;
    Ok(Begun { number, registry })
}
