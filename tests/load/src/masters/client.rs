//! A connection that says one thing at a time, and who is spoken to. Called by the parent module.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longest wait for an answer: longer than any outage that is to be measured.
const LIMIT: Duration = Duration::from_secs(5);

/// Wait for an answer while nobody may lead.
const IMPATIENCE: Duration = Duration::from_millis(50);

/// What befalls a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blow {
    /// It is killed: its connections close at once.
    Kill,
    /// It stands still: nobody hears of it any more.
    Stop,
    /// Its cable is pulled: it lives on, and neither hears nor is heard.
    Cut,
}

/// Several servers that agree on what is written.
pub(super) trait Service: Sync {
    /// Who leads now.
    fn leader(&self) -> Result<SocketAddr>;
    /// Who lives and does not stand still.
    fn living(&self) -> Vec<SocketAddr>;
    /// Whether the write was accepted. Each number's write is another one.
    fn write(&self, connection: &mut Connection, number: usize) -> Result<bool>;
    /// Has it befall who leads; which one it was.
    fn strike(&mut self, blow: Blow) -> Result<usize>;
    /// Brings it back, and waits until it has everything.
    fn mend(&mut self, blow: Blow, which: usize) -> Result<()>;
}

/// Stops a process, or lets it go on.
pub(super) fn signal(process: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(process.cast_signed());
    kill(pid, signal).with_context(|| format!("{signal} to process {process}"))
}

/// HTTP/1.1, kept alive.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// What was read and belongs to the next answer.
    ahead: Vec<u8>,
    /// Something was said on it already.
    is_greeted: bool,
}

impl Connection {
    /// One that is given up soon: whoever cannot take a write may hold on to it.
    pub(super) fn impatient(address: SocketAddr) -> Result<Self> {
        let connection = Self::to(address)?;
        connection.stream.set_read_timeout(Some(IMPATIENCE))?;
        Ok(connection)
    }

    pub(super) fn to(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self {
            stream,
            ahead: Vec::new(),
            is_greeted: false,
        })
    }

    /// Status and body.
    pub(super) fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        self.say(method, path, body)?;
        self.hear()
    }

    /// Asks without waiting for the answer.
    pub(super) fn say(&mut self, method: &str, path: &str, body: &str) -> Result<()> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Ok(self.stream.write_all(request.as_bytes())?)
    }

    /// The answer: status and body.
    pub(super) fn hear(&mut self) -> Result<(u16, String)> {
        let mut bytes = std::mem::take(&mut self.ahead);
        let end = loop {
            let text = String::from_utf8_lossy(&bytes);
            if let Some(end) = text.find("\r\n\r\n") {
                break end + 4;
            }
            self.more(&mut bytes)?;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(Ok(0), str::parse)?;
        while bytes.len() < end + length {
            self.more(&mut bytes)?;
        }
        self.ahead = bytes.split_off(end + length);
        let body = String::from_utf8_lossy(&bytes[end..]).into_owned();
        Ok((status.context("an HTTP status")?, body))
    }

    /// Posts a write; whether it was accepted.
    pub(super) fn post(&mut self, (path, body): (&str, String)) -> Result<bool> {
        let (status, _) = self.ask("POST", path, &body)?;
        Ok(status == 200)
    }

    /// Whether nothing was said on it yet.
    pub(super) fn greet(&mut self) -> bool {
        !std::mem::replace(&mut self.is_greeted, true)
    }

    /// Says a word that is answered with everything until the end.
    pub(super) fn whole(&mut self, word: &str) -> Result<String> {
        self.stream.write_all(word.as_bytes())?;
        let mut text = String::new();
        self.stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Sends bytes with their length in four bytes before them.
    pub(super) fn send_frame(&mut self, bytes: &[u8]) -> Result<()> {
        let length = u32::try_from(bytes.len())?.to_be_bytes();
        Ok(self.stream.write_all(&[&length, bytes].concat())?)
    }

    /// What comes after its length, of which at most so much is taken.
    pub(super) fn frame(&mut self, most: usize) -> Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length))?;
        anyhow::ensure!(length <= most, "an answer of {length} bytes");
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn more(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let mut some = [0; 4096];
        let read = self.stream.read(&mut some)?;
        anyhow::ensure!(read > 0, "the connection was closed");
        bytes.extend_from_slice(&some[..read]);
        Ok(())
    }
}
