//! Answers: their body types, and the shapes that only masterd has.
//!
//! Called by every handler. Invariant: a large answer is never in memory as a whole.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::{Response, StatusCode};
use nesos_shell::http::Refusal;
pub(super) use nesos_shell::http::answer::{answer, empty, header, json, refusal, text, with_body};
use tokio::sync::mpsc;

use super::guard::Busy;
use super::parts::Parts;
use super::reads::Reader;
use crate::engine::StreamBody;

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Body {
    content: Content,
    busy: Option<Busy>,
}

#[derive(Debug)]
enum Content {
    Whole(Option<Bytes>),
    Rendered(Box<Reader>),
    Stream(StreamBody),
    Lines(Lines),
    Forwarded(Incoming),
}

/// Pieces on their way to a reader.
#[derive(Debug)]
pub(super) struct Lines {
    /// What is to be sent.
    pub(super) pieces: mpsc::Receiver<Bytes>,
    /// Bytes of these.
    pub(super) queued: Arc<AtomicUsize>,
}

impl Lines {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let piece = self.pieces.poll_recv(context);
        if let Poll::Ready(Some(piece)) = &piece {
            self.queued.fetch_sub(piece.len(), Ordering::Relaxed);
        }
        piece
    }
}

impl Body {
    /// Everything at once.
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            content: Content::Whole((!bytes.is_empty()).then_some(bytes)),
            busy: None,
        }
    }

    /// The bytes, if they are all there.
    pub(super) fn bytes(&self) -> Option<Bytes> {
        match &self.content {
            Content::Whole(bytes) => Some(bytes.clone().unwrap_or_default()),
            Content::Rendered(_)
            | Content::Stream(_)
            | Content::Lines(_)
            | Content::Forwarded(_) => None,
        }
    }

    /// A large answer that others read too.
    pub(super) fn rendered(reader: Reader) -> Self {
        Self {
            content: Content::Rendered(Box::new(reader)),
            busy: None,
        }
    }

    /// The large answer, if it is one.
    pub(super) fn reader(&mut self) -> Option<&mut Reader> {
        match &mut self.content {
            Content::Rendered(reader) => Some(reader),
            Content::Whole(_) | Content::Stream(_) | Content::Lines(_) | Content::Forwarded(_) => {
                None
            }
        }
    }

    /// Events as they come.
    pub(super) fn stream(stream: StreamBody) -> Self {
        Self {
            content: Content::Stream(stream),
            busy: None,
        }
    }

    /// Pieces as they come from there.
    pub(super) fn lines(lines: Lines) -> Self {
        Self {
            content: Content::Lines(lines),
            busy: None,
        }
    }

    /// What an agent answers, as it comes.
    pub(super) fn forwarded(body: Incoming) -> Self {
        Self {
            content: Content::Forwarded(body),
            busy: None,
        }
    }

    /// Keeps this until the body has been sent or dropped.
    pub(super) fn hold(&mut self, busy: Busy) {
        self.busy = Some(busy);
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::whole(bytes)
    }
}

impl hyper::body::Body for Body {
    type Data = Parts;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Parts>>>> {
        match &mut self.content {
            Content::Whole(bytes) => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes.into()))))
            }
            Content::Rendered(reader) => {
                Poll::Ready(reader.take().map(|parts| Ok(Frame::data(parts))))
            }
            Content::Stream(stream) => stream
                .poll_record(context)
                .map(|record| record.map(|r| Ok(Frame::data(r.into())))),
            Content::Lines(lines) => lines
                .poll_piece(context)
                .map(|piece| piece.map(|piece| Ok(Frame::data(piece.into())))),
            Content::Forwarded(body) => {
                let piece = Pin::new(body).poll_frame(context);
                piece.map(|piece| {
                    let data = piece?.map(|frame| frame.map_data(Parts::from));
                    Some(data.map_err(io::Error::other))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_none(),
            Content::Rendered(reader) => reader.left() == 0,
            Content::Stream(_) | Content::Lines(_) => false,
            Content::Forwarded(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Content::Rendered(reader) => SizeHint::with_exact(reader.left() as u64),
            Content::Stream(_) | Content::Lines(_) => SizeHint::new(),
            Content::Forwarded(body) => body.size_hint(),
        }
    }
}

/// 405 in Mesos's words.
pub(super) fn method_not_allowed(
    allowed: &'static str,
    received: &hyper::Method,
) -> Response<Body> {
    refusal(Refusal::method(allowed, received))
}

/// 503: masterd is stopping, or has just been told not to lead any more.
pub(super) fn stopping() -> Response<Body> {
    let sentence = "this master leads no more, or is stopping";
    text(StatusCode::SERVICE_UNAVAILABLE, sentence)
}
