//! This terminal without its own ideas: keys go on as they are typed.
//!
//! Called by `vm console` and `exec`. Invariant: it is as before when the value is dropped.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::termios::{self, SetArg, Termios};

/// A terminal in raw mode, until dropped.
#[derive(Debug)]
pub(crate) struct Raw<'a> {
    terminal: BorrowedFd<'a>,
    before: Option<Termios>,
}

impl<'a> Raw<'a> {
    /// Of one that is no terminal nothing is changed.
    pub(crate) fn new(stdin: &'a io::Stdin) -> io::Result<Self> {
        let terminal = stdin.as_fd();
        let mut before = None;
        if stdin.is_terminal() {
            let old = termios::tcgetattr(terminal)?;
            let mut raw = old.clone();
            termios::cfmakeraw(&mut raw);
            termios::tcsetattr(terminal, SetArg::TCSANOW, &raw)?;
            before = Some(old);
        }
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Nothing is left to tell if the terminal is gone.
            let _ = termios::tcsetattr(self.terminal, SetArg::TCSANOW, before);
        }
    }
}
