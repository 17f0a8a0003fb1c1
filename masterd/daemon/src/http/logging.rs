//! `/logging/toggle?level=&duration=`: how much is logged, for a while.
//!
//! Called by the router; the operator API has calls for the same.

use hyper::{HeaderMap, Response, StatusCode};
use nesos_shell::http::logging::{Wish, wish};
use nesos_shell::log;

use super::Context;
use super::access::READWRITE_REALM;
use super::answer::{self, Body};
use super::query::Query;

/// Without parameters the level, with both of them a change.
pub(super) fn toggle(context: &Context, headers: &HeaderMap, query: &Query) -> Response<Body> {
    let (level, duration) = match wish(query) {
        Ok(Wish::Tell) => return answer::text(StatusCode::OK, format!("{}\n", log::verbosity())),
        Ok(Wish::Set { level, duration }) => (level, duration),
        Err(refusal) => return answer::refusal(refusal),
    };
    let app = &context.app;
    if let Err(refusal) = app.access.check(context.peer, headers, READWRITE_REALM) {
        return *refusal;
    }
    app.logging.set(level, duration);
    answer::empty(StatusCode::OK)
}
