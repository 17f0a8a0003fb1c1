//! What a process does with its new namespaces before its task starts; its files are module `new_root`'s.
//!
//! Called by `nesos-executor` as PID 1 of the task's namespace. Invariant: nothing mounted here is seen outside; [`enter_own_mounts`] sees to that.

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

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

/// The name of this machine as the UTS namespace shows it.
pub fn set_hostname(name: &str) -> Result<(), NamespaceError> {
    nix::unistd::sethostname(name).map_err(failed("set the host name"))
}

fn failed(operation: &'static str) -> impl Fn(Errno) -> NamespaceError {
    move |errno| NamespaceError { operation, errno }
}
