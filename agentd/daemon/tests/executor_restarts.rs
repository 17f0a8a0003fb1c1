//! Custom executors over kill -9 of agentd.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::executor::{Executor, Form, custom, ended, given, launch};
use common::{Link, Master, key, run, until};
use nesos_api::executor::{CallSubscribe, CallUpdate, EventType};
use nesos_api::v1::{self, TaskState as Public};
use nesos_wire::FrameworkId;
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::task::{Reason, TaskState};

/// The last statuses of two tasks, whichever comes first.
async fn two_ends(link: &mut Link) -> Vec<(String, TaskState, Option<Reason>)> {
    let mut ends = Vec::new();
    while ends.len() < 2 {
        let Some(AgentToMaster::Update(update)) = link.next().await else {
            continue;
        };
        link.acknowledge(&update).await;
        if update.status.state.is_terminal() {
            let task = update.key.task.to_string();
            ends.push((task, update.status.state, update.status.reason));
        }
    }
    ends
}

#[test]
fn executors_outlive_a_killed_agentd_and_return_in_json() {
    outlive(Form::Json);
}

#[test]
fn executors_outlive_a_killed_agentd_and_return_in_protobuf() {
    outlive(Form::Protobuf);
}

fn outlive(form: Form) {
    run(async move {
        let mut master = Master::new().await.with_fixed_port();
        master.start_agent();
        let (mut link, hello) = master.link().await;
        launch(&mut link, vec![given("a", 1), given("b", 2)], true).await;
        let executor = Executor::new("e", hello.port, form);
        let mut stream = executor.subscribe().await;
        stream.expect(EventType::Subscribed).await;
        stream.expect(EventType::Launch).await;
        stream.expect(EventType::Launch).await;
        executor.says("a", Public::Running, 1).await;
        stream.expect(EventType::Acknowledged).await;
        master.kill_agent();
        assert_eq!(stream.next().await, None);
        master.start_agent();
        let (mut link, hello) = master.link().await;
        assert_eq!((hello.executors.len(), hello.tasks.len()), (1, 2));
        let early = executor.post(&executor.message(b"early")).await;
        assert_eq!(
            early.status,
            503,
            "not before it has returned: {}",
            early.text()
        );
        let CallUpdate { status } = executor.update("a", Public::Finished, 2).update.unwrap();
        let subscribe = CallSubscribe {
            unacknowledged_tasks: Vec::new(),
            unacknowledged_updates: vec![CallUpdate { status }],
        };
        let mut stream = executor.subscribe_with(subscribe).await;
        stream.expect(EventType::Subscribed).await;
        let acknowledged = stream
            .expect(EventType::Acknowledged)
            .await
            .acknowledged
            .unwrap();
        assert_eq!(acknowledged.uuid.0, vec![2; 16]);
        let mut ends = two_ends(&mut link).await;
        ends.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(ends[0], ("a".to_string(), TaskState::Finished, None));
        assert_eq!(
            ends[1],
            (
                "b".to_string(),
                TaskState::Dropped,
                Some(Reason::AgentRestarted)
            )
        );
        link.send(&MasterToAgent::ShutdownFramework {
            framework: FrameworkId::new("f"),
        })
        .await;
        stream.expect(EventType::Shutdown).await;
        ended(&mut link).await;
    });
}

#[test]
fn one_that_does_not_return_is_killed() {
    run(async {
        let mut master = Master::new()
            .await
            .with_fixed_port()
            .with_flag("--executor_reregistration_timeout=1secs".into());
        master.start_agent();
        let (mut link, hello) = master.link().await;
        launch(&mut link, vec![given("a", 1)], true).await;
        let mut stream = Executor::new("e", hello.port, Form::Json).subscribe().await;
        stream.expect(EventType::Subscribed).await;
        stream.expect(EventType::Launch).await;
        master.kill_agent();
        master.start_agent();
        let (mut link, _) = master.link().await;
        let (_, update) = link.until(TaskState::Gone).await;
        assert_eq!(
            update.status.reason,
            Some(Reason::ExecutorReregistrationTimeout)
        );
        until("the run directory to go", || {
            fs::read_dir(master.work_dir().join("run"))
                .unwrap()
                .next()
                .is_none()
                .then_some(())
        })
        .await;
    });
}

/// kill -9, a new agentd, and its link.
async fn crash(master: &mut Master) -> Link {
    master.kill_agent();
    master.start_agent();
    master.link().await.0
}

#[test]
fn agentd_may_be_killed_between_any_two_steps() {
    run(async {
        let mut master = Master::new().await.with_fixed_port();
        master.start_agent();
        let (mut link, hello) = master.link().await;
        let executor = Executor::new("e", hello.port, Form::Json);
        launch(&mut link, vec![given("a", 1), given("b", 2)], true).await;
        until("the executor's process", || {
            master.sandbox("e").join("stdout").exists().then_some(())
        })
        .await;
        // Before it has subscribed: its tasks wait for it.
        let mut link = crash(&mut master).await;
        let mut stream = executor.subscribe().await;
        stream.expect(EventType::Subscribed).await;
        stream.expect(EventType::Launch).await;
        stream.expect(EventType::Launch).await;
        // It has them: it says so, and they are not handed over again.
        drop(link);
        link = crash(&mut master).await;
        let mut stream = returned(&executor, &["a", "b"], &[]).await;
        executor.says("a", Public::Running, 1).await;
        stream.expect(EventType::Acknowledged).await;
        // A status is on disk before it is acknowledged, so it need not be said again.
        drop(link);
        link = crash(&mut master).await;
        let (states, _) = link.until(TaskState::Running).await;
        assert_eq!(states, [TaskState::Running]);
        let mut stream = returned(&executor, &["b"], &[]).await;
        link.send(&MasterToAgent::Kill {
            key: key("a"),
            grace_ms: None,
        })
        .await;
        stream.expect(EventType::Kill).await;
        // A kill that it may not have heard is said again; a repeated status is told once.
        drop(link);
        link = crash(&mut master).await;
        let mut stream = returned(&executor, &["b"], &[("a", Public::Running, 1)]).await;
        stream.expect(EventType::Acknowledged).await;
        stream.expect(EventType::Kill).await;
        executor.says("a", Public::Killed, 2).await;
        let (states, _) = link.until(TaskState::Killed).await;
        assert_eq!(states, [TaskState::Killed]);
        // Its end goes on where it was.
        link.send(&MasterToAgent::ShutdownExecutor {
            key: custom("e").key,
        })
        .await;
        link.settle().await;
        drop(link);
        link = crash(&mut master).await;
        assert!(matches!(ended(&mut link).await, 9 | 15));
        let (_, update) = link.until(TaskState::Failed).await;
        assert_eq!(update.key, key("b"));
    });
}

/// Subscribes again with these tasks and updates unacknowledged.
async fn returned(
    executor: &Executor,
    tasks: &[&str],
    updates: &[(&str, Public, u8)],
) -> common::executor::Stream {
    let task = |name: &&str| v1::TaskInfo {
        name: (*name).into(),
        task_id: (*name).into(),
        ..v1::TaskInfo::default()
    };
    let update = |(task, state, number): &(&str, Public, u8)| {
        executor.update(task, *state, *number).update.unwrap()
    };
    let subscribe = CallSubscribe {
        unacknowledged_tasks: tasks.iter().map(task).collect(),
        unacknowledged_updates: updates.iter().map(update).collect(),
    };
    let mut stream = executor.subscribe_with(subscribe).await;
    stream.expect(EventType::Subscribed).await;
    stream
}
