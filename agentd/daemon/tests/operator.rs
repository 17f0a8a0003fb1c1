//! The agent's operator API, `POST /api/v1`: its status codes, and each call in JSON and protobuf.
#![allow(clippy::unwrap_used)]

mod common;

use common::http::{Answer, request};
use common::{Master, run, shell};
use nesos_api::operator::agent::{self as api, CallType};
use nesos_api::v1;
use nesos_wire::message::AgentToMaster;
use nesos_wire::task::TaskState;

const JSON: (&str, &str) = ("Content-Type", "application/json");
const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");
const ACCEPT: (&str, &str) = ("Accept", "application/x-protobuf");

async fn post(port: u16, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    request(port, "POST", "/api/v1", headers, body).await
}

/// The same call in both forms; the two answers must say the same.
async fn both_calls(port: u16, call: &api::Call) -> api::Response {
    let kind = call.r#type.unwrap();
    let answer = post(port, &[PROTOBUF, ACCEPT], &call.to_protobuf()).await;
    assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some(ACCEPT.1));
    let binary = api::Response::from_protobuf(&answer.body).unwrap();
    let answer = post(port, &[JSON], &call.to_json()).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let text = api::Response::from_json(&answer.body).unwrap();
    // Reading JSON fills in the defaults that Mesos writes out; numbers that move between two calls are not compared.
    let still = |mut response: api::Response| {
        response.get_metrics = None;
        for container in response
            .get_containers
            .iter_mut()
            .flat_map(|all| &mut all.containers)
        {
            container.resource_statistics = None;
        }
        api::Response::from_json(&response.to_json()).unwrap()
    };
    assert_eq!(still(binary.clone()), still(text), "{kind}");
    assert_eq!(binary.r#type.unwrap().name(), kind.name());
    binary
}

async fn both(port: u16, kind: CallType) -> api::Response {
    both_calls(port, &call(kind)).await
}

fn call(kind: CallType) -> api::Call {
    api::Call {
        r#type: Some(kind),
        get_metrics: Some(api::CallGetMetrics::default()),
        get_containers: Some(api::CallGetContainers::default()),
        ..api::Call::default()
    }
}

/// A running agent and its port.
async fn start(flags: &[&str]) -> (Master, common::Link, u16) {
    let mut master = Master::new().await;
    for flag in flags {
        master = master.with_flag((*flag).to_string());
    }
    master.start_agent();
    let (mut link, hello) = master.link().await;
    // It has heard its welcome.
    link.settle().await;
    (master, link, hello.port)
}

const TEXT: (&str, &str) = ("Content-Type", "text/plain");
const HTML: (&str, &str) = ("Accept", "text/html");
const STREAM: (&str, &str) = ("Content-Type", "application/recordio");
const OF_RECORDS: (&str, &str) = ("Message-Content-Type", "application/json");
const MESSAGE_ACCEPT: (&str, &str) = ("Message-Accept", "application/json");
const GZIP: (&str, &str) = ("Content-Encoding", "gzip");
const HEALTH: &str = r#"{"type":"GET_HEALTH"}"#;
const HEALTH_RECORD: &str = "21\n{\"type\":\"GET_HEALTH\"}";
const ATTACH_RECORD: &str = "33\n{\"type\":\"ATTACH_CONTAINER_INPUT\"}";
const LEVEL: &str =
    r#"{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":1,"duration":{"nanoseconds":-1}}}"#;

type Headers = &'static [(&'static str, &'static str)];

/// Headers, body, status, how the sentence begins.
#[rustfmt::skip]
const CHECKS: &[(Headers, &str, u16, &str)] = &[
    (&[], HEALTH, 400, "Expecting 'Content-Type' to be present"),
    (&[TEXT], HEALTH, 415, "Expecting 'Content-Type' of application/json or application/x-protobuf"),
    (&[JSON, GZIP], HEALTH, 415, "An agent takes no compressed bodies"),
    (&[JSON], "{", 400, "Failed to parse body into Call"),
    (&[PROTOBUF], "\u{7f}", 400, "Failed to parse body into Call protobuf"),
    (&[JSON], "{}", 400, "Failed to validate agent::Call: Expecting 'type' to be present"),
    (&[JSON], r#"{"type":"READ_FILE"}"#, 400, "Failed to validate agent::Call: Expecting 'read_file' to be present"),
    (&[JSON], r#"{"type":"LIST_FILES","list_files":{}}"#, 400, "Failed to parse body into Call"),
    (&[JSON], r#"{"type":"GET_METRICS"}"#, 400, "Failed to validate agent::Call: Expecting 'get_metrics' to be present"),
    (&[JSON], r#"{"type":"GET_CONTAINERS"}"#, 400, "Failed to validate agent::Call: Expecting 'get_containers' to be present"),
    (&[JSON], r#"{"type":"UNKNOWN"}"#, 501, "Received 'UNKNOWN' call"),
    (&[JSON, HTML], r#"{"type":"UNKNOWN"}"#, 501, "Received 'UNKNOWN' call"),
    (&[JSON, HTML], HEALTH, 406, "Expecting 'Accept' to allow application/json or application/x-protobuf"),
    (&[JSON, MESSAGE_ACCEPT], HEALTH, 406, "Expecting 'Message-Accept' to be not set"),
    (&[JSON, OF_RECORDS], HEALTH, 415, "Expecting 'Message-Content-Type' to be not set"),
    (&[STREAM], HEALTH_RECORD, 400, "Expecting 'Message-Content-Type' to be set"),
    (&[STREAM, ("Message-Content-Type", "text/plain")], HEALTH_RECORD, 415, "Expecting 'Message-Content-Type' of"),
    (&[STREAM, OF_RECORDS], HEALTH_RECORD, 415, "Streaming 'Content-Type' application/recordio is not supported for GET_HEALTH"),
    (&[STREAM, OF_RECORDS], "9\n{", 400, "Failed to decode the body"),
    (&[STREAM, OF_RECORDS], "x\n{", 400, "Failed to decode the body"),
    (&[STREAM, OF_RECORDS], ATTACH_RECORD, 400, "Failed to validate agent::Call: Expecting 'attach_container_input' to be present"),
    (&[JSON], LEVEL, 400, "set_logging_level.duration"),
    (&[JSON], r#"{"type":"ADD_RESOURCE_PROVIDER_CONFIG"}"#, 501, "Call ADD_RESOURCE_PROVIDER_CONFIG is not supported yet"),
    (&[JSON], r#"{"type":"WAIT_NESTED_CONTAINER"}"#, 400, "Failed to validate agent::Call: Expecting 'wait_nested_container' to be present"),
    (&[JSON], r#"{"type":"LAUNCH_NESTED_CONTAINER"}"#, 400, "Failed to validate agent::Call: Expecting 'launch_nested_container' to be present"),
];

#[test]
fn calls_are_checked_in_the_masters_order() {
    run(async {
        let (_master, _link, port) = start(&[]).await;
        for (headers, body, status, sentence) in CHECKS {
            let answer = post(port, headers, body.as_bytes()).await;
            let text = answer.text();
            assert_eq!(answer.status, *status, "{body}: {text}");
            assert!(text.starts_with(sentence), "{body}: {text}");
        }
        let answer = request(port, "GET", "/api/v1", &[JSON], b"").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
        for path in [
            "/slave(1)/api/v1",
            "/slave%281%29/api/v1/",
            "/api/v1/operator",
        ] {
            let answer = request(port, "POST", path, &[JSON], HEALTH.as_bytes()).await;
            assert_eq!(answer.status, 200, "{path}");
        }
        let large = vec![b' '; 300 * 1024];
        assert_eq!(post(port, &[JSON], &large).await.status, 413);
    });
}

#[test]
fn the_process_is_shown_and_its_logging_changed() {
    run(async {
        let (_master, _link, port) = start(&[]).await;
        assert!(
            both(port, CallType::GetHealth)
                .await
                .get_health
                .unwrap()
                .healthy
        );
        let version = both(port, CallType::GetVersion).await.get_version.unwrap();
        assert_eq!(version.version_info.version, nesos_api::MESOS_VERSION);
        let flags = both(port, CallType::GetFlags)
            .await
            .get_flags
            .unwrap()
            .flags;
        assert!(flags.iter().any(|flag| flag.name == "work_dir"));
        assert!(flags.iter().all(|flag| flag.name != "join_token"));
        let set = api::Call {
            set_logging_level: Some(api::CallSetLoggingLevel {
                level: 2,
                duration: v1::DurationInfo {
                    nanoseconds: 3_600_000_000_000,
                },
            }),
            ..call(CallType::SetLoggingLevel)
        };
        for (header, body) in [(JSON, set.to_json()), (PROTOBUF, set.to_protobuf())] {
            let answer = post(port, &[header], &body).await;
            assert_eq!((answer.status, answer.body.len()), (200, 0));
        }
        let level = both(port, CallType::GetLoggingLevel).await;
        assert_eq!(level.get_logging_level.unwrap().level, 2);
        let metrics = both(port, CallType::GetMetrics).await.get_metrics.unwrap();
        let value = |name: &str| metrics.metrics.iter().find(|m| m.name == name)?.value;
        assert_eq!(value("slave/cpus_total"), Some(4.0));
        assert_eq!(value("slave/registered"), Some(1.0));
    });
}

#[test]
fn only_those_who_may_write_change_something() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        let known = r#"{"credentials":[{"principal":"ops","secret":"s3cret"}]}"#;
        std::fs::write(&file, known).unwrap();
        let credentials = format!("--credentials={}", file.display());
        let (_master, _link, port) = start(&["--api_access=authenticated", &credentials]).await;
        let set = br#"{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":1,"duration":{"nanoseconds":1}}}"#;
        let answer = post(port, &[JSON], set).await;
        assert_eq!(answer.status, 401);
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Basic realm=\"mesos-agent-readwrite\"")
        );
        // "ops:s3cret" and "ops:wrong".
        for (secret, status) in [("b3BzOnMzY3JldA==", 200), ("b3BzOndyb25n", 401)] {
            let value = format!("Basic {secret}");
            let answer = post(port, &[JSON, ("Authorization", &value)], set).await;
            assert_eq!(answer.status, status);
        }
        let toggle = "/logging/toggle?level=1&duration=1secs";
        assert_eq!(common::http::get(port, toggle).await.status, 401);
        assert_eq!(post(port, &[JSON], HEALTH.as_bytes()).await.status, 200);
        let (_master, _link, port) = start(&[]).await;
        let foreign = ("Origin", "http://evil.example");
        assert_eq!(post(port, &[JSON, foreign], set).await.status, 403);
    });
}

#[test]
fn tasks_and_executors_are_shown_through_their_life() {
    run(async {
        let (master, mut link, port) = start(&[]).await;
        let mut task = shell("t", "while [ ! -e go ]; do sleep 0.02; done");
        task.framework_info = v1::FrameworkInfo {
            user: "root".into(),
            name: "lab".into(),
            ..v1::FrameworkInfo::default()
        }
        .to_protobuf();
        link.launch(task).await;
        link.until(TaskState::Running).await;
        link.settle().await;
        let tasks = both(port, CallType::GetTasks).await.get_tasks.unwrap();
        assert_eq!(tasks.launched_tasks[0].task_id.value, "t");
        assert_eq!(tasks.launched_tasks[0].state, v1::TaskState::Running);
        let frameworks = both(port, CallType::GetFrameworks).await;
        let frameworks = frameworks.get_frameworks.unwrap();
        assert_eq!(frameworks.frameworks[0].framework_info.name, "lab");
        let executors = both(port, CallType::GetExecutors).await;
        let executors = executors.get_executors.unwrap();
        assert_eq!(executors.executors[0].executor_info.executor_id.value, "t");
        let containers = both(port, CallType::GetContainers).await;
        let containers = containers.get_containers.unwrap().containers;
        let status = containers[0].container_status.as_ref().unwrap();
        assert_eq!(
            status.network_infos[0].ip_addresses[0]
                .ip_address
                .as_deref(),
            Some("127.0.0.1")
        );
        assert!(status.executor_pid.is_some_and(|pid| pid > 1));
        let statistics = containers[0].resource_statistics.as_ref().unwrap();
        assert_eq!(statistics.mem_limit_bytes, Some(32 << 20));
        std::fs::write(master.sandbox("t").join("go"), "").unwrap();
        // Not acknowledged yet: terminated, afterwards completed.
        let update = loop {
            match link.next().await.unwrap() {
                AgentToMaster::Update(update) if update.latest.is_terminal() => break update,
                _ => {}
            }
        };
        let tasks = both(port, CallType::GetTasks).await.get_tasks.unwrap();
        assert_eq!(tasks.terminated_tasks[0].state, v1::TaskState::Finished);
        assert!(tasks.launched_tasks.is_empty() && tasks.completed_tasks.is_empty());
        link.acknowledge(&update).await;
        link.settle().await;
        let state = both(port, CallType::GetState).await.get_state.unwrap();
        let tasks = state.get_tasks.unwrap();
        assert_eq!(tasks.completed_tasks[0].state, v1::TaskState::Finished);
        assert_eq!(state.get_executors.unwrap().completed_executors.len(), 1);
        let frameworks = state.get_frameworks.unwrap();
        assert_eq!(
            frameworks.completed_frameworks[0].framework_info.name,
            "lab"
        );
        assert!(frameworks.frameworks.is_empty());
    });
}

#[test]
fn files_and_the_agent_itself_are_shown() {
    run(async {
        let (master, mut link, port) = start(&[]).await;
        link.launch(shell("t", "printf 12345; exec sleep 1000"))
            .await;
        link.until(TaskState::Running).await;
        let sandbox = master.sandbox("t");
        common::until("the task's output", || {
            let bytes = std::fs::read(sandbox.join("stdout")).ok()?;
            (bytes == b"12345").then_some(())
        })
        .await;
        let path = sandbox.display().to_string();
        let list = api::Call {
            list_files: Some(api::CallListFiles { path: path.clone() }),
            ..call(CallType::ListFiles)
        };
        let infos = both_calls(port, &list).await.list_files.unwrap().file_infos;
        assert_eq!(infos[1].path, format!("{path}/stdout"));
        assert_eq!((infos[1].size, infos[1].nlink), (Some(5), Some(1)));
        assert_eq!(infos[1].mode.unwrap() & 0o170_000, 0o100_000);
        let read = api::Call {
            read_file: Some(api::CallReadFile {
                path: format!("{path}/stdout"),
                offset: 3,
                length: Some(100),
            }),
            ..call(CallType::ReadFile)
        };
        let piece = both_calls(port, &read).await.read_file.unwrap();
        assert_eq!((piece.size, piece.data.0.as_slice()), (5, &b"45"[..]));
        let agent = both(port, CallType::GetAgent).await.get_agent.unwrap();
        assert_eq!(agent.agent_info.unwrap().id.unwrap().value, "m-S1");
        let operations = both(port, CallType::GetOperations).await;
        assert_eq!(operations.get_operations.unwrap().operations.len(), 0);
        let providers = both(port, CallType::GetResourceProviders).await;
        let providers = providers.get_resource_providers.unwrap();
        assert_eq!(providers.resource_providers.len(), 0);
    });
}
