//! The boot partition: a FAT32 in memory.
//!
//! Called by [`super::build_image`]. Invariant: fixed volume id and times; files are written in the order of their paths, so the same
//! content gives the same bytes.

use crate::personal::{fat_options, write_file};
use fatfs::{FatType, FileSystem, FormatVolumeOptions};
use std::collections::BTreeMap;
use std::io::{self, Cursor};

/// One sector per cluster, so that a small partition still has enough clusters to be FAT32.
const CLUSTER_BYTES: u32 = 512;
/// Volume label, as shown by desktop systems.
const LABEL: [u8; 11] = *b"NESOS-BOOT ";

/// A FAT32 of `length` bytes with `files` (path to content; a path that ends in `/` is an empty folder), and how many of its bytes are
/// in use, all at its beginning.
///
/// # Errors
/// The files do not fit, or a path is no valid name.
pub(super) fn boot_volume(
    length: u64,
    volume_id: u32,
    files: &BTreeMap<String, Vec<u8>>,
) -> io::Result<(Vec<u8>, u64)> {
    let bytes = usize::try_from(length).map_err(io::Error::other)?;
    let mut disk = Cursor::new(vec![0; bytes]);
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(CLUSTER_BYTES);
    fatfs::format_volume(&mut disk, options.volume_id(volume_id).volume_label(LABEL))?;
    let volume = FileSystem::new(&mut disk, fat_options())?;
    for (path, content) in files {
        let mut folder = volume.root_dir();
        let mut parts: Vec<_> = path.split('/').collect();
        let name = parts.pop().unwrap_or_default();
        for part in parts {
            folder = folder.create_dir(part)?;
        }
        if name.is_empty() {
            continue;
        }
        write_file(&folder, name, content)
            .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
    }
    // Counting fills in the summary of free space, which checkers miss otherwise.
    let free = u64::from(volume.stats()?.free_clusters()) * u64::from(CLUSTER_BYTES);
    volume.unmount()?;
    let mut made = disk.into_inner();
    made.chunks_mut(CLUSTER_BYTES as usize).for_each(mend_dots);
    // A fresh volume is filled from its beginning.
    Ok((made, length - free))
}

/// fatfs 0.3 gives `.` and `..` long names, and `..` of a folder in the root the root's cluster number instead of 0: a checker that
/// repairs this (Windows, fsck) loses the folders. Rewrites the first entries of a folder, if `cluster` begins one.
fn mend_dots(cluster: &mut [u8]) {
    /// First cluster of the root folder, as fatfs formats.
    const ROOT_CLUSTER: [u8; 2] = [2, 0];
    const ENTRY: usize = 32;
    const ATTRIBUTE: usize = 11;
    const LONG_NAME: u8 = 0x0f;
    const DELETED: u8 = 0xe5;
    let entry = |number: usize| &cluster[number * ENTRY..][..ENTRY];
    let is_folder = cluster.len() >= 4 * ENTRY
        && entry(0)[ATTRIBUTE] == LONG_NAME
        && entry(1).starts_with(b".          ")
        && entry(2)[ATTRIBUTE] == LONG_NAME
        && entry(3).starts_with(b"..         ");
    if !is_folder {
        return;
    }
    let [dot, dot_dot] = [1, 3].map(|number| entry(number).to_vec());
    cluster[..ENTRY].copy_from_slice(&dot);
    cluster[ENTRY..2 * ENTRY].copy_from_slice(&dot_dot);
    let parent = &mut cluster[ENTRY..2 * ENTRY];
    if parent[26..28] == ROOT_CLUSTER && parent[20..22] == [0, 0] {
        parent[26..28].fill(0);
    }
    for unused in [2, 3] {
        cluster[unused * ENTRY] = DELETED;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn files() -> BTreeMap<String, Vec<u8>> {
        [
            ("slot-a/cmdline.txt", b"root=x".to_vec()),
            ("EFI/BOOT/BOOTAA64.EFI", vec![7; 100_000]),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into()
    }

    #[test]
    fn the_same_files_give_the_same_clean_volume() {
        let folder = tempfile::tempdir().unwrap();
        let (made, used) = boot_volume(34 << 20, 7, &files()).unwrap();
        assert!((made.clone(), used) == boot_volume(34 << 20, 7, &files()).unwrap());
        assert!(made[used as usize..].iter().all(|byte| *byte == 0));
        assert!(used > 100_000 && used < 2 << 20, "{used}");
        let path = folder.path().join("fat");
        std::fs::write(&path, &made).unwrap();
        let mut check = std::process::Command::new("fsck.vfat");
        super::super::run(
            check
                .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
                .arg("-n")
                .arg(&path),
        )
        .unwrap();
    }

    #[test]
    fn too_much_for_the_partition_is_an_error() {
        let files = [("kernel".to_owned(), vec![0; 40 << 20])].into();
        assert!(
            boot_volume(34 << 20, 7, &files)
                .unwrap_err()
                .to_string()
                .contains("kernel")
        );
    }
}
