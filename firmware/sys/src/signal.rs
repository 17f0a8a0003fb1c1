//! Signals of PID 1 as a descriptor. Called by `init`, once, before any child is started.
//!
//! Invariant: the signals it hands out are blocked in this process; module `spawn` gives children an empty
//! mask.

use nix::errno::Errno;
pub use nix::sys::signal::Signal;
use nix::sys::signal::{SigSet, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::os::fd::{AsFd, BorrowedFd};

/// A non-blocking signal descriptor.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks `signals` in this thread and makes them readable. Call it before any other thread or child exists.
    pub fn take(signals: &[Signal]) -> Result<Signals, Errno> {
        let mask: SigSet = signals.iter().copied().collect();
        mask.thread_block()?;
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Signals { fd })
    }

    /// The next pending signal; `None` when there is none now.
    pub fn next(&self) -> Option<Signal> {
        let info = self.fd.read_signal().ok()??;
        Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sends `signal` to one process.
pub fn send(pid: u32, signal: Signal) -> Result<(), Errno> {
    kill(to_pid(pid)?, signal)
}

/// Sends `signal` to every process of the session leader `pid`'s process group.
pub fn send_group(pid: u32, signal: Signal) -> Result<(), Errno> {
    kill(Pid::from_raw(-to_pid(pid)?.as_raw()), signal)
}

/// Sends `signal` to every process but PID 1. Refused with EPERM for any process that is not PID 1: elsewhere
/// this would end everything its user runs.
pub fn send_all(signal: Signal) -> Result<(), Errno> {
    if std::process::id() != 1 {
        return Err(Errno::EPERM);
    }
    kill(Pid::from_raw(-1), signal)
}

fn to_pid(pid: u32) -> Result<Pid, Errno> {
    match i32::try_from(pid) {
        Ok(pid) if pid > 0 => Ok(Pid::from_raw(pid)),
        _ => Err(Errno::ESRCH),
    }
}
