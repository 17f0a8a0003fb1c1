//! The operator API, `POST /api/v1`: checks in Mesos's order, then one match over the calls.
//!
//! Called by the router. One file per group of calls; each gets its member and answers a [`Done`] or a refusal.
//! Invariants: reading is open to all, and whatever changes something asks `access` first; a call that is not there yet
//! answers 501 with its name.

use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, StatusCode};
use nesos_api::operator::master::{self as api, Call, CallType};

use super::access::READWRITE_REALM;
use super::answer::{self, Body};
use super::{Context, intake};
use crate::convert::event::Format;

mod about;
mod agents;
mod cluster;
mod frameworks;
pub(super) mod maintenance;
mod resources;
mod shares;
mod stream;

pub(super) use frameworks::teardown;
pub(super) use resources::by_form;
pub(super) use shares::{change_quota, change_weights, show_quota, show_weights};

/// A refusal: a status and a sentence.
type Refused = Box<Response<Body>>;

/// What a call came to.
enum Done {
    /// 200 with this.
    Answer(Box<api::Response>),
    /// This status, no content.
    Empty(StatusCode),
}

/// `POST /api/v1`
pub(super) async fn handle(context: &Context, request: Request<Incoming>) -> Response<Body> {
    judge(context, request)
        .await
        .unwrap_or_else(|refusal| *refusal)
}

async fn judge(context: &Context, request: Request<Incoming>) -> Result<Response<Body>, Refused> {
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        return Err(Box::new(answer::method_not_allowed("POST", &head.method)));
    }
    let format = intake::content_type(&head.headers)?;
    let body = intake::body(&context.app, &head.headers, body).await?;
    let call = parse(&body, format)?;
    drop(body);
    let Some(kind) = call.r#type else {
        return Err(bad(
            "Failed to validate master::Call: Expecting 'type' to be present",
        ));
    };
    if kind == CallType::Unknown {
        return Err(refuse(
            StatusCode::NOT_IMPLEMENTED,
            "Received 'UNKNOWN' call",
        ));
    }
    let accepted = intake::accepted(&head.headers)?;
    if kind == CallType::Subscribe {
        return stream::open(context, accepted).await;
    }
    if let Some(shown) = cluster::large(context, kind, accepted).await {
        return Ok(shown);
    }
    match dispatch(context, &head.headers, kind, call).await? {
        Done::Empty(status) => Ok(answer::empty(status)),
        Done::Answer(response) => Ok(encoded(&response, accepted)),
    }
}

async fn dispatch(
    context: &Context,
    headers: &HeaderMap,
    kind: CallType,
    call: Call,
) -> Result<Done, Refused> {
    match kind {
        CallType::GetHealth => Ok(about::health()),
        CallType::GetFlags => Ok(about::flags(context)),
        CallType::GetVersion => Ok(about::version()),
        CallType::GetMetrics => {
            about::metrics(context, &member(call.get_metrics, "get_metrics")?).await
        }
        CallType::GetLoggingLevel => Ok(about::logging_level()),
        CallType::SetLoggingLevel => {
            may_write(context, headers)?;
            about::set_logging_level(
                context,
                &member(call.set_logging_level, "set_logging_level")?,
            )
        }
        CallType::ListFiles => about::list_files(&member(call.list_files, "list_files")?),
        CallType::ReadFile => about::read_file(&member(call.read_file, "read_file")?),
        CallType::GetMaster => cluster::master(context).await,
        kind if maintenance::CALLS.contains(&kind) => {
            maintenance::dispatch(context, headers, kind, call).await
        }
        kind => change(context, headers, kind, call).await,
    }
}

/// The calls that change the cluster.
async fn change(
    context: &Context,
    headers: &HeaderMap,
    kind: CallType,
    call: Call,
) -> Result<Done, Refused> {
    match kind {
        CallType::Teardown => {
            may_write(context, headers)?;
            frameworks::end(context, &member(call.teardown, "teardown")?.framework_id).await
        }
        CallType::ReserveResources
        | CallType::UnreserveResources
        | CallType::CreateVolumes
        | CallType::DestroyVolumes
        | CallType::GrowVolume
        | CallType::ShrinkVolume => {
            let principal = may_write(context, headers)?;
            resources::call(context, principal, kind, call).await
        }
        CallType::DrainAgent
        | CallType::DeactivateAgent
        | CallType::ReactivateAgent
        | CallType::MarkAgentGone => {
            may_write(context, headers)?;
            agents::call(context, kind, call).await
        }
        CallType::GetQuota
        | CallType::UpdateQuota
        | CallType::SetQuota
        | CallType::RemoveQuota
        | CallType::GetWeights
        | CallType::UpdateWeights => shares::dispatch(context, headers, kind, call).await,
        kind => Err(refuse(
            StatusCode::NOT_IMPLEMENTED,
            format!("Call {kind} is not supported yet"),
        )),
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

fn encoded(response: &api::Response, format: Format) -> Response<Body> {
    let bytes = match format {
        Format::Json => response.to_json(),
        Format::Protobuf => response.to_protobuf(),
    };
    answer::answer(StatusCode::OK, format.media_type(), bytes)
}

/// The member that belongs to the call's type.
fn member<T>(member: Option<T>, name: &str) -> Result<T, Refused> {
    member.ok_or_else(|| {
        bad(format!(
            "Failed to validate master::Call: Expecting '{name}' to be present"
        ))
    })
}

/// Whether this peer may change something; the authenticated principal, if there is authentication.
fn may_write(context: &Context, headers: &HeaderMap) -> Result<Option<String>, Refused> {
    context
        .app
        .access
        .check(context.peer, headers, READWRITE_REALM)
}

fn bad(sentence: impl Into<String>) -> Refused {
    refuse(StatusCode::BAD_REQUEST, sentence)
}

fn refuse(status: StatusCode, sentence: impl Into<String>) -> Refused {
    Box::new(answer::text(status, sentence.into()))
}
