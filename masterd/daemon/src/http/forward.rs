//! Calls of people to agents, through the master: `POST /nesos/v1/agents/<agent>/api/v1` is the agent's `POST /api/v1`, and
//! `/nesos/v1/agents/<agent>/update` its `/nesos/v1/update`.
//!
//! For those who reach the master only. Called by the router. Invariants: whoever may not write here is forwarded nothing, and
//! the agent takes the master's word for the others; bodies pass piece by piece, as fast as the slower end takes them.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use masterd_core::Answer;
use nesos_wire::{AgentId, Uuid};

use super::access::READWRITE_REALM;
use super::answer::{self, Body};
use super::{Context, files, route};
use crate::callbacks::Connection;
use crate::engine;

/// How long an agent may take to dial once more: a TLS handshake of a busy board.
const CALL_BACK_LIMIT: Duration = Duration::from_secs(15);
/// The agent's operator API, and what updates its board: all that is forwarded.
const OPERATOR: &str = "/api/v1";
const UPDATE: &str = "/nesos/v1/update";

/// Answers one.
pub(super) async fn handle(
    context: &Context,
    path: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let segments = route::segments(path, "/nesos/v1/agents");
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    let (agent, target) = match segments.as_slice() {
        [agent, "api", "v1"] => (AgentId::new(*agent), OPERATOR),
        [agent, "update"] => (AgentId::new(*agent), UPDATE),
        _ => {
            let sentence =
                "expected /nesos/v1/agents/<agent>/api/v1 or /nesos/v1/agents/<agent>/update";
            return answer::text(StatusCode::NOT_FOUND, sentence);
        }
    };
    let is_update = target == UPDATE;
    let is_reading = is_update && request.method() == Method::GET;
    if request.method() != Method::POST && !is_reading {
        let allowed = if is_update { "GET or POST" } else { "POST" };
        return answer::method_not_allowed(allowed, request.method());
    }
    if !is_reading {
        let allowed = context
            .app
            .access
            .check(context.peer, request.headers(), READWRITE_REALM);
        if let Err(refusal) = allowed {
            return *refusal;
        }
    }
    let connection = match call_back(context, agent).await {
        Ok(connection) => connection,
        Err(refusal) => return *refusal,
    };
    match pass(connection, target, request).await {
        Ok(response) => response,
        Err(error) => answer::text(StatusCode::BAD_GATEWAY, format!("the agent: {error}")),
    }
}

/// A connection that the agent opens.
async fn call_back(context: &Context, agent: AgentId) -> Result<Connection, Box<Response<Body>>> {
    let unavailable = |sentence: &str| {
        Box::new(answer::text(
            StatusCode::SERVICE_UNAVAILABLE,
            sentence.to_owned(),
        ))
    };
    let mut token = [0; 16];
    nesos_shell::tls::random(&mut token).map_err(|error| unavailable(&error.to_string()))?;
    let token = Uuid(token);
    let engine = &context.app.engine;
    let waiting = engine.callbacks.expect(token);
    let waiting = waiting.ok_or_else(|| unavailable("too many wait for agents already"))?;
    match engine
        .operator(engine::Request::CallBack { agent, token })
        .await
    {
        Some(Answer::Done) => {}
        other => return Err(Box::new(files::plain(other))),
    }
    match tokio::time::timeout(CALL_BACK_LIMIT, waiting).await {
        Ok(Ok(connection)) => Ok(connection),
        _ => Err(unavailable("the agent does not open a connection for this")),
    }
}

async fn pass(
    connection: Connection,
    target: &'static str,
    request: Request<Incoming>,
) -> Result<Response<Body>, hyper::Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(connection)).await?;
    // Ends with the answer's last byte, or when its reader goes; its errors show there.
    tokio::spawn(connection);
    let (mut head, body) = request.into_parts();
    let query = head.uri.query().map(|query| format!("{target}?{query}"));
    // What came in a URI goes into one.
    let whole = query.and_then(|text| text.parse().ok());
    head.uri = whole.unwrap_or_else(|| Uri::from_static(target));
    clean(&mut head.headers);
    head.headers.remove(AUTHORIZATION);
    head.headers.insert(HOST, HeaderValue::from_static("agent"));
    let answer = sender.send_request(Request::from_parts(head, body)).await?;
    let (mut head, body) = answer.into_parts();
    clean(&mut head.headers);
    Ok(Response::from_parts(head, Body::forwarded(body)))
}

/// Takes away what is said about one connection.
fn clean(headers: &mut HeaderMap) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const UPGRADE: HeaderName = HeaderName::from_static("upgrade");
    for name in [CONNECTION, KEEP_ALIVE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}
