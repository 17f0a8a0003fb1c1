//! The agent's own HTTP server: a few read-only endpoints, in Mesos's paths.
//!
//! No API that changes anything: that is the master's. Called once by `run`. Invariant: a bounded number of connections,
//! each bounded in time; a broken client costs only its connection.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use crate::state::View;

/// Connections at a time: scrapers and people; more are closed at once.
const MAX_CONNECTIONS: usize = 32;
/// How long a client may take for its request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection may live: requests here are short.
const CONNECTION_LIMIT: Duration = Duration::from_secs(120);
/// Largest head; hyper's minimum.
const MAX_HEAD: usize = 8 * 1024;
/// Pause after accepting failed (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener, view: Rc<View>) {
    let open = Rc::new(Cell::new(0));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if open.get() < MAX_CONNECTIONS {
            open.set(open.get() + 1);
            let (view, open) = (view.clone(), open.clone());
            tokio::task::spawn_local(async move {
                // Either way the connection is over, and nobody is interested in how.
                let _ = tokio::time::timeout(CONNECTION_LIMIT, connection(stream, view)).await;
                open.set(open.get() - 1);
            });
        }
    }
}

async fn connection(stream: TcpStream, view: Rc<View>) -> Result<(), hyper::Error> {
    let service = service_fn(move |request: Request<Incoming>| {
        let view = view.clone();
        async move { Ok::<_, Infallible>(answer(&view, request.method(), request.uri().path())) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(view: &View, method: &Method, path: &str) -> Response<Full<Bytes>> {
    // libprocess serves everything below the actor's name as well.
    let path = path.strip_prefix("/slave(1)").unwrap_or(path);
    let value = match path {
        "/health" => None,
        "/version" => Some(view.version()),
        "/flags" => Some(view.flags()),
        "/state" | "/state.json" => Some(view.state()),
        "/metrics/snapshot" => Some(view.metrics()),
        "/monitor/statistics" | "/monitor/statistics.json" => Some(view.statistics()),
        _ => {
            return plain(
                StatusCode::NOT_FOUND,
                "there is no such endpoint on an agent; the API is on the master\n",
            );
        }
    };
    if method != Method::GET && method != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "expected GET\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    value.map_or_else(|| plain(StatusCode::OK, ""), |value| json(&value))
}

fn json(value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(value.to_string()));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
