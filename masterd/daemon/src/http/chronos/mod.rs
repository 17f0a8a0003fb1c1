//! `/v1/scheduler` and `/scheduler`: jobs, by Chronos's API.
//!
//! Requests to methods of the scheduler of jobs, and its readers to JSON; not the scheduler itself (`masterd_core`). Called by the
//! router. Invariants: what is refused is refused as Chronos does it, with a status and a `message`; who may not write here
//! changes nothing.

mod change;
mod show;
mod stat;
#[cfg(test)]
mod tests;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use masterd_core::builtin::jobs::{JobError, Jobs};
use serde_json::{Value, json};

use super::access::READWRITE_REALM;
use super::answer::{self, Body};
use super::query::Query;
use super::{Context, intake, route};

/// A request, as far as it is understood.
struct Asked<'a> {
    method: &'a Method,
    /// Behind the prefix, decoded.
    segments: &'a [&'a str],
    query: &'a Query,
    body: &'a [u8],
    /// `host:port` of the master that leads, which is this one.
    leader: &'a str,
    /// Milliseconds since 1970.
    wall_ms: u64,
}

/// What is answered.
#[derive(Debug, PartialEq)]
enum Reply {
    /// 204.
    Done,
    Json(Value),
    Text(String),
    Refused(StatusCode, String),
    /// 405, with what is allowed.
    Method(&'static str),
}

impl From<JobError> for Reply {
    /// Chronos answers 400 to whatever is the asker's fault, a job that is not there included.
    fn from(error: JobError) -> Self {
        Self::Refused(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl Reply {
    fn invalid(sentence: impl Into<String>) -> Self {
        Self::Refused(StatusCode::BAD_REQUEST, sentence.into())
    }

    /// What was done, or why not.
    fn of(done: Result<(), JobError>) -> Self {
        done.map_or_else(Self::from, |()| Self::Done)
    }
}

/// What is left to do of an answer when the scheduler has been looked at.
type Later = Box<dyn FnOnce() -> Reply + Send>;

/// Answers a request to `/v1/scheduler` or `/scheduler`.
pub(super) async fn handle(
    context: &Context,
    path: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let answered = answered(context, path, request).await;
    answered.unwrap_or_else(|refusal| *refusal)
}

async fn answered(
    context: &Context,
    path: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Box<Response<Body>>> {
    let (head, body) = request.into_parts();
    let is_reading = matches!(head.method, Method::GET | Method::HEAD);
    let mut given = Vec::new();
    if !is_reading {
        let access = &context.app.access;
        access.check(context.peer, &head.headers, READWRITE_REALM)?;
        given = intake::body(&context.app, &head.headers, body).await?;
    }
    let path = path.strip_prefix("/v1").unwrap_or(path);
    let segments = route::segments(path, "/scheduler");
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let leader = context.app.about.endpoint().to_string();
    let method = head.method.clone();
    let ask = move |wall_ms: u64, then: &mut dyn FnMut(&Asked<'_>)| {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        then(&Asked {
            method: &method,
            segments: &segments,
            query: &query,
            body: &given,
            leader: &leader,
            wall_ms,
        });
    };
    let engine = &context.app.engine;
    let reply = match is_reading {
        true => {
            let later = engine.look(move |builtin, _, moment| {
                let mut later = None;
                ask(moment.wall, &mut |asked| {
                    later = Some(read(builtin.jobs(), asked))
                });
                later
            });
            later.await.flatten().map(|later| later())
        }
        false => {
            let reply = engine.operate(move |builtin, moment| {
                let jobs = builtin.operate_jobs(moment);
                let mut reply = None;
                ask(moment.wall, &mut |asked| reply = Some(change(jobs, asked)));
                reply
            });
            reply.await.flatten()
        }
    };
    match reply {
        Some(reply) => Ok(response(reply, &head.method)),
        None => Err(Box::new(answer::stopping())),
    }
}

fn response(reply: Reply, method: &Method) -> Response<Body> {
    match reply {
        Reply::Done => answer::empty(StatusCode::NO_CONTENT),
        Reply::Json(shown) => answer::json(shown.to_string()),
        Reply::Text(text) => answer::text(StatusCode::OK, text),
        Reply::Refused(status, message) => {
            let shown = json!({"status": status.canonical_reason(), "message": message});
            answer::answer(status, "application/json", shown.to_string())
        }
        Reply::Method(allowed) => answer::method_not_allowed(allowed, method),
    }
}

/// Carries out a change.
fn change(jobs: &mut Jobs, asked: &Asked<'_>) -> Reply {
    match (asked.method.as_str(), asked.segments) {
        // Chronos before 3 had PUT for what is there already.
        ("POST" | "PUT", ["iso8601" | "dependency" | "job"]) => change::put(jobs, asked),
        ("PUT", ["job", name]) => change::run(jobs, name, asked),
        ("PUT" | "POST", ["job", "success", name]) => change::succeed(jobs, name, asked),
        ("DELETE", ["job", name]) => change::remove(jobs, name, asked),
        ("DELETE", ["task", "kill", name]) => Reply::of(jobs.kill_tasks(name)),
        ("POST", ["job", name, "task", task, "progress"]) => {
            change::worked_on(jobs, name, task, asked)
        }
        (_, segments) => elsewhere(segments),
    }
}

/// Looks at the jobs; the text is made later, where nobody waits for the scheduler.
fn read(jobs: &Jobs, asked: &Asked<'_>) -> Later {
    let reply = match asked.segments {
        ["jobs"] => return show::all(jobs),
        ["jobs", "search"] => return show::search(jobs, asked.query),
        ["jobs", "summary"] => show::summary(jobs),
        ["job", "stat", name] => stat::of_job(jobs, name, asked.wall_ms),
        ["job", name] => return show::one(jobs, name),
        ["stats", which] => stat::of_all(jobs, which),
        ["graph", "csv"] => show::csv(jobs),
        ["graph", "dot"] => show::dot(jobs),
        ["leader"] => Reply::Json(json!({"leader": asked.leader})),
        segments => elsewhere(segments),
    };
    Box::new(|| reply)
}

fn elsewhere(segments: &[&str]) -> Reply {
    match allowed(segments) {
        Some(allowed) => Reply::Method(allowed),
        None => nothing(),
    }
}

fn allowed(segments: &[&str]) -> Option<&'static str> {
    match segments {
        ["iso8601" | "dependency" | "job"] => Some("POST"),
        ["job", "success", _] => Some("PUT"),
        ["job", "stat", _] => Some("GET"),
        ["job", _] => Some("GET, PUT, DELETE"),
        ["task", "kill", _] => Some("DELETE"),
        ["job", _, "task", _, "progress"] => Some("POST"),
        ["jobs"] | ["jobs", "summary" | "search"] | ["leader"] => Some("GET"),
        ["stats", _] | ["graph", "csv" | "dot"] => Some("GET"),
        _ => None,
    }
}

fn nothing() -> Reply {
    let sentence = "there is nothing here; jobs are at jobs, iso8601, dependency and job/NAME";
    Reply::Refused(StatusCode::NOT_FOUND, sentence.into())
}
