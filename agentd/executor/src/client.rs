//! Connections of agentd: at most a few, each with a small bounded buffer. Called by `hold`.
//!
//! Invariant: no client can block, slow down or grow this process; one that does not read, or talks nonsense, is
//! dropped and may come again.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nesos_wire::executor::{FromExecutor, ToExecutor};
use nesos_wire::frame::{self, HEADER, body_len};

/// agentd, its successor that came before the old connection was noticed as dead, and two people who look.
const MAX_CLIENTS: usize = 4;
/// Longest message of a client with its header; a `Kill` has 10 bytes.
const MAX_MESSAGE: usize = 64;

/// One connection.
#[derive(Debug)]
struct Client {
    stream: UnixStream,
    input: [u8; MAX_MESSAGE],
    filled: usize,
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
            // Dropping the stream is the answer to a fifth one.
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

    /// Hands every complete message to `order`.
    pub(crate) fn read(&mut self, mut order: impl FnMut(ToExecutor)) {
        self.list.retain_mut(|client| client.read(&mut order));
    }

    /// What to wait for.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.list.iter().map(|client| client.stream.as_fd())
    }
}

impl Client {
    fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            input: [0; MAX_MESSAGE],
            filled: 0,
        }
    }

    /// False if the client is to be dropped. A message is far smaller than an empty socket buffer, so one that does
    /// not fit at once means a client that has stopped reading long ago.
    fn send(&mut self, message: &FromExecutor) -> bool {
        frame::encode(message)
            .is_ok_and(|bytes| matches!(self.stream.write(&bytes), Ok(n) if n == bytes.len()))
    }

    /// False if the client is to be dropped: gone, or not speaking our language.
    fn read(&mut self, order: &mut impl FnMut(ToExecutor)) -> bool {
        loop {
            match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => return false,
                Ok(n) => self.filled += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return false,
            }
            if !self.take_messages(order) {
                return false;
            }
        }
    }

    /// False for a broken or too long message. Leaves less than a whole buffer, so that the next read has room.
    fn take_messages(&mut self, order: &mut impl FnMut(ToExecutor)) -> bool {
        while let Some(message) = frame::decode::<ToExecutor>(&self.input[..self.filled]) {
            let Ok((message, used)) = message else {
                return false;
            };
            self.input.copy_within(used..self.filled, 0);
            self.filled -= used;
            order(message);
        }
        match self.input[..self.filled].first_chunk::<HEADER>() {
            Some(header) => body_len(*header).is_ok_and(|len| HEADER + len <= MAX_MESSAGE),
            None => true,
        }
    }
}
