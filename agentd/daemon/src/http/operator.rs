//! The operator API, `POST /api/v1`: checks in the master's order, then one match over the calls.
//!
//! Called by the router. Invariants: reading is open to all, and whatever changes something asks the access rule first; a
//! call that is not there yet answers 501 with its name.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use hyper::{Method, Request, Response, StatusCode};
use nesos_api::message::Bytes;
use nesos_api::operator::agent as api;
use nesos_api::operator::agent::{Call, CallType, ResponseType};
use nesos_api::operator::common::{FileInfo, Flag, Metric};
use nesos_api::{MESOS_VERSION, v1};
use nesos_shell::http::Refusal;
use nesos_shell::http::files::{Entry, Part};
use nesos_shell::http::media::{self, Format};
use nesos_shell::log;

use super::answer::{self, Body};
use super::{Context, containers, files, intake, sessions};

/// The form of the records of a streamed request, and of those of a streamed answer.
pub(super) const MESSAGE_CONTENT_TYPE: HeaderName = HeaderName::from_static("message-content-type");
pub(super) const MESSAGE_ACCEPT: HeaderName = HeaderName::from_static("message-accept");
pub(super) const RECORDIO: &str = "application/recordio";

/// What a call came to; `None`: nothing but 200.
type Done = Option<Box<api::Response>>;

/// `POST /api/v1`
pub(super) async fn handle(context: &Context, request: Request<Incoming>) -> Response<Body> {
    judge(context, request)
        .await
        .unwrap_or_else(answer::refusal)
}

async fn judge(context: &Context, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        return Err(Refusal::method("POST", &head.method));
    }
    let is_streamed = is_recordio(&head.headers);
    let format = content_type(&head.headers, is_streamed)?;
    if is_streamed {
        accepted(&head.headers)?;
        return sessions::attach_input(context, &head.headers, body, format).await;
    }
    let call = parse(&intake::body(&head.headers, body).await?, format)?;
    let Some(kind) = call.r#type else {
        return Err(Refusal::bad(
            "Failed to validate agent::Call: Expecting 'type' to be present",
        ));
    };
    if kind == CallType::Unknown {
        return Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "Received 'UNKNOWN' call",
        ));
    }
    if kind == CallType::AttachContainerInput {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("Expecting 'Content-Type' of {RECORDIO} for {kind} call"),
        ));
    }
    let accepted = if sessions::is_streamed(kind) {
        sessions::accepted(&head.headers, kind)?
    } else {
        accepted(&head.headers)?
    };
    if let Some(launch) = containers::asked(kind, &call)? {
        return containers::launch(context, &head.headers, launch).await;
    }
    if sessions::is_about(kind) {
        return sessions::handle(context, &head.headers, kind, call, accepted).await;
    }
    match dispatch(context, &head.headers, kind, call)? {
        None => Ok(answer::empty()),
        Some(response) => {
            let bytes = match accepted {
                Format::Json => response.to_json(),
                Format::Protobuf => response.to_protobuf(),
            };
            Ok(answer::answer(StatusCode::OK, accepted.media_type(), bytes))
        }
    }
}

fn dispatch(
    context: &Context,
    headers: &HeaderMap,
    kind: CallType,
    call: Call,
) -> Result<Done, Refusal> {
    let view = &context.app.view;
    let mut out = Box::<api::Response>::default();
    out.r#type = Some(match kind {
        CallType::GetHealth => {
            out.get_health = Some(api::ResponseGetHealth { healthy: true });
            ResponseType::GetHealth
        }
        CallType::GetFlags => {
            out.get_flags = Some(flags(context));
            ResponseType::GetFlags
        }
        CallType::GetVersion => {
            out.get_version = Some(version());
            ResponseType::GetVersion
        }
        CallType::GetMetrics => {
            out.get_metrics = Some(metrics(context, &member(call.get_metrics, "get_metrics")?)?);
            ResponseType::GetMetrics
        }
        CallType::GetLoggingLevel => {
            let level = log::verbosity();
            out.get_logging_level = Some(api::ResponseGetLoggingLevel { level });
            ResponseType::GetLoggingLevel
        }
        CallType::SetLoggingLevel => {
            context.may_write(headers)?;
            set_logging_level(
                context,
                &member(call.set_logging_level, "set_logging_level")?,
            )?;
            return Ok(None);
        }
        CallType::PruneImages => {
            context.may_write(headers)?;
            let excluded = call.prune_images.unwrap_or_default().excluded_images;
            let name = |image: v1::Image| image.docker.map(|docker| docker.name);
            view.prune_images(&excluded.into_iter().filter_map(name).collect());
            return Ok(None);
        }
        CallType::ListFiles => {
            let path = member(call.list_files, "list_files")?.path;
            let entries = files::list(view, path.trim_end_matches('/'))?;
            let file_infos = entries.into_iter().map(file_info).collect();
            out.list_files = Some(api::ResponseListFiles { file_infos });
            ResponseType::ListFiles
        }
        CallType::ReadFile => {
            out.read_file = Some(read_file(context, &member(call.read_file, "read_file")?)?);
            ResponseType::ReadFile
        }
        CallType::GetContainers => {
            let wish = member(call.get_containers, "get_containers")?;
            let (nested, standalone) = (wish.show_nested, wish.show_standalone);
            let shown =
                view.get_containers(nested.unwrap_or_default(), standalone.unwrap_or_default());
            out.get_containers = Some(shown);
            ResponseType::GetContainers
        }
        kind => state(context, kind, &mut out)?,
    });
    Ok(Some(out))
}

/// The calls without a member that show the agent's state.
fn state(
    context: &Context,
    kind: CallType,
    out: &mut api::Response,
) -> Result<ResponseType, Refusal> {
    let view = &context.app.view;
    Ok(match kind {
        CallType::GetState => {
            out.get_state = Some(view.get_state());
            ResponseType::GetState
        }
        CallType::GetFrameworks => {
            out.get_frameworks = Some(view.get_frameworks());
            ResponseType::GetFrameworks
        }
        CallType::GetExecutors => {
            out.get_executors = Some(view.get_executors());
            ResponseType::GetExecutors
        }
        CallType::GetOperations => {
            out.get_operations = Some(view.get_operations());
            ResponseType::GetOperations
        }
        CallType::GetTasks => {
            out.get_tasks = Some(view.get_tasks());
            ResponseType::GetTasks
        }
        CallType::GetAgent => {
            out.get_agent = Some(view.get_agent());
            ResponseType::GetAgent
        }
        CallType::GetResourceProviders => {
            // There are none: no storage plugins on boards.
            out.get_resource_providers = Some(api::ResponseGetResourceProviders::default());
            ResponseType::GetResourceProviders
        }
        kind => {
            return Err(Refusal::new(
                StatusCode::NOT_IMPLEMENTED,
                format!("Call {kind} is not supported yet"),
            ));
        }
    })
}

fn flags(context: &Context) -> api::ResponseGetFlags {
    let flag = |(name, value)| Flag {
        name,
        value: Some(value),
    };
    let flags = context.app.view.flags().into_iter().map(flag).collect();
    api::ResponseGetFlags { flags }
}

fn version() -> api::ResponseGetVersion {
    let version_info = v1::VersionInfo {
        version: MESOS_VERSION.into(),
        ..v1::VersionInfo::default()
    };
    api::ResponseGetVersion { version_info }
}

/// No metric has to be waited for, so the timeout never ends anything early.
fn metrics(
    context: &Context,
    call: &api::CallGetMetrics,
) -> Result<api::ResponseGetMetrics, Refusal> {
    if call.timeout.as_ref().is_some_and(|t| t.nanoseconds < 0) {
        return Err(Refusal::bad(
            "get_metrics.timeout: expected a duration of zero or more",
        ));
    }
    let metric = |(name, value)| Metric {
        name,
        value: Some(value),
    };
    let metrics = context.app.view.metrics().into_iter().map(metric).collect();
    Ok(api::ResponseGetMetrics { metrics })
}

fn set_logging_level(context: &Context, call: &api::CallSetLoggingLevel) -> Result<(), Refusal> {
    let nanoseconds = u64::try_from(call.duration.nanoseconds).map_err(|_| {
        Refusal::bad("set_logging_level.duration: expected a duration of zero or more")
    })?;
    context
        .app
        .logging
        .set(call.level, Duration::from_nanos(nanoseconds));
    Ok(())
}

fn read_file(
    context: &Context,
    call: &api::CallReadFile,
) -> Result<api::ResponseReadFile, Refusal> {
    let part = Part::from_call(call.offset, call.length);
    let piece = files::read(&context.app.view, call.path.trim_end_matches('/'), part)?;
    Ok(api::ResponseReadFile {
        size: piece.size,
        data: Bytes(piece.data),
    })
}

fn file_info(entry: Entry) -> FileInfo {
    FileInfo {
        path: entry.path,
        nlink: i32::try_from(entry.nlink).ok(),
        size: Some(entry.size),
        mtime: Some(v1::TimeInfo {
            nanoseconds: entry.mtime.saturating_mul(1_000_000_000),
        }),
        mode: Some(entry.mode),
        uid: Some(entry.uid),
        gid: Some(entry.gid),
    }
}

fn is_recordio(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|media_type| media_type == RECORDIO)
}

/// The form of the call, or of its records.
fn content_type(headers: &HeaderMap, is_streamed: bool) -> Result<Format, Refusal> {
    let of_records = headers.get(MESSAGE_CONTENT_TYPE);
    let refuse = |sentence| Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence));
    match of_records.map(|value| value.as_bytes()) {
        None if is_streamed => Err(Refusal::bad(
            "Expecting 'Message-Content-Type' to be set for streaming requests",
        )),
        None => media::content_type(headers),
        Some(_) if !is_streamed => {
            refuse("Expecting 'Message-Content-Type' to be not set for non-streaming requests")
        }
        Some(b"application/json") => Ok(Format::Json),
        Some(b"application/x-protobuf") => Ok(Format::Protobuf),
        Some(_) => {
            refuse("Expecting 'Message-Content-Type' of application/json or application/x-protobuf")
        }
    }
}

/// The form of an answer that is no stream.
fn accepted(headers: &HeaderMap) -> Result<Format, Refusal> {
    if headers.contains_key(MESSAGE_ACCEPT) {
        return Err(Refusal::new(
            StatusCode::NOT_ACCEPTABLE,
            "Expecting 'Message-Accept' to be not set for non-streaming responses",
        ));
    }
    media::accepted(headers)
}

pub(super) fn parse(body: &[u8], format: Format) -> Result<Call, Refusal> {
    match format {
        Format::Json => Call::from_json(body)
            .map_err(|e| Refusal::bad(format!("Failed to parse body into Call: {e}"))),
        Format::Protobuf => Call::from_protobuf(body)
            .map_err(|e| Refusal::bad(format!("Failed to parse body into Call protobuf: {e}"))),
    }
}

/// The member that belongs to the call's type.
pub(super) fn member<T>(member: Option<T>, name: &str) -> Result<T, Refusal> {
    member.ok_or_else(|| {
        Refusal::bad(format!(
            "Failed to validate agent::Call: Expecting '{name}' to be present"
        ))
    })
}
