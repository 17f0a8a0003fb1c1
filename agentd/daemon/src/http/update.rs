//! `/nesos/v1/update` and `/nesos/v1/bundle`: the board's image, as it is and as it is to be.
//!
//! `GET update` tells what runs and what the slots hold; `POST update` installs the bundle that is its body, or, with `?from=HOST:PORT`,
//! the one that the board there runs, and restarts the board; `GET bundle` gives bytes of the bundle that runs here. Called by the router
//! and for the master. Invariants: whoever may not write changes nothing; what is given to anybody is what is in every image anyway.

use hyper::body::Incoming;
use hyper::header::{CONTENT_RANGE, HeaderMap, RANGE};
use hyper::{Method, Request, Response, StatusCode};
use nesos_shell::http::Refusal;
use nesos_shell::http::query::Query;
use serde_json::json;

use super::Context;
use super::answer::{self, Body};
use crate::fetcher::client::Client;
use crate::update::{self, Passing, RANGE_MAX, Source, UpdateError};

/// The path of the one.
pub(super) const UPDATE: &str = "/nesos/v1/update";
/// And of the other.
pub(super) const BUNDLE: &str = "/nesos/v1/bundle";

/// Answers about the update.
pub(super) async fn handle(context: &Context, request: Request<Incoming>) -> Response<Body> {
    let answered = match *request.method() {
        Method::GET => status(context).await,
        Method::POST => install(context, request).await,
        _ => Err(Refusal::method("GET or POST", request.method())),
    };
    answered.unwrap_or_else(answer::refusal)
}

/// Bytes of what runs here: `Range: bytes=FIRST-LAST`, of which at most a MiB is given.
pub(super) async fn bundle(context: &Context, request: Request<Incoming>) -> Response<Body> {
    if request.method() != Method::GET {
        return answer::refusal(Refusal::method("GET", request.method()));
    }
    let Some((first, last)) = range(request.headers()) else {
        let sentence = "Expecting 'Range: bytes=FIRST-LAST'";
        return answer::refusal(Refusal::bad(sentence));
    };
    let length = (last - first).saturating_add(1).min(RANGE_MAX);
    match context.app.updater.read(first, length).await {
        Ok(bytes) => {
            let end = first + (bytes.len() as u64).saturating_sub(1);
            let media_type = "application/octet-stream";
            let whole = answer::answer(StatusCode::PARTIAL_CONTENT, media_type, bytes);
            answer::header(whole, CONTENT_RANGE, &format!("bytes {first}-{end}/*"))
        }
        Err(error) => answer::refusal(refusal(&error)),
    }
}

async fn status(context: &Context) -> Result<Response<Body>, Refusal> {
    let status = context.app.updater.status().await;
    Ok(answer::json(&status.map_err(|error| refusal(&error))?))
}

async fn install(context: &Context, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    context.may_write(request.headers())?;
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let stays = match query.get("restart") {
        None | Some("true") => false,
        Some("false") => true,
        Some(other) => {
            let sentence = format!("restart: expected true or false, found '{other}'");
            return Err(Refusal::bad(sentence));
        }
    };
    let source = match query.get("from") {
        Some(peer) => Source::Peer {
            client: client(context, peer)?,
            url: format!("http://{peer}{BUNDLE}"),
        },
        None => Source::Body(Box::new(Passing::new(request.into_body()))),
    };
    // A slow card takes longer than other requests may.
    context.control.set_lasting();
    let installed = context.app.updater.install(source).await;
    let slot = installed.map_err(|error| refusal(&error))?;
    tracing::info!("an update is installed in slot {slot}");
    if !stays {
        tokio::task::spawn_local(update::restart_board());
    }
    Ok(answer::json(&json!({"slot": slot, "restarts": !stays})))
}

/// For the board at `peer`, which must be nothing but a host and a port.
fn client(context: &Context, peer: &str) -> Result<Client, Refusal> {
    let is_address = peer
        .parse::<hyper::http::uri::Authority>()
        .is_ok_and(|authority| authority.port().is_some() && !peer.contains('@'));
    if !is_address {
        let sentence = format!("from: expected HOST:PORT of a board, found '{peer}'");
        return Err(Refusal::bad(sentence));
    }
    Ok(Client {
        stall_timeout: context.app.view.settings.stall_timeout,
        authorities: None,
        // Neighbours are near.
        proxy: None,
        unix: 0.0,
    })
}

/// `None`: no range, or one that begins nowhere.
fn range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let text = headers.get(RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

fn refusal(error: &UpdateError) -> Refusal {
    let status = match error {
        UpdateError::NoBoard(_) => StatusCode::NOT_FOUND,
        UpdateError::Busy => StatusCode::CONFLICT,
        UpdateError::Refused(_) | UpdateError::Source(_) => StatusCode::BAD_REQUEST,
        UpdateError::Run { .. } | UpdateError::Late => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Refusal::new(status, error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranges_are_whole_or_none() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, text.parse().unwrap());
            range(&headers)
        };
        assert_eq!(of("bytes=0-11"), Some((0, 11)));
        for text in [
            "bytes=5-4",
            "bytes=-5",
            "bytes=5-",
            "items=0-1",
            "bytes=0-1,3-4",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(range(&HeaderMap::new()), None);
    }
}
