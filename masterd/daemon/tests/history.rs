//! What is remembered of frameworks and tasks that have ended or are away, how much of it, and `/tasks` through it all.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::{Agent, Board, board};
use common::form::{FORMS, Form, Scheduler};
use common::http::get;
use common::{Master, run};
use nesos_wire::message::{AgentToMaster, MasterToAgent, TaskUpdate};
use nesos_wire::task::{Source, TaskSpec, TaskState, TaskStatus};
use nesos_wire::{AgentId, Uuid};
use serde_json::{Value, json};

async fn subscribe(form: Form, address: &str, user: &str) -> Scheduler {
    let info = json!({"user": user, "name": "n"});
    Scheduler::subscribe(form, address, json!({ "framework_info": info })).await
}

/// Launches tasks of these names; what the agent is told.
async fn launch(scheduler: &mut Scheduler, agent: &mut Agent, ids: &[&str]) -> Vec<TaskSpec> {
    let offer = scheduler.wait("OFFERS").await["offers"]["offers"][0].take();
    let cpus = json!([{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}]);
    let task = |id: &&str| {
        json!({"name": "n", "task_id": {"value": id}, "agent_id": offer["agent_id"],
        "resources": cpus, "command": {"value": "true"}})
    };
    let tasks: Vec<Value> = ids.iter().map(task).collect();
    assert_eq!(scheduler.launch(&[&offer], json!(tasks)).await.status, 202);
    match agent.hear().await {
        MasterToAgent::Launch { tasks } => tasks,
        other => panic!("expected a launch: {other:?}"),
    }
}

/// Each task ends and its end is acknowledged, one after the other.
async fn finish(scheduler: &mut Scheduler, agent: &mut Agent, id: &str, tasks: &[TaskSpec]) {
    for (number, spec) in (1_u8..).zip(tasks) {
        let status = TaskStatus {
            state: TaskState::Finished,
            source: Source::Executor,
            reason: None,
            message: String::new(),
            timestamp: f64::from(number),
            uuid: Some(Uuid::from_random([number; 16])),
            agent: Some(AgentId::new(id)),
            executor: None,
            container: None,
            healthy: None,
            check: None,
            data: Vec::new(),
            unreachable_time: None,
            extra: Vec::new(),
        };
        let update = TaskUpdate {
            key: spec.key.clone(),
            latest: status.state,
            status,
        };
        agent.say(&AgentToMaster::Update(update)).await;
        let status = scheduler.wait("UPDATE").await["update"]["status"].take();
        let seen = json!({"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"]});
        assert_eq!(scheduler.call("ACKNOWLEDGE", seen).await.status, 202);
        let heard = agent.hear().await;
        assert!(matches!(heard, MasterToAgent::Acknowledge { .. }));
    }
}

fn ids(list: &Value) -> Vec<&str> {
    let list = list.as_array().into_iter().flatten();
    list.map(|one| one["id"].as_str().unwrap()).collect()
}

async fn framework(address: &str) -> Value {
    get(address, "/frameworks").await.json()["frameworks"][0].take()
}

#[test]
fn no_more_is_remembered_than_was_asked_for() {
    for most in 0..=2 {
        let dir = tempfile::tempdir().unwrap();
        let flags = [
            format!("--max_completed_frameworks={most}"),
            format!("--max_completed_tasks_per_framework={most}"),
        ];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let master = Master::start(dir.path(), 0, &flags);
        let address = master.address();
        run(async {
            let (mut agent, id) = board(&address, dir.path(), "n1")
                .await
                .register(&address)
                .await;
            let mut scheduler = subscribe(Form::Json, &address, "u").await;
            let tasks = launch(&mut scheduler, &mut agent, &["a", "b", "c"]).await;
            finish(&mut scheduler, &mut agent, &id, &tasks).await;
            let shown = framework(&address).await;
            let newest = &["a", "b", "c"][3 - most..];
            assert_eq!(ids(&shown["completed_tasks"]), newest);
            assert_eq!(shown["tasks"], json!([]));
            let mut ended = Vec::new();
            for form in [Form::Json, Form::Protobuf, Form::Json] {
                let scheduler = subscribe(form, &address, "u").await;
                assert_eq!(scheduler.call("TEARDOWN", json!({})).await.status, 202);
                ended.push(scheduler.id["value"].as_str().unwrap().to_owned());
            }
            let shown = get(&address, "/frameworks").await.json();
            assert_eq!(ids(&shown["completed_frameworks"]), &ended[3 - most..]);
            // What is not remembered may not come back all the same.
            let info = json!({"user": "u", "name": "n", "id": {"value": ended[0]}});
            let member = json!({ "framework_info": info });
            let why = Scheduler::refused(Form::Json, &address, member).await;
            assert_eq!(why, "Framework has been removed");
        });
    }
}

#[test]
fn no_more_unreachable_tasks_are_known_than_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let flags = [
        "--max_unreachable_tasks_per_framework=2",
        "--agent_reregister_timeout=1secs",
    ];
    let master = Master::start(dir.path(), 0, &flags);
    let address = master.address();
    run(async {
        let board: Board = board(&address, dir.path(), "n1").await;
        let (mut agent, _) = board.register(&address).await;
        let mut scheduler = subscribe(Form::Json, &address, "u").await;
        launch(&mut scheduler, &mut agent, &["a", "b", "c"]).await;
        drop(agent);
        for _ in 0..3 {
            let status = scheduler.wait("UPDATE").await["update"]["status"].take();
            assert_eq!(status["state"], "TASK_LOST", "it knows no UNREACHABLE");
        }
        let shown = framework(&address).await;
        assert_eq!(ids(&shown["unreachable_tasks"]), ["b", "c"]);
        let reconcile = json!({"tasks": [{"task_id": {"value": "c"}}]});
        assert_eq!(scheduler.call("RECONCILE", reconcile).await.status, 202);
        let status = scheduler.wait("UPDATE").await["update"]["status"].take();
        assert_eq!(status["reason"], "REASON_RECONCILIATION");
        assert!(!status["unreachable_time"].is_null());
    });
}

#[test]
fn tasks_are_listed_in_pages_and_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let (mut agent, id) = board(&address, dir.path(), "n1")
            .await
            .register(&address)
            .await;
        let mut scheduler = subscribe(Form::Json, &address, "u").await;
        let first = launch(&mut scheduler, &mut agent, &["a", "b"]).await;
        finish(&mut scheduler, &mut agent, &id, &first).await;
        launch(&mut scheduler, &mut agent, &["c"]).await;
        let id = scheduler.id["value"].as_str().unwrap().to_owned();
        let own = format!("framework_id={id}&order=asc");
        // A task is as old as its first status; one that has none yet is the newest.
        for (query, expected) in [
            ("order=asc", &["a", "b", "c"][..]),
            ("order=des", &["c", "b", "a"]),
            ("", &["c", "b", "a"]),
            ("order=asc&limit=2", &["a", "b"]),
            ("order=asc&limit=2&offset=1", &["b", "c"]),
            ("order=asc&offset=3", &[]),
            ("limit=0", &[]),
            ("task_id=b", &["b"]),
            ("task_id=nothing", &[]),
            (own.as_str(), &["a", "b", "c"]),
            ("framework_id=nobody", &[]),
        ] {
            let shown = get(&address, &format!("/tasks?{query}")).await.json();
            assert_eq!(ids(&shown["tasks"]), expected, "{query}");
        }
        for bad in ["limit=x", "offset=-1"] {
            assert_eq!(get(&address, &format!("/tasks?{bad}")).await.status, 400);
        }
    });
}

#[test]
fn root_may_be_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &["--root_submissions=false"]);
    let address = master.address();
    run(async {
        for form in FORMS {
            let info = json!({"framework_info": {"user": "root", "name": "n"}});
            let why = Scheduler::refused(form, &address, info).await;
            assert!(why.contains("User 'root'"), "{why}");
            subscribe(form, &address, "nobody").await;
        }
    });
}
