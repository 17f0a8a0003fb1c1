//! People's commands beside tasks, through the operator API in both forms.
#![allow(clippy::unwrap_used)]

mod common;

use common::attach::{Output, input, keys};
use common::form::Form;
use common::http::request;
use common::{Link, Master, run, shell, until};
use nesos_wire::task::TaskState;
use serde_json::{Value, json};

fn session(id: &Value, text: &str, tty: bool) -> Value {
    let mut launch = json!({"container_id": id, "command": {"value": text}});
    if tty {
        let size = json!({"rows": 30, "columns": 100});
        launch["container"] = json!({"type": "MESOS", "tty_info": {"window_size": size}});
    }
    json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": launch})
}

/// An agent with a task `t`, its port, and the container of the task.
async fn start() -> (Master, Link, u16, Value) {
    let mut master = Master::new().await;
    master.start_agent();
    let (mut link, hello) = master.link().await;
    link.launch(shell("t", "echo here > mark; sleep 1000"))
        .await;
    let (_, update) = link.until(TaskState::Running).await;
    let container = update.status.container.unwrap();
    let mark = master.sandbox("t").join("mark");
    until("the task", || mark.exists().then_some(())).await;
    (
        master,
        link,
        hello.port,
        json!({"value": container.as_str()}),
    )
}

fn inside(parent: &Value, name: &str) -> Value {
    json!({"value": name, "parent": parent})
}

async fn story(form: Form) {
    let (_master, _link, port, parent) = start().await;
    let id = inside(&parent, "s1");
    let text = "cat mark; echo $MESOS_TASK_ID >&2; cat; exit 3";
    let mut output = Output::open(form, port, &session(&id, text, false)).await;
    output.until(Some("here\n")).await;
    // A second listener hears what comes from then on.
    let attach =
        json!({"type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": {"container_id": id}});
    let mut second = Output::open(form, port, &attach).await;
    let answer = input(form, port, &id, &[keys(b"typed\n"), keys(b"")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    output.until(None).await;
    assert_eq!(
        (output.out.as_str(), output.err.as_str()),
        ("here\ntyped\n", "t\n")
    );
    second.until(None).await;
    assert_eq!(second.out, "typed\n");
    let (status, answer) = form.about(port, "WAIT_NESTED_CONTAINER", &id).await;
    let code = &answer["wait_nested_container"]["exit_status"];
    assert_eq!((status, code), (200, &json!(3 << 8)), "{answer}");
    let (_, answer) = form.about(port, "WAIT_CONTAINER", &id).await;
    assert_eq!(answer["wait_container"]["exit_status"], 3 << 8);
    assert_eq!(
        form.about(port, "REMOVE_NESTED_CONTAINER", &id).await.0,
        200
    );
    assert_eq!(form.about(port, "WAIT_NESTED_CONTAINER", &id).await.0, 404);

    // A signal, and the end of one that nobody listens to any more.
    let id = inside(&parent, "s2");
    let mut output = Output::open(form, port, &session(&id, "echo up; sleep 1000", false)).await;
    output.until(Some("up")).await;
    assert_eq!(form.about(port, "REMOVE_CONTAINER", &id).await.0, 500);
    let kill = json!({"type": "KILL_NESTED_CONTAINER", "kill_nested_container": {"container_id": id, "signal": 15}});
    assert_eq!(form.operate(port, &kill).await.status, 200);
    output.until(None).await;
    let (_, answer) = form.about(port, "WAIT_NESTED_CONTAINER", &id).await;
    assert_eq!(answer["wait_nested_container"]["exit_status"], 15);
    let id = inside(&parent, "s3");
    let mut output = Output::open(form, port, &session(&id, "echo up; sleep 1000", false)).await;
    output.until(Some("up")).await;
    drop(output);
    let (_, answer) = form.about(port, "WAIT_NESTED_CONTAINER", &id).await;
    assert_eq!(answer["wait_nested_container"]["exit_status"], 9);
}

#[test]
fn a_sessions_story_in_json() {
    run(story(Form::Json));
}

#[test]
fn a_sessions_story_in_protobuf() {
    run(story(Form::Protobuf));
}

#[test]
fn a_terminal_has_a_size_and_passes_control_c_on() {
    run(async {
        let (_master, mut link, port, parent) = start().await;
        for form in [Form::Json, Form::Protobuf] {
            let id = inside(&parent, &format!("{form:?}"));
            let text = "stty size; read line; stty size; while :; do sleep 0.05; done";
            let text = format!("trap 'echo caught; exit 7' INT; {text}");
            let mut output = Output::open(form, port, &session(&id, &text, true)).await;
            output.until(Some("30 100\r\n")).await;
            let size = json!({"rows": 40, "columns": 132});
            let resize = json!({"type": "CONTROL", "control": {"type": "TTY_INFO", "tty_info": {"window_size": size}}});
            let answer = input(form, port, &id, &[resize, keys(b"x\n")]).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            output.until(Some("40 132\r\n")).await;
            // Its input can be taken again after it was left.
            let answer = input(form, port, &id, &[keys(&[3])]).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            output.until(None).await;
            assert!(output.out.contains("caught\r\n"), "{}", output.out);
            let (_, answer) = form.about(port, "WAIT_NESTED_CONTAINER", &id).await;
            assert_eq!(answer["wait_nested_container"]["exit_status"], 7 << 8);
        }
        // With its task a session ends too.
        let id = inside(&parent, "last");
        // Not as a child of the shell, which blocks all signals until that is there: it would die of the second one.
        let text = "echo up; exec sleep 1000";
        let mut output = Output::open(Form::Json, port, &session(&id, text, true)).await;
        output.until(Some("up")).await;
        link.send(&nesos_wire::message::MasterToAgent::Kill {
            key: common::key("t"),
            grace_ms: Some(0),
        })
        .await;
        output.until(None).await;
        // Asked to end first, however short the time it is given.
        let (_, answer) = Form::Json.about(port, "WAIT_NESTED_CONTAINER", &id).await;
        assert_eq!(answer["wait_nested_container"]["exit_status"], 15);
    });
}

#[test]
fn what_cannot_be_is_refused_with_a_sentence() {
    run(async {
        let (_master, _link, port, parent) = start().await;
        let id = inside(&parent, "s");
        let stranger = inside(&json!({"value": "nobody"}), "s");
        let mut image = session(&id, "true", false);
        image["launch_nested_container_session"]["container"] =
            json!({"type": "MESOS", "hostname": "h"});
        let attach = json!({"type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": {"container_id": id}});
        for (call, status, sentence) in [
            (
                session(&stranger, "true", false),
                404,
                "No task runs in the parent container nobody",
            ),
            (
                session(&json!({"value": "s"}), "true", false),
                400,
                "'container_id.parent'",
            ),
            (
                session(&inside(&parent, "a/b"), "true", false),
                400,
                "container_id.value",
            ),
            (session(&id, "", false), 400, "'command.value'"),
            (image, 400, "'tty_info'"),
            (attach, 404, "cannot be found"),
        ] {
            let streamed = [
                ("Content-Type", "application/json"),
                ("Accept", "application/recordio"),
                ("Message-Accept", "application/json"),
            ];
            let body = call.to_string();
            let answer = request(port, "POST", "/api/v1", &streamed, body.as_bytes()).await;
            assert_eq!(answer.status, status, "{}", answer.text());
            assert!(answer.text().contains(sentence), "{}", answer.text());
            let answer = request(port, "POST", "/api/v1", &streamed[..2], body.as_bytes()).await;
            assert_eq!(
                (answer.status, answer.text().contains("'Message-Accept'")),
                (400, true)
            );
            let answer = Form::Json.operate(port, &call).await;
            assert_eq!(
                (
                    answer.status,
                    answer.text().contains("application/recordio")
                ),
                (406, true)
            );
        }
        let answer = input(Form::Json, port, &id, &[]).await;
        assert_eq!(answer.status, 404, "{}", answer.text());
        let kill = json!({"type": "KILL_CONTAINER", "kill_container": {"container_id": id}});
        assert_eq!(Form::Json.operate(port, &kill).await.status, 404);
    });
}

#[test]
fn how_a_command_ended_that_nobody_has_heard_of_is_not_made_up() {
    run(async {
        let (_master, _link, port, parent) = start().await;
        let id = inside(&parent, "s");
        let text = "echo up; exec sleep 1000";
        let mut output = Output::open(Form::Json, port, &session(&id, text, false)).await;
        output.until(Some("up")).await;
        let call = json!({"type": "GET_CONTAINERS", "get_containers": {}});
        let containers = Form::Json.operate(port, &call).await.json();
        let shown = &containers["get_containers"]["containers"][0]["container_status"];
        let helper = shown["executor_pid"].as_i64().unwrap();
        let helper = nix::unistd::Pid::from_raw(i32::try_from(helper).unwrap());
        nix::sys::signal::kill(helper, nix::sys::signal::Signal::SIGKILL).unwrap();
        output.until(None).await;
        let (status, answer) = Form::Json.about(port, "WAIT_NESTED_CONTAINER", &id).await;
        assert_eq!(status, 200, "{answer}");
        let ended = &answer["wait_nested_container"];
        assert!(ended["exit_status"].is_null(), "{answer}");
    });
}
