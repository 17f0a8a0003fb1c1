//! Mounts that hang nowhere yet: copied, restricted, then attached. All by descriptor, so that no path is looked up twice.
//!
//! Called by modules `new_root` and `user_namespace`. Needs Linux 5.12. Invariant: a mount is restricted before anybody can see it.

use std::ffi::CStr;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// linux/mount.h
const OPEN_TREE_CLONE: libc::c_uint = 1;
const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC as libc::c_uint;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
const MOUNT_ATTR_RDONLY: u64 = 1;
const MOUNT_ATTR_NOSUID: u64 = 2;
const MOUNT_ATTR_NODEV: u64 = 4;
const MOUNT_ATTR_NOEXEC: u64 = 8;
const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
/// linux/fcntl.h
const AT_RECURSIVE: libc::c_uint = 0x8000;
const AT_EMPTY_PATH: libc::c_uint = libc::AT_EMPTY_PATH as libc::c_uint;
const EMPTY: &CStr = c"";

/// What a mount does not allow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// Writing.
    pub read_only: bool,
    /// Set-user-id programs to have their effect.
    pub no_suid: bool,
    /// Device files to be opened.
    pub no_dev: bool,
    /// Programs to be executed.
    pub no_exec: bool,
}

impl Restrictions {
    /// What holds for every tree that tasks write to.
    pub const DATA: Restrictions = Restrictions {
        read_only: false,
        no_suid: true,
        no_dev: true,
        no_exec: false,
    };
    /// Nothing of a tree but reading files.
    pub const SHOWN: Restrictions = Restrictions {
        read_only: true,
        no_suid: true,
        no_dev: true,
        no_exec: true,
    };

    fn bits(self) -> u64 {
        let bit = |wanted: bool, bit: u64| if wanted { bit } else { 0 };
        bit(self.read_only, MOUNT_ATTR_RDONLY)
            | bit(self.no_suid, MOUNT_ATTR_NOSUID)
            | bit(self.no_dev, MOUNT_ATTR_NODEV)
            | bit(self.no_exec, MOUNT_ATTR_NOEXEC)
    }
}

/// A copy of a mount that nobody sees. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Detached {
    mount: OwnedFd,
    is_tree: bool,
}

impl Detached {
    /// A copy of what `source` (a file or directory) shows; `is_tree`: with what is mounted below it.
    pub(crate) fn copy_of(source: impl AsFd, is_tree: bool) -> Result<Detached, Errno> {
        let recursive = if is_tree { AT_RECURSIVE } else { 0 };
        let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | recursive;
        let source = source.as_fd().as_raw_fd();
        // SAFETY: a live descriptor and a constant C string.
        let fd = unsafe { libc::syscall(libc::SYS_open_tree, source, EMPTY.as_ptr(), flags) };
        let fd = Errno::result(fd)?;
        // SAFETY: the kernel just made this descriptor and nobody else owns it.
        let mount = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        Ok(Detached { mount, is_tree })
    }

    /// Forbids things, on all of it.
    pub(crate) fn restrict(self, restrictions: Restrictions) -> Result<Detached, Errno> {
        restrict(&self.mount, restrictions, self.is_tree)?;
        Ok(self)
    }

    /// Shows all of its files to processes of a user namespace as if ids meant inside what they mean on the host: root's files
    /// are root's, and what root makes there is the host's root's. Linux 5.12, and not every file system.
    pub(crate) fn map_ids(self, namespace: BorrowedFd<'_>) -> Result<Detached, Errno> {
        let attributes = MountAttr {
            attr_set: MOUNT_ATTR_IDMAP,
            userns_fd: namespace.as_raw_fd() as u64,
            ..MountAttr::default()
        };
        set_attributes(&self.mount, &attributes, self.is_tree)?;
        Ok(self)
    }

    /// Its top, with which it lives.
    pub(crate) fn into_top(self) -> OwnedFd {
        self.mount
    }

    /// Shows it at `target`, a directory for a directory, a file for a file.
    pub(crate) fn attach(self, target: impl AsFd) -> Result<(), Errno> {
        let (from, to) = (self.mount.as_raw_fd(), target.as_fd().as_raw_fd());
        let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
        let empty = EMPTY.as_ptr();
        // SAFETY: two live descriptors and constant C strings.
        let result = unsafe { libc::syscall(libc::SYS_move_mount, from, empty, to, empty, flags) };
        Errno::result(result).map(drop)
    }
}

/// Forbids things on the mount whose top `mount` is; `is_tree`: and on those below it.
pub(crate) fn restrict(
    mount: impl AsFd,
    restrictions: Restrictions,
    is_tree: bool,
) -> Result<(), Errno> {
    let attributes = MountAttr {
        attr_set: restrictions.bits(),
        ..MountAttr::default()
    };
    set_attributes(mount, &attributes, is_tree)
}

fn set_attributes(mount: impl AsFd, attributes: &MountAttr, is_tree: bool) -> Result<(), Errno> {
    let recursive = if is_tree { AT_RECURSIVE } else { 0 };
    // SAFETY: a live descriptor, a constant C string, and a valid mount_attr of the given size for the length of the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            EMPTY.as_ptr(),
            AT_EMPTY_PATH | recursive,
            std::ptr::from_ref(attributes),
            size_of::<MountAttr>(),
        )
    };
    Errno::result(result).map(drop)
}

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}
