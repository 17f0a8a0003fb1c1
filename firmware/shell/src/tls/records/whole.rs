//! Hands TLS records to their reader one by one, so that it can stop between two of them.
//!
//! Not a record layer: contents are not looked at. Used by the server beneath rustls, for `records`, which goes on where
//! rustls stopped. Invariant: until [`Whole::open`] no call reads beyond the end of the record that is being read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Length of a record's header: kind, version, length of the rest.
pub(super) const HEADER: usize = 5;

/// A stream that is read record by record.
#[derive(Debug)]
pub struct Whole<S> {
    stream: S,
    header: [u8; HEADER],
    /// Bytes of the header that have come.
    header_len: usize,
    /// Bytes of the record behind its header that have not come yet.
    missing: usize,
    is_open: bool,
}

impl<S> Whole<S> {
    /// Reads this stream, from a record's beginning on.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            header: [0; HEADER],
            header_len: 0,
            missing: 0,
            is_open: false,
        }
    }

    /// Whether no record has been read in part.
    pub(super) fn is_between_records(&self) -> bool {
        self.missing == 0 && matches!(self.header_len, 0 | HEADER)
    }

    /// From now on reads as much as there is: nobody will go on in its reader's place.
    pub fn open(&mut self) {
        self.is_open = true;
    }

    /// The stream, to be configured.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Whole<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_open {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        if this.header_len == HEADER && this.missing == 0 {
            this.header_len = 0;
        }
        let in_header = this.header_len < HEADER;
        let most = if in_header {
            HEADER - this.header_len
        } else {
            this.missing
        };
        let most = most.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        if in_header {
            let end = this.header_len + read;
            this.header[this.header_len..end].copy_from_slice(part.filled());
            this.header_len = end;
            if end == HEADER {
                this.missing = usize::from(u16::from_be_bytes([this.header[3], this.header[4]]));
            }
        } else {
            this.missing -= read;
        }
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Whole<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        content: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, content)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        contents: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, contents)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
