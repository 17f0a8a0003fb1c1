//! A greeted link, written as one plain future: ten thousand of them wait at any moment, and each byte counts.
//!
//! An `async fn` keeps room for all that it may ever wait for, and halves of a stream share it through a lock of their own;
//! this keeps the stream, and in boxes what is under way. Spawned by `link`. Invariants: the engine hears `Closed` once,
//! after the last message; a frame that was begun is finished or the link ends.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use masterd_core::LinkId;
use nesos_shell::framed::{FrameReader, LinkError};
use nesos_wire::NodeId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

use super::outbox::{Next, Outgoing};
use super::{Fault, WRITE_LIMIT};
use crate::engine::{Engine, Input, Sending};

/// The link.
pub(super) struct Live<S> {
    reader: FrameReader<S>,
    outgoing: Outgoing,
    writing: Writing,
    /// How long what is being written may still take; there while the agent does not read.
    limit: Option<Pin<Box<Sleep>>>,
    /// An event for which the engine has no room yet. Nothing is read meanwhile.
    sending: Option<Sending>,
    link: LinkId,
    node: NodeId,
    engine: Engine,
}

enum Writing {
    /// Nothing.
    Idle,
    /// A frame, from this byte on.
    Frame(Vec<u8>, usize),
    /// A whole frame is to leave what lies between here and the wire.
    Flush(usize),
    /// The farewell.
    Farewell,
    /// The link is over; the engine is told.
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Live<S> {
    /// A link whose `Hello` the engine has.
    pub(super) fn new(
        reader: FrameReader<S>,
        outgoing: Outgoing,
        link: LinkId,
        node: NodeId,
        engine: Engine,
    ) -> Self {
        Self {
            reader,
            outgoing,
            writing: Writing::Idle,
            limit: None,
            sending: None,
            link,
            node,
            engine,
        }
    }

    /// Reads and writes until one of them ends the link.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        match self.poll_write(cx) {
            Poll::Pending => self.poll_read(cx),
            ended => ended,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        loop {
            if let Some(sending) = &mut self.sending {
                let is_sent = ready!(sending.as_mut().poll(cx));
                self.sending = None;
                if !is_sent {
                    return Poll::Ready(Ok(()));
                }
            }
            let Some(message) = ready!(self.reader.poll_read(cx))? else {
                return Poll::Ready(Ok(()));
            };
            let link = self.link;
            match self.engine.send_now(Input::Message { link, message }) {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(Ok(())),
                Err(sending) => self.sending = Some(sending),
            }
        }
    }

    /// Writes what the engine wants to be written. Ends with the farewell, or because the agent does not read.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        loop {
            if let Writing::Idle = self.writing {
                self.writing = match ready!(self.outgoing.poll_next(cx)) {
                    Next::Frame(frame) => Writing::Frame(frame, 0),
                    Next::Cut => return Poll::Ready(Err(Fault::Cut)),
                    Next::End => Writing::Farewell,
                };
            }
            let is_farewell = matches!(self.writing, Writing::Farewell);
            match self.poll_step(cx) {
                // The other side sees an orderly end; whether it still listens does not matter.
                Poll::Ready(_) if is_farewell => return Poll::Ready(Ok(())),
                Poll::Ready(done) => done.map_err(LinkError::Io)?,
                Poll::Pending => {
                    if !is_farewell && self.outgoing.poll_cut(cx).is_ready() {
                        return Poll::Ready(Err(Fault::Cut));
                    }
                    let limit = self
                        .limit
                        .get_or_insert_with(|| Box::pin(sleep(WRITE_LIMIT)));
                    ready!(limit.as_mut().poll(cx));
                    let stuck = if is_farewell {
                        Ok(())
                    } else {
                        Err(Fault::Stuck)
                    };
                    return Poll::Ready(stuck);
                }
            }
        }
    }

    /// One step further with what is being written.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let stream = Pin::new(self.reader.stream());
        match &mut self.writing {
            Writing::Frame(frame, sent) => {
                match ready!(stream.poll_write(cx, &frame[*sent..]))? {
                    0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                    written => *sent += written,
                }
                if *sent == frame.len() {
                    self.writing = Writing::Flush(frame.len());
                }
            }
            Writing::Flush(len) => {
                ready!(stream.poll_flush(cx))?;
                self.outgoing.sent(*len);
                self.writing = Writing::Idle;
                self.limit = None;
            }
            Writing::Farewell => ready!(stream.poll_shutdown(cx))?,
            Writing::Idle | Writing::Over => {}
        }
        Poll::Ready(Ok(()))
    }

    fn say_ended(&self, ended: &Result<(), Fault>) {
        let (link, node) = (self.link.0, &self.node);
        match ended {
            Ok(()) => tracing::info!("agent link {link} of node {node} was closed"),
            Err(fault) => tracing::warn!("agent link {link} of node {node} ends: {fault}"),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Live<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if !matches!(this.writing, Writing::Over) {
            let ended = ready!(this.poll_end(cx));
            this.say_ended(&ended);
            this.writing = Writing::Over;
            // A message that the engine had no room for is lost with the link; the next `Hello` says all again.
            this.sending = this.engine.send_now(Input::Closed(this.link)).err();
        }
        match &mut this.sending {
            Some(sending) => sending.as_mut().poll(cx).map(drop),
            None => Poll::Ready(()),
        }
    }
}
