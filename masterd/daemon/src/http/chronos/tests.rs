//! Tests of the answers, without a master around.
#![allow(clippy::unwrap_used)]

use masterd_core::builtin::jobs::{JobWish, Outcome, OutcomeKind};
use nesos_wire::TaskId;

use super::*;

/// 2026-01-31T12:00:00Z
const NOON: u64 = 1_769_860_800_000;

fn ask(jobs: &mut Jobs, request: &str, body: &Value) -> Reply {
    ask_at(jobs, request, body, NOON)
}

fn ask_at(jobs: &mut Jobs, request: &str, body: &Value, wall_ms: u64) -> Reply {
    let (method, path) = request.split_once(' ').unwrap();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let segments: Vec<&str> = path.split('/').collect();
    let (method, query, body) = (
        method.parse().unwrap(),
        Query::parse(query),
        body.to_string(),
    );
    let asked = Asked {
        method: &method,
        segments: &segments,
        query: &query,
        body: body.as_bytes(),
        leader: "10.0.0.1:5050",
        wall_ms,
    };
    match method.as_str() {
        "GET" => read(jobs, &asked)(),
        _ => change(jobs, &asked),
    }
}

fn get(jobs: &mut Jobs, path: &str) -> Value {
    match ask(jobs, &format!("GET {path}"), &Value::Null) {
        Reply::Json(shown) => shown,
        reply => panic!("{path}: {reply:?}"),
    }
}

fn text(jobs: &mut Jobs, path: &str) -> String {
    match ask(jobs, &format!("GET {path}"), &Value::Null) {
        Reply::Text(text) => text,
        reply => panic!("{path}: {reply:?}"),
    }
}

fn refused(jobs: &mut Jobs, request: &str, body: &Value) -> String {
    match ask(jobs, request, body) {
        Reply::Refused(status, sentence) => format!("{} {sentence}", status.as_u16()),
        reply => panic!("{request}: {reply:?}"),
    }
}

fn starts(jobs: &mut Jobs) -> Vec<TaskId> {
    let starts = jobs
        .take_wishes()
        .into_iter()
        .filter_map(|wish| match wish {
            JobWish::Start { task, .. } => Some(task),
            _ => None,
        });
    starts.collect()
}

/// Starts what is wanted, and ends it so much later.
fn run(jobs: &mut Jobs, kind: OutcomeKind, ms: u64) {
    for task in starts(jobs) {
        jobs.started(&task, NOON);
        let outcome = Outcome {
            kind,
            agent: None,
            message: "said".into(),
        };
        jobs.ended(&task, outcome, NOON + ms);
    }
}

/// A job by time, `a`, and its child `b`.
fn family() -> Jobs {
    let mut jobs = Jobs::default();
    let parent = json!({"name": "a", "command": "make a", "schedule": "R2//PT1H", "owner": "me"});
    let child = json!({"name": "b", "command": "make b", "parents": ["a"], "retries": 0});
    assert_eq!(ask(&mut jobs, "POST iso8601", &parent), Reply::Done);
    assert_eq!(ask(&mut jobs, "POST dependency", &child), Reply::Done);
    jobs
}

#[test]
fn jobs_are_listed_found_and_shown() {
    let mut jobs = family();
    let all = get(&mut jobs, "jobs");
    assert_eq!(
        (&all[0]["name"], &all[1]["name"]),
        (&json!("a"), &json!("b"))
    );
    assert_eq!(all[0]["schedule"], "R2/2026-01-31T12:00:00.000Z/PT1H");
    assert_eq!(all[1]["parents"], json!(["a"]));
    assert_eq!(get(&mut jobs, "job/b"), all[1]);
    for (query, found) in [
        ("", vec!["a", "b"]),
        ("?name=A", vec!["a"]),
        ("?command=MAKE", vec!["a", "b"]),
        ("?name=b&command=make", vec!["b"]),
        ("?name=nobody", vec![]),
        ("?name=nobody&any=b", vec!["b"]),
        ("?any=make%20b", vec!["b"]),
        ("?limit=1", vec!["a"]),
        ("?limit=1&offset=1", vec!["b"]),
    ] {
        let shown = get(&mut jobs, &format!("jobs/search{query}"));
        let names: Vec<&str> = shown
            .as_array()
            .unwrap()
            .iter()
            .map(|job| job["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, found, "{query}");
    }
    let summary = get(&mut jobs, "jobs/summary");
    assert_eq!(summary["jobs"][0]["state"], "queued");
    assert_eq!(get(&mut jobs, "leader"), json!({"leader": "10.0.0.1:5050"}));
    assert_eq!(
        text(&mut jobs, "graph/csv"),
        "node,a,fresh,queued\nnode,b,fresh,idle\nlink,a,b\n"
    );
    assert!(text(&mut jobs, "graph/dot").contains("  1 -> 2;\n"));
    assert_eq!(text(&mut Jobs::default(), "graph/csv"), "\n");
}

#[test]
fn what_ended_is_counted_and_remembered() {
    let mut jobs = family();
    run(&mut jobs, OutcomeKind::Finished, 65_000);
    run(&mut jobs, OutcomeKind::Failed, 1000);
    let all = get(&mut jobs, "jobs");
    assert_eq!(
        (&all[0]["successCount"], &all[1]["errorCount"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(all[0]["lastSuccess"], "2026-01-31T12:01:05.000Z");
    assert_eq!(all[0]["schedule"], "R1/2026-01-31T13:00:00.000Z/PT1H");
    assert_eq!(
        text(&mut jobs, "graph/csv"),
        "node,a,success,idle\nnode,b,failure,idle\nlink,a,b\n"
    );
    let stat = get(&mut jobs, "job/stat/a");
    assert_eq!(stat["histogram"]["count"], 1);
    assert_eq!(stat["histogram"]["99thPercentile"], 65_000);
    let end = &stat["taskStatHistory"][0];
    assert_eq!(end["duration"], "1m5s");
    assert_eq!(
        (&end["status"], &end["endTime"]),
        (&json!("Success"), &json!("01/31/26 12:01:05"))
    );
    assert_eq!(
        get(&mut jobs, "job/stat/b")["taskStatHistory"][0]["status"],
        "Fail"
    );
    for which in [
        "99thPercentile",
        "98thPercentile",
        "95thPercentile",
        "75thPercentile",
        "median",
        "mean",
    ] {
        let expected =
            json!([{"jobNameLabel": "a", "time": 65.0}, {"jobNameLabel": "b", "time": 0.0}]);
        assert_eq!(
            get(&mut jobs, &format!("stats/{which}")),
            expected,
            "{which}"
        );
    }
    assert_eq!(get(&mut jobs, "stats/other"), json!([]));
    // As clients do it that change a job: what is shown is sent back.
    let mut shown = all[0].clone();
    shown["command"] = "other".into();
    assert_eq!(ask(&mut jobs, "POST iso8601", &shown), Reply::Done);
    assert_eq!(get(&mut jobs, "job/a"), shown);
}

#[test]
fn jobs_are_started_killed_and_removed() {
    let mut jobs = family();
    run(&mut jobs, OutcomeKind::Finished, 1000);
    run(&mut jobs, OutcomeKind::Finished, 1000);
    let run_now = ask(&mut jobs, "PUT job/b?arguments=-v%20-x", &Value::Null);
    assert_eq!(run_now, Reply::Done);
    let wishes = jobs.take_wishes();
    let is_start = |wish: &&JobWish| matches!(wish, JobWish::Start { arguments, .. } if arguments.as_deref() == Some("-v -x"));
    assert!(wishes.iter().any(|wish| is_start(&wish)), "{wishes:?}");
    assert_eq!(
        ask(&mut jobs, "DELETE task/kill/b", &Value::Null),
        Reply::Done
    );
    assert!(matches!(
        jobs.take_wishes()[..],
        [JobWish::Put(_), JobWish::Forget { .. }]
    ));
    let marked = Reply::Text("marked job a as successful: true".into());
    assert_eq!(ask(&mut jobs, "PUT job/success/a", &Value::Null), marked);
    assert_eq!(starts(&mut jobs).len(), 1);
    // The child has its parent's schedule then.
    assert_eq!(ask(&mut jobs, "DELETE job/a", &Value::Null), Reply::Done);
    let all = get(&mut jobs, "jobs");
    assert_eq!(all.as_array().unwrap().len(), 1);
    assert_eq!(all[0]["schedule"], "R1/2026-01-31T13:00:00.000Z/PT1H");
    assert_eq!(all[0]["successCount"], 1);
    assert!(all[0].get("parents").is_none());
}

#[test]
fn work_is_counted_where_it_is_to_be() {
    let mut jobs = Jobs::default();
    let body = json!({"numAdditionalElementsProcessed": 5});
    let job =
        json!({"name": "a", "command": "x", "schedule": "R1//P1D", "dataProcessingJobType": true});
    assert_eq!(ask(&mut jobs, "POST iso8601", &job), Reply::Done);
    let task = starts(&mut jobs).remove(0);
    jobs.started(&task, NOON);
    let path = format!("POST job/a/task/{task}/progress");
    assert_eq!(ask(&mut jobs, &path, &body), Reply::Done);
    assert_eq!(ask(&mut jobs, &path, &body), Reply::Done);
    let stat = get(&mut jobs, "job/stat/a");
    assert_eq!(stat["taskStatHistory"][0]["numElementsProcessed"], 10);
    assert_eq!(stat["taskStatHistory"][0]["status"], "Running");
    let error = refused(
        &mut jobs,
        &path,
        &json!({"numAdditionalElementsProcessed": -1}),
    );
    assert!(
        error.starts_with("400 numAdditionalElementsProcessed"),
        "{error}"
    );
    let error = refused(&mut jobs, "POST job/a/task/other/progress", &body);
    assert_eq!(
        error,
        "400 job \"a\" has no task \"other\" that goes on or is remembered"
    );
}

#[test]
fn who_is_not_there_is_not_found() {
    let mut jobs = family();
    for request in [
        "GET job/nobody",
        "GET job/stat/nobody",
        "PUT job/nobody",
        "PUT job/success/nobody",
        "DELETE job/nobody",
        "DELETE task/kill/nobody",
        "POST job/nobody/task/t/progress",
    ] {
        assert_eq!(
            refused(&mut jobs, request, &Value::Null),
            "400 job \"nobody\" not found"
        );
    }
    let error = refused(&mut jobs, "GET jobs/search?limit=x", &Value::Null);
    assert!(error.starts_with("400 "), "{error}");
    let error = refused(&mut jobs, "GET other", &Value::Null);
    assert!(error.starts_with("404 there is nothing here"), "{error}");
    assert_eq!(
        ask(&mut jobs, "DELETE jobs", &Value::Null),
        Reply::Method("GET")
    );
    assert_eq!(
        ask(&mut jobs, "GET iso8601", &Value::Null),
        Reply::Method("POST")
    );
}

/// Each is refused with these words, and nothing is changed.
fn check(cases: &[(&str, Value, &str)]) {
    let mut jobs = family();
    for (path, body, expected) in cases {
        let error = refused(&mut jobs, &format!("POST {path}"), body);
        assert!(error.starts_with(expected), "{error}");
    }
    assert_eq!(get(&mut jobs, "jobs").as_array().unwrap().len(), 2);
}

#[test]
fn definitions_that_cannot_be_are_refused_with_a_sentence() {
    check(&[
        (
            "iso8601",
            json!({}),
            "400 name: expected a name, and there is nothing",
        ),
        (
            "iso8601",
            json!({"name": "c", "command": "x", "schedule": "soon"}),
            "400 schedule: expected R[n]",
        ),
        (
            "iso8601",
            json!({"name": "c", "command": "x", "schedule": "R//P1D", "scheduleTimeZone": "PST"}),
            "400 scheduleTimeZone: expected UTC",
        ),
        (
            "iso8601",
            json!({"name": "c", "command": "x", "epsilon": "5"}),
            "400 epsilon: expected a duration",
        ),
        (
            "iso8601",
            json!({"name": "c", "command": "x", "lastError": "5"}),
            "400 lastError: expected a time",
        ),
        (
            "iso8601",
            json!({"name": "c", "command": "x", "cpus": 0.0001}),
            "400 cpus: expected a thousandth",
        ),
        (
            "iso8601",
            json!({"name": "c", "command": "x", "constraints": [["a", "LIKE", "("]]}),
            "400 constraints[0]: \"(\" is not a regular expression",
        ),
        (
            "iso8601",
            json!({"name": "c", "command": "x", "parents": ["a"]}),
            "400 parents: a job that has some",
        ),
    ]);
}

#[test]
fn families_that_cannot_be_are_refused_with_a_sentence() {
    check(&[
        (
            "dependency",
            json!({"name": "c", "command": "x"}),
            "400 parents: expected a list",
        ),
        (
            "dependency",
            json!({"name": "c", "command": "x", "parents": []}),
            "400 parents: expected at least one",
        ),
        (
            "dependency",
            json!({"name": "c", "command": "x", "parents": ["x"]}),
            "400 parents: there is no job",
        ),
        (
            "dependency",
            json!({"name": "a", "command": "x", "parents": ["b"]}),
            "400 parents: \"b\" is started by",
        ),
        (
            "iso8601",
            json!({"name": "c/d", "command": "x"}),
            "400 name: expected 1 to 180 letters",
        ),
    ]);
}

/// What says nothing starts once, now.
#[test]
fn a_job_without_a_time_starts_now() {
    let mut jobs = Jobs::default();
    let body = json!({"name": "a", "command": "x"});
    assert_eq!(
        ask_at(&mut jobs, "POST iso8601", &body, NOON + 5),
        Reply::Done
    );
    assert_eq!(starts(&mut jobs).len(), 1);
    assert_eq!(
        get(&mut jobs, "job/a")["schedule"],
        "R1/2026-01-31T12:00:00.005Z/PT24H"
    );
    let definition = jobs.get("a").unwrap().definition().to_vec();
    let facts = crate::convert::job::kept(&definition).unwrap();
    assert_eq!(&facts, jobs.get("a").unwrap().facts());
}
