//! Tasks that cannot be, and offers that are none, in both forms: the status that each one gets, with Mesos's reason, and
//! that nothing is lost by it.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::{Agent, board};
use common::form::{FORMS, Form, Scheduler};
use common::quota::agent;
use common::{Master, run};
use nesos_wire::message::MasterToAgent;
use serde_json::{Value, json};

/// A scheduler of these roles, and what else its `framework_info` has.
async fn subscribe(form: Form, address: &str, roles: &[&str], capabilities: &[&str]) -> Scheduler {
    let mut all = vec!["MULTI_ROLE"];
    all.extend(capabilities);
    let capabilities: Vec<Value> = all.iter().map(|name| json!({ "type": name })).collect();
    let info = json!({"user": "u", "name": "n", "roles": roles, "capabilities": capabilities});
    Scheduler::subscribe(form, address, json!({ "framework_info": info })).await
}

async fn offers(scheduler: &mut Scheduler) -> Vec<Value> {
    let mut event = scheduler.wait("OFFERS").await;
    event["offers"]["offers"]
        .as_array_mut()
        .unwrap()
        .drain(..)
        .collect()
}

async fn status(scheduler: &mut Scheduler) -> Value {
    scheduler.wait("UPDATE").await["update"]["status"].take()
}

fn scalar(name: &str, amount: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": amount}})
}

/// A task that could run on the offer, changed by `change`'s members.
fn task(offer: &Value, id: &str, change: &Value) -> Value {
    let mut task = json!({"name": "n", "task_id": {"value": id}, "agent_id": offer["agent_id"],
        "resources": [scalar("cpus", 0.1)], "command": {"value": "true"}});
    for (member, value) in change.as_object().unwrap() {
        task[member] = value.clone();
    }
    task
}

fn resources(list: Value) -> Value {
    json!({ "resources": list })
}

fn ranges(pairs: &[(u64, u64)]) -> Value {
    let range = |(begin, end): &(u64, u64)| json!({"begin": begin, "end": end});
    let ranges: Vec<Value> = pairs.iter().map(range).collect();
    resources(json!([{"name": "ports", "type": "RANGES", "ranges": {"range": ranges}}]))
}

fn variable(variable: Value) -> Value {
    json!({"command": {"value": "true", "environment": {"variables": [variable]}}})
}

/// One resource of `cpus` with these members.
fn cpus(members: Value) -> Value {
    let mut one = scalar("cpus", 0.1);
    let further = members.as_object().unwrap().clone();
    one.as_object_mut().unwrap().extend(further);
    resources(json!([one]))
}

/// What is changed in a task, and a part of the sentence that refuses it.
fn cases() -> Vec<(Value, &'static str)> {
    [tasks(), amounts(), terms()].concat()
}

fn tasks() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"task_id": {"value": "a/b"}}), "'/'"),
        (json!({"task_id": {"value": ".."}}), "'..'"),
        (json!({"task_id": {"value": ""}}), "empty"),
        (
            json!({"task_id": {"value": "a\u{1}"}}),
            "forbidden character",
        ),
        (json!({"task_id": {"value": "x".repeat(256)}}), "255"),
        (
            json!({"agent_id": {"value": "other"}}),
            "Task uses invalid agent other",
        ),
        (
            json!({"command": null}),
            "at least one (but not both) of CommandInfo or ExecutorInfo",
        ),
        (
            json!({"executor": {"executor_id": {"value": "e"}}}),
            "at least one (but not both)",
        ),
        (json!({"command": {}}), "no value"),
        (json!({"command": {"value": "a\0b"}}), "NUL"),
        (variable(json!({"name": "A"})), "'A' has no value"),
        (
            variable(json!({"name": "", "value": "b"})),
            "cannot be the name",
        ),
        (
            variable(json!({"name": "A=B", "value": "b"})),
            "cannot be the name",
        ),
        (
            json!({"kill_policy": {"grace_period": {"nanoseconds": -1}}}),
            "'kill_policy.grace_period' must be non-negative",
        ),
        (
            json!({"max_completion_time": {"nanoseconds": -1}}),
            "'max_completion_time' must be non-negative",
        ),
        (
            json!({"limits": {"disk": {"value": 1}}}),
            "'disk': only cpus and mem",
        ),
        (
            json!({"limits": {"cpus": {"value": 0.05}}}),
            "limit for cpus is below",
        ),
        (
            json!({"limits": {"cpus": {"value": -1}}}),
            "not a finite amount",
        ),
    ]
}

fn amounts() -> Vec<(Value, &'static str)> {
    vec![
        (resources(json!([])), "Task uses no resources"),
        (
            resources(json!([scalar("cpus", 0.0)])),
            "Task uses no resources",
        ),
        (
            resources(json!([scalar("cpus", 100.0)])),
            "Task uses more resources cpus:100 than available",
        ),
        (
            resources(json!([scalar("ink", 1.0)])),
            "Task uses more resources ink:1",
        ),
        (
            resources(json!([scalar("cpus", -1.0)])),
            "'cpus': -1 is not a finite amount",
        ),
        (resources(json!([scalar("", 1.0)])), "has no name"),
        (
            resources(json!([scalar("gpus", 0.5)])),
            "'gpus' must be a whole number",
        ),
        (
            resources(json!([{"name": "cpus", "type": "SCALAR"}])),
            "'cpus' lacks its scalar",
        ),
        (
            resources(json!([{"name": "cpus", "type": "TEXT"}])),
            "'cpus' is text",
        ),
        (ranges(&[(31005, 31001)]), "upside down"),
        (ranges(&[(31001, 31003), (31003, 31005)]), "overlap"),
        (
            resources(json!([{"name": "s", "type": "SET", "set": {"item": ["a", "a"]}}])),
            "'a' twice",
        ),
    ]
}

/// What a resource is beside its amount.
fn terms() -> Vec<(Value, &'static str)> {
    let dynamic = |role: &str| json!({"type": "DYNAMIC", "role": role});
    let statically = json!({"type": "STATIC", "role": "lab"});
    let two = json!([scalar("cpus", 0.1), {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}, "revocable": {}}]);
    let allocated = |role: &str| json!({"allocation_info": {"role": role}});
    let mut other = cpus(allocated("lab"));
    other["resources"]
        .as_array_mut()
        .unwrap()
        .push(cpus(allocated("web"))["resources"][0].take());
    let persistence = json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 1}, "disk": {"persistence": {"id": "v"}}});
    vec![
        (resources(two), "revocable and non-revocable cpus"),
        (
            cpus(json!({"shared": {}})),
            "only persistent volumes can be",
        ),
        (
            cpus(json!({"disk": {"persistence": {"id": "v"}}})),
            "only 'disk' can",
        ),
        (
            resources(json!([persistence])),
            "persistence without a volume",
        ),
        (
            cpus(json!({"revocable": {}, "reservations": [dynamic("lab")]})),
            "revocable",
        ),
        (
            cpus(json!({"role": "lab", "reservations": [dynamic("lab")]})),
            "two formats",
        ),
        (
            cpus(json!({"reservations": [dynamic("lab"), dynamic("web")]})),
            "below",
        ),
        (
            cpus(json!({"reservations": [dynamic("lab"), statically]})),
            "not the first",
        ),
        (cpus(json!({"reservations": [dynamic("*")]})), "'*'"),
        (cpus(json!({"reservations": [dynamic("a//b")]})), "a//b"),
        (cpus(allocated("web")), "allocated to role web"),
        (other, "two roles"),
    ]
}

#[test]
fn a_task_that_cannot_be_is_an_error() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let (mut agent, id) = board(&address, dir.path(), "n1")
                .await
                .register(&address)
                .await;
            let mut scheduler = subscribe(form, &address, &["lab"], &[]).await;
            let offer = offers(&mut scheduler).await.remove(0);
            let cases = cases();
            let numbered = cases.iter().enumerate();
            let tasks: Vec<Value> = numbered
                .map(|(at, (change, _))| task(&offer, &format!("t{at}"), change))
                .collect();
            assert_eq!(scheduler.launch(&[&offer], json!(tasks)).await.status, 202);
            for (task, (_, sentence)) in tasks.iter().zip(&cases) {
                let status = status(&mut scheduler).await;
                assert_eq!(status["task_id"], task["task_id"]);
                assert_eq!(
                    (&status["state"], &status["reason"], &status["source"]),
                    (
                        &json!("TASK_ERROR"),
                        &json!("REASON_TASK_INVALID"),
                        &json!("SOURCE_MASTER")
                    )
                );
                assert!(status["uuid"].is_null(), "there is nothing to acknowledge");
                let message = status["message"].as_str().unwrap();
                assert!(message.contains(sentence), "{task}: {message}");
            }
            // All that was offered is offered again, and a good task runs, once.
            let again = offers(&mut scheduler).await.remove(0);
            assert_eq!(again["resources"], offer["resources"]);
            let twice = [
                task(&again, "good", &json!({})),
                task(&again, "good", &json!({})),
            ];
            assert_eq!(scheduler.launch(&[&again], json!(twice)).await.status, 202);
            let status = status(&mut scheduler).await;
            assert_eq!(status["message"], "Task has duplicate ID: good");
            assert_eq!(status["agent_id"]["value"], id.as_str());
            launched(&mut agent, "good").await;
            with_an_id(&mut scheduler).await;
        });
    }
}

/// The agent is told to run this one task.
async fn launched(agent: &mut Agent, id: &str) {
    let MasterToAgent::Launch { tasks } = agent.hear().await else {
        panic!("expected a launch")
    };
    let ids: Vec<&str> = tasks.iter().map(|task| task.key.task.as_str()).collect();
    assert_eq!(ids, [id]);
}

/// LAUNCH is the one operation that must not have an id.
async fn with_an_id(scheduler: &mut Scheduler) {
    let offer = offers(scheduler).await.remove(0);
    let tasks = [task(&offer, "named", &json!({}))];
    let launch = json!({"type": "LAUNCH", "id": {"value": "o"}, "launch": {"task_infos": tasks}});
    let member = json!({"offer_ids": [offer["id"]], "operations": [launch]});
    assert_eq!(scheduler.call("ACCEPT", member).await.status, 202);
    let status = status(scheduler).await;
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&json!("TASK_ERROR"), &json!("REASON_TASK_INVALID"))
    );
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("must not have an id"), "{message}");
}

/// The next two offers.
async fn two_offers(scheduler: &mut Scheduler) -> (Value, Value) {
    let mut all = offers(scheduler).await;
    while all.len() < 2 {
        all.extend(offers(scheduler).await);
    }
    let second = all.remove(1);
    (all.remove(0), second)
}

#[test]
fn offers_that_do_not_go_together_launch_nothing() {
    for (capability, state) in [
        ("PARTITION_AWARE", "TASK_DROPPED"),
        ("GPU_RESOURCES", "TASK_LOST"),
    ] {
        for form in FORMS {
            let dir = tempfile::tempdir().unwrap();
            let master = Master::start(dir.path(), 0, &[]);
            let address = master.address();
            run(async {
                let (_one, _) = board(&address, dir.path(), "n1")
                    .await
                    .register(&address)
                    .await;
                let (_two, _) = board(&address, dir.path(), "n2")
                    .await
                    .register(&address)
                    .await;
                let mut scheduler = subscribe(form, &address, &["lab"], &[capability]).await;
                let gone = json!({"id": {"value": "gone"}});
                let (one, two) = two_offers(&mut scheduler).await;
                refused(&mut scheduler, state, &[&one, &two], "one single agent").await;
                let (one, _two) = two_offers(&mut scheduler).await;
                refused(&mut scheduler, state, &[&one, &one], "Duplicate offer").await;
                let one = offers(&mut scheduler).await.remove(0);
                refused(&mut scheduler, state, &[&one, &gone], "no longer valid").await;
                let one = offers(&mut scheduler).await.remove(0);
                refused(
                    &mut scheduler,
                    state,
                    &[&gone],
                    "Offer gone is no longer valid",
                )
                .await;
                refused(&mut scheduler, state, &[], "No offers specified").await;
                // That one stands still.
                let good = [task(
                    &one,
                    "good",
                    &json!({"resources": [scalar("cpus", 100.0)]}),
                )];
                assert_eq!(scheduler.launch(&[&one], json!(good)).await.status, 202);
                assert_eq!(status(&mut scheduler).await["state"], "TASK_ERROR");
            });
        }
    }
}

/// A launch with these offers, and the status that comes of it.
async fn refused(scheduler: &mut Scheduler, state: &str, offers: &[&Value], sentence: &str) {
    let any = json!({"agent_id": {"value": "any"}});
    let on = offers.first().filter(|offer| !offer["agent_id"].is_null());
    let tasks = [task(on.unwrap_or(&&any), "t", &json!({}))];
    assert_eq!(scheduler.launch(offers, json!(tasks)).await.status, 202);
    let status = status(scheduler).await;
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&json!(state), &json!("REASON_INVALID_OFFERS"))
    );
    let message = status["message"].as_str().unwrap();
    assert!(message.contains(sentence), "{message}");
    // What was good of the offers is free again, but filtered for a while.
    assert_eq!(scheduler.call("REVIVE", json!({})).await.status, 202);
}

#[test]
fn offers_of_two_roles_launch_nothing() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let _agent = agent(&address, dir.path(), "n1", "cpus(lab):1;cpus(web):1").await;
            let mut scheduler = subscribe(form, &address, &["lab", "web"], &[]).await;
            let (one, two) = two_offers(&mut scheduler).await;
            assert_eq!(one["agent_id"], two["agent_id"]);
            refused(&mut scheduler, "TASK_LOST", &[&one, &two], "same role").await;
        });
    }
}
