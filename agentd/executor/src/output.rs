//! The task's output on its way to files that are turned over when they are full. Called by `task`, `hold` and `terminal`.
//!
//! Not used for tasks whose output is not bounded: those write to their files themselves. Invariants: of each stream there are
//! at most as many bytes as the limits say, but for what the task makes itself; a task never waits for a file that takes
//! nothing (what cannot be stored is dropped); whatever a task puts in the way of its files, nothing outside its sandbox is
//! touched.

use std::fs::File;
use std::io::{ErrorKind, PipeReader, Read, Write, pipe};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use nesos_sys::fs::{Access, give_to, open_directory, open_inside, remove_inside, rename_inside};
use nesos_sys::user::Credentials;
use nesos_wire::executor::OutputLimits;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;

use crate::terminal::Terminal;

/// Bytes taken from a pipe at once: on the stack, for a helper has no memory to spare.
const PIECE: usize = 8 * 1024;
/// Most that is taken before others have their turn.
const TURN: u64 = 256 * 1024;

/// All that a task writes, as far as it goes through the helper.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    streams: Vec<Stream>,
    terminal: Option<Terminal>,
}

impl Outputs {
    /// Pipes into `stdout` and `stderr` of the sandbox; the ends that are the task's. `user`: whose the files are; `outside`:
    /// whose the pipes.
    pub(crate) fn new(
        sandbox: &Path,
        limits: &OutputLimits,
        user: Option<&Credentials>,
        outside: Option<&Credentials>,
    ) -> Result<(Outputs, [OwnedFd; 2]), String> {
        // Held, for there is no way to it by name once the task's own files are entered.
        let sandbox = &Rc::new(open_directory(sandbox).map_err(|error| error.to_string())?);
        let file = |name, bytes| Kept::new(sandbox, name, bytes, limits, user);
        let (out, stdout) = Stream::new(file("stdout", limits.stdout_bytes)?, outside)?;
        let (err, stderr) = Stream::new(file("stderr", limits.stderr_bytes)?, outside)?;
        let outputs = Outputs {
            streams: vec![out, err],
            terminal: None,
        };
        Ok((outputs, [stdout, stderr]))
    }

    /// Of a task on a terminal.
    pub(crate) fn of(terminal: Terminal) -> Outputs {
        Outputs {
            streams: Vec::new(),
            terminal: Some(terminal),
        }
    }

    /// The terminal that it is on.
    pub(crate) fn terminal(&mut self) -> Option<&mut Terminal> {
        self.terminal.as_mut()
    }

    /// Stores what has come of each, up to a bound. Streams that nobody writes to any more are forgotten.
    pub(crate) fn store(&mut self) {
        self.streams.retain_mut(|stream| stream.store(TURN));
        if let Some(terminal) = &mut self.terminal {
            terminal.store(TURN);
        }
    }

    /// Stores all that is left, when no process of the task lives any more.
    pub(crate) fn finish(&mut self) {
        for stream in &mut self.streams {
            // Nobody writes: what a pipe holds is all, and it is less than no bound.
            stream.store(u64::MAX);
        }
        if let Some(terminal) = self.terminal.take() {
            terminal.finish();
        }
    }

    /// What to wait for.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let streams = self.streams.iter();
        let streams = streams.map(|stream| (stream.pipe.as_fd(), PollFlags::POLLIN));
        streams.chain(self.terminal.iter().flat_map(Terminal::descriptors))
    }

    /// When to look again at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.terminal.as_ref()?.deadline()
    }
}

/// One of two, on pipes.
#[derive(Debug)]
struct Stream {
    pipe: PipeReader,
    kept: Kept,
}

/// Where a stream ends up.
#[derive(Debug)]
pub(crate) struct Kept {
    sandbox: Rc<OwnedFd>,
    name: &'static str,
    /// None: it could not be opened, and will be tried again.
    file: Option<File>,
    length: u64,
    /// Most bytes of a file; at least 1.
    limit: u64,
    /// How many files there are at most.
    files: u32,
    owner: Option<(u32, u32)>,
}

impl Stream {
    fn new(kept: Kept, owner: Option<&Credentials>) -> Result<(Stream, OwnedFd), String> {
        let make = || {
            let (pipe, end) = pipe()?;
            fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            std::io::Result::Ok((pipe, end))
        };
        let (pipe, end) = make().map_err(|e| format!("make a pipe for {}: {e}", kept.name))?;
        if let Some(owner) = owner {
            // So that the task can open /dev/stdout. Only root can give; anybody else owns it already.
            let _ = give_to(&end, owner.uid, owner.gid);
        }
        Ok((Stream { pipe, kept }, end.into()))
    }

    /// At most `most` bytes, rounded up to a piece. False: nobody can write any more.
    fn store(&mut self, most: u64) -> bool {
        let (mut piece, mut taken) = ([0; PIECE], 0);
        while taken < most {
            match self.pipe.read(&mut piece) {
                Ok(0) => return false,
                Ok(length) => {
                    taken += length as u64;
                    self.kept.write(&piece[..length]);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

impl Kept {
    /// What is written to the files of this name in a sandbox.
    pub(crate) fn new(
        sandbox: &Rc<OwnedFd>,
        name: &'static str,
        limit: u64,
        limits: &OutputLimits,
        user: Option<&Credentials>,
    ) -> Result<Kept, String> {
        let mut kept = Kept {
            sandbox: sandbox.clone(),
            name,
            file: None,
            length: 0,
            limit: limit.max(1),
            files: limits.files.max(1),
            owner: user.map(|user| (user.uid, user.gid)),
        };
        kept.open()?;
        Ok(kept)
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.file.is_none() && self.open().is_err() {
                return;
            }
            if self.length >= self.limit {
                self.turn_over();
            }
            let room = self.limit.saturating_sub(self.length);
            let (Some(file), 1..) = (&mut self.file, room) else {
                return;
            };
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            if file.write_all(now).is_err() {
                // A full disk: some of it may be there, and what comes later may find room again.
                self.length = file.metadata().map_or(self.length, |file| file.len());
                return;
            }
            self.length += now.len() as u64;
            bytes = later;
        }
    }

    /// The file becomes `NAME.1`, that one `NAME.2` and so on; the oldest goes. The new one is another file in any case: who reads
    /// it notices that it has missed something.
    fn turn_over(&mut self) {
        let numbered = |number: u32| match number {
            0 => self.name.to_owned(),
            number => format!("{}.{number}", self.name),
        };
        for number in (0..self.files - 1).rev() {
            // One that is not there yet is no loss; nor is what a task has put in its place.
            let _ = rename_inside(&self.sandbox, &numbered(number), &numbered(number + 1));
        }
        if self.files == 1 {
            let _ = remove_inside(&self.sandbox, self.name);
        }
        self.file = None;
        if self.open().is_ok()
            && self.length >= self.limit
            && let Some(file) = &self.file
            && file.set_len(0).is_ok()
        {
            // Something is in its way.
            self.length = 0;
        }
    }

    fn open(&mut self) -> Result<(), String> {
        let file = open_inside(&self.sandbox, Path::new(self.name), Access::Append)
            .map_err(|error| error.to_string())?;
        if let Some((uid, gid)) = self.owner {
            // As for the pipe.
            let _ = give_to(&file, uid, gid);
        }
        self.length = file.metadata().map_or(0, |file| file.len());
        self.file = Some(file);
        Ok(())
    }
}
