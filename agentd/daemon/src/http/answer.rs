//! Answers: their body types, and the shapes that only agentd has.
//!
//! Called by every handler. Invariant: a file that is downloaded is never in memory as a whole.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::{Response, StatusCode};
pub(super) use nesos_shell::http::answer::{
    self, answer, header, json as json_bytes, refusal, text, with_body,
};
use nesos_shell::http::files::{MAX_READ, Part};
use serde::Serialize;

use crate::executors::Records;
use crate::roots;
use crate::sessions::Output;

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Body {
    Whole(Option<Bytes>),
    /// A file as long as it was in the beginning; one that is cut short meanwhile breaks the answer off.
    File {
        file: File,
        offset: u64,
        size: u64,
    },
    /// Records until the stream is closed.
    Stream(Records),
    /// What a session writes, until it has ended.
    Output(Output),
}

impl Body {
    /// The bytes, if they are all there.
    pub(super) fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(bytes) => bytes.as_ref(),
            Self::File { .. } | Self::Stream(_) | Self::Output(_) => None,
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match &mut *self {
            Self::Stream(records) => {
                let record = std::task::ready!(records.poll_next(context));
                record.map(|record| Ok(Frame::data(record)))
            }
            Self::Output(output) => {
                let record = std::task::ready!(output.poll_next(context));
                record.map(|record| Ok(Frame::data(record)))
            }
            Self::Whole(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Self::File { file, offset, size } => (offset < size).then(|| {
                let part = Part {
                    offset: Some(*offset),
                    length: MAX_READ.min(*size - *offset),
                };
                let piece = roots::read_part(file, part)?;
                if piece.data.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                *offset += piece.data.len() as u64;
                Ok(Frame::data(piece.data.into()))
            }),
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::File { offset, size, .. } => offset >= size,
            Self::Stream(_) | Self::Output(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::File { offset, size, .. } => SizeHint::with_exact(size - offset),
            Self::Stream(_) | Self::Output(_) => SizeHint::default(),
        }
    }
}

/// 200 without content.
pub(super) fn empty() -> Response<Body> {
    answer::empty(StatusCode::OK)
}

/// 202 without content.
pub(super) fn accepted() -> Response<Body> {
    answer::empty(StatusCode::ACCEPTED)
}

/// 200 with JSON.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_bytes(bytes),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
