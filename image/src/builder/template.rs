//! The empty data file system as a list of writes, for `init` to replay onto the data partition at first boot.
//!
//! `/usr/share/nesos/data.template`, all numbers little endian: magic `NSPARSE1`, u64 total size of the file system in bytes, then
//! until the end of the file: u64 offset, u32 length, that many bytes. Extents are in order and do not overlap. They include zeros
//! that ext4 relies on (inode tables, journal), so the partition may hold anything before.
//!
//! Made by the host's `mke2fs` on a file full of a pattern: what differs afterwards is what it wrote. The file system is small and
//! has room for group descriptors up to [`GROWTH_MAX_BYTES`]: `init` grows it with `EXT4_IOC_RESIZE_FS` after mounting.
//! Invariant: fixed UUID, hash seed and time, so the same e2fsprogs gives the same bytes.

use super::tools::{ToolError, run};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// First bytes of a template.
pub const TEMPLATE_MAGIC: [u8; 8] = *b"NSPARSE1";
/// Size up to which the file system can grow while mounted: larger than any SD card or disk for these boards.
const GROWTH_MAX_BYTES: u64 = 1 << 40;
/// Block size of the file system, and granularity of extents.
const BLOCK: usize = 4096;
/// What the file holds before `mke2fs`: not a value that fills a block of a real file system.
const PATTERN: u8 = 0xa5;
/// Inodes of the first group and so of every later group of 128 MiB: one per 32 KiB.
const INODES: &str = "4096";
/// Named one by one, so that another e2fsprogs or its configuration file changes nothing.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,\
                        huge_file,dir_nlink,extra_isize,metadata_csum";
/// Journal, MiB: the smallest that ext4 takes at this block size, for small SD cards.
const JOURNAL_MIB: &str = "size=4";
/// Same on all boards: it names the format, the board's own identity is elsewhere.
const UUID: &str = "6e65736f-7300-4000-8000-646174610001";

/// A template that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// `mke2fs` failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The scratch file.
    #[error("{path}: {source}")]
    Scratch {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// The template of an empty ext4 of `mib` MiB, made with a scratch file in `folder`.
///
/// # Errors
/// `mke2fs` is missing or fails, or the scratch file cannot be written.
pub fn data_template(mib: u32, folder: &Path) -> Result<Vec<u8>, TemplateError> {
    let path = folder.join("data.ext4");
    let scratch = |source| TemplateError::Scratch {
        path: path.clone(),
        source,
    };
    let size = mib as usize * (1 << 20);
    std::fs::write(&path, vec![PATTERN; size]).map_err(scratch)?;
    // Debian keeps it in /usr/sbin, which an ordinary person's PATH lacks.
    let search = format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    );
    let extended = format!(
        "resize={},nodiscard,lazy_itable_init=0,lazy_journal_init=0,hash_seed={UUID},root_owner=0:0",
        GROWTH_MAX_BYTES / BLOCK as u64
    );
    run(Command::new("mke2fs")
        .env("PATH", search)
        .env("E2FSPROGS_FAKE_TIME", "1767225600")
        .env("MKE2FS_CONFIG", "/dev/null")
        .args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-b",
            &BLOCK.to_string(),
            "-I",
            "256",
            "-m",
            "0",
            "-e",
            "remount-ro",
        ])
        .args([
            "-L",
            "nesos-data",
            "-U",
            UUID,
            "-N",
            INODES,
            "-J",
            JOURNAL_MIB,
            "-E",
            &extended,
        ])
        .args(["-O", FEATURES])
        .arg(&path))?;
    let made = std::fs::read(&path).map_err(scratch)?;
    std::fs::remove_file(&path).map_err(scratch)?;
    Ok(encode(&made))
}

fn encode(made: &[u8]) -> Vec<u8> {
    let mut out = TEMPLATE_MAGIC.to_vec();
    out.extend((made.len() as u64).to_le_bytes());
    let untouched = [PATTERN; BLOCK];
    let blocks: Vec<&[u8]> = made.chunks(BLOCK).collect();
    let mut at = 0;
    for run in blocks.chunk_by(|left, right| (*left == untouched) == (*right == untouched)) {
        let bytes: usize = run.iter().map(|block| block.len()).sum();
        if run[0] != untouched {
            out.extend((at as u64).to_le_bytes());
            // A template has at most 256 MiB (checked with the configuration).
            out.extend(u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes());
            run.iter().for_each(|block| out.extend(*block));
        }
        at += bytes;
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What `init` does, onto a partition full of rubbish.
    fn replay(template: &[u8], rubbish: u8) -> Vec<u8> {
        let number =
            |at: usize| u64::from_le_bytes(template[at..at + 8].try_into().unwrap()) as usize;
        assert_eq!(template[..8], TEMPLATE_MAGIC);
        let mut disk = vec![rubbish; number(8)];
        let mut at = 16;
        while at < template.len() {
            let length = u32::from_le_bytes(template[at + 8..at + 12].try_into().unwrap()) as usize;
            disk[number(at)..][..length].copy_from_slice(&template[at + 12..][..length]);
            at += 12 + length;
        }
        disk
    }

    #[test]
    fn extents_are_what_was_written() {
        let mut made = vec![PATTERN; 5 * BLOCK];
        made[BLOCK..3 * BLOCK].fill(0);
        made[4 * BLOCK + 7] = 1;
        let template = encode(&made);
        assert_eq!(template.len(), 16 + 2 * 12 + 3 * BLOCK);
        assert_eq!(replay(&template, PATTERN), made);
    }

    #[test]
    fn a_replayed_template_is_a_clean_file_system_whatever_was_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let template = data_template(16, folder.path()).unwrap();
        assert_eq!(
            template,
            data_template(16, folder.path()).unwrap(),
            "not reproducible"
        );
        let path = folder.path().join("disk");
        std::fs::write(&path, replay(&template, 0xff)).unwrap();
        run(Command::new("e2fsck")
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
            .args(["-f", "-n"])
            .arg(&path))
        .unwrap();
    }
}
