//! The executor API on a unix socket: an executor speaks for itself, and for nobody else.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use common::executor::{custom, given};
use common::{Link, Master, run, until};
use nesos_wire::message::MasterToAgent;
use nesos_wire::{ExecutorId, ExecutorKey};

/// Sends a request and reads until `enough` is in the answer, or to its end.
fn say(socket: &str, request: &str, body: &str, enough: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: agent\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&answer).contains(enough) {
        match stream.read(&mut piece).unwrap() {
            0 => break,
            length => answer.extend_from_slice(&piece[..length]),
        }
    }
    String::from_utf8(answer).unwrap()
}

fn subscribe(socket: &str, executor: &str, enough: &str) -> String {
    let body = serde_json::json!({"type": "SUBSCRIBE", "executor_id": {"value": executor},
        "framework_id": {"value": "f"}, "subscribe": {}});
    say(socket, "POST /api/v1/executor", &body.to_string(), enough)
}

/// What the executor does that the test starts: this very program.
fn be_the_executor(socket: &str) {
    let own = subscribe(socket, "e", "SUBSCRIBED");
    assert!(
        own.starts_with("HTTP/1.1 200") && own.contains("SUBSCRIBED"),
        "{own}"
    );
    let mut others = subscribe(socket, "other", "container");
    while others.starts_with("HTTP/1.1 503") {
        // It has just been launched.
        others = subscribe(socket, "other", "container");
    }
    assert!(others.starts_with("HTTP/1.1 403"), "{others}");
    assert!(
        others.contains("not in the executor's container"),
        "{others}"
    );
    let state = say(socket, "GET /state", "", "socket");
    assert!(state.starts_with("HTTP/1.1 404"), "{state}");
    fs::write("well.new", "").unwrap();
    fs::rename("well.new", "well").unwrap();
}

async fn begin(link: &mut Link, id: &str, command: String) {
    let mut executor = custom(id);
    executor.command.value = command;
    let mut task = given(&format!("of-{id}"), 1);
    task.executor = ExecutorId::new(id);
    let key = ExecutorKey {
        framework: executor.key.framework.clone(),
        executor: ExecutorId::new(id),
    };
    executor.key = key;
    link.send(&MasterToAgent::LaunchExecutor {
        executor: Box::new(executor),
        start: true,
        tasks: vec![task],
        group: false,
    })
    .await;
}

#[test]
fn an_executor_speaks_for_itself_through_the_socket() {
    if let Ok(socket) = std::env::var("MESOS_DOMAIN_SOCKET") {
        return be_the_executor(&socket);
    }
    run(async {
        let given =
            r#"--executor_environment_variables={"GREETING":"hello","PATH":"/bin:/usr/bin"}"#;
        let mut master = Master::new()
            .await
            .with_flag("--http_executor_domain_sockets=true".into())
            .with_flag(given.into());
        // A socket of an agentd that was killed is no hindrance.
        for round in 0..2 {
            master.start_agent();
            let (mut link, _) = master.link().await;
            if round == 1 {
                let program = std::env::current_exe().unwrap();
                let own = "--exact an_executor_speaks_for_itself_through_the_socket";
                begin(&mut link, "other", "sleep 1000".into()).await;
                let text = format!(
                    "env > environment; '{}' {own}; sleep 1000",
                    program.display()
                );
                begin(&mut link, "e", text).await;
                let well = master.sandbox("e").join("well");
                until("the executor is content", || well.exists().then_some(())).await;
                let environment = fs::read_to_string(master.sandbox("e").join("environment"));
                let environment = environment.unwrap();
                for line in [
                    "GREETING=hello",
                    "PATH=/bin:/usr/bin",
                    "MESOS_EXECUTOR_ID=e",
                ] {
                    assert!(
                        environment.lines().any(|one| one == line),
                        "{line} in {environment}"
                    );
                }
                // This process is in no container.
                let socket = master.work_dir().join("executors/agent.sock");
                let stranger = subscribe(socket.to_str().unwrap(), "e", "container");
                assert!(stranger.starts_with("HTTP/1.1 403"), "{stranger}");
            }
            master.kill_agent();
            assert!(Path::new(&master.work_dir().join("executors/agent.sock")).exists());
        }
    });
}

#[test]
fn variables_that_are_no_texts_are_refused_at_the_start() {
    run(async {
        let mut master = Master::new()
            .await
            .with_flag(r#"--executor_environment_variables={"A":1}"#.into());
        master.start_agent();
        assert!(!master.agent_ends().await.success());
        let log = master.log();
        assert!(log.contains("--executor_environment_variables"), "{log}");
    });
}
