//! The operator calls about people's sessions beside tasks: begin one, listen to it, speak to it, wait for it, end it. The
//! last two are for operators' own containers, too.
//!
//! Called by `operator` when a call has passed its checks. Invariants: whatever begins, ends, reads or writes one asks the
//! access rule first.

pub(super) mod asked;
mod input;
mod terminal;

use std::rc::Rc;

use hyper::header::{ACCEPT, HeaderMap};
use hyper::{Response, StatusCode};
use nesos_api::operator::agent as api;
use nesos_api::operator::agent::{Call, CallType, ResponseType};
use nesos_api::v1;
use nesos_shell::http::Refusal;
use nesos_shell::http::media::Format;
use nesos_wire::ContainerId;
use nesos_wire::executor::Outcome;

use super::Context;
use super::answer::{self, Body};
use super::containers;
use super::operator::{MESSAGE_ACCEPT, RECORDIO, member};
use crate::container::beside;
use crate::sessions::{Output, Session};
use asked::text;
pub(super) use input::attach_input;

/// Whether the call is one of those here.
pub(super) fn is_about(kind: CallType) -> bool {
    is_streamed(kind)
        || matches!(
            kind,
            CallType::AttachContainerInput
                | CallType::WaitContainer
                | CallType::WaitNestedContainer
                | CallType::KillContainer
                | CallType::KillNestedContainer
                | CallType::RemoveContainer
                | CallType::RemoveNestedContainer
        )
}

/// Whether it is answered with a stream.
pub(super) fn is_streamed(kind: CallType) -> bool {
    matches!(
        kind,
        CallType::LaunchNestedContainerSession | CallType::AttachContainerOutput
    )
}

/// The form of the records of a streamed answer.
pub(super) fn accepted(headers: &HeaderMap, kind: CallType) -> Result<Format, Refusal> {
    let refuse = |sentence| Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, sentence));
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let fits = |one: &str| matches!(one.split(';').next().map(str::trim), Some(RECORDIO | "*/*"));
    if !accept.unwrap_or("*/*").split(',').any(fits) {
        return refuse(format!("Expecting 'Accept' of {RECORDIO} for {kind} call"));
    }
    match headers.get(MESSAGE_ACCEPT).map(|value| value.as_bytes()) {
        None => Err(Refusal::bad(
            "Expecting 'Message-Accept' to be set for streaming responses",
        )),
        Some(b"application/json") => Ok(Format::Json),
        Some(b"application/x-protobuf") => Ok(Format::Protobuf),
        Some(_) => refuse(
            "Expecting 'Message-Accept' of application/json or application/x-protobuf".into(),
        ),
    }
}

/// Answers one of them, but for input. `format`: of the answer, or of its records.
pub(super) async fn handle(
    context: &Context,
    headers: &HeaderMap,
    kind: CallType,
    call: Call,
    format: Format,
) -> Result<Response<Body>, Refusal> {
    context.may_write(headers)?;
    match kind {
        CallType::LaunchNestedContainerSession => {
            let name = "launch_nested_container_session";
            begin(
                context,
                member(call.launch_nested_container_session, name)?,
                format,
            )
            .await
        }
        CallType::AttachContainerOutput => {
            let attach = member(call.attach_container_output, "attach_container_output")?;
            let pieces = match find(context, &attach.container_id) {
                Ok(session) => session.listen().ok_or_else(|| {
                    Refusal::bad("The container has ended, or too many listen to it already")
                })?,
                Err(_) => terminal::listen(context, &attach.container_id).await?,
            };
            Ok(stream(context, Output::new(pieces, format, None), format))
        }
        CallType::WaitContainer => {
            let id = member(call.wait_container, "wait_container")?.container_id;
            wait(context, &id, format, false).await
        }
        CallType::WaitNestedContainer => {
            let id = member(call.wait_nested_container, "wait_nested_container")?.container_id;
            wait(context, &id, format, true).await
        }
        CallType::KillContainer => {
            let kill = member(call.kill_container, "kill_container")?;
            signal(context, &kill.container_id, kill.signal)
        }
        CallType::KillNestedContainer => {
            let kill = member(call.kill_nested_container, "kill_nested_container")?;
            signal(context, &kill.container_id, kill.signal)
        }
        CallType::RemoveContainer => {
            let remove = member(call.remove_container, "remove_container")?;
            forget(context, &remove.container_id)
        }
        _ => {
            let name = "remove_nested_container";
            let remove = member(call.remove_nested_container, name)?;
            forget(context, &remove.container_id)
        }
    }
}

async fn begin(
    context: &Context,
    launch: api::CallLaunchNestedContainerSession,
    format: Format,
) -> Result<Response<Body>, Refusal> {
    let Some(parent) = &launch.container_id.parent else {
        return Err(Refusal::bad(
            "Expecting 'container_id.parent' to be present",
        ));
    };
    ContainerId::parse(&launch.container_id.value)
        .map_err(|error| Refusal::bad(format!("container_id.value: {error}")))?;
    let id = text(&launch.container_id);
    let command = asked::command(launch.command.as_ref()).map_err(Refusal::bad)?;
    let window = asked::window(launch.container.as_ref()).map_err(Refusal::bad)?;
    let around = containers::around(context, parent)?;
    let directory = context.app.view.run_directory(&around.container);
    if context.app.sessions.get(&id).is_some()
        || containers::find(context, &launch.container_id).is_some()
    {
        return Ok(answer::accepted());
    }
    let spec = beside::describe(&command)
        .map_err(|error| Refusal::bad(format!("command.user: {error}")))?;
    let sessions = &context.app.sessions;
    let started = sessions.start(id.clone(), &directory, &spec, window);
    let (session, pieces) = started
        .await
        .map_err(|error| Refusal::bad(format!("Failed to launch container {id}: {error}")))?;
    let output = Output::new(pieces, format, Some(session));
    Ok(stream(context, output, format))
}

fn stream(context: &Context, output: Output, format: Format) -> Response<Body> {
    context.control.set_lasting();
    let response = answer::with_body(StatusCode::OK, RECORDIO, Body::Output(output));
    answer::header(
        response,
        super::operator::MESSAGE_CONTENT_TYPE,
        format.media_type(),
    )
}

async fn wait(
    context: &Context,
    id: &v1::ContainerID,
    format: Format,
    is_nested: bool,
) -> Result<Response<Body>, Refusal> {
    context.control.set_lasting();
    let ended = match containers::find(context, id) {
        Some(own) => containers::ended(&own).await,
        None => api::ResponseWaitContainer {
            // Absent, as in Mesos, where nobody knows.
            exit_status: find(context, id)?.ended().await.as_ref().map(exit_status),
            ..Default::default()
        },
    };
    let mut response = api::Response::default();
    if is_nested {
        response.r#type = Some(ResponseType::WaitNestedContainer);
        response.wait_nested_container = Some(api::ResponseWaitNestedContainer {
            exit_status: ended.exit_status,
            state: ended.state,
            reason: ended.reason,
            limitation: ended.limitation,
            message: ended.message,
        });
    } else {
        response.r#type = Some(ResponseType::WaitContainer);
        response.wait_container = Some(ended);
    }
    let bytes = match format {
        Format::Json => response.to_json(),
        Format::Protobuf => response.to_protobuf(),
    };
    Ok(answer::answer(StatusCode::OK, format.media_type(), bytes))
}

/// As `waitpid` tells it.
pub(super) fn exit_status(outcome: &Outcome) -> i32 {
    match outcome {
        Outcome::Exit(code) => i32::from(*code) << 8,
        Outcome::Signal(number) => i32::from(*number),
        Outcome::NotStarted(_) => -1,
    }
}

fn signal(
    context: &Context,
    id: &v1::ContainerID,
    number: Option<i32>,
) -> Result<Response<Body>, Refusal> {
    let number = number.unwrap_or(9);
    let number = u8::try_from(number).ok().filter(|n| (1..=64).contains(n));
    let number = number.ok_or_else(|| Refusal::bad("'signal' must be from 1 to 64"))?;
    match (containers::find(context, id), number) {
        (Some(own), number) => own.signal(number),
        (None, 9) => find(context, id)?.abandon(),
        (None, number) => find(context, id)?.signal(number),
    }
    Ok(answer::empty())
}

fn forget(context: &Context, id: &v1::ContainerID) -> Result<Response<Body>, Refusal> {
    let removed = match containers::find(context, id) {
        Some(own) => context.app.view.containerizer().remove_own(&own),
        None => {
            find(context, id)?;
            context.app.sessions.remove(&text(id))
        }
    };
    if removed {
        return Ok(answer::empty());
    }
    let sentence = "The container has not ended";
    Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, sentence))
}

fn find(context: &Context, id: &v1::ContainerID) -> Result<Rc<Session>, Refusal> {
    let session = context.app.sessions.get(&text(id));
    session.ok_or_else(|| unknown(id))
}

fn unknown(id: &v1::ContainerID) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        format!("Container {} cannot be found", text(id)),
    )
}
