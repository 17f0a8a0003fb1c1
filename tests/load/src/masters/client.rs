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
    /// What is POSTed for a write: path and body. Each number's write is another one.
    fn request(&self, number: usize) -> (&'static str, String);
    /// Whether the write was accepted.
    fn write(&self, connection: &mut Connection, number: usize) -> Result<bool> {
        let (path, body) = self.request(number);
        let (status, _) = connection.ask("POST", path, &body)?;
        Ok(status == 200)
    }
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
        let ahead = Vec::new();
        Ok(Self { stream, ahead })
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

    fn more(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let mut some = [0; 4096];
        let read = self.stream.read(&mut some)?;
        anyhow::ensure!(read > 0, "the connection was closed");
        bytes.extend_from_slice(&some[..read]);
        Ok(())
    }
}
