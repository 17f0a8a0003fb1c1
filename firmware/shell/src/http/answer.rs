//! The shapes of answers that all handlers share, over each daemon's own kind of body.
//!
//! Called by the handlers of both daemons. Invariant: the texts of errors are plain text, JSON has exactly
//! `application/json`.

use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::Refusal;

/// An answer of this type and content.
pub fn answer<B: From<Bytes>>(
    status: StatusCode,
    media_type: &'static str,
    content: impl Into<Bytes>,
) -> Response<B> {
    with_body(status, media_type, B::from(content.into()))
}

/// An answer with this body.
pub fn with_body<B>(status: StatusCode, media_type: &'static str, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

/// A sentence.
pub fn text<B: From<Bytes>>(status: StatusCode, sentence: impl Into<Bytes>) -> Response<B> {
    answer(status, "text/plain; charset=utf-8", sentence)
}

/// Nothing but a status.
pub fn empty<B: From<Bytes>>(status: StatusCode) -> Response<B> {
    let mut response = Response::new(B::from(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// 200 with JSON.
pub fn json<B: From<Bytes>>(content: impl Into<Bytes>) -> Response<B> {
    answer(StatusCode::OK, "application/json", content)
}

/// What was refused.
pub fn refusal<B: From<Bytes>>(refusal: Refusal) -> Response<B> {
    let response = text(refusal.status, refusal.sentence.into_owned());
    match refusal.header {
        Some((name, value)) => header(response, name, &value),
        None => response,
    }
}

/// The answer with one more header. A value that cannot be one is left out.
pub fn header<B>(mut response: Response<B>, name: HeaderName, value: &str) -> Response<B> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}
