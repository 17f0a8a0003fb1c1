//! Custom executors that die, do not start or do not subscribe; and volumes that come late.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::executor::{Executor, Form, custom, ended, given, launch};
use common::{Master, run};
use nesos_api::executor::EventType;
use nesos_wire::message::MasterToAgent;
use nesos_wire::operation::{OperationKind, OperationSpec};
use nesos_wire::resource::{Disk, Entry, Reservation, Resources, Scalar, Terms, Value, Volume};
use nesos_wire::resource_text;
use nesos_wire::task::{Command, Reason, TaskState};

#[test]
fn one_that_dies_takes_its_tasks_along() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, hello) = master.link().await;
        let mut executor = custom("e");
        executor.command.value = "while [ ! -e go ]; do sleep 0.02; done; exit 3".into();
        let executor = Box::new(executor);
        let tasks = vec![given("a", 1)];
        link.send(&MasterToAgent::LaunchExecutor {
            executor,
            start: true,
            tasks,
            group: false,
        })
        .await;
        let mut stream = Executor::new("e", hello.port, Form::Protobuf)
            .subscribe()
            .await;
        stream.expect(EventType::Subscribed).await;
        stream.expect(EventType::Launch).await;
        fs::write(master.sandbox("e").join("go"), "").unwrap();
        assert_eq!(ended(&mut link).await, 3 << 8);
        let executor = Executor::new("e", hello.port, Form::Json);
        let answer = executor.post(&executor.message(b"")).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (400, "Executor cannot be found")
        );
        let (_, update) = link.until(TaskState::Failed).await;
        assert_eq!(update.status.message, "Executor exited with status 3");
    });
}

#[test]
fn one_that_does_not_subscribe_is_killed() {
    run(async {
        let flag = "--executor_registration_timeout=1secs".to_string();
        let mut master = Master::new().await.with_flag(flag);
        master.start_agent();
        let (mut link, _) = master.link().await;
        launch(&mut link, vec![given("a", 1)], true).await;
        let (_, update) = link.until(TaskState::Failed).await;
        assert_eq!(
            update.status.reason,
            Some(Reason::ExecutorRegistrationTimeout)
        );
    });
}

#[test]
fn volumes_of_later_tasks_are_found_in_the_executors_sandbox() {
    run(async {
        let volume = resource_text::parse("cpus:0.1").unwrap();
        let mut master = Master::new()
            .await
            .with_resources("cpus:4;mem:512;disk:100");
        master.start_agent();
        let (mut link, hello) = master.link().await;
        launch(&mut link, vec![given("a", 1)], true).await;
        let executor = Executor::new("e", hello.port, Form::Json);
        let mut stream = executor.subscribe().await;
        stream.expect(EventType::Subscribed).await;
        stream.expect(EventType::Launch).await;
        let kept = kept();
        link.send(&MasterToAgent::Apply(made(&kept))).await;
        let mut later = given("b", 2);
        later.resources = volume;
        later.resources.add(&kept);
        launch(&mut link, vec![later], false).await;
        stream.expect(EventType::Launch).await;
        let link_of_volume = master.sandbox("e").join("data");
        assert!(
            fs::read_link(&link_of_volume)
                .unwrap()
                .ends_with("volumes/roles/db/kept")
        );
    });
}

/// A volume of 10 MB.
fn kept() -> Resources {
    let volume = Volume {
        id: "kept".into(),
        principal: None,
        container_path: "data".into(),
        is_read_only: false,
    };
    let terms = Terms {
        reservations: vec![Reservation::dynamic("db", None)],
        disk: Some(Disk {
            source: None,
            volume: Some(volume),
        }),
        ..Terms::default()
    };
    [Entry::new("disk", terms, Value::Scalar(Scalar(10_000)))]
        .into_iter()
        .collect()
}

/// Makes it out of what is free.
fn made(volume: &Resources) -> OperationSpec {
    OperationSpec {
        uuid: nesos_wire::Uuid([1; 16]),
        framework: None,
        id: None,
        kind: OperationKind::Create,
        consumed: resource_text::parse("disk:10").unwrap(),
        converted: volume.clone(),
        info: Vec::new(),
    }
}

#[test]
fn a_command_that_is_not_there_fails_the_tasks() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        let mut executor = custom("e");
        executor.command = Command {
            value: "/nothing/here".into(),
            ..Command::default()
        };
        let executor = Box::new(executor);
        let tasks = vec![given("a", 1)];
        link.send(&MasterToAgent::LaunchExecutor {
            executor,
            start: true,
            tasks,
            group: false,
        })
        .await;
        let (_, update) = link.until(TaskState::Failed).await;
        assert_eq!(update.status.reason, Some(Reason::ContainerLaunchFailed));
        assert!(
            update.status.message.contains("/nothing/here"),
            "{}",
            update.status.message
        );
    });
}
