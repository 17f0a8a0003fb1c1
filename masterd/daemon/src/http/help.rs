//! `/help` and `/__processes__`: what can be asked of this master, and what waits in it.
//!
//! Called by the router; a test holds its table and this list together. In Mesos both come from libprocess and show its actors; here there is
//! one, the master, and two queues in front of it.

use hyper::{Response, StatusCode};
use nesos_shell::http::help::{self, Endpoints};
use serde_json::json;

use super::answer::{self, Body};
use super::query::Query;
use super::{Context, state};

/// What can be asked, by path.
pub(super) const ENDPOINTS: &Endpoints = &[
    ("/__processes__", "What waits in the master, by kind."),
    (
        "/api/v1",
        "POST: the operator API's calls, JSON or protobuf.",
    ),
    (
        "/api/v1/scheduler",
        "POST: the scheduler API's calls, JSON or protobuf.",
    ),
    (
        "/create-volumes",
        "POST slaveId=&volumes=: makes persistent volumes.",
    ),
    (
        "/destroy-volumes",
        "POST slaveId=&volumes=: destroys persistent volumes.",
    ),
    (
        "/files",
        "The master's log: /files/browse, read, download?path=, and debug.",
    ),
    ("/flags", "The flags that it was started with."),
    (
        "/frameworks",
        "The frameworks with their tasks; framework_id= for one.",
    ),
    ("/health", "200 if the master is there."),
    (
        "/help",
        "This list, or one endpoint's part of it: /help/master/state; format=json.",
    ),
    (
        "/logging/toggle",
        "level=&duration=: logs more for a while.",
    ),
    (
        "/machine/down",
        "POST: takes machines down for maintenance.",
    ),
    ("/machine/up", "POST: ends the maintenance of machines."),
    (
        "/maintenance/schedule",
        "GET or POST: when machines will be maintained.",
    ),
    (
        "/maintenance/status",
        "What the frameworks on such machines say.",
    ),
    ("/metrics", "All metrics in the text format of Prometheus."),
    ("/metrics/snapshot", "All metrics by Mesos's names."),
    (
        "/nesos/v1/agents",
        "POST /nesos/v1/agents/AGENT/api/v1: the agent's operator API.",
    ),
    (
        "/nesos/v1/backup",
        "The registry as a file, for masterd --restore.",
    ),
    (
        "/nesos/v1/masters",
        "GET: the masters; POST add, add_learner, promote, remove or hand_over.",
    ),
    (
        "/nesos/v1/tasks",
        "A task's files, and its end, by framework and id.",
    ),
    ("/ping", "pong, if the master is there."),
    (
        "/quota",
        "GET, POST, DELETE /quota/ROLE: guarantees and limits of roles.",
    ),
    ("/redirect", "Leads to the leading master."),
    ("/registrar(1)/registry", "What the master keeps on disk."),
    ("/reserve", "POST slaveId=&resources=: reserves resources."),
    (
        "/roles",
        "The roles with their weights, quotas and what they hold.",
    ),
    ("/scheduler", "The same as /v1/scheduler."),
    ("/slaves", "The agents; slave_id= for one."),
    ("/state", "The whole cluster."),
    (
        "/state-summary",
        "The agents and frameworks with their tasks counted.",
    ),
    ("/state.json", "The same as /state."),
    (
        "/system/stats.json",
        "Load and memory of the master's host.",
    ),
    (
        "/tasks",
        "Tasks; limit=, offset=, order=, framework_id=, task_id=.",
    ),
    ("/teardown", "POST frameworkId=: ends a framework."),
    (
        "/unreserve",
        "POST slaveId=&resources=: takes reservations back.",
    ),
    (
        "/v1/scheduler",
        "Jobs, by Chronos's API: jobs, iso8601, dependency, job/NAME, task/kill/NAME.",
    ),
    (
        "/v2",
        "Services, by Marathon's API: /v2/apps, tasks, groups, deployments, queue, events, info, leader.",
    ),
    (
        "/version",
        "Mesos's version whose API this is, and how it was built.",
    ),
    ("/weights", "GET or PUT: weights of roles."),
];

/// Answers `/help`, `/help/master`, `/help/master/ENDPOINT` and the same without the actor.
pub(super) fn help(path: &str, query: &Query) -> Response<Body> {
    match help::help("/master", ENDPOINTS, path, query) {
        Ok((media_type, text)) => answer::answer(StatusCode::OK, media_type, text),
        Err(refusal) => answer::refusal(refusal),
    }
}

/// Answers `/__processes__`: the actors with what waits for them, by kind.
pub(super) fn processes(context: &Context) -> Response<Body> {
    let (events, questions) = context.app.engine.waiting();
    let waiting = [("MESSAGE", events), ("DISPATCH", questions)];
    let events: Vec<_> = waiting
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| json!({"type": kind, "count": count}))
        .collect();
    state::reply(&json!([{"id": "master", "events": events}]))
}
