//! A TLS 1.3 connection after its handshake in some two hundred bytes: the records, and nothing of what led to them.
//!
//! rustls keeps seven kilobytes for a connection as long as it lives; a master has ten thousand that say a few bytes a
//! minute. Its handshakes are kept, its records are not: [`take_over`] asks it for the keys. Servers only; called by
//! masterd for agents' links. Invariants: no nonce is used twice (a direction ends at [`MAX_RECORDS`], the agent dials
//! again), memory is held only for what is under way, and no byte is lost that rustls read ([`Whole`]).

use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use rustls::ConnectionTrafficSecrets;
use rustls::crypto::cipher;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

#[cfg(test)]
mod tests;
mod whole;

use whole::HEADER;
pub use whole::Whole;

/// Most records one key may seal: RFC 8446 allows AES-GCM 2^24.5, and no agent says so much between two power cuts.
const MAX_RECORDS: u64 = 1 << 24;
/// Most bytes of content in one record (RFC 8446, 5.1).
const MAX_PLAIN: usize = 1 << 14;
/// Most bytes of one record behind its header (RFC 8446, 5.2).
const MAX_SEALED: usize = MAX_PLAIN + 256;
const TAG: usize = 16;
/// Content types.
const ALERT: u8 = 21;
const DATA: u8 = 23;
/// Alert `close_notify`, level warning.
const FAREWELL: [u8; 2] = [1, 0];

/// The connection.
#[derive(Debug)]
pub struct Records<S> {
    stream: S,
    opener: Direction,
    sealer: Direction,
    /// Header of the record that is being received, as far as it is here.
    header: [u8; HEADER],
    header_len: usize,
    /// Its rest: first as it comes, then opened. Empty: none is under way.
    record: Vec<u8>,
    /// Bytes of `record` that have come, or then have been read.
    done: usize,
    is_open: bool,
    /// The peer has said farewell.
    has_ended: bool,
    /// Sealed records on their way out, from `sent` on.
    outgoing: Vec<u8>,
    sent: usize,
    has_said_farewell: bool,
}

/// Takes a connection over from rustls right after its handshake.
///
/// # Errors
/// The peer sends half a record and no more, or what is not TLS.
pub async fn take_over<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: TlsStream<Whole<S>>,
) -> io::Result<Records<S>> {
    // The handshake may have read a part of what came behind it. Record by record, so rustls reads on to that one's end.
    let mut early = Vec::new();
    loop {
        match stream.get_mut().1.reader().read_to_end(&mut early) {
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if stream.get_ref().0.is_between_records() {
            break;
        }
        if stream.read_buf(&mut early).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let (stream, connection) = stream.into_inner();
    let secrets = connection.dangerous_extract_secrets();
    let secrets = secrets.map_err(io::Error::other)?;
    Ok(Records {
        stream: stream.into_inner(),
        opener: Direction::new(secrets.rx),
        sealer: Direction::new(secrets.tx),
        header: [0; HEADER],
        header_len: 0,
        is_open: !early.is_empty(),
        record: early,
        done: 0,
        has_ended: false,
        outgoing: Vec::new(),
        sent: 0,
        has_said_farewell: false,
    })
}

/// What protects one direction. The key's schedule is made anew for each record: that takes less than a microsecond, and
/// keeping it half a kilobyte.
struct Direction {
    sequence: u64,
    secrets: ConnectionTrafficSecrets,
}

impl std::fmt::Debug for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Direction(record {}, secret)", self.sequence)
    }
}

impl Direction {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        Self { sequence, secrets }
    }

    /// Key and nonce of the next record.
    fn next(&mut self) -> io::Result<(LessSafeKey, Nonce)> {
        use ConnectionTrafficSecrets::{Aes128Gcm, Aes256Gcm, Chacha20Poly1305};
        let (algorithm, key, iv) = match &self.secrets {
            Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        if self.sequence >= MAX_RECORDS {
            return Err(io::Error::other("the link has used its keys up"));
        }
        let nonce = cipher::Nonce::new(iv, self.sequence).0;
        self.sequence += 1;
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| damaged())?;
        Ok((LessSafeKey::new(key), Nonce::assume_unique_for_key(nonce)))
    }

    /// Appends a record with this content.
    fn seal(&mut self, kind: u8, content: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
        let (key, nonce) = self.next()?;
        let header = cipher::make_tls13_aad(content.len() + 1 + TAG);
        to.reserve_exact(HEADER + content.len() + 1 + TAG);
        to.extend_from_slice(&header);
        let begin = to.len();
        to.extend_from_slice(content);
        to.push(kind);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(header), &mut to[begin..])
            .map_err(|_| damaged())?;
        to.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Opens a record in place: its kind, and how long its content is.
    fn open(&mut self, header: [u8; HEADER], record: &mut [u8]) -> io::Result<(u8, usize)> {
        let (key, nonce) = self.next()?;
        let plain = key
            .open_in_place(nonce, Aad::from(header), record)
            .map_err(|_| damaged())?;
        // Behind the content stand its kind and any number of zeros.
        let kind_at = plain.iter().rposition(|byte| *byte != 0);
        let kind_at = kind_at.ok_or_else(damaged)?;
        Ok((plain[kind_at], kind_at))
    }
}

impl<S: AsyncRead + Unpin> Records<S> {
    /// Reads on until an opened record is there (`true`) or the peer has ended (`false`).
    fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            if self.has_ended {
                return Poll::Ready(Ok(false));
            }
            if self.is_open {
                if self.done < self.record.len() {
                    return Poll::Ready(Ok(true));
                }
                self.record = Vec::new();
                (self.is_open, self.done, self.header_len) = (false, 0, 0);
            }
            let place = if self.header_len < HEADER {
                &mut self.header[self.header_len..]
            } else {
                &mut self.record[self.done..]
            };
            let mut place = ReadBuf::new(place);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut place))?;
            let read = place.filled().len();
            if read == 0 {
                // Without a farewell: whoever reads goes by lengths of its own.
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            if self.header_len < HEADER {
                self.header_len += read;
                if self.header_len == HEADER {
                    self.record = vec![0; sealed_len(self.header)?];
                }
                continue;
            }
            self.done += read;
            if self.done == self.record.len() {
                self.open()?;
            }
        }
    }

    /// A whole record is here.
    fn open(&mut self) -> io::Result<()> {
        let (kind, len) = self.opener.open(self.header, &mut self.record)?;
        self.record.truncate(len);
        (self.is_open, self.done) = (true, 0);
        match kind {
            DATA => Ok(()),
            ALERT if self.record == FAREWELL => {
                self.record = Vec::new();
                self.has_ended = true;
                Ok(())
            }
            // New keys come before the old ones are used up, which here ends the link.
            _ => Err(damaged()),
        }
    }
}

impl<S: AsyncWrite + Unpin> Records<S> {
    /// Writes what is sealed, until nothing is left of it.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.outgoing.len() {
            let left = &self.outgoing[self.sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        self.outgoing = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Records<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if ready!(this.poll_record(cx))? {
            let content = &this.record[this.done..];
            let part = content.len().min(buffer.remaining());
            buffer.put_slice(&content[..part]);
            this.done += part;
            if this.done == this.record.len() {
                this.record = Vec::new();
                (this.is_open, this.done, this.header_len) = (false, 0, 0);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Records<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        content: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if content.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(this.poll_send(cx))?;
        let content = &content[..content.len().min(MAX_PLAIN)];
        this.sealer.seal(DATA, content, &mut this.outgoing)?;
        // It counts as written: what does not leave now leaves with the next call.
        match this.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(content.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.has_said_farewell {
            this.has_said_farewell = true;
            this.sealer.seal(ALERT, &FAREWELL, &mut this.outgoing)?;
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// How long the record behind this header is.
fn sealed_len(header: [u8; HEADER]) -> io::Result<usize> {
    let [kind, _, _, high, low] = header;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if kind == DATA && (TAG + 1..=MAX_SEALED).contains(&len) {
        Ok(len)
    } else {
        Err(damaged())
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a TLS record is damaged")
}
