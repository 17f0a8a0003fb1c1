//! The boot partition's files. Called by the parent. Invariant: a folder that contains itself ends at a depth, a chain of clusters
//! that bites its tail at the partition's size.

use crate::disk::Slice;
use crate::flash::hex;
use fatfs::{Dir, FileSystem, FsOptions};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;

/// Folders in folders; ours have two.
const DEPTH_MAX: usize = 8;
/// Files; ours have some dozens.
const FILES_MAX: usize = 4096;
/// Largest file that is kept in memory.
const KEPT_MAX: u64 = 1 << 20;

/// A file of the boot partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFile {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256, hex.
    pub sha256: String,
}

pub(super) type Volume = FileSystem<Slice>;

pub(super) fn open(slice: Slice) -> Result<Volume, String> {
    FileSystem::new(slice, FsOptions::new().update_accessed_date(false)).map_err(|e| e.to_string())
}

pub(super) fn files(volume: &Volume) -> Result<BTreeMap<String, BootFile>, String> {
    let mut found = BTreeMap::new();
    walk(&volume.root_dir(), "", 0, &mut found)?;
    Ok(found)
}

fn walk(
    folder: &Dir<'_, Slice>,
    prefix: &str,
    depth: usize,
    found: &mut BTreeMap<String, BootFile>,
) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("{prefix}: folders deeper than {DEPTH_MAX}"));
    }
    for entry in folder.iter().take(FILES_MAX) {
        let entry = entry.map_err(|e| format!("{prefix}: {e}"))?;
        let name = entry.file_name();
        if name == "." || name == ".." {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.is_dir() {
            walk(&entry.to_dir(), &format!("{path}/"), depth + 1, found)?;
            continue;
        }
        if found.len() >= FILES_MAX {
            return Err(format!("more than {FILES_MAX} files"));
        }
        let mut digest = Sha256::new();
        let (mut bytes, mut buffer) = (0u64, vec![0; 1 << 16]);
        // A file's length is in its folder, so that a chain without end is not read without end.
        let mut content = entry.to_file().take(entry.len());
        loop {
            let count = content
                .read(&mut buffer)
                .map_err(|e| format!("{path}: {e}"))?;
            let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else {
                break;
            };
            digest.update(part);
            bytes += count as u64;
        }
        if bytes < entry.len() {
            return Err(format!("{path}: {bytes} of {} bytes", entry.len()));
        }
        let sha256 = hex(&digest.finalize());
        found.insert(path, BootFile { bytes, sha256 });
    }
    Ok(())
}

pub(super) fn read(volume: &Volume, name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = volume.root_dir().open_file(name).ok()?;
    file.take(KEPT_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
