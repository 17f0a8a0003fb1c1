//! Reads request bodies within bounds of size and time.
//!
//! Called by the operator and executor APIs. Invariant: a connection never holds more than [`MAX_LARGE_BODY`] bytes of a
//! body, and there are few connections.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_ENCODING, HeaderMap};
use nesos_shell::http::Refusal;

/// Largest body of most calls: they name one thing each.
const MAX_BODY: usize = 256 * 1024;
/// Largest body of an executor's call: a SUBSCRIBE names all tasks of the executor.
const MAX_LARGE_BODY: usize = 4 * 1024 * 1024;
/// How long a body may take.
const BODY_LIMIT: Duration = Duration::from_secs(30);

/// The whole body, or why not. The rest of a refused one is not read, so its connection cannot go on.
pub(super) async fn body(headers: &HeaderMap, body: Incoming) -> Result<Vec<u8>, Refusal> {
    bounded(headers, body, MAX_BODY).await
}

/// The same for a body that may be large.
pub(super) async fn large_body(headers: &HeaderMap, body: Incoming) -> Result<Vec<u8>, Refusal> {
    bounded(headers, body, MAX_LARGE_BODY).await
}

async fn bounded(headers: &HeaderMap, body: Incoming, limit: usize) -> Result<Vec<u8>, Refusal> {
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|value| value != "identity")
    {
        let sentence = "An agent takes no compressed bodies";
        return Err(closing(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence.into()));
    }
    match tokio::time::timeout(BODY_LIMIT, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes().into()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let sentence = format!("The body is larger than {limit} bytes");
            Err(closing(StatusCode::PAYLOAD_TOO_LARGE, sentence))
        }
        Ok(Err(error)) => {
            let sentence = format!("Failed to read the body: {error}");
            Err(closing(StatusCode::BAD_REQUEST, sentence))
        }
        Err(_) => {
            let sentence = format!("The body did not arrive within {BODY_LIMIT:?}");
            Err(closing(StatusCode::REQUEST_TIMEOUT, sentence))
        }
    }
}

fn closing(status: StatusCode, sentence: String) -> Refusal {
    Refusal {
        header: Some((CONNECTION, "close".into())),
        ..Refusal::new(status, sentence)
    }
}
