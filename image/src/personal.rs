//! Making one board's copy of an image: its `cluster.toml` on the boot partition, and a larger disk.
//!
//! Works on raw image files and cards, not on compressed images, and does not check the TOML (the board does, with a sentence).
//! Called by `nesos vm up`, `nesos flash` and the QEMU tests. Invariant: nothing outside the boot partition's FAT changes.

use crate::disk::{DiskError, Slice, read_table};
use fatfs::{Date, DateTime, FileSystem, FsOptions, Time, TimeProvider};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Name of the configuration file on the boot partition.
pub const CLUSTER_FILE: &str = "cluster.toml";

/// Why an image could not be personalised.
#[derive(Debug, thiserror::Error)]
pub enum PersonaliseError {
    /// The file is not an image of ours.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The boot partition could not be changed.
    #[error("write {name} into the boot partition of {path}: {source}")]
    Write {
        /// The file.
        name: &'static str,
        /// The image.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file could not be enlarged.
    #[error("enlarge {path} to {bytes} bytes: {source}")]
    Grow {
        /// The image.
        path: PathBuf,
        /// The size asked for.
        bytes: u64,
        /// What went wrong.
        source: io::Error,
    },
    /// Enlarging may not shrink.
    #[error(
        "{path} has {have} bytes already, more than the {asked} asked for; a smaller disk would cut its partitions"
    )]
    Smaller {
        /// The image.
        path: PathBuf,
        /// Its size.
        have: u64,
        /// The size asked for.
        asked: u64,
    },
}

/// Writes `cluster_toml` as `cluster.toml` onto the boot partition of the image file at `image`, replacing an older one.
///
/// # Errors
/// The file is not a Nesos image, cannot be written, or its boot partition is full.
pub fn personalise(image: &Path, cluster_toml: &[u8]) -> Result<(), PersonaliseError> {
    let layout = read_table(image)?;
    let write = || -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(image)?;
        let device = file.try_clone()?;
        let volume = FileSystem::new(Slice::new(file, layout.boot), fat_options())?;
        write_file(&volume.root_dir(), CLUSTER_FILE, cluster_toml)?;
        volume.unmount()?;
        device.sync_all()
    };
    write().map_err(|source| PersonaliseError::Write {
        name: CLUSTER_FILE,
        path: image.to_owned(),
        source,
    })
}

/// Enlarges the image file at `image` to `bytes`. The board grows its data partition over the new space when it boots.
///
/// # Errors
/// The file is not a Nesos image, is larger already, or cannot be enlarged.
pub fn grow(image: &Path, bytes: u64) -> Result<(), PersonaliseError> {
    read_table(image)?;
    let failed = |source| PersonaliseError::Grow {
        path: image.to_owned(),
        bytes,
        source,
    };
    let file = OpenOptions::new().write(true).open(image).map_err(failed)?;
    let have = file.metadata().map_err(failed)?.len();
    if have > bytes {
        return Err(PersonaliseError::Smaller {
            path: image.to_owned(),
            have,
            asked: bytes,
        });
    }
    file.set_len(bytes).map_err(failed)
}

/// Creates or replaces one file.
pub(crate) fn write_file<T: fatfs::ReadWriteSeek>(
    folder: &fatfs::Dir<'_, T>,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    let mut file = folder.create_file(name)?;
    file.truncate()?;
    file.write_all(bytes)?;
    file.flush()
}

/// How every FAT of ours is opened: with the fixed clock.
pub(crate) fn fat_options() -> FsOptions {
    FsOptions::new()
        .update_accessed_date(false)
        .time_provider(&FIXED_TIME)
}

static FIXED_TIME: FixedTime = FixedTime;

/// A clock that stands still, so that the same files give the same bytes.
#[derive(Debug)]
struct FixedTime;

impl TimeProvider for FixedTime {
    fn get_current_date(&self) -> Date {
        Date {
            year: 2026,
            month: 1,
            day: 1,
        }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime {
            date: self.get_current_date(),
            time: Time {
                hour: 0,
                min: 0,
                sec: 0,
                millis: 0,
            },
        }
    }
}
