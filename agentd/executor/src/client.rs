//! Connections of agentd: at most a few, each with a small bounded buffer. Called by `hold`.
//!
//! Invariant: no client can block, slow down or grow this process; one that does not read, or talks nonsense, is
//! dropped and may come again.

use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nesos_sys::passing::{MAX_PASSED, receive, send};
use nesos_sys::reap::Exit;
use nesos_wire::executor::{FromExecutor, Outcome, ToExecutor};
use nesos_wire::frame::{self, HEADER, body_len};

/// agentd, its successor that came before the old connection was noticed as dead, two people who look, two checks, and
/// sixteen commands of people.
const MAX_CLIENTS: usize = 22;
/// Longest message of a client with its header; a `Kill` has 10 bytes.
const MAX_MESSAGE: usize = 64;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
    input: [u8; MAX_MESSAGE],
    filled: usize,
    /// What has come with the bytes and was not taken yet.
    passed: Vec<OwnedFd>,
    /// What runs beside the task for it, until it was reaped.
    beside: Option<u32>,
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    list: Vec<Client>,
}

impl Clients {
    /// Takes in who was connected before anybody could be accepted.
    pub(crate) fn begin(&mut self, stream: UnixStream) {
        self.list.push(Client::new(stream));
    }

    /// Takes in everybody who waits and tells them `state`. How many were told.
    pub(crate) fn accept(&mut self, listener: &UnixListener, state: &FromExecutor) -> usize {
        let mut told = 0;
        while let Ok((stream, _)) = listener.accept() {
            // Dropping the stream is the answer to one too many.
            if self.list.len() < MAX_CLIENTS && stream.set_nonblocking(true).is_ok() {
                let mut client = Client::new(stream);
                told += usize::from(client.send(state));
                // One that has left its order and gone cannot be told, but is to be obeyed.
                self.list.push(client);
            }
        }
        told
    }

    /// Tells everybody. How many were told.
    pub(crate) fn tell(&mut self, state: &FromExecutor) -> usize {
        self.list.retain_mut(|client| client.send(state));
        self.list.len()
    }

    /// Hands every complete message to `order`. What ran for clients that are gone now.
    pub(crate) fn read(&mut self, mut order: impl FnMut(ToExecutor, &mut Client)) -> Vec<u32> {
        let mut orphans = Vec::new();
        self.list.retain_mut(|client| {
            let is_there = client.read(&mut order);
            orphans.extend(client.beside.filter(|_| !is_there));
            is_there
        });
        orphans
    }

    /// A process was reaped: whoever it ran for is told. Whether it ran for somebody.
    pub(crate) fn reaped(&mut self, pid: u32, exit: Exit) -> bool {
        let mut whose = self.list.iter_mut();
        let client = whose.find(|client| client.beside == Some(pid));
        let ran = client.is_some();
        if let Some(client) = client {
            client.beside = None;
            client.send(&FromExecutor::BesideEnded(outcome(exit)));
        }
        ran
    }

    /// What to wait for.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.list.iter().map(|client| client.stream.as_fd())
    }
}

/// How a process has ended, in the wire's words.
pub(crate) fn outcome(exit: Exit) -> Outcome {
    match exit {
        Exit::Code(code) => Outcome::Exit(code as u8),
        Exit::Signal(signal) => Outcome::Signal(signal as u8),
    }
}

impl Client {
    fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            input: [0; MAX_MESSAGE],
            filled: 0,
            passed: Vec::new(),
            beside: None,
        }
    }

    /// What runs beside the task for it.
    pub(crate) fn beside(&self) -> Option<u32> {
        self.beside
    }

    /// The descriptors that have come.
    pub(crate) fn take_passed(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.passed)
    }

    /// Something was started for it, or could not be.
    pub(crate) fn began(&mut self, started: Result<u32, String>) {
        let word = match started {
            Ok(pid) => {
                self.beside = Some(pid);
                FromExecutor::BesideRuns
            }
            Err(why) => FromExecutor::BesideEnded(Outcome::NotStarted(why)),
        };
        // One that does not take it is found gone with the next read.
        self.send(&word);
    }

    /// What there is of the task's terminal.
    pub(crate) fn give_terminal(&mut self, ends: &[OwnedFd]) {
        let ends: Vec<_> = ends.iter().map(AsFd::as_fd).collect();
        if ends.is_empty() {
            // As in `began`.
            self.send(&FromExecutor::Terminal);
        } else if let Ok(bytes) = frame::encode(&FromExecutor::Terminal) {
            let _ = send(&self.stream, &bytes, &ends);
        }
    }

    /// False if the client is to be dropped. A message is far smaller than an empty socket buffer, so one that does
    /// not fit at once means a client that has stopped reading long ago.
    fn send(&mut self, message: &FromExecutor) -> bool {
        frame::encode(message)
            .is_ok_and(|bytes| matches!(self.stream.write(&bytes), Ok(n) if n == bytes.len()))
    }

    /// False if the client is to be dropped: gone, or not speaking our language.
    fn read(&mut self, order: &mut impl FnMut(ToExecutor, &mut Client)) -> bool {
        loop {
            match receive(&self.stream, &mut self.input[self.filled..]) {
                Ok((0, _)) => return false,
                Ok((n, passed)) => {
                    self.filled += n;
                    self.passed.extend(passed);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return false,
            }
            if self.passed.len() > MAX_PASSED || !self.take_messages(order) {
                return false;
            }
        }
    }

    /// False for a broken or too long message. Leaves less than a whole buffer, so that the next read has room.
    fn take_messages(&mut self, order: &mut impl FnMut(ToExecutor, &mut Client)) -> bool {
        while let Some(message) = frame::decode::<ToExecutor>(&self.input[..self.filled]) {
            let Ok((message, used)) = message else {
                return false;
            };
            self.input.copy_within(used..self.filled, 0);
            self.filled -= used;
            order(message, self);
        }
        match self.input[..self.filled].first_chunk::<HEADER>() {
            Some(header) => body_len(*header).is_ok_and(|len| HEADER + len <= MAX_MESSAGE),
            None => true,
        }
    }
}
