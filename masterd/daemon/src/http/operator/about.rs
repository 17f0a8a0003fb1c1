//! The calls about this process: health, version, flags, metrics, logging, and the log as a file.
//!
//! Called by the dispatcher.

use hyper::StatusCode;
use nesos_api::message::Bytes;
use nesos_api::operator::common::{Flag, Metric};
use nesos_api::operator::master::{
    CallGetMetrics, CallListFiles, CallReadFile, CallSetLoggingLevel, Response, ResponseGetFlags,
    ResponseGetHealth, ResponseGetLoggingLevel, ResponseGetMetrics, ResponseGetVersion,
    ResponseListFiles, ResponseReadFile, ResponseType as Type,
};
use nesos_api::v1;
use nesos_shell::http::Refusal;
use nesos_shell::http::files::Part;
use nesos_shell::log;

use super::{Done, Refused, bad};
use crate::about::MESOS_VERSION;
use crate::http::{Context, answer, log as files, metrics as values};

/// GET_HEALTH: who answers is healthy.
pub(super) fn health() -> Done {
    let mut out = response(Type::GetHealth);
    out.get_health = Some(ResponseGetHealth { healthy: true });
    Done::Answer(out)
}

/// GET_VERSION
pub(super) fn version() -> Done {
    let mut out = response(Type::GetVersion);
    let version_info = v1::VersionInfo {
        version: MESOS_VERSION.into(),
        ..v1::VersionInfo::default()
    };
    out.get_version = Some(ResponseGetVersion { version_info });
    Done::Answer(out)
}

/// GET_FLAGS
pub(super) fn flags(context: &Context) -> Done {
    let flag = |(name, value): &(&str, String)| Flag {
        name: (*name).into(),
        value: Some(value.clone()),
    };
    let mut out = response(Type::GetFlags);
    let flags = context.app.flags.iter().map(flag).collect();
    out.get_flags = Some(ResponseGetFlags { flags });
    Done::Answer(out)
}

/// GET_METRICS. No metric has to be waited for, so the timeout never ends anything early.
pub(super) async fn metrics(context: &Context, call: &CallGetMetrics) -> Result<Done, Refused> {
    if call.timeout.as_ref().is_some_and(|t| t.nanoseconds < 0) {
        return Err(bad(
            "get_metrics.timeout: expected a duration of zero or more",
        ));
    }
    let Some(values) = values::all(&context.app).await else {
        return Err(Box::new(answer::stopping()));
    };
    let metric = |(name, value)| Metric {
        name,
        value: Some(value),
    };
    let mut out = response(Type::GetMetrics);
    let metrics = values.into_iter().map(metric).collect();
    out.get_metrics = Some(ResponseGetMetrics { metrics });
    Ok(Done::Answer(out))
}

/// GET_LOGGING_LEVEL
pub(super) fn logging_level() -> Done {
    let mut out = response(Type::GetLoggingLevel);
    let level = log::verbosity();
    out.get_logging_level = Some(ResponseGetLoggingLevel { level });
    Done::Answer(out)
}

/// SET_LOGGING_LEVEL: for a while.
pub(super) fn set_logging_level(
    context: &Context,
    call: &CallSetLoggingLevel,
) -> Result<Done, Refused> {
    let nanoseconds = u64::try_from(call.duration.nanoseconds)
        .map_err(|_| bad("set_logging_level.duration: expected a duration of zero or more"))?;
    let duration = std::time::Duration::from_nanos(nanoseconds);
    context.app.logging.set(call.level, duration);
    Ok(Done::Empty(StatusCode::OK))
}

/// LIST_FILES
pub(super) fn list_files(call: &CallListFiles) -> Result<Done, Refused> {
    files::check(call.path.trim_end_matches('/')).map_err(refused)?;
    let mut out = response(Type::ListFiles);
    out.list_files = Some(ResponseListFiles::default());
    Ok(Done::Answer(out))
}

/// READ_FILE
pub(super) fn read_file(call: &CallReadFile) -> Result<Done, Refused> {
    let part = Part::from_call(call.offset, call.length);
    let piece = files::read(call.path.trim_end_matches('/'), part).map_err(refused)?;
    let mut out = response(Type::ReadFile);
    out.read_file = Some(ResponseReadFile {
        size: piece.size,
        data: Bytes(piece.data),
    });
    Ok(Done::Answer(out))
}

fn refused(refusal: Refusal) -> Refused {
    Box::new(answer::refusal(refusal))
}

fn response(kind: Type) -> Box<Response> {
    Box::new(Response {
        r#type: Some(kind),
        ..Response::default()
    })
}
