//! `/nesos/v1/tasks/<framework>/<task>/…`: reading a task's files through its agent's link, and ending it.
//!
//! Called by the router; `nesos logs` and `nesos kill` use it. Reading passes through the master because agents may sit
//! behind NAT. Invariant: an agent that does not answer costs the asker a deadline, nobody else anything.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HeaderName, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};
use masterd_core::Answer;
use nesos_wire::message::{FileChunk, FileError, MAX_FILE_CHUNK};
use nesos_wire::{FrameworkId, TaskId, TaskKey};

use super::access::READWRITE_REALM;
use super::answer::{self, Body};
use super::query::Query;
use super::{Context, route};
use crate::engine;

/// How long an agent may take to read: longer than the core's own limit, which answers with a better sentence.
const READ_LIMIT: Duration = Duration::from_secs(30);
/// Which file of the sandbox it is, whatever it is called meanwhile.
const FILE_IDENTITY: HeaderName = HeaderName::from_static("nesos-file-identity");
/// Length of the whole file at the time of reading.
const FILE_SIZE: HeaderName = HeaderName::from_static("nesos-file-size");
/// `true` when the task has ended, so that the file will not grow.
const TASK_ENDED: HeaderName = HeaderName::from_static("nesos-task-ended");

/// Answers `…/files/<path>?offset=&length=` (GET) and `…/kill?grace_ms=` (POST).
pub(super) async fn handle(
    context: &Context,
    path: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let segments = route::segments(path, "/nesos/v1/tasks");
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let [framework, task, what, rest @ ..] = segments.as_slice() else {
        return answer::text(
            StatusCode::NOT_FOUND,
            "expected /nesos/v1/tasks/<framework>/<task>/files/<path>",
        );
    };
    let key = TaskKey {
        framework: FrameworkId::new(framework.as_str()),
        task: TaskId::new(task.as_str()),
    };
    match (what.as_str(), rest.is_empty()) {
        ("files", false) => read(context, request.method(), key, rest.join("/"), &query).await,
        ("kill", true) => kill(context, &request, key, &query).await,
        _ => answer::text(
            StatusCode::NOT_FOUND,
            format!("a task has 'files/<path>' and 'kill', not '{what}'"),
        ),
    }
}

async fn read(
    context: &Context,
    method: &Method,
    key: TaskKey,
    path: String,
    query: &Query,
) -> Response<Body> {
    if method != Method::GET && method != Method::HEAD {
        return answer::method_not_allowed("GET", method);
    }
    let (offset, length) = match (query.number("offset"), query.number("length")) {
        (Ok(offset), Ok(length)) => (offset.unwrap_or(0), length.unwrap_or(MAX_FILE_CHUNK as u64)),
        (Err(sentence), _) | (_, Err(sentence)) => {
            return answer::text(StatusCode::BAD_REQUEST, sentence);
        }
    };
    let length = length.min(MAX_FILE_CHUNK as u64) as u32;
    let media_type = media_type(&path);
    let request = engine::Request::ReadFile {
        key,
        path,
        offset,
        length,
    };
    match tokio::time::timeout(READ_LIMIT, context.app.engine.operator(request)).await {
        Err(_) => answer::text(
            StatusCode::GATEWAY_TIMEOUT,
            format!("the agent did not answer within {READ_LIMIT:?}"),
        ),
        Ok(Some(Answer::File(Ok(chunk)))) => chunk_answer(chunk, media_type),
        Ok(Some(Answer::File(Err(error)))) => file_error(&error),
        Ok(other) => plain(other),
    }
}

async fn kill(
    context: &Context,
    request: &Request<Incoming>,
    key: TaskKey,
    query: &Query,
) -> Response<Body> {
    if let Err(refusal) = context
        .app
        .access
        .check(context.peer, request.headers(), READWRITE_REALM)
    {
        return *refusal;
    }
    if request.method() != Method::POST {
        return answer::method_not_allowed("POST", request.method());
    }
    let grace_ms = match query.number("grace_ms") {
        Ok(grace_ms) => grace_ms.map(|grace| u32::try_from(grace).unwrap_or(u32::MAX)),
        Err(sentence) => return answer::text(StatusCode::BAD_REQUEST, sentence),
    };
    match context
        .app
        .engine
        .operator(engine::Request::Kill { key, grace_ms })
        .await
    {
        Some(Answer::Done) => answer::empty(StatusCode::ACCEPTED),
        other => plain(other),
    }
}

/// The answers that need no more than a status.
pub(super) fn plain(answer: Option<Answer>) -> Response<Body> {
    match answer {
        Some(Answer::Done | Answer::File(_)) => answer::empty(StatusCode::OK),
        Some(Answer::NotFound(sentence)) => answer::text(StatusCode::NOT_FOUND, sentence),
        Some(Answer::Invalid(sentence)) => answer::text(StatusCode::BAD_REQUEST, sentence),
        Some(Answer::Conflict(sentence)) => answer::text(StatusCode::CONFLICT, sentence),
        Some(Answer::Unavailable(sentence)) => {
            answer::text(StatusCode::SERVICE_UNAVAILABLE, sentence)
        }
        None => answer::stopping(),
    }
}

/// What a task prints is shown by browsers; of any other file nobody knows what it is.
fn media_type(path: &str) -> &'static str {
    let number = |c: char| c.is_ascii_digit() || c == '.';
    match path.trim_end_matches(number) {
        "stdout" | "stderr" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn chunk_answer(chunk: FileChunk, media_type: &'static str) -> Response<Body> {
    let response = answer::answer(StatusCode::OK, media_type, chunk.data);
    // A task may print a page with scripts; that must not become a page of the master's.
    let response = answer::header(response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    let response = answer::header(response, FILE_SIZE, &chunk.size.to_string());
    let response = answer::header(response, FILE_IDENTITY, &chunk.identity.to_string());
    answer::header(
        response,
        TASK_ENDED,
        if chunk.ended { "true" } else { "false" },
    )
}

fn file_error(error: &FileError) -> Response<Body> {
    let status = match error {
        FileError::UnknownTask | FileError::NotFound => StatusCode::NOT_FOUND,
        FileError::Forbidden => StatusCode::FORBIDDEN,
        FileError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    answer::text(status, error.to_string())
}
