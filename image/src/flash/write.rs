//! Writes an image to a disk or a file, and reads it back.
//!
//! Called by `nesos flash`. Invariant: what is already there is not written again, be it zeros or the same image: reading is
//! quicker than writing and wears nothing.

use super::source::{Source, SourceError};
use crate::disk::Slice;
use crate::read_table;
use fatfs::{FileSystem, FsOptions};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes written and compared at a time: what cards erase at once is not more than some of these.
pub const CHUNK: usize = 1 << 20;
/// Linux's O_EXCL: of a block device that anybody has mounted, the kernel then refuses the opening.
const EXCLUSIVE: i32 = 0o200;
/// Largest file that is read from a card.
const FILE_MAX: u64 = 1 << 20;

/// Why a card was not written.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// The image.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The target.
    #[error("{operation} {path}: {source}{}", hint(.source))]
    Target {
        /// What was tried.
        operation: &'static str,
        /// Disk or file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A packed image that was cut off.
    #[error(
        "the image ends after {have} bytes, and its partition table says {expected}: it is cut off"
    )]
    Short {
        /// Bytes that came.
        have: u64,
        /// Bytes that were to come.
        expected: u64,
    },
    /// The card does not keep what is written to it.
    #[error(
        "{path} does not hold what was written: byte {at} and following differ. The card is worn out or not what it says it is"
    )]
    Differs {
        /// The target.
        path: PathBuf,
        /// Beginning of the chunk.
        at: u64,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => " (run it with sudo)",
        io::ErrorKind::ResourceBusy => " (something uses the disk: unmount it)",
        _ => "",
    }
}

/// What an image is written to.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    file: File,
    /// Reads as zeros where nothing was written.
    fresh: bool,
}

impl Target {
    /// Opens a disk; `shared`: though something uses it.
    ///
    /// # Errors
    /// It cannot be opened for writing, or is in use.
    pub fn disk(path: &Path, shared: bool) -> Result<Self, FlashError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        if !shared {
            options.custom_flags(EXCLUSIVE);
        }
        let file = options.open(path).map_err(failed("open", path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            fresh: false,
        })
    }

    /// Opens a plain file, and empties it.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn file(path: &Path) -> Result<Self, FlashError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(path).map_err(failed("create", path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            fresh: true,
        })
    }

    /// Has the disk take all that was written, and forgets what is in memory of it, so that reading asks the disk.
    ///
    /// # Errors
    /// The disk did not take it.
    pub fn flush(&self) -> Result<(), FlashError> {
        self.file.sync_all().map_err(failed("flush", &self.path))?;
        // Whether the kernel follows cannot be seen; it does for what is not in use.
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(())
    }

    fn holds(&self, at: u64, chunk: &[u8], scratch: &mut [u8]) -> bool {
        let Some(scratch) = scratch.get_mut(..chunk.len()) else {
            return false;
        };
        self.file.read_exact_at(scratch, at).is_ok() && scratch == chunk
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the image.
    pub bytes: u64,
    /// Bytes that had to be written; the rest was there already, or is a hole of the file.
    pub changed: u64,
    /// SHA-256 of the whole image, hex.
    pub sha256: String,
    /// SHA-256 of each [`CHUNK`].
    chunks: Vec<[u8; 32]>,
}

/// Writes `source` to `target`; `progress` hears how many bytes are done.
///
/// # Errors
/// The image cannot be read, the target cannot be written, or the image is cut off.
pub fn write(
    source: &mut Source,
    target: &Target,
    progress: &mut dyn FnMut(u64),
) -> Result<Written, FlashError> {
    let (mut whole, mut chunks) = (Sha256::new(), Vec::new());
    let (mut chunk, mut scratch) = (Vec::with_capacity(CHUNK), vec![0; CHUNK]);
    let (mut at, mut changed) = (0u64, 0u64);
    let expected = source.length();
    loop {
        source.fill(&mut chunk)?;
        if chunk.is_empty() {
            break;
        }
        if at + chunk.len() as u64 > expected {
            // Behind the last partition there is nothing of an image; the disk may end here.
            chunk.truncate(usize::try_from(expected.saturating_sub(at)).unwrap_or(0));
            if chunk.is_empty() {
                break;
            }
        }
        whole.update(&chunk);
        chunks.push(Sha256::digest(&chunk).into());
        let there = match target.fresh {
            true => chunk.iter().all(|byte| *byte == 0),
            false => target.holds(at, &chunk, &mut scratch),
        };
        if !there {
            let written = target.file.write_all_at(&chunk, at);
            written.map_err(failed("write", &target.path))?;
            changed += chunk.len() as u64;
        }
        at += chunk.len() as u64;
        progress(at);
    }
    if at < expected {
        return Err(FlashError::Short { have: at, expected });
    }
    if target.fresh {
        target
            .file
            .set_len(at)
            .map_err(failed("enlarge", &target.path))?;
    }
    target.flush()?;
    Ok(Written {
        bytes: at,
        changed,
        sha256: hex(&whole.finalize()),
        chunks,
    })
}

/// Reads back what was written.
///
/// # Errors
/// The target cannot be read, or gives something else.
pub fn verify(
    target: &Target,
    written: &Written,
    progress: &mut dyn FnMut(u64),
) -> Result<(), FlashError> {
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    for expected in &written.chunks {
        let length = usize::try_from(written.bytes - at).map_or(CHUNK, |left| left.min(CHUNK));
        let Some(part) = chunk.get_mut(..length) else {
            break;
        };
        let read = target.file.read_exact_at(part, at);
        read.map_err(failed("read back", &target.path))?;
        let found: [u8; 32] = Sha256::digest(&*part).into();
        if found != *expected {
            return Err(FlashError::Differs {
                path: target.path.clone(),
                at,
            });
        }
        at += length as u64;
        progress(at);
    }
    Ok(())
}

/// Reads the file `name` from the boot partition of the card or image at `path`; `None`: it has none.
///
/// # Errors
/// No Nesos image is there, or its boot partition cannot be read.
pub fn read_file(path: &Path, name: &str) -> Result<Option<Vec<u8>>, FlashError> {
    let layout = read_table(path).map_err(SourceError::from)?;
    let read = || -> io::Result<Option<Vec<u8>>> {
        let slice = Slice::new(File::open(path)?, layout.boot);
        let volume = FileSystem::new(slice, FsOptions::new().update_accessed_date(false))?;
        let mut bytes = Vec::new();
        let root = volume.root_dir();
        let file = match root.open_file(name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        file.take(FILE_MAX).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    };
    read().map_err(failed("read the boot partition of", path))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FlashError {
    let path = path.to_owned();
    move |source| FlashError::Target {
        operation,
        path,
        source,
    }
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
