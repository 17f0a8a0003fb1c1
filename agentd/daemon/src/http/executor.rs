//! `POST /api/v1/executor`: the order of checks and the status codes are Mesos's, see its `Http::executor`.
//!
//! Called by the router. Not here: what a call means (the core). Invariants: only a process on this host may speak as an
//! executor, unless a flag opens the API, and through the unix socket only a process of its container; 202 says "queued", nothing else.

use std::net::{IpAddr, Ipv4Addr};

use agentd_core::{Event, ExecutorCall, ExecutorPhase};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, StatusCode};
use nesos_api::executor::{Call, CallType};
use nesos_api::v1;
use nesos_shell::http::Refusal;
use nesos_shell::http::access::Access;
use nesos_shell::http::media::{self, Format};
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::{ExecutorId, ExecutorKey, FrameworkId, TaskKey};

use super::answer::{self, Body};
use super::{Context, intake};
use crate::executors::convert;

/// Realm of this API in Mesos.
const REALM: &str = "mesos-agent-executor";

/// Answers one call.
pub(super) async fn handle(context: &Context, request: Request<Incoming>) -> Response<Body> {
    judge(context, request)
        .await
        .unwrap_or_else(answer::refusal)
}

async fn judge(context: &Context, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    if context.caller.is_none() {
        may_speak(context, &head.headers)?;
    }
    if head.method != Method::POST {
        return Err(Refusal::method("POST", &head.method));
    }
    let format = media::content_type(&head.headers)?;
    let body = intake::large_body(&head.headers, body).await?;
    let mut call = parse(&body, format)?;
    drop(body);
    let kind = call
        .r#type
        .ok_or_else(|| invalid("Expecting 'type' to be present"))?;
    let key = ExecutorKey {
        framework: FrameworkId::new(call.framework_id.value.as_str()),
        executor: ExecutorId::new(call.executor_id.value.as_str()),
    };
    if let Some(network) = network_of(context, &key) {
        convert::add_network(&mut call, &network);
    }
    let unix = context.app.view.unix();
    let call = convert::call(kind, call, unix).map_err(invalid)?;
    let accepted = match kind {
        CallType::Subscribe => media::accepted(&head.headers)?,
        CallType::Heartbeat => return Ok(answer::accepted()),
        _ => Format::Json,
    };
    let phase = find(context, &key)?;
    context.control.set_lasting();
    match call {
        None => Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "Received 'UNKNOWN' call",
        )),
        Some(ExecutorCall::Subscribe { tasks, updates, .. }) => {
            let (stream, records) =
                context
                    .app
                    .streams
                    .open(key.clone(), accepted, context.control.clone());
            let call = ExecutorCall::Subscribe {
                stream,
                tasks,
                updates,
            };
            send(context, key, call).await?;
            Ok(answer::with_body(
                StatusCode::OK,
                accepted.media_type(),
                Body::Stream(records),
            ))
        }
        Some(call) => {
            may_call(context, &key, phase, &call)?;
            send(context, key, call).await?;
            Ok(answer::accepted())
        }
    }
}

/// Only who is on this host: from loopback, from the very address that was called, or from a container's own.
fn may_speak(context: &Context, headers: &HeaderMap) -> Result<(), Refusal> {
    if context
        .app
        .view
        .settings
        .flags
        .text_or_empty("executor_access")
        == "open"
    {
        return Ok(());
    }
    let peer = context.peer.to_canonical();
    let is_here = peer.is_loopback()
        || Some(peer) == context.local.map(|local| local.to_canonical())
        || context.app.view.is_address_of_container(peer);
    if !is_here {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "Executors speak to the agent from its own host only; --executor_access=open lets others speak as executors too",
        ));
    }
    // No page of another origin either.
    Access::Local
        .check(IpAddr::V4(Ipv4Addr::LOCALHOST), headers, REALM)
        .map(drop)
}

/// The network that its tasks have, if it has one of its own.
fn network_of(context: &Context, key: &ExecutorKey) -> Option<v1::NetworkInfo> {
    let view = &context.app.view;
    let agent = view.agent();
    let container = agent.executor(key)?.container;
    view.containerizer().network(container)
}

fn find(context: &Context, key: &ExecutorKey) -> Result<ExecutorPhase, Refusal> {
    let agent = context.app.view.agent();
    let executor = agent
        .executor(key)
        .filter(|one| one.spec.kind == ExecutorKind::Custom);
    let knows = |framework: &FrameworkId| {
        let of_task = agent
            .tasks()
            .any(|task| task.spec.key.framework == *framework);
        of_task
            || agent
                .executors()
                .any(|one| one.spec.key.framework == *framework)
    };
    match executor {
        Some(executor) => {
            let (view, container) = (&context.app.view, executor.container);
            if let Some(caller) = &context.caller {
                caller.must_be_of(container, view.helper_of(container))?;
            }
            Ok(executor.phase)
        }
        None if !knows(&key.framework) => Err(Refusal::bad("Framework cannot be found")),
        None => Err(Refusal::bad("Executor cannot be found")),
    }
}

fn may_call(
    context: &Context,
    key: &ExecutorKey,
    phase: ExecutorPhase,
    call: &ExecutorCall,
) -> Result<(), Refusal> {
    let unavailable = |sentence| Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, sentence));
    match (phase, call) {
        (ExecutorPhase::Returning { .. }, _) => unavailable("Agent has not finished recovery"),
        (ExecutorPhase::Registering { .. }, _) => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "Executor is not subscribed",
        )),
        (_, ExecutorCall::Update { task, status }) if !status.state.is_terminal() => {
            let task = TaskKey {
                framework: key.framework.clone(),
                task: task.clone(),
            };
            if context.app.view.agent().has_room(&task) {
                return Ok(());
            }
            unavailable("Too many updates of this task wait for their acknowledgement")
        }
        _ => Ok(()),
    }
}

async fn send(context: &Context, key: ExecutorKey, call: ExecutorCall) -> Result<(), Refusal> {
    let sent = context.app.events.send(Event::Executor { key, call }).await;
    sent.map_err(|_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "The agent is ending"))
}

fn parse(body: &[u8], format: Format) -> Result<Call, Refusal> {
    match format {
        Format::Json => Call::from_json(body)
            .map_err(|e| Refusal::bad(format!("Failed to parse body into Call: {e}"))),
        Format::Protobuf => Call::from_protobuf(body)
            .map_err(|e| Refusal::bad(format!("Failed to parse body into Call protobuf: {e}"))),
    }
}

fn invalid(sentence: impl std::fmt::Display) -> Refusal {
    Refusal::bad(format!("Failed to validate executor::Call: {sentence}"))
}
