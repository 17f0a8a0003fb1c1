//! The exit record: the file `exit` of the run directory. Called by `hold`.
//!
//! It is there for an agentd that comes back, not for one after a loss of power, which takes the task with it: nothing is
//! synchronised, and a record that the power tore is found out by its checksum. Format: a frame of `ExitRecord`, then the CRC-32 (IEEE) of that frame as 4 little-endian bytes. Invariant: the room
//! for it is reserved while the task runs, so that a task that fills the disk does not lose its own exit status.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use nesos_wire::executor::{ExitRecord, Outcome};
use nesos_wire::frame;
use nix::fcntl::{FallocateFlags, fallocate};

const TEMPORARY: &str = "exit.tmp";
const FINAL: &str = "exit";
/// Bytes reserved: one block of every file system in use, and more than any record.
const RESERVED: i64 = 4096;
/// Longest reason of a task that did not start, bytes; keeps a record within [`RESERVED`].
const MAX_REASON: usize = 1024;

/// Room for the record.
#[derive(Debug)]
pub(crate) struct Reserved {
    file: File,
}

/// Makes `exit.tmp` and reserves its room as far as the file system can.
pub(crate) fn reserve() -> io::Result<Reserved> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(TEMPORARY)?;
    // tmpfs and ext4 can; where not, the record needs a free block at the end.
    let _ = fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, RESERVED);
    Ok(Reserved { file })
}

impl Reserved {
    /// Writes the record and gives it its final name. May be tried again after an error.
    pub(crate) fn store(&self, record: &ExitRecord) -> io::Result<()> {
        let bytes = encode(record)?;
        self.file.write_all_at(&bytes, 0)?;
        fs::rename(TEMPORARY, FINAL)
    }
}

/// A reason short enough for a record.
pub(crate) fn not_started(mut reason: String) -> Outcome {
    if reason.len() > MAX_REASON {
        reason.truncate(reason.floor_char_boundary(MAX_REASON));
    }
    Outcome::NotStarted(reason)
}

fn encode(record: &ExitRecord) -> io::Result<Vec<u8>> {
    let mut bytes = frame::encode(record)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_record_fits_into_the_reserved_room() {
        let outcome = not_started("ä".repeat(5000));
        let record = ExitRecord {
            outcome,
            kill_requested: true,
            at_ms: u64::MAX,
        };
        assert!(encode(&record).expect("encode").len() < RESERVED as usize);
    }

    #[test]
    fn the_checksum_covers_the_frame() {
        let record = ExitRecord {
            outcome: Outcome::Exit(3),
            kill_requested: false,
            at_ms: 5,
        };
        let bytes = encode(&record).expect("encode");
        let (frame_bytes, checksum) = bytes.split_at(bytes.len() - 4);
        assert_eq!(checksum, crc32fast::hash(frame_bytes).to_le_bytes());
        assert_eq!(
            frame::decode::<ExitRecord>(frame_bytes),
            Some(Ok((record, frame_bytes.len())))
        );
    }
}
