//! `POST /api/v1/scheduler`: the order of checks and the status codes are Mesos's, see its `Master::Http::scheduler`.
//!
//! Called by the router. Not here: what a call means (the core). Invariant: 202 says "queued", nothing else; whatever is
//! wrong with an accepted call's content comes back as an event.

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName};
use hyper::{Method, Request, Response, StatusCode};
use masterd_core::{StreamId, builtin};
use nesos_api::scheduler::{Call, CallType};
use nesos_wire::{FrameworkId, Uuid};

use super::access::SCHEDULER_REALM;
use super::answer::{self, Body};
use super::{Context, intake, new_stream};
use crate::convert::call::{self, Intake};
use crate::convert::event::{self, Format};
use crate::convert::subscribe::{self, Refusal};
use crate::engine::{self, Input};

const STREAM_ID: HeaderName = HeaderName::from_static("mesos-stream-id");

type Refused = Box<Response<Body>>;

/// Answers one call.
pub(super) async fn handle(context: &Context, request: Request<Incoming>) -> Response<Body> {
    judge(context, request)
        .await
        .unwrap_or_else(|refusal| *refusal)
}

async fn judge(context: &Context, request: Request<Incoming>) -> Result<Response<Body>, Refused> {
    let (head, body) = request.into_parts();
    let principal = context
        .app
        .access
        .check(context.peer, &head.headers, SCHEDULER_REALM)?;
    if head.method != Method::POST {
        return Err(Box::new(answer::method_not_allowed("POST", &head.method)));
    }
    let format = intake::content_type(&head.headers)?;
    let body = intake::body(&context.app, &head.headers, body).await?;
    let call = parse(&body, format)?;
    drop(body);
    check_framework(&call)?;
    match call.r#type {
        None => Err(bad(
            "Failed to validate scheduler::Call: Expecting 'type' to be present",
        )),
        Some(CallType::Unknown) => Err(refuse(
            StatusCode::NOT_IMPLEMENTED,
            "Received 'UNKNOWN' call",
        )),
        Some(CallType::Subscribe) => subscribe(context, &head.headers, call, principal).await,
        Some(kind) => other(context, &head.headers, kind, call, principal).await,
    }
}

/// The built-in schedulers speak for themselves.
fn check_framework(call: &Call) -> Result<(), Refused> {
    let subscribed = call.subscribe.as_ref();
    let subscribed = subscribed.and_then(|subscribe| subscribe.framework_info.id.as_ref());
    let mut named = call.framework_id.iter().chain(subscribed);
    match named.any(|id| id.value == builtin::FRAMEWORK) {
        true => Err(refuse(
            StatusCode::FORBIDDEN,
            format!("Framework '{}' is the master's own", builtin::FRAMEWORK),
        )),
        false => Ok(()),
    }
}

fn parse(body: &[u8], format: Format) -> Result<Call, Refused> {
    match format {
        Format::Json => {
            Call::from_json(body).map_err(|e| bad(format!("Failed to parse body into Call: {e}")))
        }
        Format::Protobuf => Call::from_protobuf(body)
            .map_err(|e| bad(format!("Failed to parse body into Call protobuf: {e}"))),
    }
}

async fn subscribe(
    context: &Context,
    headers: &HeaderMap,
    call: Call,
    principal: Option<String>,
) -> Result<Response<Body>, Refused> {
    let member = call.subscribe.ok_or_else(|| {
        bad("Failed to validate scheduler::Call: Expecting 'subscribe' to be present")
    })?;
    let subscription =
        subscribe::subscription(call.framework_id.as_ref(), member, principal.as_deref());
    if let Err(Refusal::Status(sentence)) = subscription {
        return Err(bad(sentence));
    }
    let format = intake::accepted(headers)?;
    if headers.contains_key(STREAM_ID) {
        return Err(bad(
            "Subscribe calls should not include the 'Mesos-Stream-Id' header",
        ));
    }
    let stream = new_stream().ok_or_else(|| {
        refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The system's random source failed",
        )
    })?;
    let subscription = match subscription {
        Ok(subscription) => subscription,
        Err(Refusal::Event(sentence) | Refusal::Status(sentence)) => {
            let record = event::record(&event::error(sentence), format);
            return Ok(streaming(stream, format, Body::whole(record)));
        }
    };
    let engine = &context.app.engine;
    let control = std::sync::Arc::clone(&context.control);
    let (sender, body) = engine::stream_channel(stream, format, control, engine.clone());
    let subscription = Box::new(subscription);
    if !engine
        .send(Input::Subscribe {
            stream,
            subscription,
            sender,
        })
        .await
    {
        return Err(Box::new(answer::stopping()));
    }
    Ok(streaming(stream, format, Body::stream(body)))
}

async fn other(
    context: &Context,
    headers: &HeaderMap,
    kind: CallType,
    call: Call,
    principal: Option<String>,
) -> Result<Response<Body>, Refused> {
    let missing = "Failed to validate scheduler::Call: Expecting 'framework_id' to be present";
    let framework = FrameworkId::new(
        call.framework_id
            .as_ref()
            .ok_or_else(|| bad(missing))?
            .value
            .as_str(),
    );
    let stream = headers
        .get(STREAM_ID)
        .map(|value| stream_id(value.as_bytes()));
    let intake = call::intake(kind, call).map_err(bad)?;
    // Mesos calls it the one call beside SUBSCRIBE that has an answer, though that comes as events.
    if kind == CallType::ReconcileOperations {
        intake::accepted(headers)?;
    }
    let call = match intake {
        Intake::Call(call) => call,
        Intake::NotImplemented(sentence) => {
            return Err(refuse(StatusCode::NOT_IMPLEMENTED, sentence));
        }
    };
    // Everything else is only queued.
    let success = match kind {
        CallType::UpdateFramework => StatusCode::OK,
        _ => StatusCode::ACCEPTED,
    };
    match context
        .app
        .engine
        .call(framework, stream, principal, call)
        .await
    {
        None => Err(Box::new(answer::stopping())),
        Some(Ok(())) => Ok(answer::empty(success)),
        Some(Err(refusal)) => {
            let status =
                StatusCode::from_u16(refusal.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
            Err(refuse(status, refusal.to_string()))
        }
    }
}

fn streaming(stream: StreamId, format: Format, body: Body) -> Response<Body> {
    let response = answer::with_body(StatusCode::OK, format.media_type(), body);
    answer::header(response, STREAM_ID, &stream.0.to_string())
}

/// The header's UUID; a text that is none becomes one that no stream ever has.
fn stream_id(text: &[u8]) -> StreamId {
    let digits: String = text
        .iter()
        .filter(|byte| **byte != b'-')
        .map(|byte| char::from(*byte))
        .collect();
    let is_uuid = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| is_uuid);
    StreamId(Uuid(number.unwrap_or_default().to_be_bytes()))
}

fn bad(sentence: impl Into<String>) -> Refused {
    refuse(StatusCode::BAD_REQUEST, sentence)
}

fn refuse(status: StatusCode, sentence: impl Into<String>) -> Refused {
    Box::new(answer::text(status, sentence.into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_stream_id_that_is_none_matches_nothing() {
        let id = StreamId(Uuid::from_random([7; 16]));
        assert_eq!(stream_id(id.0.to_string().as_bytes()), id);
        for bad in ["", "x", "0707", "+7070707070747078707070707070707"] {
            assert_eq!(stream_id(bad.as_bytes()).0.0[6] >> 4, 0, "{bad}");
        }
    }
}
