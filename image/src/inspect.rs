//! Looking into an image or a card: partitions, files of the boot partition, both roots, what is to be started, digests.
//!
//! Writes nothing to what it looks into; a packed image is unpacked into a temporary file first. Called by `nesos image`. Invariant:
//! what is damaged becomes a failed check with a sentence, not an error, so that one damage does not hide another.

mod boot;
mod checks;
mod root;

pub use boot::BootFile;
pub use checks::{Check, checks};
pub use root::{Entry, Root};

use crate::disk::{Layout, Partition, Slice};
use crate::flash::{FlashError, Source, SourceError, Target, write};
use nesos_base::bundle::Prelude;
use nesos_base::slots::{STATE_AT, STATE_BYTES, Slot, State};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Signed description of what an update has put into a slot.
pub const SLOT_HEAD: &str = "slot.head";

/// Why an image cannot be looked into at all.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The file.
    #[error("{operation} {path}: {source}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// The image.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Unpacking.
    #[error("unpack the image: {0}")]
    Unpack(#[from] FlashError),
    /// Not an image.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// An image or card, open for looking.
#[derive(Debug)]
pub struct Opened {
    path: PathBuf,
    layout: Layout,
    bytes: u64,
    /// Keeps an unpacked image until it has been looked at.
    _unpacked: Option<tempfile::NamedTempFile>,
}

/// What was found.
#[derive(Debug)]
pub struct Contents {
    /// The partitions.
    pub layout: Layout,
    /// Bytes of the image, or of the card.
    pub bytes: u64,
    /// Files of the boot partition by path.
    pub boot: Result<BTreeMap<String, BootFile>, String>,
    /// The roots of slots A and B; `Ok(None)`: empty.
    pub roots: [Result<Option<Root>, String>; 2],
    /// What each slot's `slot.head` says.
    pub heads: [Option<Result<Prelude, String>>; 2],
    /// Both copies of the boot loader's record; `None`: blank.
    pub records: [Option<Option<State>>; 2],
    /// `cluster.toml`.
    pub config: Option<Vec<u8>>,
    /// The data partition: size of its ext4, or `None` where there is none yet.
    pub data: Option<u64>,
}

impl Opened {
    /// Opens the image or card at `path`.
    ///
    /// # Errors
    /// It cannot be read, or is not a Nesos image.
    pub fn open(path: &Path) -> Result<Self, InspectError> {
        let mut source = Source::open(path)?;
        let (layout, bytes) = (*source.layout(), source.length());
        if !source.is_packed() {
            return Ok(Self {
                path: path.to_owned(),
                layout,
                bytes,
                _unpacked: None,
            });
        }
        let unpacked = tempfile::NamedTempFile::new().map_err(failed("unpack", path))?;
        write(&mut source, &Target::file(unpacked.path())?, &mut |_| {})?;
        Ok(Self {
            path: unpacked.path().to_owned(),
            layout,
            bytes,
            _unpacked: Some(unpacked),
        })
    }

    /// Reads all that there is to see.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn contents(&self) -> Result<Contents, InspectError> {
        let file = File::open(&self.path).map_err(failed("open", &self.path))?;
        let volume = boot::open(self.slice(self.layout.boot)?);
        let boot = volume.as_ref().map_err(Clone::clone).and_then(boot::files);
        let read = |name: &str| {
            volume
                .as_ref()
                .ok()
                .and_then(|volume| boot::read(volume, name))
        };
        let heads = Slot::ALL.map(|slot| {
            let bytes = read(&format!("{}/{SLOT_HEAD}", slot.folder()))?;
            Some(Prelude::parse(&bytes).map_err(|error| error.to_string()))
        });
        let root = |partition| root::read(&self.path, partition);
        let record = |at: u64| {
            let mut sector = [0; STATE_BYTES];
            file.read_exact_at(&mut sector, at).ok()?;
            (sector.iter().any(|byte| *byte != 0)).then(|| State::decode(&sector))
        };
        Ok(Contents {
            layout: self.layout,
            bytes: self.bytes,
            boot,
            roots: [root(self.layout.root_a), root(self.layout.root_b)],
            heads,
            records: STATE_AT.map(record),
            config: read(crate::CLUSTER_FILE),
            data: ext4(&file, self.layout.data),
        })
    }

    /// SHA-256 of the whole unpacked image, hex.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn sha256(&self) -> Result<String, InspectError> {
        root::digest(&self.path, 0, self.bytes).map_err(failed("read", &self.path))
    }

    /// SHA-256 of the first `length` bytes of a partition, hex; `None`: they cannot be read.
    pub(crate) fn digest(&self, partition: Partition, length: u64) -> Option<String> {
        if length > partition.length {
            return None;
        }
        root::digest(&self.path, partition.start, length).ok()
    }

    fn slice(&self, partition: Partition) -> Result<Slice, InspectError> {
        let file = File::open(&self.path).map_err(failed("open", &self.path))?;
        Ok(Slice::new(file, partition))
    }
}

/// Size of the ext4 in a partition, bytes.
fn ext4(file: &File, partition: Partition) -> Option<u64> {
    let mut superblock = [0; 1024];
    file.read_exact_at(&mut superblock, partition.start + 1024)
        .ok()?;
    let word = |at: usize| {
        let bytes = superblock.get(at..at + 4).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
    };
    if superblock.get(0x38..0x3a) != Some(&[0x53, 0xef]) {
        return None;
    }
    let log = u32::try_from(word(0x18)).ok().filter(|log| *log <= 6)?;
    word(4).checked_mul(1024 << log)
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InspectError {
    let path = path.to_owned();
    move |source| InspectError::File {
        operation,
        path,
        source,
    }
}

#[cfg(all(test, feature = "builder"))]
mod tests;
