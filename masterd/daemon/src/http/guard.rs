//! Time limits of an HTTP connection that hyper does not have: on a request's head from its first byte, on the first
//! request, and on a peer that does not read, or not fast enough.
//!
//! Not a limit on idle connections: clients keep them for hours between calls, and the gate closes the longest idle one
//! when it needs room. Wraps the socket below hyper. Invariant: while no request is under way and some byte of the next
//! one has come, or none ever came, a timer runs.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::gate::Control;

/// How long a request's head may take, from the connection's start or its own first byte.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long the peer may refuse to take bytes.
const WRITE_LIMIT: Duration = Duration::from_secs(60);

type Timer = Pin<Box<Sleep>>;

/// A socket with limits.
pub(super) struct Guarded<S> {
    inner: S,
    control: Arc<Control>,
    head: Option<Timer>,
    write: Option<Timer>,
    /// Requests seen when the head's timer was last looked at: a new one means that the timed head is complete.
    requests: u64,
}

/// Held while a request is under way: from its head to the last byte of the answer.
#[derive(Debug)]
pub(super) struct Busy(Arc<Control>);

impl Busy {
    pub(super) fn new(control: Arc<Control>) -> Self {
        control.set_busy(true);
        Self(control)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.set_busy(false);
    }
}

impl<S> Guarded<S> {
    pub(super) fn new(inner: S, control: Arc<Control>) -> Self {
        Self {
            inner,
            control,
            head: Some(Box::pin(sleep(HEAD_LIMIT))),
            write: None,
            requests: 0,
        }
    }

    fn is_overdue(timer: &mut Option<Timer>, context: &mut Context<'_>) -> bool {
        timer
            .as_mut()
            .is_some_and(|timer| timer.as_mut().poll(context).is_ready())
    }

    fn writing<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.write = None;
            return polled;
        }
        let control = &self.control;
        self.write.get_or_insert_with(|| {
            let left = |until: Instant| until.saturating_duration_since(Instant::now());
            let limit = control.until().map_or(WRITE_LIMIT, left);
            Box::pin(sleep(limit.min(WRITE_LIMIT)))
        });
        if Self::is_overdue(&mut self.write, context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let requests = this.control.requests();
        if this.requests != requests {
            this.requests = requests;
            this.head = None;
        }
        if this.control.is_busy() {
            return Pin::new(&mut this.inner).poll_read(context, buffer);
        }
        if Self::is_overdue(&mut this.head, context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut this.inner).poll_read(context, buffer));
        if buffer.filled().len() > before {
            this.head.get_or_insert_with(|| Box::pin(sleep(HEAD_LIMIT)));
        }
        Poll::Ready(result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.writing(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(context);
        self.writing(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(context);
        self.writing(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.writing(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
