//! A process held by descriptor, so that a number used twice can never hit a stranger.
//!
//! Called by `agentd` (helpers, re-adoption) and `nesos-executor`. Invariant: after [`PidFd::open_same`] has answered
//! with a descriptor, it is that very process, whatever becomes of its number.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::process;
use crate::reap::Exit;

/// Why a process could not be held, signalled or waited for.
#[derive(Debug, thiserror::Error)]
#[error("{operation} (process {pid}): {errno}")]
pub struct PidFdError {
    /// What was tried.
    pub operation: &'static str,
    /// Process id; 0 where only the descriptor is known.
    pub pid: u32,
    /// What the kernel said.
    pub errno: Errno,
}

/// A process descriptor: readable when the process has ended.
#[derive(Debug)]
pub struct PidFd {
    fd: OwnedFd,
}

impl PidFd {
    /// Holds the process that has this id now.
    pub fn open(pid: u32) -> Result<PidFd, PidFdError> {
        // SAFETY: no pointers; a negative answer is not used as a descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::c_long, 0) };
        if fd < 0 {
            return Err(PidFdError {
                operation: "open process descriptor",
                pid,
                errno: Errno::last(),
            });
        }
        // SAFETY: the kernel just made this descriptor (close-on-exec) and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        Ok(PidFd { fd })
    }

    /// Holds the process with this id if it is the one that started at `start_time` (see [`process::start_time`]);
    /// `None` if that one is gone. For agentd's checkpoints.
    pub fn open_same(pid: u32, start_time: u64) -> Result<Option<PidFd>, PidFdError> {
        let held = match PidFd::open(pid) {
            // EINVAL: the number is in use, but by a thread.
            Err(PidFdError {
                errno: Errno::ESRCH | Errno::EINVAL,
                ..
            }) => return Ok(None),
            other => other?,
        };
        // Compared after opening: if the number changed hands before, the time differs; afterwards it does not matter.
        Ok((process::start_time(pid).ok() == Some(start_time)).then_some(held))
    }

    /// Sends a signal. ESRCH if it has ended.
    pub fn send(&self, signal: Signal) -> Result<(), PidFdError> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a null siginfo is allowed and means "as kill does".
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.fd.as_raw_fd(),
                signal as libc::c_int,
                no_info,
                0,
            )
        };
        if result < 0 {
            Err(self.error("send signal"))
        } else {
            Ok(())
        }
    }

    /// Whether it has ended (a zombie counts as ended).
    pub fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(n) if n > 0)
    }

    /// Collects it if it has ended. Only for own children; ECHILD otherwise.
    pub fn try_wait(&self) -> Result<Option<Exit>, PidFdError> {
        self.wait_id(libc::WEXITED | libc::WNOHANG)
    }

    /// Waits for its end and collects it. Only for own children; ECHILD otherwise.
    pub fn wait(&self) -> Result<Exit, PidFdError> {
        loop {
            match self.wait_id(libc::WEXITED) {
                Ok(Some(exit)) => return Ok(exit),
                Ok(None) => {}
                Err(error) if error.errno == Errno::EINTR => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn wait_id(&self, options: libc::c_int) -> Result<Option<Exit>, PidFdError> {
        // SAFETY: siginfo_t is plain data for which zero is valid; it outlives the call; its pid and status fields
        // are those that waitid fills.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            if libc::waitid(
                libc::P_PIDFD,
                self.fd.as_raw_fd() as libc::id_t,
                &mut info,
                options,
            ) < 0
            {
                return Err(self.error("wait for process"));
            }
            Ok(match (info.si_pid(), info.si_code) {
                (0, _) => None,
                (_, libc::CLD_EXITED) => Some(Exit::Code(info.si_status())),
                _ => Some(Exit::Signal(info.si_status())),
            })
        }
    }

    fn error(&self, operation: &'static str) -> PidFdError {
        PidFdError {
            operation,
            pid: 0,
            errno: Errno::last(),
        }
    }
}

impl From<OwnedFd> for PidFd {
    fn from(fd: OwnedFd) -> PidFd {
        PidFd { fd }
    }
}

impl From<PidFd> for OwnedFd {
    fn from(pidfd: PidFd) -> OwnedFd {
        pidfd.fd
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl std::os::fd::AsRawFd for PidFd {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<PidFdError> for io::Error {
    fn from(error: PidFdError) -> io::Error {
        error.errno.into()
    }
}
