//! The terminal that a task is on, and those who look at it. Called by `task`, `output` and `hold`.
//!
//! This process holds the near end, so the terminal outlives agentd; who is attached gets a copy of that end to type on, and
//! a pipe to read. Invariants: all that is written is kept first, as of any task; the task waits for a listener that does
//! not read, as it would before a real terminal, but for [`STALL_LIMIT`] at most, and then without that one.

use std::fs::File;
use std::io::{self, ErrorKind, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nesos_sys::fs::{give_to, open_directory};
use nesos_sys::terminal;
use nesos_sys::user::Credentials;
use nesos_wire::executor::OutputLimits;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::output::Kept;

/// Bytes taken at once: what a pipe that takes anything takes whole (`PIPE_BUF`).
const PIECE: usize = 4096;
/// Most that listen; people, and what they have left behind.
const MAX_LISTENERS: usize = 8;
/// How long a task waits for a listener that does not read.
const STALL_LIMIT: Duration = Duration::from_secs(5);
/// How long all of them may take to read what a task wrote last, before its end is told.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A task whose output is not bounded.
const UNBOUNDED: OutputLimits = OutputLimits {
    stdout_bytes: u64::MAX,
    stderr_bytes: u64::MAX,
    files: 1,
};

/// Its output files, before it has entered its own.
#[derive(Debug)]
pub(crate) struct Screen {
    kept: Kept,
}

/// A terminal and what becomes of what is written to it.
#[derive(Debug)]
pub(crate) struct Terminal {
    near: File,
    /// Held, so that it is not hung up while no process of the task has it open.
    _far: OwnedFd,
    kept: Kept,
    listeners: Vec<Listener>,
}

/// One who looks.
#[derive(Debug)]
struct Listener {
    pipe: PipeWriter,
    /// Since when it takes nothing.
    stalled: Option<Instant>,
}

/// Whether there may be more to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// Nothing is left, or enough was taken.
    All,
    /// A listener has to be waited for.
    Stalled,
}

impl Screen {
    /// Opens `stdout` and, for those who expect it, an empty `stderr`.
    pub(crate) fn new(
        sandbox: &Path,
        limits: Option<&OutputLimits>,
        user: Option<&Credentials>,
    ) -> Result<Screen, String> {
        let sandbox = Rc::new(open_directory(sandbox).map_err(|error| error.to_string())?);
        let limits = limits.unwrap_or(&UNBOUNDED);
        Kept::new(&sandbox, "stderr", limits.stderr_bytes, limits, user)?;
        let kept = Kept::new(&sandbox, "stdout", limits.stdout_bytes, limits, user)?;
        Ok(Screen { kept })
    }

    /// Makes the terminal, among the task's own files if it has any; and its far end, thrice.
    pub(crate) fn light(
        self,
        (rows, columns): (u16, u16),
        user: Option<&Credentials>,
    ) -> Result<(Terminal, [OwnedFd; 3]), String> {
        let make = || {
            let (near, far) = terminal::pair(rows, columns)?;
            let files = [far.try_clone()?, far.try_clone()?, far.try_clone()?];
            io::Result::Ok((near, far, files))
        };
        let (near, far, files) = make().map_err(|error| format!("make a terminal: {error}"))?;
        if let Some(user) = user {
            // As of a session's: only root can, and without it it cannot be opened once more.
            let _ = give_to(&far, user.uid, user.gid);
        }
        let terminal = Terminal {
            near: near.into(),
            _far: far,
            kept: self.kept,
            listeners: Vec::new(),
        };
        Ok((terminal, files))
    }
}

impl Terminal {
    /// A copy of the near end, and, to `listen`, a pipe with what is written from now on.
    pub(crate) fn attach(&mut self, listen: bool) -> io::Result<Vec<OwnedFd>> {
        let near = OwnedFd::from(self.near.try_clone()?);
        if !listen {
            return Ok(vec![near]);
        }
        self.look(Instant::now());
        if self.listeners.len() >= MAX_LISTENERS {
            return Err(ErrorKind::QuotaExceeded.into());
        }
        let (end, pipe) = pipe()?;
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let stalled = None;
        self.listeners.push(Listener { pipe, stalled });
        Ok(vec![near, end.into()])
    }

    /// Keeps and shows what was written, at most so many bytes, rounded up to a piece.
    pub(crate) fn store(&mut self, most: u64) {
        self.take(most);
    }

    /// Keeps and shows the rest, when no process of the task lives any more.
    pub(crate) fn finish(mut self) {
        let until = Instant::now() + LAST_WORDS;
        while self.take(u64::MAX) == Taken::Stalled {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.listeners.clear();
                continue;
            }
            let stalled = self.listeners.iter().filter(|one| one.stalled.is_some());
            let mut fds: Vec<_> = stalled
                .map(|one| PollFd::new(one.pipe.as_fd(), PollFlags::POLLOUT))
                .collect();
            let _ = poll(
                &mut fds,
                PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO),
            );
        }
    }

    /// What to wait for: the task, or those who do not take what it has written.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let stalled = self.listeners.iter().filter(|one| one.stalled.is_some());
        let task = self.deadline().is_none();
        let task = task.then(|| (self.near.as_fd(), PollFlags::POLLIN));
        task.into_iter()
            .chain(stalled.map(|one| (one.pipe.as_fd(), PollFlags::POLLOUT)))
    }

    /// When the wait for a listener is over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let stalled = self.listeners.iter().filter_map(|one| one.stalled);
        stalled.min().map(|since| since + STALL_LIMIT)
    }

    fn take(&mut self, most: u64) -> Taken {
        let (mut piece, mut taken) = ([0; PIECE], 0);
        while taken < most {
            if !self.look(Instant::now()) {
                return Taken::Stalled;
            }
            match self.near.read(&mut piece) {
                Ok(0) => return Taken::All,
                Ok(length) => {
                    taken += length as u64;
                    self.kept.write(&piece[..length]);
                    // There is room for it: `look` has seen it.
                    self.listeners
                        .retain_mut(|one| one.pipe.write_all(&piece[..length]).is_ok());
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Taken::All,
            }
        }
        Taken::All
    }

    /// Forgets who is gone or was waited for too long. Whether all others take a piece.
    fn look(&mut self, now: Instant) -> bool {
        if self.listeners.is_empty() {
            return true;
        }
        let fds = self.listeners.iter();
        let mut fds: Vec<_> = fds
            .map(|one| PollFd::new(one.pipe.as_fd(), PollFlags::POLLOUT))
            .collect();
        if poll(&mut fds, PollTimeout::ZERO).is_err() {
            return false;
        }
        let seen: Vec<_> = fds
            .iter()
            .map(|fd| fd.revents().unwrap_or(PollFlags::empty()))
            .collect();
        let mut seen = seen.into_iter();
        self.listeners.retain_mut(|one| {
            let seen = seen.next().unwrap_or(PollFlags::POLLERR);
            if seen.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL) {
                return false;
            }
            if seen.contains(PollFlags::POLLOUT) {
                one.stalled = None;
                return true;
            }
            now < *one.stalled.get_or_insert(now) + STALL_LIMIT
        });
        self.listeners.iter().all(|one| one.stalled.is_none())
    }
}
