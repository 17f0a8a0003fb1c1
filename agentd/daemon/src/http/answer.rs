//! Answers: their body types and the shapes that all handlers share.
//!
//! Called by every handler. Invariant: a file that is downloaded is never in memory as a whole.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use nesos_shell::http::Refusal;
use nesos_shell::http::files::{MAX_READ, Part};
use serde::Serialize;

use crate::executors::Records;
use crate::roots;

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
}

impl Body {
    /// The bytes, if they are all there.
    pub(super) fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(bytes) => bytes.as_ref(),
            Self::File { .. } | Self::Stream(_) => None,
        }
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
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::File { offset, size, .. } => SizeHint::with_exact(size - offset),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// An answer of this type and content.
pub(super) fn answer(
    status: StatusCode,
    media_type: &'static str,
    content: impl Into<Bytes>,
) -> Response<Body> {
    let content = content.into();
    with_body(
        status,
        media_type,
        Body::Whole((!content.is_empty()).then_some(content)),
    )
}

/// An answer with this body.
pub(super) fn with_body(
    status: StatusCode,
    media_type: &'static str,
    body: Body,
) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// 200 without content.
pub(super) fn empty() -> Response<Body> {
    Response::new(Body::Whole(None))
}

/// 202 without content.
pub(super) fn accepted() -> Response<Body> {
    let mut response = empty();
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// A sentence.
pub(super) fn text(status: StatusCode, sentence: impl Into<Bytes>) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", sentence)
}

/// 200 with JSON.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_bytes(bytes),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// 200 with JSON that is made already.
pub(super) fn json_bytes(bytes: Vec<u8>) -> Response<Body> {
    answer(StatusCode::OK, "application/json", bytes)
}

/// What was refused.
pub(super) fn refusal(refusal: Refusal) -> Response<Body> {
    let response = text(refusal.status, refusal.sentence.into_owned());
    match refusal.header {
        Some((name, value)) => header(response, name, &value),
        None => response,
    }
}

/// The answer with one more header. A value that cannot be one is left out.
pub(super) fn header(
    mut response: Response<Body>,
    name: HeaderName,
    value: &str,
) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}
