//! A slot's root: its squashfs, entry by entry. Called by the parent.
//!
//! Invariant: the superblock is checked before the library that reads the rest sees the file, and what is unpacked is bounded.

use crate::disk::Partition;
use crate::flash::hex;
use backhand::{FilesystemReader, InnerNode};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// First bytes of a squashfs, little-endian.
const MAGIC: &[u8; 4] = b"hsqs";
/// Bytes of its superblock.
const SUPERBLOCK: usize = 96;
/// Most entries; ours have some hundreds.
const ENTRIES_MAX: u32 = 65_536;
/// Most bytes of all files together; ours have 12 MB.
const UNPACKED_MAX: u64 = 1 << 30;
/// Where a root says what it is.
const RELEASES: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// A root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Bytes of the squashfs.
    pub bytes: u64,
    /// SHA-256 of them, hex.
    pub sha256: String,
    /// Everything in it, by path.
    pub entries: BTreeMap<String, Entry>,
    /// `os-release`: version, build, board.
    pub release: BTreeMap<String, String>,
}

/// A file, folder, link or device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `file`, `folder`, `link` or `special`.
    pub kind: &'static str,
    /// Permissions.
    pub mode: u16,
    /// Bytes of a file.
    pub bytes: u64,
    /// A file's SHA-256, or where a link leads to.
    pub content: String,
}

pub(super) fn read(path: &Path, partition: Partition) -> Result<Option<Root>, String> {
    let text = |error: io::Error| error.to_string();
    let file = File::open(path).map_err(text)?;
    let mut superblock = [0; SUPERBLOCK];
    file.read_exact_at(&mut superblock, partition.start)
        .map_err(text)?;
    if superblock.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let bytes = check(&superblock, partition.length)?;
    let sha256 = digest(path, partition.start, bytes).map_err(text)?;
    // The library sees the partition alone: no number in it leads out of it.
    let window = Window {
        file,
        start: partition.start,
        length: bytes,
        position: 0,
    };
    let reader =
        FilesystemReader::from_reader(BufReader::new(window)).map_err(|e| e.to_string())?;
    let mut root = Root {
        bytes,
        sha256,
        entries: BTreeMap::new(),
        release: BTreeMap::new(),
    };
    let mut left = UNPACKED_MAX;
    for node in reader.files() {
        let name = node.fullpath.to_string_lossy().into_owned();
        let mode = node.header.permissions;
        let entry = |kind, bytes, content| Entry {
            kind,
            mode,
            bytes,
            content,
        };
        let entry = match &node.inner {
            InnerNode::File(file) => {
                let mut content = Vec::new();
                let unpacked = reader
                    .file(file)
                    .reader_checked()
                    .map_err(|e| format!("{name}: {e}"))?;
                let count = unpacked.take(left + 1).read_to_end(&mut content);
                let count = count.map_err(|e| format!("{name}: {e}"))? as u64;
                left = left
                    .checked_sub(count)
                    .ok_or("more than a gigabyte of files")?;
                if RELEASES.contains(&name.as_str()) {
                    root.release = release(&String::from_utf8_lossy(&content));
                }
                entry("file", count, hex(&Sha256::digest(&content)))
            }
            InnerNode::Dir(_) => entry("folder", 0, String::new()),
            InnerNode::Symlink(link) => entry("link", 0, link.link.to_string_lossy().into_owned()),
            _ => entry("special", 0, String::new()),
        };
        root.entries.insert(name, entry);
    }
    Ok(Some(root))
}

/// Checks what a superblock says against its partition; returns the file system's size in bytes.
fn check(superblock: &[u8; SUPERBLOCK], partition: u64) -> Result<u64, String> {
    let word = |at: usize| {
        let bytes = superblock.get(at..at + 4).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    };
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    if superblock.get(..4) != Some(MAGIC) {
        return Err("no squashfs".to_owned());
    }
    let (entries, block, version, bytes) = (word(4), word(12), word(28), long(40));
    if version != 4 {
        return Err(format!(
            "squashfs of version {}.{}",
            version & 0xffff,
            version >> 16
        ));
    }
    if entries > ENTRIES_MAX {
        return Err(format!("{entries} entries, more than {ENTRIES_MAX}"));
    }
    if !block.is_power_of_two() || !(4096..=1 << 20).contains(&block) {
        return Err(format!("blocks of {block} bytes"));
    }
    if bytes > partition || bytes < SUPERBLOCK as u64 {
        return Err(format!("{bytes} bytes in a partition of {partition}"));
    }
    // Tables: ids, xattrs, inodes, directories, fragments, exports; all ones: none.
    let outside = (48..96)
        .step_by(8)
        .map(long)
        .any(|at| at != u64::MAX && at > bytes);
    match outside {
        true => Err("a table lies behind the end of the squashfs".to_owned()),
        false => Ok(bytes),
    }
}

fn release(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

pub(super) fn digest(path: &Path, start: u64, length: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let (mut digest, mut left) = (Sha256::new(), file.take(length));
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = left.read(&mut buffer)?;
        let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else {
            break;
        };
        digest.update(part);
    }
    match left.limit() {
        0 => Ok(hex(&digest.finalize())),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A part of a file, to be read only.
struct Window {
    file: File,
    start: u64,
    length: u64,
    position: u64,
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.position);
        let wanted = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(part) = buffer.get_mut(..wanted) else {
            return Ok(0);
        };
        let count = self.file.read_at(part, self.start + self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        // Beyond the end there is nothing, as in any file; a sum that overflows is no place.
        self.position = target
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?
            .min(self.length);
        Ok(self.position)
    }
}
