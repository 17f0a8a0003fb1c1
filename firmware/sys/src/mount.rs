//! Mounting and unmounting, with the path in every error. Not here: mount namespaces of tasks (module `isolation`).
//!
//! Called by `init` for its own file systems. Invariant: a mount point that is already taken by the wanted kind of
//! file system is not mounted over again.

use nix::errno::Errno;
pub use nix::mount::MsFlags;
use nix::mount::{MntFlags, mount as nix_mount, umount2};
use std::fs;
use std::io;

/// Why a mount point could not be set up or taken down.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The directory is missing and could not be made.
    #[error("create mount point {path}: {source}")]
    MountPoint {
        /// The mount point.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// mount(2) failed.
    #[error("mount {fstype} on {path}: {errno}")]
    Mount {
        /// File system type.
        fstype: String,
        /// The mount point.
        path: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// umount2(2) failed.
    #[error("unmount {path}: {errno}")]
    Unmount {
        /// The mount point.
        path: String,
        /// What the kernel said.
        errno: Errno,
    },
}

/// One mount as data.
#[derive(Debug, Clone, Copy)]
pub struct Mount<'a> {
    /// Device, or a name for file systems that have none.
    pub source: &'a str,
    /// The mount point; created when missing.
    pub target: &'a str,
    /// File system type as in /proc/filesystems.
    pub fstype: &'a str,
    /// MS_* flags.
    pub flags: MsFlags,
    /// Options of the file system, comma separated; empty for none.
    pub options: &'a str,
}

/// Mounts `m`; a mount of the same type that is already there counts as done (the kernel mounts /dev by itself).
pub fn mount(m: &Mount<'_>) -> Result<(), MountError> {
    if is_mounted(m.target, m.fstype) {
        return Ok(());
    }
    if let Err(source) = fs::create_dir_all(m.target)
        && !fs::exists(m.target).unwrap_or(false)
    {
        return Err(MountError::MountPoint {
            path: m.target.to_owned(),
            source,
        });
    }
    let options = (!m.options.is_empty()).then_some(m.options);
    nix_mount(Some(m.source), m.target, Some(m.fstype), m.flags, options).map_err(|errno| {
        MountError::Mount {
            fstype: m.fstype.to_owned(),
            path: m.target.to_owned(),
            errno,
        }
    })
}

/// Makes an existing mount read-only, so that its file system is clean even if it cannot be unmounted.
pub fn remount_read_only(path: &str) -> Result<(), MountError> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    nix_mount(None::<&str>, path, None::<&str>, flags, None::<&str>).map_err(|errno| {
        MountError::Mount {
            fstype: "read-only".to_owned(),
            path: path.to_owned(),
            errno,
        }
    })
}

/// Makes an existing read-only mount writable; its other restrictions are named again, since a remount forgets them.
pub fn remount_writable(path: &str, restrictions: MsFlags) -> Result<(), MountError> {
    let flags = MsFlags::MS_REMOUNT | restrictions;
    nix_mount(None::<&str>, path, None::<&str>, flags, None::<&str>).map_err(|errno| {
        MountError::Mount {
            fstype: "writable".to_owned(),
            path: path.to_owned(),
            errno,
        }
    })
}

/// Makes every mount below `/` private or shared with children; `init` makes them private so that a task's mounts
/// stay in the task's namespace.
pub fn make_private(path: &str) -> Result<(), MountError> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix_mount(None::<&str>, path, None::<&str>, flags, None::<&str>).map_err(|errno| {
        MountError::Mount {
            fstype: "private".to_owned(),
            path: path.to_owned(),
            errno,
        }
    })
}

/// Unmounts `path` now; fails with EBUSY while something uses it.
pub fn unmount(path: &str) -> Result<(), MountError> {
    umount2(path, MntFlags::empty()).map_err(|errno| MountError::Unmount {
        path: path.to_owned(),
        errno,
    })
}

/// True if the newest mount at `path` has type `fstype`.
pub fn is_mounted(path: &str, fstype: &str) -> bool {
    let Ok(table) = fs::read_to_string("/proc/self/mounts") else {
        return false;
    };
    mounted_type(&table, path) == Some(fstype)
}

/// Type of the newest mount at `path` in a table of the form of /proc/self/mounts.
fn mounted_type<'a>(table: &'a str, path: &str) -> Option<&'a str> {
    table
        .lines()
        .filter_map(|line| {
            let mut columns = line.split(' ').skip(1);
            (columns.next()? == path).then(|| columns.next())?
        })
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_mount_at_a_path_counts() {
        let table =
            "none / squashfs ro 0 0\ntmpfs /data tmpfs rw 0 0\n/dev/vda4 /data ext4 rw 0 0\n";
        assert_eq!(mounted_type(table, "/data"), Some("ext4"));
        assert_eq!(mounted_type(table, "/"), Some("squashfs"));
        assert_eq!(mounted_type(table, "/boot"), None);
    }
}
