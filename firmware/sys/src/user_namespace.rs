//! User namespaces: ids of the host's that mean root and all others inside, for processes and for files.
//!
//! Called by `agentd` (networks that belong to one) and `nesos-executor`. Nobody lives in one that is made here; the process
//! that held it for a moment is gone when it is returned. Needs Linux 5.12 and CAP_SYS_ADMIN. Invariant: ids are mapped
//! before anybody else can enter.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

use crate::container::clone;
use crate::detached::Detached;
use crate::pidfd::PidFd;

/// linux/nsfs.h: the user namespace that a namespace belongs to.
const NS_GET_USERNS: libc::c_ulong = 0xb701;
/// The caller's own.
const OWN: &str = "/proc/self/ns/user";

/// The host's ids that are 0, 1, 2 and so on inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    /// That of root inside.
    pub first: u32,
    /// How many there are.
    pub count: u32,
}

impl IdMap {
    /// The host's number of an id inside; none: it has none.
    pub fn outside(self, id: u32) -> Option<u32> {
        (id < self.count).then(|| self.first.checked_add(id))?
    }
}

/// Why there is none, or it cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {source}")]
pub struct UserNamespaceError {
    /// What was tried.
    pub operation: &'static str,
    /// What the kernel said.
    pub source: io::Error,
}

/// A new user namespace.
pub fn make(ids: IdMap) -> Result<OwnedFd, UserNamespaceError> {
    held(ids, libc::CLONE_NEWUSER, "user")
}

/// A new network namespace that belongs to a new user namespace, which [`owner_of_network`] tells.
pub fn make_network(ids: IdMap) -> Result<OwnedFd, UserNamespaceError> {
    held(ids, libc::CLONE_NEWUSER | libc::CLONE_NEWNET, "net")
}

/// The user namespace that the caller's network belongs to, if it is not the caller's own.
pub fn owner_of_network() -> Result<Option<OwnedFd>, UserNamespaceError> {
    let failed = failed("find out whose the network is");
    let network = File::open("/proc/self/ns/net").map_err(&failed)?;
    // SAFETY: the call takes no argument.
    let fd = unsafe { libc::ioctl(network.as_raw_fd(), NS_GET_USERNS as _) };
    let fd = Errno::result(fd).map_err(|errno| failed(errno.into()))?;
    // SAFETY: the kernel just made this descriptor and nobody else owns it.
    let owner = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let own = fs::metadata(OWN).map_err(&failed)?;
    let other = owner.metadata().map_err(&failed)?;
    let is_own = (own.dev(), own.ino()) == (other.dev(), other.ino());
    Ok((!is_own).then(|| owner.into()))
}

/// Whether files of this folder can be shown to processes in such a namespace as their own.
pub fn check(ids: IdMap, folder: &Path) -> Result<(), UserNamespaceError> {
    if !fs::exists(OWN).unwrap_or(false) {
        let error = io::Error::other("this kernel has none (CONFIG_USER_NS)");
        return Err(failed("make a user namespace")(error));
    }
    let namespace = make(ids)?;
    let folder = File::open(folder).map_err(failed("open the work directory"))?;
    let shown = Detached::copy_of(folder, false).and_then(|copy| copy.map_ids(namespace.as_fd()));
    shown.map(drop).map_err(|errno| {
        failed("map the ids of the work directory's files, which not every file system can")(
            errno.into(),
        )
    })
}

/// What the caller makes among files meanwhile belongs to this user and group of the host, and it may do with files what it
/// could before. For programs of one thread.
#[derive(Debug)]
pub struct Guise(());

impl Guise {
    /// Takes it; dropped, it is given up.
    pub fn take(id: u32) -> Result<Guise, UserNamespaceError> {
        let guise = Guise(());
        // What was before is the answer, which says nothing of success.
        setfsgid(Gid::from_raw(id));
        setfsuid(Uid::from_raw(id));
        keep_capabilities().map_err(|errno| failed("keep capabilities")(errno.into()))?;
        Ok(guise)
    }
}

impl Drop for Guise {
    fn drop(&mut self) {
        setfsuid(Uid::from_raw(0));
        setfsgid(Gid::from_raw(0));
    }
}

/// All that the process may have is in force: another user for files takes those for files away.
fn keep_capabilities() -> Result<(), Errno> {
    /// linux/capability.h: version, and process 0 for this one.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    // Effective, permitted, inheritable; first the low halves.
    let mut data = [0u32; 6];
    // SAFETY: both arrays have the size that the kernel reads and writes for this version.
    let got = unsafe { libc::syscall(libc::SYS_capget, HEADER.as_ptr(), data.as_mut_ptr()) };
    Errno::result(got)?;
    (data[0], data[3]) = (data[1], data[4]);
    // SAFETY: as above.
    let set = unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), data.as_ptr()) };
    Errno::result(set).map(drop)
}

/// One of the namespaces of a process that is made for it and ends at once.
fn held(ids: IdMap, flags: libc::c_int, name: &str) -> Result<OwnedFd, UserNamespaceError> {
    let (reader, writer) = io::pipe().map_err(failed("make a pipe"))?;
    let process = clone::waiting(flags as u64, (reader.as_fd(), writer.as_fd()))
        .map_err(|errno| failed("make a user namespace")(errno.into()))?;
    let taken = map_and_take(ids, process.as_fd(), name);
    drop(writer);
    // It only waited for that.
    let _ = PidFd::wait(&process);
    taken
}

fn map_and_take(
    ids: IdMap,
    process: BorrowedFd<'_>,
    name: &str,
) -> Result<OwnedFd, UserNamespaceError> {
    let of = number_in_proc(process).map_err(failed("find a process in /proc"))?;
    let map = format!("0 {} {}", ids.first, ids.count);
    for file in ["gid_map", "uid_map"] {
        fs::write(format!("/proc/{of}/{file}"), &map).map_err(failed("map ids"))?;
    }
    let opened = File::open(format!("/proc/{of}/ns/{name}"));
    Ok(opened.map_err(failed("open a namespace"))?.into())
}

/// The number under which /proc shows it, which may be that of another PID namespace.
fn number_in_proc(process: BorrowedFd<'_>) -> io::Result<u32> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd()))?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    let number = number.and_then(|number| number.trim().parse().ok());
    number.ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn failed(operation: &'static str) -> impl Fn(io::Error) -> UserNamespaceError {
    move |source| UserNamespaceError { operation, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_a_place_outside_or_none() {
        let map = IdMap {
            first: 100_000,
            count: 65_536,
        };
        assert_eq!(map.outside(0), Some(100_000));
        assert_eq!(map.outside(65_535), Some(165_535));
        assert_eq!(map.outside(65_536), None);
        let high = IdMap {
            first: u32::MAX,
            count: 2,
        };
        assert_eq!(high.outside(1), None);
    }
}
