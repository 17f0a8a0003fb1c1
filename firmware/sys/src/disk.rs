//! Size and room of a file system. Called by `agentd` for its resources.
//!
//! Invariant: bytes, never blocks.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{major, minor, stat};
use nix::sys::statvfs::statvfs;

/// A file system's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it, bytes.
    pub total: u64,
    /// What an unprivileged writer may still take, bytes.
    pub available: u64,
}

/// Size of the file system that holds `path`.
pub fn space(path: &Path) -> Result<Space, Errno> {
    let stat = statvfs(path)?;
    // c_ulong is u64 on every target of ours, but not on all that compile this.
    #[allow(clippy::unnecessary_cast)]
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size() as u64);
    #[allow(clippy::unnecessary_cast)]
    Ok(Space {
        total: bytes(stat.blocks() as u64),
        available: bytes(stat.blocks_available() as u64),
    })
}

/// Major and minor number of the disk, not of its partition, that holds `path`; none where there is no such, as in memory.
pub fn whole_disk(path: &Path) -> Option<(u32, u32)> {
    let device = stat(path).ok()?.st_dev;
    let folder = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    let folder = fs::canonicalize(folder).ok()?;
    let disk = match folder.join("partition").exists() {
        true => folder.parent()?,
        false => &folder,
    };
    parse_numbers(&fs::read_to_string(disk.join("dev")).ok()?)
}

fn parse_numbers(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_memory_is_on_no_disk() {
        assert_eq!(whole_disk(Path::new("/proc")), None);
        assert_eq!(whole_disk(Path::new("/nothing")), None);
        assert_eq!(parse_numbers("254:16\n"), Some((254, 16)));
    }

    #[test]
    fn the_root_has_a_size() {
        let space = space(Path::new("/")).expect("statvfs of /");
        assert!(space.total >= space.available);
        assert!(space.total > 0);
    }
}
