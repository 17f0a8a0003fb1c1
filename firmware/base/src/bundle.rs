//! The update bundle: one signed header, then the content of a slot in chunks, each named by its digest.
//!
//! ```text
//! "NESOSUB1" | length of the header, u32 LE | header, postcard | Ed25519 signature of all before it, 64 bytes | chunks, one after the other
//! ```
//!
//! Chunks are cut by content, so that a board finds most of an update in the slot that it runs, or at its neighbours. No I/O and no
//! cryptography: callers bring SHA-256 and Ed25519. Called by the image builder (writes), a board's updater (reads, installs), agents and
//! masters (serve ranges). Invariant: a parsed header is sound in itself: names are plain file names, chunks add up to files.

pub mod key;

use crate::slots::Slot;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// First bytes of a bundle; the digit is the format's version.
pub const MAGIC: [u8; 8] = *b"NESOSUB1";
/// Bytes before the header.
pub const HEAD: usize = MAGIC.len() + 4;
/// Bytes of the signature behind the header.
pub const SIGNATURE: usize = 64;
/// Longest header: 4096 chunks take 150 KiB.
pub const HEADER_MAX: usize = 256 * 1024;
/// Longest chunk: what an updater holds in memory.
pub const CHUNK_MAX: u32 = 128 * 1024;
/// Most chunks; of 32 KiB on average they are 128 MiB, more than two slots.
pub const CHUNKS_MAX: usize = 4096;
/// Most files of a slot.
pub const FILES_MAX: usize = 32;
/// Longest name, version, command line (U-Boot's line buffer is longer).
const TEXT_MAX: usize = 1024;

/// SHA-256.
pub type Digest = [u8; 32];

/// What a bundle holds and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The board it fits, by its name in board-configs/.
    pub board: String,
    /// Version of Nesos.
    pub version: String,
    /// Commit.
    pub build_id: String,
    /// Time of the commit, seconds since 1970.
    pub build_time: u64,
    /// The kernel's command line, without what depends on the slot.
    pub command_line: String,
    /// The kernel's file, for boot loaders that are told by name.
    pub kernel: String,
    /// The device tree's file, for systemd-boot where the firmware has none of its own.
    pub device_tree: Option<String>,
    /// The files, in the order of their content.
    pub files: Vec<File>,
    /// All files' content, one after the other; a chunk belongs to one file.
    pub chunks: Vec<Chunk>,
}

/// Where a file goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// The slot's root partition, from its first byte.
    Root,
    /// A file of this name in the slot's folder on the boot partition.
    Boot(String),
}

/// One file of the slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Where it goes.
    pub place: Place,
    /// Bytes.
    pub length: u64,
    /// Of the whole content.
    pub digest: Digest,
}

/// A piece of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Of its bytes.
    pub digest: Digest,
    /// Bytes, 1 to [`CHUNK_MAX`].
    pub length: u32,
}

/// Why bytes are no bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Wrong first bytes.
    #[error("not a Nesos update bundle: it does not begin with NESOSUB1")]
    Magic,
    /// The header is longer than any.
    #[error("header of {0} bytes; at most {HEADER_MAX} are allowed")]
    HeaderLength(usize),
    /// The bytes end before the signature does.
    #[error("truncated: {have} bytes, header and signature take {want}")]
    Truncated {
        /// Bytes that are there.
        have: usize,
        /// Bytes that would be needed.
        want: usize,
    },
    /// The header is no header.
    #[error("the header cannot be decoded")]
    Header,
    /// A field of the header is unsound.
    #[error("header: {field}: {reason}")]
    Field {
        /// Which.
        field: &'static str,
        /// What was expected.
        reason: &'static str,
    },
}

/// Header and signature of a bundle, as they stand at its beginning and in a slot's `slot.head`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prelude {
    /// What the bundle holds.
    pub header: Header,
    bytes: Vec<u8>,
}

impl Prelude {
    /// How many bytes the prelude has that begins with `head`.
    ///
    /// # Errors
    /// It is no bundle's.
    pub fn length(head: &[u8; HEAD]) -> Result<usize, BundleError> {
        let (magic, length) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(BundleError::Magic);
        }
        let length = length.first_chunk().map_or(0, |b| u32::from_le_bytes(*b)) as usize;
        match length {
            1..=HEADER_MAX => Ok(HEAD + length + SIGNATURE),
            _ => Err(BundleError::HeaderLength(length)),
        }
    }

    /// Reads the prelude at the beginning of `bytes`; what follows it is left alone. Says nothing about the signature.
    ///
    /// # Errors
    /// The bytes are no bundle's, or too few, or the header contradicts itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        let truncated = |want| BundleError::Truncated {
            have: bytes.len(),
            want,
        };
        let Some(head) = bytes.first_chunk() else {
            let begins = bytes.iter().zip(MAGIC).all(|(byte, magic)| *byte == magic);
            return Err(if begins {
                truncated(HEAD)
            } else {
                BundleError::Magic
            });
        };
        let length = Self::length(head)?;
        let bytes = bytes.get(..length).ok_or_else(|| truncated(length))?;
        let encoded = &bytes[HEAD..length - SIGNATURE];
        let header: Header = match postcard::take_from_bytes(encoded) {
            Ok((header, [])) => header,
            _ => return Err(BundleError::Header),
        };
        header.check()?;
        Ok(Self {
            header,
            bytes: bytes.into(),
        })
    }

    /// Puts `header` and the signature that `sign` makes together.
    ///
    /// # Errors
    /// The header is unsound or too long.
    pub fn sign(
        header: Header,
        sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE],
    ) -> Result<Self, BundleError> {
        header.check()?;
        let encoded = postcard::to_allocvec(&header).map_err(|_| BundleError::Header)?;
        let length = u32::try_from(encoded.len())
            .ok()
            .filter(|_| encoded.len() <= HEADER_MAX)
            .ok_or(BundleError::HeaderLength(encoded.len()))?;
        let mut bytes: Vec<u8> = MAGIC.into();
        bytes.extend(length.to_le_bytes());
        bytes.extend(encoded);
        let signature = sign(&bytes);
        bytes.extend(signature);
        Ok(Self { header, bytes })
    }

    /// All of it, as it stands in the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What is signed, and the signature.
    pub fn signed(&self) -> (&[u8], &[u8]) {
        self.bytes.split_at(self.bytes.len() - SIGNATURE)
    }

    /// Where the content begins in the bundle, bytes.
    pub fn content_at(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Bytes of the whole bundle.
    pub fn total(&self) -> u64 {
        self.content_at() + self.header.content()
    }
}

/// A chunk, where it is in the bundle, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub chunk: Chunk,
    /// Index of its file.
    pub file: usize,
    /// Where it goes in that file, bytes.
    pub at: u64,
    /// Where it is in the content, bytes.
    pub content_at: u64,
}

impl Header {
    /// Bytes of all content.
    pub fn content(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }

    /// All chunks with their places, in order.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let (mut file, mut at, mut content_at) = (0, 0, 0);
        self.chunks.iter().map(move |chunk| {
            while self.files.get(file).is_some_and(|f| at >= f.length) {
                (file, at) = (file + 1, 0);
            }
            let piece = Piece {
                chunk: *chunk,
                file,
                at,
                content_at,
            };
            at += u64::from(chunk.length);
            content_at += u64::from(chunk.length);
            piece
        })
    }

    /// The file that U-Boot's script reads the command line of `slot` from.
    pub fn boot_environment(&self, slot: Slot) -> String {
        format!("cmdline={} {}\n", slot.root_argument(), self.command_line)
    }

    fn check(&self) -> Result<(), BundleError> {
        let wrong = |field, reason| Err(BundleError::Field { field, reason });
        if !is_name(&self.board) {
            return wrong("board", "a board's name: letters, digits, '-', '.', '_'");
        }
        for (field, text) in [
            ("version", &self.version),
            ("build_id", &self.build_id),
            ("command_line", &self.command_line),
        ] {
            if text.len() > TEXT_MAX || !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
                return wrong(field, "one line of at most 1024 ASCII characters");
            }
        }
        if self.files.is_empty() || self.files.len() > FILES_MAX {
            return wrong("files", "1 to 32 files");
        }
        let mut names: Vec<&str> = Vec::new();
        for file in &self.files {
            let name = match &file.place {
                Place::Root => "",
                Place::Boot(name) if is_name(name) => name,
                Place::Boot(_) => {
                    return wrong("files", "plain file names: letters, digits, '-', '.', '_'");
                }
            };
            if names.contains(&name) {
                return wrong("files", "each place once");
            }
            if file.length == 0 {
                return wrong("files", "no empty file");
            }
            names.push(name);
        }
        if !names.contains(&"") {
            return wrong("files", "a root");
        }
        for (field, name) in [
            ("kernel", Some(&self.kernel)),
            ("device_tree", self.device_tree.as_ref()),
        ] {
            if name.is_some_and(|name| name.is_empty() || !names.contains(&name.as_str())) {
                return wrong(field, "one of the files");
            }
        }
        self.check_chunks()
    }

    fn check_chunks(&self) -> Result<(), BundleError> {
        let wrong = |reason| {
            Err(BundleError::Field {
                field: "chunks",
                reason,
            })
        };
        if self.chunks.len() > CHUNKS_MAX {
            return wrong("at most 4096");
        }
        if self
            .chunks
            .iter()
            .any(|c| c.length == 0 || c.length > CHUNK_MAX)
        {
            return wrong("1 to 131072 bytes each");
        }
        let mut chunks = self.chunks.iter();
        for file in &self.files {
            let mut left = file.length;
            while left > 0 {
                let length = chunks.next().map(|chunk| u64::from(chunk.length));
                match length.and_then(|length| left.checked_sub(length)) {
                    Some(rest) => left = rest,
                    None => return wrong("they add up to the files, each within one"),
                }
            }
        }
        match chunks.next() {
            None => Ok(()),
            Some(_) => wrong("they add up to the files, no more"),
        }
    }
}

/// A name that means the same to every file system and shell, and no folder.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (1..=64).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(plain)
}

#[cfg(test)]
#[path = "bundle/tests.rs"]
mod tests;
