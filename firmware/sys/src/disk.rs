//! Size and room of a file system, and where on it things are put. Called by `agentd` for its resources and sandboxes.
//!
//! Invariant: bytes, never blocks.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
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

/// linux/fs.h: the folders in this one have nothing to do with each other.
const FS_TOPDIR_FL: libc::c_int = 0x0002_0000;

/// Has ext4 put the folders that are made in this one far from each other, as it does with people's homes. Without a journal ext4
/// does not use an inode again for minutes, and who makes something looks at each one nearby that was deleted meanwhile. File
/// systems that know no such thing refuse.
pub fn spread(folder: &Path) -> Result<(), Errno> {
    let folder = File::open(folder)
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    let flags = [flags(&folder)? | FS_TOPDIR_FL, 0];
    let folder = folder.as_raw_fd();
    // SAFETY: a live descriptor, and memory of the size below.
    let set = unsafe { libc::ioctl(folder, libc::FS_IOC_SETFLAGS as _, flags.as_ptr()) };
    Errno::result(set).map(drop)
}

/// What lsattr(1) shows.
fn flags(folder: &File) -> Result<libc::c_int, Errno> {
    // The kernel uses an int, though the number of the call speaks of a long.
    let mut flags = [0 as libc::c_int; 2];
    let folder = folder.as_raw_fd();
    // SAFETY: a live descriptor, and memory for either for the length of the call.
    let got = unsafe { libc::ioctl(folder, libc::FS_IOC_GETFLAGS as _, flags.as_mut_ptr()) };
    Errno::result(got).map(|_| flags[0])
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
    fn folders_are_spread_where_the_file_system_can() {
        let folder = tempfile::tempdir().expect("scratch folder");
        match spread(folder.path()) {
            Ok(()) => {
                let folder = File::open(folder.path()).expect("open");
                assert_ne!(flags(&folder).expect("flags") & FS_TOPDIR_FL, 0);
            }
            Err(errno) => assert!(
                matches!(errno, Errno::EOPNOTSUPP | Errno::ENOTTY | Errno::EINVAL),
                "{errno}"
            ),
        }
        assert_eq!(spread(Path::new("/nothing")), Err(Errno::ENOENT));
    }

    #[test]
    fn the_root_has_a_size() {
        let space = space(Path::new("/")).expect("statvfs of /");
        assert!(space.total >= space.available);
        assert!(space.total > 0);
    }
}
