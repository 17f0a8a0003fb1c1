//! From a path to its handler: the longest registered prefix wins, as in libprocess.
//!
//! Called for each request. Invariants: `/slave(1)/X` is `/X`, a trailing slash does not count, and a prefix ends at a
//! slash.

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};
use nesos_api::MESOS_VERSION;
use nesos_api::legacy;
use nesos_shell::http::help::{Endpoints, help};
use nesos_shell::http::logging::{Wish, wish};
use nesos_shell::http::metrics::{PROMETHEUS, check_timeout, exposition, stats};
use nesos_shell::http::query::{self, Query};
use nesos_shell::http::{Refusal, jsonp, path};
use nesos_shell::log;
use serde::Serialize;

use super::answer::{self, Body};
use super::{Context, executor, files, operator, update};

/// The agent's name as a libprocess actor.
const ACTOR: &str = "/slave(1)";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Operator,
    Executor,
    State,
    Containers,
    Statistics,
    Metrics,
    Prometheus,
    SystemStats,
    Help,
    Flags,
    Health,
    Version,
    Logging,
    Files,
    Update,
    Bundle,
}

const ROUTES: &[(&str, Route)] = &[
    ("/api/v1", Route::Operator),
    ("/api/v1/executor", Route::Executor),
    ("/state", Route::State),
    ("/state.json", Route::State),
    ("/containers", Route::Containers),
    ("/monitor/statistics", Route::Statistics),
    ("/monitor/statistics.json", Route::Statistics),
    ("/metrics", Route::Prometheus),
    ("/metrics/snapshot", Route::Metrics),
    ("/system/stats.json", Route::SystemStats),
    ("/help", Route::Help),
    ("/flags", Route::Flags),
    ("/health", Route::Health),
    ("/version", Route::Version),
    ("/logging/toggle", Route::Logging),
    ("/files", Route::Files),
    (update::UPDATE, Route::Update),
    (update::BUNDLE, Route::Bundle),
];

/// What can be asked, by path.
const ENDPOINTS: &Endpoints = &[
    (
        "/api/v1",
        "POST: the operator API's calls, JSON or protobuf.",
    ),
    (
        "/api/v1/executor",
        "POST: the executor API's calls, JSON or protobuf.",
    ),
    (
        "/containers",
        "The containers with what they use; container_id= for one.",
    ),
    (
        "/files",
        "Sandboxes and the log: /files/browse, read, download?path=, and debug.",
    ),
    ("/flags", "The flags that it was started with."),
    ("/health", "200 if the agent is there."),
    (
        "/help",
        "This list, or one endpoint's part of it: /help/slave(1)/state; format=json.",
    ),
    (
        "/logging/toggle",
        "level=&duration=: logs more for a while.",
    ),
    ("/metrics", "All metrics in the text format of Prometheus."),
    ("/metrics/snapshot", "All metrics by Mesos's names."),
    ("/monitor/statistics", "What the executors use."),
    (
        "/monitor/statistics.json",
        "The same as /monitor/statistics.",
    ),
    (
        "/state",
        "The agent with its frameworks, executors and tasks.",
    ),
    ("/state.json", "The same as /state."),
    (
        update::BUNDLE,
        "Bytes of the update bundle that this board runs: Range: bytes=FIRST-LAST.",
    ),
    (
        update::UPDATE,
        "The board's image; POST installs the bundle that is the body, or from=HOST:PORT's, and restarts the board.",
    ),
    ("/system/stats.json", "Load and memory of the agent's host."),
    (
        "/version",
        "Mesos's version whose API this is, and how it was built.",
    ),
];

/// Answers one request.
pub(super) async fn dispatch(context: &Context, request: Request<Incoming>) -> Response<Body> {
    let path = query::decode(request.uri().path(), false);
    let path = path::normal(&path, ACTOR);
    let Some(route) = path::route(ROUTES, path) else {
        let sentence = format!("There is nothing at '{}' on an agent", request.uri().path());
        return answer::text(StatusCode::NOT_FOUND, sentence);
    };
    if context.caller.is_some() && route != Route::Executor {
        let sentence = "Only /api/v1/executor is served on this socket";
        return answer::text(StatusCode::NOT_FOUND, sentence.to_string());
    }
    if route == Route::Operator {
        return operator::handle(context, request).await;
    }
    if route == Route::Executor {
        return executor::handle(context, request).await;
    }
    if route == Route::Update {
        return update::handle(context, request).await;
    }
    if route == Route::Bundle {
        return update::bundle(context, request).await;
    }
    let method = request.method();
    if method != Method::GET && method != Method::HEAD {
        return answer::refusal(Refusal::method("GET", method));
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let answered = read(context, route, path, request.headers(), &query);
    answered
        .and_then(|response| padded(response, &query))
        .unwrap_or_else(answer::refusal)
}

fn read(
    context: &Context,
    route: Route,
    path: &str,
    headers: &HeaderMap,
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    let view = &context.app.view;
    Ok(match route {
        Route::State => answer::json(&view.state()),
        Route::Containers => answer::json(&view.containers(query.get("container_id"))),
        Route::Statistics => answer::json(&view.statistics()),
        Route::Metrics => {
            check_timeout(query)?;
            answer::json(&view.metrics())
        }
        Route::Prometheus => {
            answer::answer(StatusCode::OK, PROMETHEUS, exposition(&view.metrics()))
        }
        Route::SystemStats => answer::json(&stats()),
        Route::Help => {
            let (media_type, text) = help(ACTOR, ENDPOINTS, path, query)?;
            answer::answer(StatusCode::OK, media_type, text)
        }
        Route::Flags => answer::json(&legacy::Flags {
            flags: view.flags(),
        }),
        Route::Version => answer::json(&Version {
            version: legacy::Version {
                version: MESOS_VERSION.into(),
                ..legacy::Version::default()
            },
            nesos_version: env!("CARGO_PKG_VERSION"),
        }),
        Route::Logging => toggle(context, headers, query)?,
        Route::Files => {
            files::handle(view, path.strip_prefix("/files").unwrap_or_default(), query)?
        }
        Route::Health | Route::Operator | Route::Executor | Route::Update | Route::Bundle => {
            answer::empty()
        }
    })
}

#[derive(Serialize)]
struct Version {
    #[serde(flatten)]
    version: legacy::Version,
    nesos_version: &'static str,
}

/// `/logging/toggle`: without parameters the level, with both of them a change.
fn toggle(
    context: &Context,
    headers: &HeaderMap,
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    match wish(query)? {
        Wish::Tell => Ok(answer::text(
            StatusCode::OK,
            format!("{}\n", log::verbosity()),
        )),
        Wish::Set { level, duration } => {
            context.may_write(headers)?;
            context.app.logging.set(level, duration);
            Ok(answer::empty())
        }
    }
}

/// JSONP, if it is asked for.
fn padded(response: Response<Body>, query: &Query) -> Result<Response<Body>, Refusal> {
    let is_json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|media_type| media_type == "application/json");
    let bytes = response.body().bytes().filter(|_| is_json);
    Ok(match (jsonp::callback(query)?, bytes) {
        (Some(name), Some(bytes)) => {
            let text = jsonp::wrapped(name, bytes);
            answer::answer(StatusCode::OK, "text/javascript", text)
        }
        _ => response,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_has_help() {
        for (path, _) in ROUTES {
            assert!(ENDPOINTS.iter().any(|(told, _)| told == path), "{path}");
        }
        assert_eq!(ROUTES.len(), ENDPOINTS.len());
    }

    #[test]
    fn the_longest_prefix_wins() {
        for (path, route) in [
            ("/api/v1", Some(Route::Operator)),
            ("/slave(1)/api/v1/", Some(Route::Operator)),
            ("/slave(1)/api/v1/executor", Some(Route::Executor)),
            ("/slave(1)/state", Some(Route::State)),
            ("/slave(10)/state", None),
            ("/metrics/snapshot/", Some(Route::Metrics)),
            ("/metrics", Some(Route::Prometheus)),
            ("/files/read", Some(Route::Files)),
            ("/stateful", None),
            ("/", None),
        ] {
            assert_eq!(
                path::route(ROUTES, path::normal(path, ACTOR)),
                route,
                "{path}"
            );
        }
    }
}
