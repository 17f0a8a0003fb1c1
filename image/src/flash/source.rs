//! An image file as a stream of bytes, raw or packed with zstd, and its length.
//!
//! What it is decides the file's first bytes, not its name. Called by `nesos flash` and `nesos image`. Invariant: only an image of
//! ours is opened, and the stream never gives more than its partition table says.

use super::write::CHUNK;
use crate::disk::{self, DiskError, Layout};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// First bytes of a zstd frame.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Largest window that is accepted: what the builder uses, and what `zstd -d` takes without being told.
const WINDOW_LOG_MAX: u32 = 27;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file.
    #[error("read {path}: {source}")]
    Read {
        /// The image.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Not an image of ours.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// An image to read once, from its beginning to its end.
pub struct Source {
    path: PathBuf,
    reader: Box<dyn Read>,
    layout: Layout,
    length: u64,
    packed: bool,
    /// What was read to look at the partition table.
    first: Vec<u8>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Opens the image at `path`.
    ///
    /// # Errors
    /// It cannot be read, or is not a Nesos image.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Read {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(failed)?;
        let mut magic = [0; 4];
        file.read_exact(&mut magic).map_err(failed)?;
        file.rewind().map_err(failed)?;
        let (mut reader, known): (Box<dyn Read>, Option<u64>) = match magic == ZSTD {
            true => {
                let mut decoder = zstd::Decoder::new(file).map_err(failed)?;
                decoder.window_log_max(WINDOW_LOG_MAX).map_err(failed)?;
                (Box::new(decoder), None)
            }
            false => {
                let length = file.seek(SeekFrom::End(0)).map_err(failed)?;
                file.rewind().map_err(failed)?;
                (
                    Box::new(BufReader::with_capacity(CHUNK, file)),
                    Some(length),
                )
            }
        };
        let mut first = vec![0; 512];
        reader.read_exact(&mut first).map_err(failed)?;
        let table: &[u8; 512] = first.first_chunk().unwrap_or(&[0; 512]);
        // Whether a packed image is as long as its table says is seen at its end.
        let layout =
            disk::parse(table, known.unwrap_or(u64::MAX)).map_err(|reason| DiskError::Foreign {
                path: path.to_owned(),
                reason,
            })?;
        Ok(Self {
            path: path.to_owned(),
            reader,
            length: known.unwrap_or(layout.data.start + layout.data.length),
            layout,
            packed: known.is_none(),
            first,
        })
    }

    /// The image's partitions.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Bytes of the unpacked image.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// True if it must be unpacked to be read anywhere but from its beginning.
    pub fn is_packed(&self) -> bool {
        self.packed
    }

    /// Fills `buffer` with the image's next bytes; fewer only at its end.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn fill(&mut self, buffer: &mut Vec<u8>) -> Result<(), SourceError> {
        buffer.clear();
        buffer.append(&mut self.first);
        let wanted = (CHUNK - buffer.len()) as u64;
        let read = Read::by_ref(&mut self.reader)
            .take(wanted)
            .read_to_end(buffer);
        read.map(drop).map_err(|source| SourceError::Read {
            path: self.path.clone(),
            source,
        })
    }
}
