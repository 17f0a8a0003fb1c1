//! Tasks, executors and operators' own containers on terminals, through the operator API in both forms.
#![allow(clippy::unwrap_used)]

mod common;

use common::attach::{Output, input, keys};
use common::form::Form;
use common::http::request;
use common::{Master, run, shell, until};
use nesos_api::v1;
use nesos_wire::task::{TaskSpec, TaskState};
use serde_json::{Value, json};

const TEXT: &str = "stty size; read line; stty size; read line; echo $line; exit 3";

fn on_terminal(task: &str, text: &str) -> TaskSpec {
    let info = json!({"name": task, "task_id": {"value": task}, "agent_id": {"value": "a"},
        "container": {"type": "MESOS", "tty_info": {"window_size": {"rows": 30, "columns": 100}}}});
    let info = v1::TaskInfo::from_json(info.to_string().as_bytes()).unwrap();
    TaskSpec {
        info: info.to_protobuf(),
        ..shell(task, text)
    }
}

fn attach(id: &Value) -> Value {
    json!({"type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": {"container_id": id}})
}

fn resize(rows: u32, columns: u32) -> Value {
    let size = json!({"rows": rows, "columns": columns});
    json!({"type": "CONTROL", "control": {"type": "TTY_INFO", "tty_info": {"window_size": size}}})
}

/// A call that is answered with a stream if at all: what is said instead.
async fn refused(port: u16, call: &Value) -> (u16, String) {
    let headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/recordio"),
        ("Message-Accept", "application/json"),
    ];
    let answer = request(
        port,
        "POST",
        "/api/v1",
        &headers,
        call.to_string().as_bytes(),
    )
    .await;
    (answer.status, answer.text())
}

async fn story(form: Form) {
    let mut master = Master::new().await.with_fixed_port();
    master.start_agent();
    let (mut link, hello) = master.link().await;
    let port = hello.port;
    link.launch(on_terminal("t", TEXT)).await;
    let (_, update) = link.until(TaskState::Running).await;
    let id = json!({"value": update.status.container.unwrap().as_str()});
    let stdout = master.sandbox("t").join("stdout");
    let says_so = || std::fs::read_to_string(&stdout).is_ok_and(|text| text == "30 100\r\n");
    until("its size", || says_so().then_some(())).await;
    let mut output = Output::open(form, port, &attach(&id)).await;
    let answer = input(form, port, &id, &[resize(40, 132), keys(b"x\n")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    output.until(Some("40 132\r\n")).await;

    // It outlives agentd; who was attached comes again.
    master.kill_agent();
    drop(output);
    master.start_agent();
    let (mut link, _) = master.link().await;
    let mut output = Output::open(form, port, &attach(&id)).await;
    let mut second = Output::open(form, port, &attach(&id)).await;
    let answer = input(form, port, &id, &[keys(b"typed\n")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for output in [&mut output, &mut second] {
        output.until(None).await;
        assert_eq!(output.out, "typed\r\ntyped\r\n");
    }
    let (_, update) = link.until(TaskState::Failed).await;
    assert!(update.status.message.contains('3'), "{update:?}");
    let kept = link.text("t", "stdout").await;
    assert_eq!(kept, "30 100\r\nx\r\n40 132\r\ntyped\r\ntyped\r\n");
    let (status, why) = refused(port, &attach(&id)).await;
    assert_eq!(
        (status, why.contains("cannot be found")),
        (404, true),
        "{why}"
    );
}

#[test]
fn a_terminals_story_in_json() {
    run(story(Form::Json));
}

#[test]
fn a_terminals_story_in_protobuf() {
    run(story(Form::Protobuf));
}

#[test]
fn there_is_nothing_to_attach_to_without_one_and_one_keyboard_with_one() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, hello) = master.link().await;
        let port = hello.port;
        link.launch(shell("plain", "sleep 1000")).await;
        let (_, update) = link.until(TaskState::Running).await;
        let plain = json!({"value": update.status.container.unwrap().as_str()});
        let (status, why) = refused(port, &attach(&plain)).await;
        assert_eq!((status, why.contains("no terminal")), (500, true), "{why}");
        let answer = input(Form::Json, port, &plain, &[]).await;
        assert_eq!(answer.status, 500, "{}", answer.text());

        link.launch(on_terminal("t", TEXT)).await;
        let (_, update) = link.until(TaskState::Running).await;
        let id = json!({"value": update.status.container.unwrap().as_str()});
        let mut output = Output::open(Form::Json, port, &attach(&id)).await;
        // One that stays: its body does not end before the task does.
        let first = common::attach::hold_input(port, &id).await;
        output.until(Some("held\r\n")).await;
        let answer = input(Form::Json, port, &id, &[keys(b"no\n")]).await;
        assert_eq!(answer.status, 409, "{}", answer.text());
        drop(first);
        let deadline = std::time::Instant::now() + common::LIMIT;
        // It is free as soon as the agent has seen that the first one is gone.
        while input(Form::Json, port, &id, &[keys(b"yes\n")]).await.status == 409 {
            assert!(std::time::Instant::now() < deadline);
        }
        output.until(None).await;
        // As it was typed, and as the task says it.
        assert_eq!(output.out.matches("yes\r\n").count(), 2, "{}", output.out);
    });
}

#[test]
fn operators_own_containers_have_them_too() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, hello) = master.link().await;
        let port = hello.port;
        link.launch(shell("t", "sleep 1000")).await;
        let (_, update) = link.until(TaskState::Running).await;
        let parent = json!({"value": update.status.container.unwrap().as_str()});
        let id = json!({"value": "shell", "parent": parent});
        let launch = json!({"container_id": id, "command": {"value": TEXT},
            "container": {"type": "MESOS", "tty_info": {}}});
        let call = json!({"type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": launch});
        let answer = Form::Json.operate(port, &call).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut output = Output::open(Form::Json, port, &attach(&id)).await;
        let said = [resize(25, 90), keys(b"x\n"), keys(b"y\n")];
        let answer = input(Form::Json, port, &id, &said).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        output.until(None).await;
        assert!(output.out.contains("25 90\r\n"), "{}", output.out);
        let (_, answer) = Form::Json.about(port, "WAIT_CONTAINER", &id).await;
        assert_eq!(answer["wait_container"]["exit_status"], 3 << 8, "{answer}");
    });
}
