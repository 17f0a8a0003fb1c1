//! The operator API, `POST /api/v1`: its status codes, and each call in JSON and protobuf.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::board;
use common::form::{FORMS, Form};
use common::http::{Answer, Client, Scheduler, get, request};
use common::{Master, run};
use nesos_api::operator::master as api;
use nesos_api::operator::master::{CallType, ResponseType};
use nesos_wire::message::MasterToAgent;
use serde_json::{Value, json};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");

async fn post(address: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    request(address, "POST", "/api/v1", headers, body).await
}

/// The same call in both forms; the two answers must say the same.
async fn both(address: &str, kind: CallType) -> api::Response {
    let call = api::Call {
        r#type: Some(kind),
        ..api::Call::default()
    };
    let accept = ("Accept", "application/x-protobuf");
    let answer = post(address, &[PROTOBUF, accept], &call.to_protobuf()).await;
    assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
    assert_eq!(
        answer.header("content-type"),
        Some("application/x-protobuf")
    );
    let binary = api::Response::from_protobuf(&answer.body).unwrap();
    let answer = post(address, &[JSON], &call.to_json()).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let text = api::Response::from_json(&answer.body).unwrap();
    // Reading JSON fills in the defaults that Mesos writes out.
    assert_eq!(
        api::Response::from_json(&binary.to_json()).unwrap(),
        text,
        "{kind}"
    );
    assert_eq!(binary.r#type.unwrap().name(), kind.name());
    binary
}

const TEXT: (&str, &str) = ("Content-Type", "text/plain");
const HTML: (&str, &str) = ("Accept", "text/html");
const HEALTH: &str = r#"{"type":"GET_HEALTH"}"#;
const NOBODY: &str = r#"{"type":"TEARDOWN","teardown":{"framework_id":{"value":"nobody"}}}"#;
const EMPTY: &str = r#"{"type":"TEARDOWN","teardown":{}}"#;

type Headers = &'static [(&'static str, &'static str)];

/// Headers, body, status, how the sentence begins.
#[rustfmt::skip]
const CHECKS: &[(Headers, &str, u16, &str)] = &[
    (&[], HEALTH, 400, "Expecting 'Content-Type' to be present"),
    (&[TEXT], HEALTH, 415, "Expecting 'Content-Type' of application/json or application/x-protobuf"),
    (&[JSON], "{", 400, "Failed to parse body into Call"),
    (&[PROTOBUF], "\u{7f}", 400, "Failed to parse body into Call protobuf"),
    (&[JSON], "{}", 400, "Failed to validate master::Call: Expecting 'type' to be present"),
    (&[JSON], r#"{"type":"TEARDOWN"}"#, 400, "Failed to validate master::Call: Expecting 'teardown' to be present"),
    (&[JSON], EMPTY, 400, "Failed to parse body into Call"),
    (&[JSON], r#"{"type":"UNKNOWN"}"#, 501, "Received 'UNKNOWN' call"),
    (&[JSON, HTML], HEALTH, 406, "Expecting 'Accept' to allow application/json or application/x-protobuf"),
    (&[JSON], NOBODY, 400, "No framework found with ID nobody"),
];

#[test]
fn calls_are_checked_in_mesoss_order() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let answer = get(&address, "/api/v1").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
        for (headers, body, status, sentence) in CHECKS {
            let (headers, status) = (*headers, *status);
            let answer = post(&address, headers, body.as_bytes()).await;
            assert_eq!(answer.status, status, "{headers:?} {body}");
            assert!(
                answer.text().starts_with(sentence),
                "{body}: {}",
                answer.text()
            );
        }
    });
}

#[test]
fn the_process_is_shown_and_its_logging_changed() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        assert!(
            both(&address, CallType::GetHealth)
                .await
                .get_health
                .unwrap()
                .healthy
        );
        let version = both(&address, CallType::GetVersion)
            .await
            .get_version
            .unwrap();
        assert_eq!(version.version_info.version, "1.11.0");
        let flags = both(&address, CallType::GetFlags)
            .await
            .get_flags
            .unwrap()
            .flags;
        let work_dir = flags.iter().find(|flag| flag.name == "work_dir").unwrap();
        assert_eq!(work_dir.value.as_deref(), dir.path().to_str());
        let shown = both(&address, CallType::GetMaster)
            .await
            .get_master
            .unwrap();
        assert_eq!(shown.master_info.unwrap().port, u32::from(master.port));
        let level = both(&address, CallType::GetLoggingLevel).await;
        assert_eq!(level.get_logging_level.unwrap().level, 0);

        let set = |level: u32, seconds: u64| {
            json!({"type": "SET_LOGGING_LEVEL", "set_logging_level":
                {"level": level, "duration": {"nanoseconds": seconds * 1_000_000_000}}})
        };
        for form in FORMS {
            assert_eq!(form.operate(&address, &set(1, 600)).await.0, 200);
            assert_eq!(get(&address, "/logging/toggle").await.text(), "1\n");
            // A connection that breaks within a request is a line of DEBUG.
            let mut client = Client::connect(&address).await;
            client.send(b"GET / HTTP/1.1\r\n").await;
            drop(client);
            master.wait_log("HTTP connection from");
            assert_eq!(form.operate(&address, &set(2, 0)).await.0, 200);
            while get(&address, "/logging/toggle").await.text() != "0\n" {}
        }
        for bad in [
            "level=1",
            "duration=1secs",
            "level=x&duration=1secs",
            "level=1&duration=x",
        ] {
            let answer = get(&address, &format!("/logging/toggle?{bad}")).await;
            assert_eq!(answer.status, 400, "{bad}");
        }
    });
}

#[test]
fn metrics_are_listed_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let within = |nanoseconds: i64| json!({"type": "GET_METRICS", "get_metrics": {"timeout": {"nanoseconds": nanoseconds}}});
        for form in FORMS {
            assert_eq!(form.operate(&address, &within(-1)).await.0, 400);
            let (_, answer) = form.operate(&address, &within(5)).await;
            let mut metrics = answer["get_metrics"]["metrics"].as_array().unwrap().iter();
            let elected = metrics.find(|m| m["name"] == "master/elected");
            assert_eq!(elected.unwrap()["value"], 1.0);
        }
        let snapshot = get(&address, "/metrics/snapshot?timeout=1secs").await;
        assert_eq!(snapshot.json()["master/elected"], 1.0);
        let bad = get(&address, "/metrics/snapshot?timeout=soon").await;
        assert_eq!(bad.status, 400);
        let text = get(&address, "/metrics").await;
        assert!(
            text.header("content-type")
                .unwrap()
                .starts_with("text/plain; version=0.0.4")
        );
        assert!(
            text.text().contains("\nmesos_master_elected 1\n"),
            "{}",
            text.text()
        );
    });
}

#[test]
fn the_cluster_is_shown_and_a_framework_ended() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        run(shown_and_ended(form, &master.address(), dir.path()));
    }
}

/// The calls that show the cluster, before and after a framework's end.
async fn shown_and_ended(form: Form, address: &str, dir: &std::path::Path) {
    let (mut agent, agent_id) = board(address, dir, "n1").await.register(address).await;
    let info = r#","roles":["lab"],"capabilities":[{"type":"MULTI_ROLE"}]"#;
    let mut scheduler = Scheduler::subscribe(address, info, None).await;
    let offers = scheduler.wait("OFFERS").await;
    let offer = &offers["offers"]["offers"][0];
    let shown = both(address, CallType::GetFrameworks)
        .await
        .get_frameworks
        .unwrap();
    assert_eq!(shown.frameworks[0].offers[0].agent_id.value, agent_id);
    let accept = common::http::launch(offer, "t:1");
    assert_eq!(scheduler.call(&accept).await, 202);
    assert!(matches!(agent.hear().await, MasterToAgent::Launch { .. }));

    let summary = get(address, "/state-summary").await.json();
    assert_eq!(summary["slaves"][0]["TASK_STAGING"], 1);
    assert_eq!(summary["frameworks"][0]["slave_ids"][0], agent_id.as_str());
    let agents = both(address, CallType::GetAgents).await.get_agents.unwrap();
    let shown = &agents.agents[0];
    assert_eq!(shown.agent_info.id.as_ref().unwrap().value, agent_id);
    assert!(shown.active && agents.recovered_agents.is_empty());
    let allocated = &shown.allocated_resources[0];
    assert_eq!(
        (
            allocated.name.as_str(),
            allocated.scalar.as_ref().unwrap().value
        ),
        ("cpus", 0.1)
    );
    assert_eq!(
        allocated.allocation_info.as_ref().unwrap().role.as_deref(),
        Some("lab")
    );
    let tasks = both(address, CallType::GetTasks).await.get_tasks.unwrap();
    assert_eq!((tasks.tasks.len(), tasks.completed_tasks.len()), (1, 0));
    let roles = both(address, CallType::GetRoles)
        .await
        .get_roles
        .unwrap()
        .roles;
    let lab = roles.iter().find(|role| role.name == "lab").unwrap();
    assert_eq!(lab.frameworks[0].value, scheduler.framework);
    let executors = both(address, CallType::GetExecutors)
        .await
        .get_executors
        .unwrap();
    assert!(
        executors.executors.is_empty(),
        "a command's executor is not listed"
    );
    let state = both(address, CallType::GetState).await.get_state.unwrap();
    assert_eq!(state.get_tasks, Some(tasks));
    ended(form, address, &scheduler.framework).await;
}

/// TEARDOWN, and what is shown of the framework after it.
async fn ended(form: Form, address: &str, framework: &str) {
    let teardown = json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": framework}}});
    assert_eq!(form.operate(address, &teardown).await, (200, Value::Null));
    let shown = both(address, CallType::GetFrameworks)
        .await
        .get_frameworks
        .unwrap();
    assert_eq!(
        (shown.frameworks.len(), shown.completed_frameworks.len()),
        (0, 1)
    );
    let tasks = both(address, CallType::GetTasks).await.get_tasks.unwrap();
    assert_eq!(tasks.completed_tasks[0].task_id.value, "t:1");
    assert_eq!(
        both(address, CallType::GetState).await.r#type,
        Some(ResponseType::GetState)
    );
}

#[test]
fn only_those_who_may_write_change_something() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials.json");
    std::fs::write(&file, r#"{"credentials":[{"principal":"p","secret":"s"}]}"#).unwrap();
    let credentials = format!("--credentials={}", file.display());
    let flags = ["--api_access=authenticated", &credentials];
    let master = Master::start(&dir.path().join("m"), 0, &flags);
    let address = master.address();
    run(async {
        assert!(
            both(&address, CallType::GetHealth)
                .await
                .get_health
                .unwrap()
                .healthy
        );
        let teardown = json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": "x"}}});
        for form in FORMS {
            let media_type = ("Content-Type", form.media_type());
            let body = form.operator_call(&teardown);
            let answer = post(&address, &[media_type], &body).await;
            let realm = "Basic realm=\"mesos-master-readwrite\"";
            assert_eq!(
                (answer.status, answer.header("www-authenticate")),
                (401, Some(realm))
            );
            let basic = ("Authorization", "Basic cDpz");
            let answer = post(&address, &[media_type, basic], &body).await;
            assert_eq!(answer.status, 400);
        }
        let toggle = "/logging/toggle?level=1&duration=1secs";
        assert_eq!(get(&address, toggle).await.status, 401);
    });
}
