//! `POST /teardown`, and the few calls of the operator API (`POST /api/v1`) that need no more than is at hand.
//!
//! Called by the router. The rest of the operator API answers 501 until it exists.

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use masterd_core::Answer;
use nesos_wire::FrameworkId;
use serde_json::json;

use super::access::READWRITE_REALM;
use super::answer::{self, Body};
use super::query::Query;
use super::{Context, files, intake};
use crate::about::MESOS_VERSION;
use crate::convert::event::Format;
use crate::engine;

/// `POST /teardown` with the form `frameworkId=…`.
pub(super) async fn teardown(context: &Context, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    if let Err(refusal) = context
        .app
        .access
        .check(context.peer, &head.headers, READWRITE_REALM)
    {
        return *refusal;
    }
    if head.method != Method::POST {
        return answer::method_not_allowed("POST", &head.method);
    }
    let body = match intake::body(&context.app, body).await {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let form = Query::parse(&String::from_utf8_lossy(&body));
    let Some(framework) = form.get("frameworkId") else {
        return answer::text(
            StatusCode::BAD_REQUEST,
            "Missing 'frameworkId' query parameter in the request body",
        );
    };
    let request = engine::Request::Teardown(FrameworkId::new(framework));
    match context.app.engine.operator(request).await {
        // Mesos answers 400 here.
        Some(Answer::NotFound(sentence)) => answer::text(StatusCode::BAD_REQUEST, sentence),
        other => files::plain(other),
    }
}

/// `POST /api/v1`
pub(super) async fn handle(context: &Context, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        return answer::method_not_allowed("POST", &head.method);
    }
    let body = match intake::content_type(&head.headers) {
        Ok(Format::Json) => intake::body(&context.app, body).await,
        Ok(Format::Protobuf) => {
            return answer::text(
                StatusCode::NOT_IMPLEMENTED,
                "The operator API is not spoken in protobuf yet",
            );
        }
        Err(refusal) => Err(refusal),
    };
    let body = match body {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let call: serde_json::Value = match serde_json::from_slice(&body) {
        Ok(call) => call,
        Err(error) => {
            return answer::text(
                StatusCode::BAD_REQUEST,
                format!("Failed to parse body into JSON: {error}"),
            );
        }
    };
    match call.get("type").and_then(serde_json::Value::as_str) {
        None => answer::text(
            StatusCode::BAD_REQUEST,
            "Failed to validate master::Call: Expecting 'type' to be present",
        ),
        Some("GET_HEALTH") => {
            reply(&json!({ "type": "GET_HEALTH", "get_health": { "healthy": true } }))
        }
        Some("GET_VERSION") => {
            let info = json!({ "version": MESOS_VERSION });
            reply(&json!({ "type": "GET_VERSION", "get_version": { "version_info": info } }))
        }
        Some("GET_FLAGS") => {
            let flag = |(name, value): &(&str, String)| json!({ "name": name, "value": value });
            let flags: Vec<_> = context.app.flags.iter().map(flag).collect();
            reply(&json!({ "type": "GET_FLAGS", "get_flags": { "flags": flags } }))
        }
        Some(kind) => answer::text(
            StatusCode::NOT_IMPLEMENTED,
            format!("Call {kind} is not supported yet"),
        ),
    }
}

fn reply(value: &serde_json::Value) -> Response<Body> {
    answer::json(value.to_string().into_bytes())
}
