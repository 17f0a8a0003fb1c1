//! Taking rights away from this very process, before it reads what strangers have made.
//!
//! Called by `nesos-fetcher`, a process of one thread. Invariant: what was given up does not come back, not through a
//! program that is started either.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, chroot, fchdir, setgid, setgroups, setuid};

/// Capabilities by their numbers in linux/capability.h.
pub mod capability {
    /// Change owners of files.
    pub const CHOWN: u32 = 0;
    /// Write where permission bits forbid it.
    pub const DAC_OVERRIDE: u32 = 1;
    /// Read where permission bits forbid it.
    pub const DAC_READ_SEARCH: u32 = 2;
    /// Change rights of files of others.
    pub const FOWNER: u32 = 3;
    /// Keep the set-user-id bit.
    pub const FSETID: u32 = 4;
    /// Make devices.
    pub const MKNOD: u32 = 27;
    /// Give capabilities to files.
    pub const SETFCAP: u32 = 31;
}

/// Which user to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
}

/// What is left to the process.
#[derive(Debug)]
pub struct Confinement<'a> {
    /// It sees nothing but this directory (as root only).
    pub root: Option<&'a OwnedFd>,
    /// Whom it becomes (as root only).
    pub identity: Option<&'a Identity>,
    /// What it keeps if it stays root.
    pub capabilities: &'a [u32],
    /// Largest file that it may write, bytes.
    pub file_size: u64,
    /// Memory that it may map, bytes.
    pub memory: u64,
    /// Seconds of processor time.
    pub cpu: u64,
}

/// Why not.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {errno}")]
pub struct ConfineError {
    operation: &'static str,
    errno: Errno,
}

/// Files that such a process has open at once: its own, and one or two folders.
const OPEN_FILES: u64 = 32;
/// `_LINUX_CAPABILITY_VERSION_3`
const CAPABILITY_VERSION: u32 = 0x2008_0522;

impl Confinement<'_> {
    /// Gives everything else up.
    pub fn enter(&self) -> Result<(), ConfineError> {
        let limits = [
            (Resource::RLIMIT_FSIZE, self.file_size),
            (Resource::RLIMIT_AS, self.memory),
            (Resource::RLIMIT_CPU, self.cpu),
            (Resource::RLIMIT_NOFILE, OPEN_FILES),
            (Resource::RLIMIT_CORE, 0),
        ];
        for (resource, limit) in limits {
            setrlimit(resource, limit, limit).map_err(failed("limit itself"))?;
        }
        nix::sys::prctl::set_no_new_privs().map_err(failed("give privileges up"))?;
        if !Uid::effective().is_root() {
            return Ok(());
        }
        if let Some(root) = self.root {
            fchdir(root).map_err(failed("enter the directory"))?;
            chroot(".").map_err(failed("leave all other directories"))?;
        }
        if let Some(identity) = self.identity {
            let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
            setgroups(&groups).map_err(failed("set groups"))?;
            setgid(Gid::from_raw(identity.gid)).map_err(failed("set the group"))?;
            setuid(Uid::from_raw(identity.uid)).map_err(failed("set the user"))?;
        }
        let stays_root = Uid::effective().is_root();
        keep_only(if stays_root { self.capabilities } else { &[] })
            .map_err(failed("give capabilities up"))
    }
}

fn failed(operation: &'static str) -> impl Fn(Errno) -> ConfineError {
    move |errno| ConfineError { operation, errno }
}

/// `struct __user_cap_header_struct`
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`
#[repr(C)]
#[derive(Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn keep_only(capabilities: &[u32]) -> Result<(), Errno> {
    let set = capabilities
        .iter()
        .fold(0, |set, number| set | 1u32 << number);
    let header = Header {
        version: CAPABILITY_VERSION,
        pid: 0,
    };
    // All that are known here have numbers below 32; the second half stays empty.
    let mut data = [Data {
        effective: 0,
        permitted: 0,
        inheritable: 0,
    }; 2];
    (data[0].effective, data[0].permitted) = (set, set);
    // SAFETY: both structures are as version 3 wants them, and live for the length of the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    Errno::result(result).map(drop)
}

/// The working directory, open.
pub fn working_directory() -> Result<OwnedFd, ConfineError> {
    let directory = crate::fs::open_directory(std::path::Path::new("."));
    directory.map_err(|_| ConfineError {
        operation: "open its working directory",
        errno: Errno::last(),
    })
}

const _: () = assert!(size_of::<Header>() == 8 && size_of::<[Data; 2]>() == 24);
