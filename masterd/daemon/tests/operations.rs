//! RESERVE, CREATE and their likes in ACCEPT, with feedback. The same story in JSON and protobuf.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::{Agent, board};
use common::form::{FORMS, Form, Scheduler};
use common::http::get;
use common::operation::{create, disk, finished, hear_apply, hello, register, reserve, volume};
use common::{Master, run};
use nesos_api::resources;
use nesos_wire::message::{AgentToMaster, Hello, MasterToAgent};
use nesos_wire::operation::{OperationSpec, OperationState};
use nesos_wire::{Uuid, resource_text};
use serde_json::{Value, json};

/// A scheduler of role `db` and principal `p`.
async fn subscribe(address: &str, form: Form) -> Scheduler {
    let capabilities = ["RESERVATION_REFINEMENT", "SHARED_RESOURCES", "MULTI_ROLE"];
    let capabilities = capabilities.map(|name| json!({ "type": name }));
    let info = json!({"user": "u", "name": "n", "principal": "p", "roles": ["db"], "capabilities": capabilities});
    Scheduler::subscribe(form, address, json!({ "framework_info": info })).await
}

/// ACCEPTs the next offer with these operations.
async fn accept(scheduler: &mut Scheduler, operations: impl FnOnce(&Value) -> Value) {
    let offers = scheduler.wait("OFFERS").await;
    let offer = &offers["offers"]["offers"][0];
    let member = json!({"offer_ids": [offer["id"]], "operations": operations(offer), "filters": {"refuse_seconds": 0}});
    assert_eq!(scheduler.call("ACCEPT", member).await.status, 202);
}

/// The status of the next UPDATE_OPERATION_STATUS.
async fn next_status(scheduler: &mut Scheduler) -> Value {
    let event = scheduler.wait("UPDATE_OPERATION_STATUS").await;
    event["update_operation_status"]["status"].clone()
}

fn texts(list: &Value) -> String {
    let list = resources::parse_list(&list.to_string()).unwrap();
    resource_text::text(&resources::bag(&list).unwrap())
}

async fn operations(address: &str, form: Form) -> Vec<Value> {
    let call = json!({"type": "GET_OPERATIONS"});
    let (status, answer) = form.operate(address, &call).await;
    assert_eq!(status, 200);
    let operations = answer["get_operations"]["operations"].as_array();
    operations.cloned().unwrap_or_default()
}

/// Reserves 100 of the disk, makes a volume of 64 and starts a task on it; what the agent is told.
async fn start_on_volume(
    scheduler: &mut Scheduler,
    agent: &mut Agent,
) -> (OperationSpec, OperationSpec) {
    let task = |offer: &Value| {
        json!({"name": "n", "task_id": {"value": "t"}, "agent_id": offer["agent_id"],
            "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}}, volume(64)], "command": {"value": "true"}})
    };
    let operations = |offer: &Value| {
        json!([
            reserve("r1", disk(100, json!({}))),
            create("c1", volume(64)),
            {"type": "LAUNCH", "launch": {"task_infos": [task(offer)]}}
        ])
    };
    accept(scheduler, operations).await;
    let reserved = hear_apply(agent).await;
    let created = hear_apply(agent).await;
    let MasterToAgent::Launch { tasks } = agent.hear().await else {
        panic!("expected a launch")
    };
    assert_eq!(
        resource_text::text(&tasks[0].resources),
        "cpus:1;disk(db, dynamic by p)[volume v1 at data]:64"
    );
    (reserved, created)
}

#[test]
fn a_framework_reserves_makes_a_volume_and_is_told() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let board = board(&address, dir.path(), "n1").await;
            let (mut agent, id) = register(&board, &address, hello(&board)).await;
            let mut scheduler = subscribe(&address, form).await;
            let (reserved, created) = start_on_volume(&mut scheduler, &mut agent).await;
            assert_eq!(
                resource_text::text(&created.consumed),
                "disk(db, dynamic by p):64"
            );
            assert_eq!(operations(&address, form).await.len(), 2);
            agent
                .say(&AgentToMaster::OperationUpdate(finished(&reserved)))
                .await;
            let status = next_status(&mut scheduler).await;
            assert_eq!(
                (&status["state"], &status["operation_id"]["value"]),
                (&json!("OPERATION_FINISHED"), &json!("r1"))
            );
            assert_eq!(
                texts(&status["converted_resources"]),
                "disk(db, dynamic by p):100"
            );
            let seen = json!({"agent_id": {"value": id}, "uuid": status["uuid"]["value"], "operation_id": {"value": "r1"}});
            let answer = scheduler.call("ACKNOWLEDGE_OPERATION_STATUS", seen).await;
            assert_eq!(answer.status, 202);
            let acknowledged = MasterToAgent::AcknowledgeOperation {
                uuid: Uuid([9; 16]),
            };
            assert_eq!(agent.hear().await, acknowledged);
            let left = operations(&address, form).await;
            assert_eq!(
                (left.len(), &left[0]["info"]["type"]),
                (1, &json!("CREATE"))
            );
            reconcile(&mut scheduler, &id).await;
            shown(&address).await;
            // The link breaks before the agent has heard of the volume: it never came to be.
            drop(agent);
            let (_agent, again) = register(&board, &address, hello(&board)).await;
            assert_eq!(again, id);
            let status = next_status(&mut scheduler).await;
            assert_eq!(
                (&status["state"], &status["operation_id"]["value"]),
                (&json!("OPERATION_DROPPED"), &json!("c1"))
            );
            assert!(operations(&address, form).await.is_empty());
        });
    }
}

/// RECONCILE_OPERATIONS answers for what is known and for what is not.
async fn reconcile(scheduler: &mut Scheduler, agent: &str) {
    let asked = json!([
        {"operation_id": {"value": "c1"}, "agent_id": {"value": agent}},
        {"operation_id": {"value": "x"}, "agent_id": {"value": agent}},
        {"operation_id": {"value": "y"}}
    ]);
    let call = scheduler.call("RECONCILE_OPERATIONS", json!({ "operations": asked }));
    assert_eq!(call.await.status, 202);
    for (id, state) in [
        ("c1", "OPERATION_PENDING"),
        ("x", "OPERATION_UNKNOWN"),
        ("y", "OPERATION_UNKNOWN"),
    ] {
        let status = next_status(scheduler).await;
        assert_eq!(
            (&status["operation_id"]["value"], &status["state"]),
            (&json!(id), &json!(state))
        );
        assert_eq!(status["uuid"], Value::Null);
    }
}

/// The agent as the older endpoints show it.
async fn shown(address: &str) {
    let slave = get(address, "/slaves").await.json()["slaves"][0].clone();
    assert_eq!(slave["reserved_resources"]["db"]["disk"], json!(100.0));
    assert_eq!(slave["unreserved_resources"]["disk"], json!(900.0));
    assert_eq!(slave["resources"]["disk"], json!(1000.0));
    let full = slave["reserved_resources_full"]["db"].as_array().unwrap();
    assert_eq!(full.len(), 2);
    assert!(
        full.iter()
            .any(|resource| resource["disk"]["persistence"]["id"] == "v1")
    );
}

#[test]
fn an_agent_that_refuses_puts_the_books_right() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let board = board(&address, dir.path(), "n1").await;
        let (mut agent, _) = register(&board, &address, hello(&board)).await;
        let mut scheduler = subscribe(&address, Form::Json).await;
        accept(&mut scheduler, |_| {
            json!([reserve("r1", disk(100, json!({})))])
        })
        .await;
        let spec = hear_apply(&mut agent).await;
        let mut report = finished(&spec);
        report.status.state = OperationState::Failed;
        report.status.message = "no".into();
        let truth = Hello {
            operations: vec![report.clone()],
            ..hello(&board)
        };
        agent.say(&AgentToMaster::Hello(truth)).await;
        let status = next_status(&mut scheduler).await;
        assert_eq!(
            (&status["state"], &status["message"]),
            (&json!("OPERATION_FAILED"), &json!("no"))
        );
        let slave = get(&address, "/slaves").await.json()["slaves"][0].clone();
        assert_eq!(slave["reserved_resources"], json!({}));
    });
}

#[test]
fn many_tasks_share_a_volume_and_an_agent_that_is_gone_takes_operations_along() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let board = board(&address, dir.path(), "n1").await;
        let (mut agent, id) = register(&board, &address, hello(&board)).await;
        let mut scheduler = subscribe(&address, Form::Json).await;
        let mut shared = volume(64);
        shared["shared"] = json!({});
        let task = |name: &str, offer: &Value| {
            json!({"name": "n", "task_id": {"value": name}, "agent_id": offer["agent_id"],
                "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}}, shared], "command": {"value": "true"}})
        };
        let operations = |offer: &Value| {
            let tasks = [task("a", offer), task("b", offer)];
            json!([
                reserve("r1", disk(100, json!({}))),
                create("c1", shared.clone()),
                {"type": "LAUNCH", "launch": {"task_infos": tasks}}
            ])
        };
        accept(&mut scheduler, operations).await;
        hear_apply(&mut agent).await;
        hear_apply(&mut agent).await;
        let MasterToAgent::Launch { tasks } = agent.hear().await else {
            panic!("expected a launch")
        };
        assert_eq!(tasks.len(), 2);
        let slave = get(&address, "/slaves").await.json()["slaves"][0].clone();
        assert_eq!(slave["used_resources"]["disk"], json!(64.0));
        assert_eq!(slave["used_resources"]["cpus"], json!(2.0));
        let gone =
            json!({"type": "MARK_AGENT_GONE", "mark_agent_gone": {"agent_id": {"value": id}}});
        assert_eq!(Form::Json.operate(&address, &gone).await.0, 200);
        for _ in 0..2 {
            let status = next_status(&mut scheduler).await;
            assert_eq!(status["state"], "OPERATION_GONE_BY_OPERATOR");
        }
        let asked = json!([{"operation_id": {"value": "c1"}, "agent_id": {"value": id}}]);
        let call = scheduler.call("RECONCILE_OPERATIONS", json!({ "operations": asked }));
        assert_eq!(call.await.status, 202);
        let status = next_status(&mut scheduler).await;
        assert_eq!(status["state"], "OPERATION_GONE_BY_OPERATOR");
    });
}
