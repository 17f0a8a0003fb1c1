//! Checks and health checks on their way through the master, in both forms: what the agent is told, and what frameworks,
//! watchers and readers see of it.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::{Agent, board};
use common::form::{FORMS, Form, Scheduler, Watcher};
use common::http::request;
use common::{Master, run};
use nesos_wire::check::{CheckStatus, Probe};
use nesos_wire::message::{AgentToMaster, MasterToAgent, TaskUpdate};
use nesos_wire::task::{Reason, Source, TaskSpec, TaskState, TaskStatus};
use nesos_wire::{Uuid, task::Command};
use serde_json::{Value, json};

fn task(agent: &Value, checks: Value) -> Value {
    let mut task = json!({"name": "n", "task_id": {"value": "t"}, "agent_id": agent,
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}],
        "command": {"value": "true"}});
    let members = checks.as_object().unwrap().clone();
    task.as_object_mut().unwrap().extend(members);
    task
}

async fn launch(scheduler: &mut Scheduler, checks: Value) {
    let event = scheduler.wait("OFFERS").await;
    let offer = &event["offers"]["offers"][0];
    let tasks = json!([task(&offer["agent_id"], checks)]);
    let answer = scheduler.launch(&[offer], tasks).await;
    assert_eq!(answer.status, 202);
}

async fn report(agent: &mut Agent, spec: &TaskSpec, number: u8, status: TaskStatus) {
    let update = TaskUpdate {
        key: spec.key.clone(),
        latest: status.state,
        status: TaskStatus {
            uuid: Some(Uuid::from_random([number; 16])),
            ..status
        },
    };
    agent.say(&AgentToMaster::Update(update)).await;
}

fn running(reason: Option<Reason>, healthy: Option<bool>, code: Option<i32>) -> TaskStatus {
    TaskStatus {
        state: TaskState::Running,
        source: Source::Executor,
        reason,
        message: String::new(),
        timestamp: 1.5,
        uuid: None,
        agent: None,
        executor: None,
        container: None,
        healthy,
        check: Some(CheckStatus::Command(code)),
        data: Vec::new(),
        unreachable_time: None,
        extra: Vec::new(),
    }
}

async fn what_cannot_be_is_refused_with_its_words(scheduler: &mut Scheduler) {
    let bad = json!({"check": {"type": "COMMAND"}});
    launch(scheduler, bad).await;
    let status = scheduler.wait("UPDATE").await["update"]["status"].take();
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&json!("TASK_ERROR"), &json!("REASON_TASK_INVALID"))
    );
    let sentence = "Task uses invalid check: Expecting 'command' to be set for COMMAND check";
    assert!(
        status["message"].as_str().unwrap().contains(sentence),
        "{status}"
    );
}

async fn watch_for_health(watcher: &mut Watcher, found: &Value) {
    loop {
        let event = watcher.event().await;
        let status = &event["task_updated"]["status"];
        if event["type"] == "TASK_UPDATED" && status["healthy"] == true {
            assert_eq!(&status["check_status"], found);
            break;
        }
    }
}

async fn story(form: Form) {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    let (mut agent, _) = board(&address, dir.path(), "n1")
        .await
        .register(&address)
        .await;
    let mut watcher = Watcher::open(form, &address).await;
    let info =
        json!({"user": "u", "name": "n", "capabilities": [{"type": "MULTI_ROLE"}], "roles": ["*"]});
    let mut scheduler =
        Scheduler::subscribe(form, &address, json!({ "framework_info": info })).await;

    what_cannot_be_is_refused_with_its_words(&mut scheduler).await;
    let checks = json!({
        "health_check": {"type": "TCP", "tcp": {"port": 80}, "delay_seconds": 0.5, "consecutive_failures": 2},
        "check": {"type": "COMMAND", "command": {"command": {"value": "exit 3"}}}});
    launch(&mut scheduler, checks).await;
    let spec = match agent.hear().await {
        MasterToAgent::Launch { mut tasks } => tasks.remove(0),
        other => panic!("no launch: {other:?}"),
    };
    let told = spec.checks.clone().unwrap();
    let health = told.health.unwrap();
    assert_eq!(
        (health.check.delay_ms, health.consecutive_failures),
        (500, 2)
    );
    let command = Command {
        shell: true,
        value: "exit 3".into(),
        ..Command::default()
    };
    assert_eq!(told.check.unwrap().probe, Probe::Command(Box::new(command)));

    report(&mut agent, &spec, 1, running(None, None, None)).await;
    let status = scheduler.wait("UPDATE").await["update"]["status"].take();
    assert_eq!(
        status["check_status"],
        json!({"type": "COMMAND", "command": {}})
    );
    let reason = Some(Reason::TaskHealthCheckStatusUpdated);
    report(&mut agent, &spec, 2, running(reason, Some(true), Some(3))).await;
    let status = scheduler.wait("UPDATE").await["update"]["status"].take();
    let found = json!({"type": "COMMAND", "command": {"exit_code": 3}});
    assert_eq!(status["reason"], "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED");
    assert_eq!(
        (&status["healthy"], &status["check_status"]),
        (&json!(true), &found)
    );

    // Watchers hear of it though the state is the same, reconciliation knows it, readers see it.
    watch_for_health(&mut watcher, &found).await;
    scheduler.call("RECONCILE", json!({"tasks": []})).await;
    let status = scheduler.wait("UPDATE").await["update"]["status"].take();
    assert_eq!(status["reason"], "REASON_RECONCILIATION");
    assert_eq!(
        (&status["healthy"], &status["check_status"]),
        (&json!(true), &found)
    );
    let (_, state) = form.operate(&address, &json!({"type": "GET_TASKS"})).await;
    let shown = &state["get_tasks"]["tasks"][0];
    assert_eq!(shown["health_check"]["consecutive_failures"], 2, "{shown}");
    assert_eq!(shown["statuses"][0]["check_status"], found);
    let state = request(&address, "GET", "/state", &[], b"").await.json();
    let shown = &state["frameworks"][0]["tasks"][0];
    assert_eq!(shown["statuses"][0]["healthy"], true, "{shown}");
    assert_eq!(shown["health_check"]["tcp"]["port"], 80);
}

#[test]
fn checks_reach_agents_and_what_they_find_reaches_everybody() {
    for form in FORMS {
        run(story(form));
    }
}
