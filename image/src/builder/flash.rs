//! The flashable files: the raw disk with holes where it is empty, its compressed form, and the map of what must be written.
//!
//! Called by [`super::build_image`]. Invariant: what is not written is a hole and reads as zeros, and both boot records say the same.

use crate::disk::Layout;
use nesos_base::slots::{DISK_SIGNATURE, STATE_AT, State};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

/// zstd level of the compressed image: one-off work of the builder, paid back by every download.
const ZSTD_LEVEL: i32 = 19;
/// Window of 2^27 bytes: what `zstd -d` accepts without being told, and larger than the distance between the kernel's two copies.
const ZSTD_WINDOW_LOG: u32 = 27;
/// Granularity of holes in the raw file.
const HOLE_BYTES: usize = 64 * 1024;

/// Bytes of a block of the map.
const MAP_BLOCK: u64 = 4096;
/// Bytes at the beginning of a partition within which file systems say what they are (btrfs: at 64 KiB).
const FORGOTTEN: u64 = 128 * 1024;

/// Writes the disk with holes where it is empty: a fresh file reads as zeros there.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write_disk(layout: &Layout, boot: &[u8], root: &[u8], path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.set_len(layout.data.start + layout.data.length)?;
    let record = State::FRESH.encode();
    for (start, content) in [
        (0, &layout.mbr(DISK_SIGNATURE)[..]),
        (STATE_AT[0], &record),
        (STATE_AT[1], &record),
        (layout.boot.start, boot),
        (layout.root_a.start, root),
    ] {
        for (number, chunk) in content.chunks(HOLE_BYTES).enumerate() {
            if chunk.iter().any(|byte| *byte != 0) {
                file.seek(SeekFrom::Start(start + (number * HOLE_BYTES) as u64))?;
                file.write_all(chunk)?;
            }
        }
    }
    file.flush()
}

/// Compresses the image at `from` into `to`; bytes of the result.
///
/// # Errors
/// A file cannot be read or written.
pub(super) fn compress(from: &Path, to: &Path) -> io::Result<u64> {
    let mut encoder = zstd::Encoder::new(File::create(to)?, ZSTD_LEVEL)?;
    encoder.long_distance_matching(true)?;
    encoder.window_log(ZSTD_WINDOW_LOG)?;
    encoder.include_checksum(true)?;
    io::copy(&mut File::open(from)?, &mut encoder)?;
    Ok(encoder.finish()?.metadata()?.len())
}

/// What a card must get so that nothing of its former life is taken for ours, in whole blocks: everything before and in the used part
/// of the boot partition, root A, and the beginnings of root B and of the data partition, where older file systems would begin.
pub(super) fn to_write(layout: &Layout, boot_used: u64, root: u64) -> Vec<Range<u64>> {
    let whole = |bytes: u64| bytes.next_multiple_of(MAP_BLOCK);
    [
        0..layout.boot.start + whole(boot_used),
        layout.root_a.start..layout.root_a.start + whole(root),
        layout.root_b.start..layout.root_b.start + FORGOTTEN,
        layout.data.start..layout.data.start + FORGOTTEN,
    ]
    .into()
}

/// The map of `ranges` of the image at `path`, version 2.0 of bmap-tools' format.
///
/// # Errors
/// The image cannot be read.
pub(super) fn block_map(path: &Path, ranges: &[Range<u64>]) -> io::Result<String> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut mapped = 0;
    let mut lines = String::new();
    for range in ranges {
        let (first, last) = (range.start / MAP_BLOCK, range.end / MAP_BLOCK - 1);
        mapped += last - first + 1;
        let mut digest = Sha256::new();
        file.seek(SeekFrom::Start(range.start))?;
        let mut part = (&mut file).take(range.end - range.start);
        io::copy(&mut part, &mut super::output::DigestWriter(&mut digest))?;
        let sum = super::output::hex(&digest.finalize());
        lines.push_str(&format!(
            "        <Range chksum=\"{sum}\">{first}-{last}</Range>\n"
        ));
    }
    let with = |sum: &str| {
        format!(
            "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n    <ImageSize>{size}</ImageSize>\n    <BlockSize>{MAP_BLOCK}</BlockSize>\n    \
             <BlocksCount>{}</BlocksCount>\n    <MappedBlocksCount>{mapped}</MappedBlocksCount>\n    <ChecksumType>sha256</ChecksumType>\n    \
             <BmapFileChecksum>{sum}</BmapFileChecksum>\n    <BlockMap>\n{lines}    </BlockMap>\n</bmap>\n",
            size.div_ceil(MAP_BLOCK)
        )
    };
    // Of the file with zeros in its own place.
    let sum = super::digest(with(&"0".repeat(64)).as_bytes());
    Ok(with(&sum))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::config::{Board, load};
    use super::super::volume::boot_volume;
    use super::*;
    use fatfs::{FileSystem, FsOptions};

    fn small_image(path: &Path) -> Board {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap()
            .join("board-configs");
        let board = load(&configs, "qemu-virt").unwrap();
        let files = [("slot-a/cmdline.txt".to_owned(), b"root=x".to_vec())].into();
        let (boot, _) = boot_volume(board.layout.boot.length, DISK_SIGNATURE, &files).unwrap();
        write_disk(&board.layout, &boot, b"hsqs", path).unwrap();
        board
    }

    fn boot_file(image: &Path, name: &str) -> Vec<u8> {
        let slice = crate::Slice::new(
            File::open(image).unwrap(),
            crate::read_table(image).unwrap().boot,
        );
        let volume = FileSystem::new(slice, FsOptions::new()).unwrap();
        let mut bytes = Vec::new();
        volume
            .root_dir()
            .open_file(name)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    }

    #[test]
    fn an_image_is_personalised_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("a.img");
        let board = small_image(&image);
        assert_eq!(crate::read_table(&image).unwrap(), board.layout);
        for content in [
            "name = 'long name of a first board'\n".repeat(100),
            "name = 'b'\n".to_owned(),
            String::new(),
        ] {
            crate::personalise(&image, content.as_bytes()).unwrap();
            assert_eq!(boot_file(&image, "cluster.toml"), content.as_bytes());
            assert_eq!(boot_file(&image, "slot-a/cmdline.txt"), b"root=x");
        }
        crate::grow(&image, 256 << 20).unwrap();
        assert_eq!(std::fs::metadata(&image).unwrap().len(), 256 << 20);
        assert_eq!(crate::read_table(&image).unwrap(), board.layout);
        let error = crate::grow(&image, 1 << 20).unwrap_err().to_string();
        assert!(error.contains("would cut its partitions"), "{error}");
    }

    #[test]
    fn what_is_no_image_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("holiday.jpg");
        std::fs::write(&path, vec![1; 4096]).unwrap();
        let error = crate::personalise(&path, b"").unwrap_err().to_string();
        assert!(error.contains("not a Nesos image"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), vec![1; 4096]);
    }

    #[test]
    fn a_map_has_its_own_sum_and_those_of_its_ranges() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("a.img");
        let board = small_image(&image);
        let ranges = to_write(&board.layout, 8192, 4);
        let map = block_map(&image, &ranges).unwrap();
        let sum = map.split_once("<BmapFileChecksum>").unwrap().1;
        let sum = sum.split_once("</").unwrap().0.to_owned();
        assert_eq!(
            sum,
            super::super::digest(map.replace(&sum, &"0".repeat(64)).as_bytes())
        );
        let bytes = std::fs::read(&image).unwrap();
        let first = super::super::digest(&bytes[..(1 << 20) + 8192]);
        assert!(
            map.contains(&format!("<Range chksum=\"{first}\">0-257</Range>")),
            "{map}"
        );
        assert!(
            map.contains("<MappedBlocksCount>323</MappedBlocksCount>"),
            "{map}"
        );
    }

    #[test]
    fn an_image_is_packed_and_unpacked_without_loss() {
        let folder = tempfile::tempdir().unwrap();
        let (image, packed) = (folder.path().join("a.img"), folder.path().join("a.zst"));
        small_image(&image);
        compress(&image, &packed).unwrap();
        let unpacked = zstd::decode_all(File::open(&packed).unwrap()).unwrap();
        assert!(unpacked == std::fs::read(&image).unwrap());
    }
}
