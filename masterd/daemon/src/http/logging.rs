//! How much is logged, for a while: `/logging/toggle?level=&duration=` and the calls of the operator API.
//!
//! Mesos's levels are glog's: 0 is what the flags say, each further one logs more. Called by the router and the operator
//! API. Invariant: at most one change waits to be taken back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::{HeaderMap, Response, StatusCode};
use nesos_shell::{flags, log};
use tokio::task::AbortHandle;

use super::Context;
use super::access::READWRITE_REALM;
use super::answer::{self, Body};
use super::query::Query;

/// The change that waits to be taken back.
#[derive(Debug, Default)]
pub(crate) struct Toggle(Mutex<Option<AbortHandle>>);

/// `/logging/toggle`: without parameters the level, with both of them a change.
pub(super) fn toggle(context: &Context, headers: &HeaderMap, query: &Query) -> Response<Body> {
    let (level, duration) = match (query.get("level"), query.get("duration")) {
        (None, None) => return answer::text(StatusCode::OK, format!("{}\n", log::verbosity())),
        (Some(level), Some(duration)) => (level, duration),
        (None, Some(_)) => return bad("Expecting 'level=value' in query"),
        (Some(_), None) => return bad("Expecting 'duration=value' in query"),
    };
    let Ok(level) = level.parse() else {
        return bad(&format!("'level' must be a whole number, not '{level}'"));
    };
    let Some(duration) = flags::parse_duration(duration) else {
        return bad(&format!(
            "'duration' must be a duration such as 10secs, not '{duration}'"
        ));
    };
    let app = &context.app;
    if let Err(refusal) = app.access.check(context.peer, headers, READWRITE_REALM) {
        return *refusal;
    }
    set(&app.logging, level, duration);
    answer::empty(StatusCode::OK)
}

/// Logs at this level from now on, and at the flags' again after `duration`.
pub(super) fn set(toggle: &Toggle, level: u32, duration: Duration) {
    log::set_verbosity(level);
    let restoring = tokio::spawn(async move {
        tokio::time::sleep(duration).await;
        log::set_verbosity(0);
    });
    let mut waiting = toggle.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(earlier) = waiting.replace(restoring.abort_handle()) {
        earlier.abort();
    }
}

fn bad(sentence: &str) -> Response<Body> {
    answer::text(StatusCode::BAD_REQUEST, sentence)
}
