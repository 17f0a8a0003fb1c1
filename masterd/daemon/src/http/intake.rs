//! Reads request bodies within bounds of size, time and total memory.
//!
//! Called by handlers that take a body. Invariant: all bodies together never hold more than [`MAX_TOTAL`] bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderMap};
use hyper::{Response, StatusCode};

use super::App;
use super::answer::{self, Body};
use super::gzip::{self, InflateError};
use crate::convert::event::Format;
use nesos_shell::http::media;

/// Largest body: an ACCEPT of a thousand tasks has one megabyte.
pub(crate) const MAX_BODY: usize = 8 * 1024 * 1024;
/// All bodies that are being read together; boards have as little as 128 MB.
pub(crate) const MAX_TOTAL: usize = 24 * 1024 * 1024;
/// How long a body may take.
const BODY_LIMIT: Duration = Duration::from_secs(60);

/// The request's Content-Type as Mesos judges it: exact texts, no parameters.
pub(super) fn content_type(headers: &HeaderMap) -> Result<Format, Box<Response<Body>>> {
    media::content_type(headers).map_err(|refusal| Box::new(answer::refusal(refusal)))
}

/// The form that `Accept` allows, JSON first; 406 if neither. No header allows everything.
pub(super) fn accepted(headers: &HeaderMap) -> Result<Format, Box<Response<Body>>> {
    media::accepted(headers).map_err(|refusal| Box::new(answer::refusal(refusal)))
}

/// The whole body, decompressed, or the answer that refuses it.
pub(super) async fn body(
    app: &Arc<App>,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Vec<u8>, Box<Response<Body>>> {
    let is_packed = gzip::is_used(headers)?;
    match tokio::time::timeout(BODY_LIMIT, read(&app.buffered, body)).await {
        Ok(Ok(packed)) if is_packed => gzip::inflated(&packed, MAX_BODY).map_err(|error| {
            let status = match error {
                InflateError::Damaged(_) => StatusCode::BAD_REQUEST,
                InflateError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            };
            Box::new(answer::text(status, error.to_string()))
        }),
        Ok(result) => result,
        Err(_) => Err(refuse(
            StatusCode::REQUEST_TIMEOUT,
            format!("The body did not arrive within {BODY_LIMIT:?}"),
        )),
    }
}

async fn read(total: &AtomicUsize, mut body: Incoming) -> Result<Vec<u8>, Box<Response<Body>>> {
    let too_large = || {
        refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The body is larger than {MAX_BODY} bytes"),
        )
    };
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    let mut share = Share { total, bytes: 0 };
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| {
            refuse(
                StatusCode::BAD_REQUEST,
                format!("Failed to read the body: {e}"),
            )
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > MAX_BODY {
            return Err(too_large());
        }
        if !share.take(data.len()) {
            let sentence = "The master is reading too many large bodies at once; try again";
            return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, sentence.into()));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// The rest of the body is not read, so the connection cannot go on.
fn refuse(status: StatusCode, sentence: String) -> Box<Response<Body>> {
    Box::new(answer::header(
        answer::text(status, sentence),
        CONNECTION,
        "close",
    ))
}

/// One body's part of the total; given back when dropped. The body's own memory lives on a little longer, in one handler.
struct Share<'a> {
    total: &'a AtomicUsize,
    bytes: usize,
}

impl Share<'_> {
    fn take(&mut self, more: usize) -> bool {
        self.bytes += more;
        self.total.fetch_add(more, Ordering::Relaxed) + more <= MAX_TOTAL
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
