//! The end of the board's life: power off, restart, halt, and what Ctrl-Alt-Del means. Called by `init` as PID 1.
//!
//! Invariant: nothing is synced or unmounted here; the caller has done so.

use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot, set_cad_enabled};

/// How the board stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Power off.
    PowerOff,
    /// Restart.
    Restart,
    /// Stop, power stays on.
    Halt,
}

/// Stops the board at once. Returns only if the kernel refused; any process but PID 1 is refused here with EPERM.
pub fn end(how: Ending) -> Errno {
    if std::process::id() != 1 {
        return Errno::EPERM;
    }
    let mode = match how {
        Ending::PowerOff => RebootMode::RB_POWER_OFF,
        Ending::Restart => RebootMode::RB_AUTOBOOT,
        Ending::Halt => RebootMode::RB_HALT_SYSTEM,
    };
    match reboot(mode) {
        Err(errno) => errno,
    }
}

/// Ctrl-Alt-Del sends SIGINT to PID 1 from now on instead of restarting the board without warning.
pub fn ctrl_alt_del_as_signal() -> Result<(), Errno> {
    set_cad_enabled(false)
}

/// Writes everything that is dirty to the disks; returns when done.
pub fn sync() {
    nix::unistd::sync();
}
