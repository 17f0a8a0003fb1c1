//! Task groups under the default executor, with real processes.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::http::{get, request};
use common::{Link, Master, key, run, shell, until};
use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::task::{Command, Reason, TaskSpec, TaskState};
use nesos_wire::{Attempt, ExecutorId};

/// Waits for the file `go` in its sandbox, then ends with status 7.
const WAITER: &str = "echo begun $A $B $MESOS_EXECUTOR_ID $MESOS_CONTAINER_IP; while [ ! -e go ]; do sleep 0.02; done; exit 7";

fn pod() -> FrameworkExecutor {
    let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
    FrameworkExecutor {
        name: "the pod".into(),
        command: Command {
            environment: vec![pair("A", "pod"), pair("B", "pod")],
            ..Command::default()
        },
        ..common::pod()
    }
}

fn member(task: &str, attempt: u64, text: &str) -> TaskSpec {
    let mut spec = TaskSpec {
        attempt: Attempt(attempt),
        executor: ExecutorId::new("p"),
        kind: ExecutorKind::Default,
        ..shell(task, text)
    };
    spec.command.environment = vec![("A".into(), "task".into())];
    spec
}

async fn launch(link: &mut Link, tasks: Vec<TaskSpec>) {
    let executor = Box::new(pod());
    let message = MasterToAgent::LaunchExecutor {
        executor,
        start: true,
        tasks,
        group: true,
    };
    link.send(&message).await;
}

/// Acknowledges until each of `tasks` has this state, or a last one; what they came to.
async fn come_to(link: &mut Link, tasks: usize, state: TaskState) -> BTreeMap<String, TaskState> {
    let mut found = BTreeMap::new();
    while found.len() < tasks {
        let message = link.next().await.expect("the link is open");
        let AgentToMaster::Update(update) = message else {
            continue;
        };
        link.acknowledge(&update).await;
        let now = update.status.state;
        if now == state || now.is_terminal() {
            found.insert(update.key.task.to_string(), now);
        }
    }
    found
}

async fn ended(link: &mut Link) -> i32 {
    loop {
        if let AgentToMaster::ExecutorEnded { status, .. } =
            link.next().await.expect("the link is open")
        {
            return status;
        }
    }
}

#[test]
fn a_group_outlives_agentd_and_dies_together() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, hello) = master.link().await;
        launch(
            &mut link,
            vec![member("a", 1, WAITER), member("b", 2, "exec sleep 1000")],
        )
        .await;
        let running = come_to(&mut link, 2, TaskState::Running).await;
        assert!(running.values().all(|state| *state == TaskState::Running));
        assert_eq!(
            link.text("a", "stdout").await,
            "begun task pod p 127.0.0.1\n"
        );
        shown(hello.port).await;
        master.kill_agent();
        master.start_agent();
        let (mut link, hello) = master.link().await;
        assert_eq!((hello.executors.len(), hello.tasks.len()), (1, 2));
        // Each task's own folder is found by its name in the executor's sandbox.
        fs::write(master.sandbox("p").join("tasks/a/go"), "").unwrap();
        let ends = come_to(&mut link, 2, TaskState::Failed).await;
        assert_eq!(
            (ends["a"], ends["b"]),
            (TaskState::Failed, TaskState::Killed)
        );
        assert_eq!(ended(&mut link).await, 0);
        assert_eq!(
            link.text("a", "stdout").await,
            "begun task pod p 127.0.0.1\n"
        );
        until("the run directories to go", || {
            let mut left = fs::read_dir(master.work_dir().join("run")).unwrap();
            left.next().is_none().then_some(())
        })
        .await;
    });
}

/// The executor is one container, and those of its tasks are inside.
async fn shown(port: u16) {
    let call = |nested: bool| {
        format!(r#"{{"type":"GET_CONTAINERS","get_containers":{{"show_nested":{nested}}}}}"#)
    };
    let post = async |call: String| {
        let headers = [("Content-Type", "application/json")];
        let answer = request(port, "POST", "/api/v1", &headers, call.as_bytes()).await;
        answer.json()
    };
    let outer = post(call(false)).await;
    let outer = outer["get_containers"]["containers"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(
        (outer.len(), &outer[0]["executor_id"]["value"]),
        (1, &"p".into())
    );
    let all = post(call(true)).await;
    let all = all["get_containers"]["containers"]
        .as_array()
        .unwrap()
        .clone();
    let parents = all
        .iter()
        .filter(|one| one["container_id"]["parent"] == outer[0]["container_id"]);
    assert_eq!((all.len(), parents.count()), (3, 2), "{all:?}");
    let state = get(port, "/state").await.json();
    let executor = &state["frameworks"][0]["executors"][0];
    assert_eq!(
        (&executor["id"], &executor["type"]),
        (&"p".into(), &"DEFAULT".into())
    );
    assert_eq!(executor["tasks"].as_array().unwrap().len(), 2);
    assert_eq!(executor["resources"]["cpus"], 0.3);
    let containers = get(port, "/containers").await.json();
    assert_eq!(containers.as_array().unwrap().len(), 1);
}

#[test]
fn a_kill_or_a_shutdown_ends_all_of_it() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        let sleeper = |task, attempt| member(task, attempt, "exec sleep 1000");
        launch(&mut link, vec![sleeper("a", 1), sleeper("b", 2)]).await;
        launch(&mut link, vec![sleeper("c", 3)]).await;
        come_to(&mut link, 3, TaskState::Running).await;
        link.send(&MasterToAgent::Kill {
            key: key("a"),
            grace_ms: Some(100),
        })
        .await;
        let ends = come_to(&mut link, 2, TaskState::Killed).await;
        assert_eq!(
            ends.keys().collect::<Vec<_>>(),
            ["a", "b"],
            "c is of another group"
        );
        link.send(&MasterToAgent::ShutdownExecutor { key: pod().key })
            .await;
        assert_eq!(ended(&mut link).await, 0);
        let ends = come_to(&mut link, 1, TaskState::Killed).await;
        assert_eq!(ends["c"], TaskState::Killed);
    });
}

#[test]
fn a_member_that_cannot_start_takes_the_group_along() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        let mut broken = member("b", 2, "true");
        broken.command.uris = vec![nesos_wire::task::Uri {
            value: "/nothing/here".into(),
            executable: false,
            extract: false,
            cache: false,
            output_file: None,
        }];
        launch(&mut link, vec![member("a", 1, "exec sleep 1000"), broken]).await;
        let mut reasons = BTreeMap::new();
        while reasons.len() < 2 {
            let Some(AgentToMaster::Update(update)) = link.next().await else {
                continue;
            };
            link.acknowledge(&update).await;
            if update.status.state.is_terminal() {
                reasons.insert(
                    update.key.task.to_string(),
                    (update.status.state, update.status.reason),
                );
            }
        }
        assert_eq!(
            reasons["b"],
            (TaskState::Failed, Some(Reason::ContainerLaunchFailed))
        );
        assert_eq!(reasons["a"].0, TaskState::Killed);
        assert_eq!(ended(&mut link).await, 0);
    });
}
