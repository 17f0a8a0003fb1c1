//! What a process does inside its new PID and mount namespaces before its task starts.
//!
//! Called by `nesos-executor` as PID 1 of the task's namespace. Invariant: nothing mounted here is seen outside; [`enter_own_mounts`] sees to that.

use std::fs::{self, File};
use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Permission bits and size of the private /tmp. Its pages count as memory of whoever writes them.
const TMP_OPTIONS: &str = "mode=1777,size=50%";

/// Why the namespace could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {errno}")]
pub struct NamespaceError {
    /// What was tried.
    pub operation: &'static str,
    /// What the kernel said.
    pub errno: Errno,
}

/// Takes a copy of the mount table and cuts it off from the one it was copied from. First of all: it never trusts the
/// caller to have made a namespace, because the mounts below would otherwise change the whole machine.
pub fn enter_own_mounts() -> Result<(), NamespaceError> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(failed("make a mount namespace"))?;
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let done = mount(None::<&str>, "/", None::<&str>, flags, None::<&str>);
    done.map_err(failed("make mounts private"))
}

/// Mounts a /proc that shows this PID namespace.
pub fn mount_proc() -> Result<(), NamespaceError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).map_err(failed("mount /proc"))
}

/// Mounts an empty /tmp that nobody else sees and that ends with the namespace. `keep` (a directory) stays reachable
/// by its path even if that leads through the old /tmp. Needs [`mount_proc`] before. Without a /tmp, does nothing.
pub fn mount_private_tmp(keep: &Path) -> Result<(), NamespaceError> {
    let kept = File::open(keep).map_err(|e| failed("open the directory to keep")(errno_of(&e)))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    match mount(
        Some("tmpfs"),
        "/tmp",
        Some("tmpfs"),
        flags,
        Some(TMP_OPTIONS),
    ) {
        Err(Errno::ENOENT) => return Ok(()),
        other => other.map_err(failed("mount /tmp"))?,
    }
    if keep.exists() {
        return Ok(());
    }
    fs::create_dir_all(keep).map_err(|e| failed("make a mount point in /tmp")(errno_of(&e)))?;
    let source = format!("/proc/self/fd/{}", kept.as_raw_fd());
    mount(
        Some(source.as_str()),
        keep,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .map_err(failed("bind the directory to keep"))
}

/// Makes /sys with all that is mounted below it (the cgroup tree) read-only, so that a task running as root does not
/// lift its own limits by accident. A root that wants to can still remount it.
pub fn make_sys_read_only() -> Result<(), NamespaceError> {
    match set_read_only(c"/sys") {
        // No /sys, or none mounted: nothing to protect.
        Err(Errno::ENOENT | Errno::EINVAL) => Ok(()),
        other => other.map_err(failed("make /sys read-only")),
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

fn failed(operation: &'static str) -> impl Fn(Errno) -> NamespaceError {
    move |errno| NamespaceError { operation, errno }
}

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// `MOUNT_ATTR_RDONLY` of linux/mount.h.
const MOUNT_ATTR_RDONLY: u64 = 1;
/// `AT_RECURSIVE` of linux/fcntl.h.
const AT_RECURSIVE: libc::c_uint = 0x8000;

fn set_read_only(path: &std::ffi::CStr) -> Result<(), Errno> {
    let attributes = MountAttr {
        attr_set: MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: `path` is a C string and `attributes` a valid mount_attr of the given size, for the length of the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            AT_RECURSIVE,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    Errno::result(result).map(drop)
}
