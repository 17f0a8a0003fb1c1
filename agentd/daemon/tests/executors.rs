//! Custom executors: a real agentd, a real process in the executor's container, and the test speaking for it.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::executor::{Executor, Form, custom, ended, given, launch};
use common::{Link, Master, key, run, until};
use nesos_api::executor::{CallType, EventType};
use nesos_api::v1::{self, TaskState as Public};
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::task::{Reason, TaskState};
use nesos_wire::{ExecutorId, FrameworkId};

fn story(form: Form) {
    run(async move {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, hello) = master.link().await;
        launch(&mut link, vec![given("a", 1), given("b", 2)], true).await;
        until("the executor's process", || {
            fs::read_to_string(master.sandbox("e").join("group"))
                .ok()
                .filter(|text| text.ends_with('\n'))
        })
        .await;
        let executor = Executor::new("e", hello.port, form);
        let early = executor.post(&executor.message(b"early")).await;
        assert_eq!(
            (early.status, early.text().as_str()),
            (403, "Executor is not subscribed")
        );
        let (mut stream, container) = subscribed(&executor).await;
        executor.says("a", Public::Running, 1).await;
        let acknowledged = stream
            .expect(EventType::Acknowledged)
            .await
            .acknowledged
            .unwrap();
        assert_eq!(
            (acknowledged.task_id.value.as_str(), acknowledged.uuid.0),
            ("a", vec![1; 16])
        );
        let (_, update) = link.until(TaskState::Running).await;
        assert_eq!(update.status.data, b"payload");
        assert_eq!(update.status.container.unwrap().as_str(), container);
        later_task(&mut link, &executor, &mut stream).await;
        messages(&mut link, &executor, &mut stream).await;
        group(&mut link, &mut stream).await;
        check_process(&master, hello.port);
        shown(hello.port, form, &container).await;
        link.send(&MasterToAgent::ShutdownExecutor {
            key: custom("e").key,
        })
        .await;
        stream.expect(EventType::Shutdown).await;
        // By SIGTERM if that is faster than the SIGKILL right behind it.
        assert!(matches!(ended(&mut link).await, 9 | 15));
        assert_eq!(stream.next().await, None);
        let gone = executor.post(&executor.call(CallType::Heartbeat)).await;
        assert_eq!(gone.status, 202, "a heartbeat is not looked at");
        let (_, update) = link.until(TaskState::Failed).await;
        assert_eq!(
            (update.key, update.status.reason),
            (key("a"), Some(Reason::ExecutorTerminated))
        );
        assert_eq!(
            link.text("a", "stdout").await,
            "begun\n",
            "its sandbox is its executor's"
        );
    });
}

/// Subscribes and takes the two tasks; also the container's id.
async fn subscribed(executor: &Executor) -> (common::executor::Stream, String) {
    let mut stream = executor.subscribe().await;
    let subscribed = stream
        .expect(EventType::Subscribed)
        .await
        .subscribed
        .unwrap();
    assert_eq!(subscribed.executor_info.data.unwrap().0, b"own");
    assert_eq!(subscribed.framework_info.id, Some("f".into()));
    assert_eq!(subscribed.agent_info.id, Some("m-S1".into()));
    let container = subscribed.container_id.unwrap().value;
    for task in ["a", "b"] {
        let launched = stream.expect(EventType::Launch).await.launch.unwrap().task;
        assert_eq!(
            (
                launched.task_id.value.as_str(),
                launched.agent_id.value.as_str()
            ),
            (task, "m-S1")
        );
        assert_eq!(launched.data.unwrap().0, b"for the task");
    }
    (stream, container)
}

/// A live executor is used again; a kill reaches it.
async fn later_task(link: &mut Link, executor: &Executor, stream: &mut common::executor::Stream) {
    launch(link, vec![given("c", 3)], false).await;
    stream.expect(EventType::Launch).await;
    link.send(&MasterToAgent::Kill {
        key: key("c"),
        grace_ms: Some(1500),
    })
    .await;
    let kill = stream.expect(EventType::Kill).await.kill.unwrap();
    assert_eq!(
        kill.kill_policy.unwrap().grace_period.unwrap().nanoseconds,
        1_500_000_000
    );
    executor.says("c", Public::Killed, 2).await;
    stream.expect(EventType::Acknowledged).await;
    link.until(TaskState::Killed).await;
}

async fn messages(link: &mut Link, executor: &Executor, stream: &mut common::executor::Stream) {
    let message = MasterToAgent::FrameworkMessage {
        framework: FrameworkId::new("f"),
        executor: ExecutorId::new("e"),
        data: b"ping".to_vec(),
    };
    link.send(&message).await;
    assert_eq!(
        stream
            .expect(EventType::Message)
            .await
            .message
            .unwrap()
            .data
            .0,
        b"ping"
    );
    assert_eq!(executor.post(&executor.message(b"pong")).await.status, 202);
    loop {
        if let AgentToMaster::FrameworkMessage { data, .. } = link.next().await.unwrap() {
            return assert_eq!(data, b"pong");
        }
    }
}

/// Its environment, and a process group of its own.
fn check_process(master: &Master, port: u16) {
    let sandbox = fs::canonicalize(master.sandbox("e")).unwrap();
    let environment = fs::read_to_string(sandbox.join("environment")).unwrap();
    let sandbox = sandbox.display();
    for line in [
        "MESOS_FRAMEWORK_ID=f".to_string(),
        "MESOS_EXECUTOR_ID=e".into(),
        format!("MESOS_DIRECTORY={sandbox}"),
        format!("MESOS_SANDBOX={sandbox}"),
        "MESOS_SLAVE_ID=m-S1".into(),
        format!("MESOS_SLAVE_PID=slave(1)@127.0.0.1:{port}"),
        format!("MESOS_AGENT_ENDPOINT=127.0.0.1:{port}"),
        "MESOS_CHECKPOINT=1".into(),
        "MESOS_HTTP_COMMAND_EXECUTOR=0".into(),
        "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=300ms".into(),
        "MESOS_RECOVERY_TIMEOUT=15mins".into(),
        "MESOS_SUBSCRIPTION_BACKOFF_MAX=2secs".into(),
    ] {
        assert!(
            environment.lines().any(|other| other == line),
            "{line} is missing in\n{environment}"
        );
    }
    assert!(!environment.contains("MESOS_TASK_ID") && !environment.contains("NESOS_JOIN_TOKEN"));
    let group: i32 = fs::read_to_string(master.sandbox("e").join("group"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let own = nix::unistd::getpgid(Some(master.pid())).unwrap().as_raw();
    assert_ne!(group, own);
}

/// Tasks that are launched together come in one event; a kill of one that waits is not for those it has.
async fn group(link: &mut Link, stream: &mut common::executor::Stream) {
    let executor = Box::new(custom("e"));
    let tasks = vec![given("g", 4), given("h", 5)];
    link.send(&MasterToAgent::LaunchExecutor {
        executor,
        start: false,
        tasks,
        group: true,
    })
    .await;
    let launched = stream.expect(EventType::LaunchGroup).await.launch_group;
    let tasks = launched.unwrap().task_group.tasks;
    let names: Vec<_> = tasks
        .iter()
        .map(|task| task.task_id.value.as_str())
        .collect();
    assert_eq!(names, ["g", "h"]);
}

/// In GET_EXECUTORS, GET_CONTAINERS, GET_TASKS, `/state` and `/containers`.
async fn shown(port: u16, form: Form, container: &str) {
    use nesos_api::operator::agent as api;
    let ask = async |kind| {
        let call = api::Call {
            r#type: Some(kind),
            get_containers: Some(api::CallGetContainers::default()),
            ..api::Call::default()
        };
        let headers = [
            ("Content-Type", form.media_type()),
            ("Accept", form.media_type()),
        ];
        let body = match form {
            Form::Json => call.to_json(),
            Form::Protobuf => call.to_protobuf(),
        };
        let answer = common::http::request(port, "POST", "/api/v1", &headers, &body).await;
        match form {
            Form::Json => api::Response::from_json(&answer.body).unwrap(),
            Form::Protobuf => api::Response::from_protobuf(&answer.body).unwrap(),
        }
    };
    let executors = ask(api::CallType::GetExecutors)
        .await
        .get_executors
        .unwrap()
        .executors;
    let info = &executors[0].executor_info;
    assert_eq!((executors.len(), info.executor_id.value.as_str()), (1, "e"));
    assert_eq!(info.r#type, Some(v1::ExecutorInfoType::Custom));
    let containers = ask(api::CallType::GetContainers)
        .await
        .get_containers
        .unwrap()
        .containers;
    assert_eq!(
        (containers.len(), containers[0].container_id.value.as_str()),
        (1, container)
    );
    assert_eq!(containers[0].executor_name.as_deref(), Some("the executor"));
    let tasks = ask(api::CallType::GetTasks).await.get_tasks.unwrap();
    assert_eq!(
        (tasks.launched_tasks.len(), tasks.queued_tasks.len()),
        (4, 0)
    );
    let state = common::http::get(port, "/state").await.json();
    let executor = &state["frameworks"][0]["executors"][0];
    assert_eq!(
        (&executor["container"], &executor["type"]),
        (&container.into(), &"CUSTOM".into())
    );
    assert_eq!(executor["tasks"].as_array().unwrap().len(), 4);
    assert_eq!(state["frameworks"][0]["name"], "demo");
    let metrics = common::http::get(port, "/metrics/snapshot").await.json();
    assert_eq!(metrics["slave/executors_running"], 1.0);
    let containers = common::http::get(port, "/containers").await.json();
    assert_eq!(
        (&containers[0]["executor_id"], &containers[0]["source"]),
        (&"e".into(), &"tests".into())
    );
}

#[test]
fn an_executors_story_in_json() {
    story(Form::Json);
}

#[test]
fn an_executors_story_in_protobuf() {
    story(Form::Protobuf);
}
