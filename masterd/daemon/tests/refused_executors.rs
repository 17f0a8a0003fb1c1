//! Executors and task groups that cannot be, in both forms: the status that each task gets, with Mesos's reason, and that
//! nothing is lost by it.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::Agent;
use common::form::{FORMS, Form, Scheduler};
use common::quota::agent;
use common::{Master, run};
use nesos_wire::message::MasterToAgent;
use serde_json::{Value, json};

/// What is changed in an executor, and a part of the sentence that refuses it.
type Case = (Value, &'static str);

fn scalar(name: &str, amount: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": amount}})
}

fn merge(mut base: Value, change: &Value) -> Value {
    for (member, value) in change.as_object().unwrap() {
        base[member] = value.clone();
    }
    base
}

fn task(offer: &Value, id: &str, change: &Value) -> Value {
    let task = json!({"name": "n", "task_id": {"value": id}, "agent_id": offer["agent_id"],
        "resources": [scalar("cpus", 0.1)]});
    merge(task, change)
}

fn custom(id: &str, change: &Value) -> Value {
    let executor = json!({"executor_id": {"value": id}, "command": {"value": "./run"}, "resources": [scalar("mem", 32.0)]});
    merge(executor, change)
}

fn default(change: &Value) -> Value {
    let resources = [scalar("cpus", 0.1), scalar("mem", 32.0)];
    let executor =
        json!({"executor_id": {"value": "pod"}, "type": "DEFAULT", "resources": resources});
    merge(executor, change)
}

fn launch(task: Value) -> Value {
    json!({"type": "LAUNCH", "launch": {"task_infos": [task]}})
}

fn group(executor: Value, tasks: Value) -> Value {
    json!({"type": "LAUNCH_GROUP", "launch_group": {"executor": executor, "task_group": {"tasks": tasks}}})
}

/// Of executors of single tasks.
fn executors() -> Vec<Case> {
    let variable =
        json!({"value": "./run", "environment": {"variables": [{"name": "A=B", "value": ""}]}});
    let docker = json!({"type": "DOCKER", "docker": {"image": "busybox"}});
    let mut revocable = scalar("cpus", 0.1);
    revocable["revocable"] = json!({});
    let mut foreign = scalar("mem", 32.0);
    foreign["allocation_info"] = json!({"role": "web"});
    vec![
        (json!({"executor_id": {"value": ""}}), "empty"),
        (json!({"executor_id": {"value": "a/b"}}), "'/'"),
        (
            json!({"framework_id": {"value": "other"}}),
            "has an invalid FrameworkID (Actual: other vs Expected: ",
        ),
        (
            json!({"command": null}),
            "'ExecutorInfo.command' must be set for a 'CUSTOM' executor",
        ),
        (
            json!({"type": "DEFAULT"}),
            "'ExecutorInfo.type' must be 'CUSTOM' in a LAUNCH",
        ),
        (
            json!({"shutdown_grace_period": {"nanoseconds": -1}}),
            "'ExecutorInfo.shutdown_grace_period' must be non-negative",
        ),
        (json!({"command": {}}), "no value"),
        (json!({ "command": variable }), "cannot be the name"),
        (json!({ "container": docker }), "Docker containers are"),
        (
            json!({"resources": [scalar("mem", -1.0)]}),
            "'mem': -1 is not a finite amount",
        ),
        (
            json!({"resources": [scalar("mem", 1e6)]}),
            "more resources cpus:0.1;mem:1000000 than available",
        ),
        (
            json!({"resources": [revocable]}),
            "revocable and non-revocable cpus",
        ),
        (
            json!({"resources": [foreign]}),
            "Executor's resources are allocated to role web",
        ),
    ]
}

/// Of executors of task groups.
fn pods() -> Vec<Case> {
    let docker = json!({"type": "DOCKER", "docker": {"image": "busybox"}});
    vec![
        (
            json!({"type": null}),
            "'ExecutorInfo.type' must be set, to DEFAULT or CUSTOM",
        ),
        (
            json!({"command": {"value": "./run"}}),
            "'ExecutorInfo.command' must not be set for a 'DEFAULT' executor",
        ),
        (json!({"type": "CUSTOM"}), "'ExecutorInfo.command' must be"),
        (json!({ "container": docker }), "Docker containers are"),
        (
            json!({"resources": [scalar("mem", 32.0)]}),
            "uses less cpus (0) than the minimum required (0.01)",
        ),
        (
            json!({"resources": [scalar("cpus", 0.1), scalar("mem", 31.0)]}),
            "uses less mem (31) than the minimum required (32)",
        ),
        (
            json!({"framework_id": {"value": "other"}}),
            "has an invalid FrameworkID",
        ),
        (
            json!({"resources": [scalar("cpus", 0.1), scalar("mem", 1e6)]}),
            "Task group and its executor use more resources",
        ),
    ]
}

/// What is changed in the second task of a group.
fn members() -> Vec<Case> {
    let docker = json!({"type": "DOCKER", "docker": {"image": "busybox"}});
    let other = custom("other", &json!({}));
    vec![
        (
            json!({"command": null}),
            "no command for its 'DEFAULT' executor",
        ),
        (
            json!({ "executor": other }),
            "differs from that of its task group",
        ),
        (json!({ "container": docker }), "Docker containers are"),
        (
            json!({"limits": {"cpus": {"value": 1.0}}}),
            "'share_cgroups'",
        ),
        (json!({"resources": []}), "Task uses no resources"),
        (
            json!({"agent_id": {"value": "other"}}),
            "Task uses invalid agent other",
        ),
        (json!({"task_id": {"value": "g1"}}), "duplicate ID: g1"),
        (
            json!({"kill_policy": {"grace_period": {"nanoseconds": -1}}}),
            "'kill_policy.grace_period' must be non-negative",
        ),
    ]
}

async fn subscribe(form: Form, address: &str) -> Scheduler {
    let capabilities = ["MULTI_ROLE", "REVOCABLE_RESOURCES"].map(|name| json!({ "type": name }));
    let info = json!({"user": "u", "name": "n", "roles": ["lab"], "capabilities": capabilities});
    Scheduler::subscribe(form, address, json!({ "framework_info": info })).await
}

async fn next_offer(scheduler: &mut Scheduler) -> Value {
    scheduler.wait("OFFERS").await["offers"]["offers"][0].take()
}

async fn accept(scheduler: &Scheduler, offer: &Value, operations: Vec<Value>) {
    let member = json!({"offer_ids": [offer["id"]], "operations": operations, "filters": {"refuse_seconds": 0}});
    assert_eq!(scheduler.call("ACCEPT", member).await.status, 202);
}

/// The next status: an error for this reason whose sentence has this in it.
async fn refused(scheduler: &mut Scheduler, reason: &str, sentence: &str, what: &Value) {
    let status = scheduler.wait("UPDATE").await["update"]["status"].take();
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains(sentence),
        "{what}: expected {sentence:?}, got {message:?}"
    );
    assert_eq!(
        (&status["state"], &status["reason"], &status["source"]),
        (
            &json!("TASK_ERROR"),
            &json!(reason),
            &json!("SOURCE_MASTER")
        )
    );
    assert!(status["uuid"].is_null(), "there is nothing to acknowledge");
}

/// A story in both forms, of a master with one agent, all of which one scheduler is offered.
fn with_an_offer(story: impl AsyncFn(Agent, Scheduler, Value)) {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let agent = agent(&address, dir.path(), "n1", "cpus:4;mem:1024").await;
            let mut scheduler = subscribe(form, &address).await;
            let offer = next_offer(&mut scheduler).await;
            story(agent, scheduler, offer).await;
        });
    }
}

#[test]
fn an_executor_that_cannot_be_is_its_tasks_error() {
    with_an_offer(async |mut agent, mut scheduler, offer| {
        let cases = executors();
        let operations = cases.iter().enumerate().map(|(at, (change, _))| {
            let executor = custom(&format!("e{at}"), change);
            let id = format!("t{at}");
            launch(task(&offer, &id, &json!({ "executor": executor })))
        });
        accept(&scheduler, &offer, operations.collect()).await;
        for (change, sentence) in &cases {
            refused(&mut scheduler, "REASON_TASK_INVALID", sentence, change).await;
        }
        // Nothing is spent, and a good one starts.
        let again = next_offer(&mut scheduler).await;
        assert_eq!(again["resources"], offer["resources"]);
        let executor = custom("good", &json!({}));
        let good = task(&again, "good", &json!({ "executor": executor }));
        accept(&scheduler, &again, vec![launch(good)]).await;
        assert!(matches!(
            agent.hear().await,
            MasterToAgent::LaunchExecutor { start: true, .. }
        ));
    });
}

#[test]
fn a_group_that_cannot_be_is_an_error_of_all_its_tasks() {
    let reason = "REASON_TASK_GROUP_INVALID";
    with_an_offer(async |mut agent, mut scheduler, offer| {
        let good = json!({"command": {"value": "true"}});
        let (pods, members) = (pods(), members());
        let of_pods = pods.iter().map(|(change, _)| {
            let tasks = ["g1", "g2"].map(|id| task(&offer, id, &good));
            group(default(change), json!(tasks))
        });
        let of_members = members.iter().map(|(change, _)| {
            let second = merge(task(&offer, "g2", &good), change);
            let tasks = json!([task(&offer, "g1", &good), second]);
            group(default(&json!({})), tasks)
        });
        accept(&scheduler, &offer, of_pods.chain(of_members).collect()).await;
        for (change, sentence) in pods.iter().chain(&members) {
            for _ in 0..2 {
                refused(&mut scheduler, reason, sentence, change).await;
            }
        }
        let again = next_offer(&mut scheduler).await;
        assert_eq!(again["resources"], offer["resources"]);
        let tasks = ["g1", "g2"].map(|id| task(&again, id, &good));
        let operation = group(default(&json!({})), json!(tasks));
        accept(&scheduler, &again, vec![operation]).await;
        let MasterToAgent::LaunchExecutor { group, tasks, .. } = agent.hear().await else {
            panic!("expected a launch")
        };
        assert!(group && tasks.len() == 2);
    });
}
