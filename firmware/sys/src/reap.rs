//! Collecting dead children, PID 1's duty for every orphan of the board. Called by `init` after SIGCHLD.
//!
//! Invariant: never blocks.

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// True for exit code 0.
    pub fn success(self) -> bool {
        self == Exit::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => write!(f, "signal {}", signal.as_str()),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

/// What one look at the children gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaped {
    /// This child ended and is collected.
    Child {
        /// Its process id.
        pid: u32,
        /// How it ended.
        exit: Exit,
    },
    /// There are children, none has ended.
    NoneEnded,
    /// There is no child at all.
    NoChildren,
}

/// Collects one dead child, if there is one.
pub fn reap_one() -> Reaped {
    let mut status: libc::c_int = 0;
    // The crate nix cannot name real-time signals and turns an exit by one into an error, hence libc.
    // SAFETY: `status` is a valid int for the length of the call.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    match u32::try_from(pid) {
        Ok(0) => Reaped::NoneEnded,
        Ok(pid) if libc::WIFSIGNALED(status) => Reaped::Child {
            pid,
            exit: Exit::Signal(libc::WTERMSIG(status)),
        },
        Ok(pid) => Reaped::Child {
            pid,
            exit: Exit::Code(libc::WEXITSTATUS(status)),
        },
        Err(_) => Reaped::NoChildren,
    }
}
