//! Operators' own containers, alone and inside a task's, through the operator API in both forms.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::form::Form;
use common::{Link, Master, run, shell, until};
use nesos_wire::message::MasterToAgent;
use nesos_wire::task::TaskState;
use serde_json::{Value, json};

fn inside(parent: &Value, name: &str) -> Value {
    json!({"value": name, "parent": parent})
}

fn nested(id: &Value, text: &str) -> Value {
    let launch = json!({"container_id": id, "command": {"value": text}});
    json!({"type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": launch})
}

fn alone(id: &Value, text: &str) -> Value {
    let resources = json!([
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.5}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": 32.0}}]);
    let launch = json!({"container_id": id, "command": {"value": text}, "resources": resources,
        "limits": {"cpus": {"value": 1.5}}});
    json!({"type": "LAUNCH_CONTAINER", "launch_container": launch})
}

fn kill(id: &Value, signal: Option<i32>) -> Value {
    let mut kill = json!({"container_id": id});
    if let Some(signal) = signal {
        kill["signal"] = signal.into();
    }
    json!({"type": "KILL_CONTAINER", "kill_container": kill})
}

/// An agent with a task `t`, its port, and the container of the task.
async fn start() -> (Master, Link, u16, Value) {
    let mut master = Master::new().await.with_fixed_port();
    master.start_agent();
    let (mut link, hello) = master.link().await;
    link.launch(shell("t", "sleep 1000")).await;
    let (_, update) = link.until(TaskState::Running).await;
    let container = update.status.container.unwrap();
    let id = json!({"value": container.as_str()});
    (master, link, hello.port, id)
}

/// The ids that are shown.
async fn shown(form: Form, port: u16, show_nested: bool, show_standalone: bool) -> Vec<Value> {
    let wish = json!({"show_nested": show_nested, "show_standalone": show_standalone});
    let call = json!({"type": "GET_CONTAINERS", "get_containers": wish});
    let answer = form.operate(port, &call).await;
    let answer = form.json(&answer);
    // Without any the list is not there.
    let all = answer["get_containers"]["containers"].as_array().cloned();
    let all = all.unwrap_or_default();
    for one in &all {
        let statistics = &one["resource_statistics"];
        assert!(statistics["processes"].as_u64() >= Some(1), "{one}");
        assert!(one["container_status"]["executor_pid"].is_u64(), "{one}");
    }
    all.iter().map(|one| one["container_id"].clone()).collect()
}

async fn read(form: Form, port: u16, path: &str) -> String {
    let call = json!({"type": "READ_FILE", "read_file": {"path": path, "offset": 0}});
    let answer = form.operate(port, &call).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let read =
        nesos_api::operator::agent::Response::from_json(form.json(&answer).to_string().as_bytes());
    String::from_utf8(read.unwrap().read_file.unwrap().data.0).unwrap()
}

async fn wait_for_text(form: Form, port: u16, path: &str, text: &str) {
    let deadline = std::time::Instant::now() + common::LIMIT;
    while !read(form, port, path).await.contains(text) {
        assert!(std::time::Instant::now() < deadline, "{text} in {path}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn is_running(pid_file: &Path) -> bool {
    let pid = std::fs::read_to_string(pid_file).unwrap();
    Path::new(&format!("/proc/{}", pid.trim())).exists()
}

async fn nested_story(form: Form) {
    let (mut master, _link, port, parent) = start().await;
    let id = inside(&parent, "helper");
    let text =
        "echo $MESOS_EXECUTOR_ID; trap 'echo usr; exit 5' USR1; while :; do sleep 0.05; done";
    let answer = form.operate(port, &nested(&id, text)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Again is not twice.
    assert_eq!(form.operate(port, &nested(&id, text)).await.status, 202);
    let own = "/frameworks/f/executors/t/runs/latest/containers/helper";
    wait_for_text(form, port, &format!("{own}/stdout"), "t\n").await;
    // One inside it, in turn.
    let inner = inside(&id, "inner");
    let answer = form
        .operate(port, &nested(&inner, "echo deep; sleep 1000"))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    wait_for_text(
        form,
        port,
        &format!("{own}/containers/inner/stdout"),
        "deep",
    )
    .await;
    assert_eq!(
        shown(form, port, false, true).await,
        std::slice::from_ref(&parent)
    );
    let all = [parent.clone(), id.clone(), inner.clone()];
    assert_eq!(shown(form, port, true, false).await, all);
    assert_eq!(form.about(port, "REMOVE_CONTAINER", &id).await.0, 500);

    master.kill_agent();
    master.start_agent();
    let (_link, _) = master.link().await;
    let deadline = std::time::Instant::now() + common::LIMIT;
    // Each is found by its helper.
    while shown_pids(form, port).await < 3 {
        assert!(std::time::Instant::now() < deadline, "{}", master.log());
    }
    assert_eq!(shown(form, port, true, false).await, all);
    assert_eq!(form.operate(port, &kill(&id, Some(10))).await.status, 200);
    let (status, answer) = form.about(port, "WAIT_NESTED_CONTAINER", &id).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["wait_nested_container"]["exit_status"], 5 << 8);
    wait_for_text(form, port, &format!("{own}/stdout"), "usr").await;
    // What was inside it has ended before it.
    assert_eq!(form.about(port, "WAIT_CONTAINER", &inner).await.0, 404);
    removed_and_launched_again(form, master, port, parent, id).await;
}

async fn removed_and_launched_again(
    form: Form,
    mut master: Master,
    port: u16,
    parent: Value,
    id: Value,
) {
    // How it has ended is known until somebody removes it, to the next agentd too.
    master.kill_agent();
    master.start_agent();
    let (mut link, _) = master.link().await;
    let (_, answer) = form.about(port, "WAIT_CONTAINER", &id).await;
    assert_eq!(answer["wait_container"]["exit_status"], 5 << 8, "{answer}");
    assert_eq!(
        form.about(port, "REMOVE_NESTED_CONTAINER", &id).await.0,
        200
    );
    assert_eq!(form.about(port, "WAIT_CONTAINER", &id).await.0, 404);

    // The name is free again. With its task it ends.
    let answer = form
        .operate(port, &nested(&id, "echo $$ > pid; sleep 1000"))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let runs = master.sandbox("t");
    let name = format!("{}.helper", parent["value"].as_str().unwrap());
    let pid = runs.parent().unwrap().join(name).join("pid");
    until("the pid", || {
        std::fs::read_to_string(&pid)
            .ok()
            .filter(|text| text.ends_with('\n'))
    })
    .await;
    assert!(is_running(&pid));
    link.send(&MasterToAgent::Kill {
        key: common::key("t"),
        grace_ms: Some(0),
    })
    .await;
    link.until(TaskState::Killed).await;
    assert!(!is_running(&pid));
    assert_eq!(form.about(port, "WAIT_CONTAINER", &id).await.0, 404);
    assert_eq!(shown(form, port, true, true).await, Vec::<Value>::new());
}

async fn shown_pids(form: Form, port: u16) -> usize {
    let wish = json!({"show_nested": true, "show_standalone": true});
    let call = json!({"type": "GET_CONTAINERS", "get_containers": wish});
    let answer = form.operate(port, &call).await;
    let answer = form.json(&answer);
    let all = answer["get_containers"]["containers"].as_array().cloned();
    let has_pid = |one: &&Value| one["container_status"]["executor_pid"].is_u64();
    all.unwrap_or_default().iter().filter(has_pid).count()
}

#[test]
fn a_nested_containers_story_in_json() {
    run(nested_story(Form::Json));
}

#[test]
fn a_nested_containers_story_in_protobuf() {
    run(nested_story(Form::Protobuf));
}

async fn standalone_story(form: Form) {
    let (mut master, link, port, parent) = start().await;
    let id = json!({"value": "tool"});
    let answer = form.operate(port, &alone(&id, "env; sleep 1000")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let own = master.work_dir().join("containers/tool");
    let stdout = format!("{}/stdout", own.display());
    wait_for_text(form, port, &stdout, "MESOS_CONTAINER_ID=tool").await;
    assert!(
        !read(form, port, &stdout)
            .await
            .contains("MESOS_FRAMEWORK_ID")
    );
    let inner = inside(&id, "inner");
    let answer = form.operate(port, &nested(&inner, "exit 3")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (_, answer) = form.about(port, "WAIT_NESTED_CONTAINER", &inner).await;
    assert_eq!(answer["wait_nested_container"]["exit_status"], 3 << 8);
    assert_eq!(
        shown(form, port, true, false).await,
        std::slice::from_ref(&parent)
    );
    let both = [parent, id.clone()];
    assert_eq!(shown(form, port, false, true).await, both);
    // Neither a lost master nor a lost agentd ends it.
    drop(link);
    master.kill_agent();
    master.start_agent();
    let (_link, _) = master.link().await;
    let deadline = std::time::Instant::now() + common::LIMIT;
    while shown_pids(form, port).await < 2 {
        assert!(std::time::Instant::now() < deadline, "{}", master.log());
    }
    assert_eq!(shown(form, port, true, true).await, both);
    assert_eq!(form.operate(port, &kill(&id, None)).await.status, 200);
    let (_, answer) = form.about(port, "WAIT_CONTAINER", &id).await;
    assert_eq!(answer["wait_container"]["exit_status"], 9, "{answer}");
    assert_eq!(form.about(port, "REMOVE_CONTAINER", &id).await.0, 200);
    until("its files", || (!own.exists()).then_some(())).await;
}

#[test]
fn a_standalone_containers_story_in_json() {
    run(standalone_story(Form::Json));
}

#[test]
fn a_standalone_containers_story_in_protobuf() {
    run(standalone_story(Form::Protobuf));
}

type Case = (Value, u16, &'static str);

fn unfit_ids(parent: &Value, id: &Value) -> Vec<Case> {
    let named = |name: &str| nested(&inside(parent, name), "true");
    let stranger = inside(&json!({"value": "no"}), "n");
    let executors = json!({"value": "executors"});
    vec![
        (
            nested(&json!({"value": "n"}), "true"),
            400,
            "'container_id.parent'",
        ),
        (
            nested(&stranger, "true"),
            404,
            "No task runs in the parent container no",
        ),
        (named("a.b"), 400, "period"),
        (named("a/b"), 400, "'/'"),
        (named(&"x".repeat(220)), 400, "at most 242"),
        (alone(&executors, "true"), 400, "reserved"),
        (alone(id, "true"), 400, "shares what that one may use"),
        (nested(id, ""), 400, "'command.value'"),
    ]
}

fn unfit_wishes() -> Vec<Case> {
    let with = |name: &str, value: Value| {
        let mut call = alone(&json!({"value": "tool"}), "true");
        call["launch_container"][name] = value;
        call
    };
    let container = |member: &str, value: Value| {
        let mut container = json!({"type": "MESOS"});
        container[member] = value;
        with("container", container)
    };
    let missing = json!({"value": "x", "uris": [{"value": "/no/such"}]});
    let program = json!({"shell": false, "value": "/no/such"});
    vec![
        (
            with("limits", json!({"disk": {"value": 1}})),
            400,
            "only cpus and mem",
        ),
        (
            with("limits", json!({"cpus": {"value": 0}})),
            400,
            "above 0",
        ),
        (container("type", json!("DOCKER")), 400, "MESOS"),
        (container("hostname", json!("h")), 400, "namespaces/uts"),
        (with("command", program), 400, "/no/such"),
        (with("command", missing), 400, "/no/such"),
    ]
}

#[test]
fn what_cannot_be_launched_is_refused_with_a_sentence() {
    run(async {
        let (_master, _link, port, parent) = start().await;
        let id = inside(&parent, "n");
        let cases = unfit_ids(&parent, &id).into_iter().chain(unfit_wishes());
        for (call, status, sentence) in cases {
            for form in [Form::Json, Form::Protobuf] {
                let answer = form.operate(port, &call).await;
                assert_eq!(answer.status, status, "{call}: {}", answer.text());
                assert!(
                    answer.text().contains(sentence),
                    "{call}: {}",
                    answer.text()
                );
            }
        }
        assert_eq!(
            Form::Json
                .operate(port, &kill(&json!({"value": "tool"}), None))
                .await
                .status,
            404
        );
    });
}
