//! Executors that frameworks bring, and task groups: what the agent is told, what the framework hears and what is shown.
//! The same stories in JSON and protobuf.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::{Agent, board};
use common::form::{FORMS, Form, Scheduler, Watcher};
use common::http::get;
use common::{Master, run};
use nesos_api::v1;
use nesos_wire::Attempt;
use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};
use nesos_wire::message::{AgentToMaster, Hello, MasterToAgent};
use nesos_wire::resource_text;
use nesos_wire::task::TaskSpec;
use serde_json::{Value, json};

/// What an agent is told to run with an executor.
struct Launched {
    executor: FrameworkExecutor,
    start: bool,
    tasks: Vec<TaskSpec>,
    group: bool,
}

async fn hear_launch(agent: &mut Agent) -> Launched {
    match agent.hear().await {
        MasterToAgent::LaunchExecutor {
            executor,
            start,
            tasks,
            group,
        } => Launched {
            executor: *executor,
            start,
            tasks,
            group,
        },
        other => panic!("expected a launch with an executor: {other:?}"),
    }
}

fn scalars(cpus: f64, mem: f64) -> Value {
    json!([{"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": mem}}])
}

/// As pymesos sends it: without framework id and type, with keys that nobody knows.
fn custom() -> Value {
    json!({"executor_id": {"value": "e:1"}, "name": "runner", "source": "s", "data": "AAEC",
        "command": {"value": "./run"}, "resources": scalars(0.5, 64.0), "unknown": {"x": 1},
        "labels": {"labels": [{"key": "k", "value": "v"}]}, "shutdown_grace_period": {"nanoseconds": 2_000_000_000}})
}

fn task(id: &str, offer: &Value, rest: Value) -> Value {
    let mut task = json!({"name": id, "task_id": {"value": id}, "agent_id": offer["agent_id"],
        "resources": scalars(0.5, 64.0)});
    for (key, value) in rest.as_object().unwrap() {
        task[key] = value.clone();
    }
    task
}

async fn subscribe(address: &str, form: Form) -> Scheduler {
    let info = json!({"user": "u", "name": "n", "failover_timeout": 100,
        "capabilities": [{"type": "PARTITION_AWARE"}]});
    Scheduler::subscribe(form, address, json!({ "framework_info": info })).await
}

async fn next_offer(scheduler: &mut Scheduler) -> Value {
    let event = scheduler.wait("OFFERS").await;
    event["offers"]["offers"][0].clone()
}

async fn accept(scheduler: &Scheduler, offer: &Value, operation: Value) {
    let member = json!({"offer_ids": [offer["id"]], "operations": [operation], "filters": {"refuse_seconds": 0}});
    assert_eq!(scheduler.call("ACCEPT", member).await.status, 202);
}

async fn executors(address: &str, form: Form) -> Vec<Value> {
    let (status, answer) = form
        .operate(address, &json!({"type": "GET_EXECUTORS"}))
        .await;
    assert_eq!(status, 200);
    let list = answer["get_executors"]["executors"].as_array();
    list.cloned().unwrap_or_default()
}

/// What the agents' executors and tasks use, in cpus, as three places show it.
async fn used_cpus(address: &str, form: Form) -> [f64; 3] {
    let state = get(address, "/state").await.json();
    let (_, answer) = form.operate(address, &json!({"type": "GET_AGENTS"})).await;
    let allocated = &answer["get_agents"]["agents"][0]["allocated_resources"];
    let allocated = allocated.as_array().cloned().unwrap_or_default();
    let cpus = allocated.iter().find(|resource| resource["name"] == "cpus");
    [
        state["slaves"][0]["used_resources"]["cpus"]
            .as_f64()
            .unwrap(),
        state["frameworks"][0]["used_resources"]["cpus"]
            .as_f64()
            .unwrap(),
        cpus.map_or(0.0, |cpus| cpus["scalar"]["value"].as_f64().unwrap()),
    ]
}

async fn story(form: Form) {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    let board = board(&address, dir.path(), "n1").await;
    let (mut agent, id) = board.register(&address).await;
    let mut scheduler = subscribe(&address, form).await;

    // Two tasks share one new executor, which is paid for once.
    let offer = next_offer(&mut scheduler).await;
    let of = |id| task(id, &offer, json!({"executor": custom(), "data": "AA=="}));
    let launch = json!({"type": "LAUNCH", "launch": {"task_infos": [of("t1"), of("t2")]}});
    accept(&scheduler, &offer, launch).await;
    let launched = hear_launch(&mut agent).await;
    assert!(launched.start && !launched.group);
    assert_eq!(launched.tasks.len(), 2);
    check_told(&launched, &scheduler.id);
    let offer = next_offer(&mut scheduler).await;
    assert_eq!(offer["executor_ids"][0]["value"], "e:1");
    assert_eq!(offer["resources"][0]["scalar"]["value"], 2.5);
    assert_eq!(used_cpus(&address, form).await, [1.5; 3]);
    shown(&address, form, &id, &scheduler.id).await;

    // A later task joins it; an executor that says something else does not pass for it.
    let mut other = custom();
    other["name"] = json!("another");
    let tasks = json!([
        task("t3", &offer, json!({"executor": custom()})),
        task("t4", &offer, json!({"executor": other}))
    ]);
    let launch = json!({"type": "LAUNCH", "launch": {"task_infos": tasks}});
    accept(&scheduler, &offer, launch).await;
    let joined = hear_launch(&mut agent).await;
    assert!(!joined.start);
    assert_eq!(joined.executor.attempt, launched.executor.attempt);
    let status = &scheduler.wait("UPDATE").await["update"]["status"];
    assert_eq!(
        (
            &status["state"],
            &status["reason"],
            &status["task_id"]["value"]
        ),
        (
            &json!("TASK_ERROR"),
            &json!("REASON_TASK_INVALID"),
            &json!("t4")
        )
    );
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("not compatible with the existing ExecutorInfo"),
        "{message}"
    );

    let attempt = launched.executor.attempt;
    returned(&board, &address, &mut agent, launched.executor, form).await;
    ended(&mut scheduler, &mut agent, &id, &address, attempt).await;
}

/// What the agent is told of the executor.
fn check_told(launched: &Launched, framework: &Value) {
    let executor = &launched.executor;
    assert_eq!(executor.kind, ExecutorKind::Custom);
    assert_eq!(executor.shutdown_grace_ms, Some(2000));
    assert_eq!(
        (executor.name.as_str(), executor.source.as_str()),
        ("runner", "s")
    );
    assert_eq!(resource_text::text(&executor.resources), "cpus:0.5;mem:64");
    assert_eq!(executor.command.value, "./run");
    let info = v1::ExecutorInfo::from_protobuf(&executor.info).unwrap();
    assert_eq!(info.data.unwrap().0, [0, 1, 2]);
    assert_eq!(
        info.framework_id.unwrap().value,
        framework["value"].as_str().unwrap()
    );
    let spec = &launched.tasks[0];
    assert_eq!(
        (spec.executor.as_str(), spec.kind),
        ("e:1", ExecutorKind::Custom)
    );
    let info = v1::TaskInfo::from_protobuf(&spec.info).unwrap();
    assert!(info.executor.unwrap().framework_id.is_some() && info.data.is_some());
}

/// What operators see of it.
async fn shown(address: &str, form: Form, agent: &str, framework: &Value) {
    let listed = executors(address, form).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["agent_id"]["value"], agent);
    let info = &listed[0]["executor_info"];
    assert_eq!(
        (&info["executor_id"]["value"], &info["framework_id"]),
        (&json!("e:1"), framework)
    );
    assert_eq!(info["resources"][0]["allocation_info"]["role"], "*");
    let (_, answer) = form.operate(address, &json!({"type": "GET_TASKS"})).await;
    assert_eq!(
        answer["get_tasks"]["tasks"][0]["executor_id"]["value"],
        "e:1"
    );
    let state = get(address, "/state").await.json();
    let shown = &state["frameworks"][0]["executors"][0];
    assert_eq!(
        (&shown["executor_id"], &shown["slave_id"]),
        (&json!("e:1"), &json!(agent))
    );
    assert_eq!(
        (&shown["type"], &shown["resources"]["mem"]),
        (&json!("CUSTOM"), &json!(64.0))
    );
    assert_eq!(shown["labels"], json!([{"key": "k", "value": "v"}]));
    assert_eq!(state["frameworks"][0]["tasks"][0]["executor_id"], "e:1");
    let snapshot = Watcher::open(form, address).await.event().await;
    let snapshot = &snapshot["subscribed"]["get_state"]["get_executors"]["executors"];
    assert_eq!(*snapshot, json!(listed));
    let slaves = get(address, "/slaves").await.json();
    let used = &slaves["slaves"][0]["used_resources_full"][0];
    assert_eq!(used["scalar"]["value"], 1.5);
}

/// The agent comes back with the executor alone: its tasks are lost, it is not.
async fn returned(
    board: &common::agent::Board,
    address: &str,
    agent: &mut Agent,
    executor: FrameworkExecutor,
    form: Form,
) {
    let hello = Hello {
        executors: vec![executor],
        ..board.hello()
    };
    agent.say(&AgentToMaster::Hello(hello)).await;
    assert!(matches!(agent.hear().await, MasterToAgent::Welcome(_)));
    assert_eq!(used_cpus(address, form).await, [0.5; 3]);
}

/// MESSAGE, SHUTDOWN and FAILURE.
async fn ended(
    scheduler: &mut Scheduler,
    agent: &mut Agent,
    id: &str,
    address: &str,
    attempt: Attempt,
) {
    let form = scheduler.form;
    let member =
        json!({"agent_id": {"value": id}, "executor_id": {"value": "e:1"}, "data": "AAH/"});
    assert_eq!(scheduler.call("MESSAGE", member).await.status, 202);
    let MasterToAgent::FrameworkMessage { data, .. } = agent.hear().await else {
        panic!("expected a message")
    };
    assert_eq!(data, [0, 1, 255]);
    let member = json!({"agent_id": {"value": id}, "executor_id": {"value": "e:1"}});
    assert_eq!(scheduler.call("SHUTDOWN", member).await.status, 202);
    let MasterToAgent::ShutdownExecutor { key } = agent.hear().await else {
        panic!("expected a shutdown")
    };
    let message = AgentToMaster::ExecutorEnded {
        key,
        attempt,
        status: 9,
    };
    agent.say(&message).await;
    let failure = scheduler.wait("FAILURE").await["failure"].clone();
    assert_eq!(failure["agent_id"]["value"], id);
    assert_eq!(
        (&failure["executor_id"]["value"], &failure["status"]),
        (&json!("e:1"), &json!(9))
    );
    assert_eq!(used_cpus(address, form).await, [0.0; 3]);
    assert!(executors(address, form).await.is_empty());
}

/// A LAUNCH_GROUP of two tasks with a default executor.
fn pod(offer: &Value, rest: Value) -> Value {
    let first = task("p1", offer, json!({"command": {"value": "sleep 1"}}));
    let second = task("p2", offer, rest);
    let executor = json!({"executor_id": {"value": "pod"}, "type": "DEFAULT", "resources": scalars(0.1, 32.0)});
    json!({"type": "LAUNCH_GROUP", "launch_group": {"executor": executor, "task_group": {"tasks": [first, second]}}})
}

async fn group_story(form: Form) {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    let board = board(&address, dir.path(), "n1").await;
    let (mut agent, _) = board.register(&address).await;
    let mut scheduler = subscribe(&address, form).await;

    // One bad task spoils the group: nothing is launched, each is told the same.
    let offer = next_offer(&mut scheduler).await;
    let checked = json!({"command": {"value": "true"}, "limits": {"mem": {"value": 128}}});
    accept(&scheduler, &offer, pod(&offer, checked)).await;
    for id in ["p1", "p2"] {
        let status = scheduler.wait("UPDATE").await["update"]["status"].clone();
        assert_eq!(
            (
                &status["task_id"]["value"],
                &status["state"],
                &status["reason"]
            ),
            (
                &json!(id),
                &json!("TASK_ERROR"),
                &json!("REASON_TASK_GROUP_INVALID")
            )
        );
        let message = status["message"].as_str().unwrap();
        assert!(
            message.contains("Task p2 is invalid") && message.contains("share_cgroups"),
            "{message}"
        );
    }
    assert_eq!(used_cpus(&address, form).await, [0.0; 3]);

    let offer = next_offer(&mut scheduler).await;
    let good = json!({"command": {"value": "sleep 2"}});
    accept(&scheduler, &offer, pod(&offer, good)).await;
    let launched = hear_launch(&mut agent).await;
    assert!(launched.start && launched.group);
    assert_eq!(launched.executor.kind, ExecutorKind::Default);
    let commands = launched
        .tasks
        .iter()
        .map(|spec| spec.command.value.as_str());
    assert_eq!(commands.collect::<Vec<_>>(), ["sleep 1", "sleep 2"]);
    assert_eq!(used_cpus(&address, form).await, [1.1; 3]);

    // An operation with an id is refused as a whole, with the reason of its kind.
    let offer = next_offer(&mut scheduler).await;
    let mut named = pod(&offer, json!({"command": {"value": "true"}}));
    named["id"] = json!({"value": "op"});
    accept(&scheduler, &offer, named).await;
    let status = scheduler.wait("UPDATE").await["update"]["status"].clone();
    assert_eq!(status["reason"], "REASON_TASK_GROUP_INVALID");
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("must not have an id")
    );

    // The end of the framework is the end of its executors.
    assert_eq!(scheduler.call("TEARDOWN", Value::Null).await.status, 202);
    assert!(matches!(
        agent.hear().await,
        MasterToAgent::ShutdownFramework { .. }
    ));
    assert!(executors(&address, form).await.is_empty());
}

#[test]
fn tasks_share_an_executor_that_lives_on_without_them() {
    for form in FORMS {
        run(story(form));
    }
}

#[test]
fn a_group_is_launched_whole_or_not_at_all() {
    for form in FORMS {
        run(group_story(form));
    }
}
