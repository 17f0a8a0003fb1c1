//! The executor API on a unix socket: an executor speaks for itself, and for nobody else.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::executor::{custom, given};
use common::{Link, Master, run, until};
use nesos_sys::user_namespace::{IdMap, check};
use nesos_wire::message::MasterToAgent;
use nesos_wire::task::Uri;
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
    executor.command.uris = vec![Uri {
        value: std::env::current_exe().unwrap().display().to_string(),
        executable: true,
        extract: false,
        cache: false,
        output_file: Some("program".into()),
    }];
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

/// Executor `e` is this very program, which asks this test for its part.
fn story(test: &'static str, isolation: &'static str) {
    if let Ok(socket) = std::env::var("MESOS_DOMAIN_SOCKET") {
        return be_the_executor(&socket);
    }
    run(async move {
        let given =
            r#"--executor_environment_variables={"GREETING":"hello","PATH":"/bin:/usr/bin"}"#;
        let mut master = Master::new()
            .await
            .with_flag("--http_executor_domain_sockets=true".into())
            .with_flag(format!("--isolation={isolation}"))
            .with_flag(given.into());
        // The socket of an agentd that was killed is no hindrance.
        master.start_agent();
        drop(master.link().await);
        master.kill_agent();
        let socket = master.work_dir().join("executors/agent.sock");
        assert!(socket.exists());
        master.start_agent();
        let (mut link, _) = master.link().await;
        begin(&mut link, "other", "sleep 1000".into()).await;
        let text = format!("env > environment; ./program --exact {test} --nocapture; sleep 1000");
        begin(&mut link, "e", text).await;
        let well = master.sandbox("e").join("well");
        until("the executor is content", || well.exists().then_some(())).await;
        let environment = fs::read_to_string(master.sandbox("e").join("environment")).unwrap();
        for line in [
            "GREETING=hello",
            "PATH=/bin:/usr/bin",
            "MESOS_EXECUTOR_ID=e",
        ] {
            let has = environment.lines().any(|one| one == line);
            assert!(has, "{line} in {environment}");
        }
        // This process is in no container.
        let stranger = subscribe(socket.to_str().unwrap(), "e", "container");
        assert!(stranger.starts_with("HTTP/1.1 403"), "{stranger}");
    });
}

#[test]
fn an_executor_speaks_for_itself_through_the_socket() {
    story(
        "an_executor_speaks_for_itself_through_the_socket",
        "posix/cpu,posix/mem",
    );
}

#[test]
fn so_does_one_with_files_of_its_own() {
    if nix::unistd::geteuid().is_root() {
        story("so_does_one_with_files_of_its_own", "filesystem/linux");
    } else {
        eprintln!("only root may mount: skipped");
    }
}

#[test]
fn so_does_one_in_a_user_namespace() {
    let ids = IdMap {
        first: 1_879_048_192,
        count: 65_536,
    };
    // As the executor it is in one, and cannot make another.
    let is_executor = std::env::var_os("MESOS_DOMAIN_SOCKET").is_some();
    match check(ids, &std::env::temp_dir()) {
        Err(error) if !is_executor => eprintln!("{error}: skipped"),
        _ => story(
            "so_does_one_in_a_user_namespace",
            "filesystem/linux,namespaces/pid,namespaces/user",
        ),
    }
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
