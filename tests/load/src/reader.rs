//! A client that reads an answer and does nothing with it, on a thread of its own, so that what is measured is the master.
//!
//! Not an HTTP client: one request at a time on one connection, answers with a length only. Called by `state`. Invariant:
//! a read answer has as many bytes as were announced, and its last one is what ends an object.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Bytes read at a time, into the same memory again and again.
const CHUNK: usize = 1 << 20;
/// How long the master may say nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// A keep-alive connection.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: TcpStream,
    request: String,
    buffer: Vec<u8>,
}

impl Reader {
    /// Connects, to GET `path`.
    pub(crate) fn new(address: SocketAddr, path: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            request: format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"),
            buffer: vec![0; CHUNK],
        })
    }

    /// One answer: how long it took from the request to its last byte, and how many bytes it had.
    pub(crate) fn get(&mut self) -> Result<(Duration, usize)> {
        let begin = Instant::now();
        self.stream.write_all(self.request.as_bytes())?;
        let mut have = 0;
        let (head, length) = loop {
            have += self.read(have)?;
            if let Some(found) = head(&self.buffer[..have])? {
                break found;
            }
        };
        let (mut got, mut last) = (have - head, self.buffer[have - 1]);
        while got < length {
            let read = self.read(0)?;
            (got, last) = (got + read, self.buffer[read - 1]);
        }
        ensure!(got == length, "{got} bytes came instead of {length}");
        ensure!(last == b'}', "the answer does not end with an object");
        Ok((begin.elapsed(), length))
    }

    fn read(&mut self, at: usize) -> Result<usize> {
        let read = self.stream.read(&mut self.buffer[at..])?;
        ensure!(read > 0, "the master closed the connection");
        Ok(read)
    }
}

/// Length of the head and of the body, if the head is there.
fn head(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..end])?;
    ensure!(text.starts_with("HTTP/1.1 200 "), "{text}");
    let fields = text.lines().filter_map(|line| line.split_once(": "));
    let length = fields
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .find_map(|(_, value)| value.parse().ok());
    Ok(Some((end + 4, length.context("no Content-Length")?)))
}

#[cfg(test)]
mod tests {
    use super::head;

    #[test]
    fn heads_are_found_when_they_are_whole() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(head(whole).ok(), Some(Some((38, 2))));
        assert_eq!(head(&whole[..37]).ok(), Some(None));
        assert!(head(b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\n").is_err());
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
