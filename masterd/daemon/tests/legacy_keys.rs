//! The keys that tools read in Mesos's older endpoints: each is there, under the name and in the type that it has in Mesos.
//!
//! Also the parameters that choose one object. What the values are is told by the tests of what they show.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::{Agent, board, update};
use common::form::{Form, Scheduler};
use common::http::get;
use common::operation::{finished, hear_apply, hello, register, reserve};
use common::{Master, run};
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::task::TaskState;
use serde_json::{Value, json};

const MASTER: &str = "version build_date build_time build_user start_time elected_time id pid hostname capabilities
    activated_slaves deactivated_slaves unreachable_slaves leader leader_info cluster flags slaves recovered_slaves
    frameworks completed_frameworks orphan_tasks unregistered_frameworks";
const LEADER: &str = "id pid port hostname";
const FRAMEWORK: &str = "id name used_resources offered_resources capabilities hostname webui_url active connected
    recovered user failover_timeout checkpoint registered_time unregistered_time principal resources roles tasks
    unreachable_tasks completed_tasks offers executors labels offer_constraints";
const TASK: &str = "id name framework_id executor_id slave_id state resources limits role statuses labels discovery";
const STATUS: &str = "state timestamp container_status";
const SLAVE: &str =
    "id hostname port attributes pid registered_time resources used_resources offered_resources
    reserved_resources unreserved_resources active deactivated version capabilities";
const FULL: &str =
    "reserved_resources_full unreserved_resources_full used_resources_full offered_resources_full";
const COUNTS: &str =
    "TASK_STAGING TASK_STARTING TASK_RUNNING TASK_KILLING TASK_FINISHED TASK_KILLED TASK_FAILED
    TASK_LOST TASK_ERROR TASK_UNREACHABLE";
const ROLE: &str = "name weight quota resources allocated offered reserved frameworks";

/// All of these keys are there and not null.
fn has(shown: &Value, keys: &str) {
    for key in keys.split_whitespace() {
        assert!(!shown[key].is_null(), "{key} is missing in {shown}");
    }
}

async fn read(address: &str, path: &str) -> Value {
    get(address, path).await.json()
}

/// A framework with all that can be said of it, a reservation and a task that runs.
async fn inhabited(address: &str, agent: &mut Agent) -> Scheduler {
    let labels = json!({"labels": [{"key": "k", "value": "v"}]});
    let capabilities = ["MULTI_ROLE", "RESERVATION_REFINEMENT"].map(|name| json!({ "type": name }));
    let info = json!({"user": "u", "name": "n", "principal": "p", "roles": ["db"], "labels": labels,
        "capabilities": capabilities, "webui_url": "http://x", "hostname": "h"});
    let mut scheduler =
        Scheduler::subscribe(Form::Json, address, json!({ "framework_info": info })).await;
    let offer = scheduler.wait("OFFERS").await["offers"]["offers"][0].take();
    let scalar = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let mut reserved = scalar("mem", 64.0);
    reserved["reservations"] = json!([{"type": "DYNAMIC", "role": "db", "principal": "p"}]);
    let ports = json!({"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 31000, "end": 31001}]}});
    let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": offer["agent_id"], "labels": labels,
        "resources": [scalar("cpus", 0.5), scalar("mem", 32.0), ports], "limits": {"mem": {"value": 48.0}},
        "command": {"value": "true"}, "discovery": {"visibility": "CLUSTER", "name": "found"}});
    let operations =
        json!([reserve("", reserved), {"type": "LAUNCH", "launch": {"task_infos": [task]}}]);
    let member = json!({"offer_ids": [offer["id"]], "operations": operations, "filters": {"refuse_seconds": 0}});
    assert_eq!(scheduler.call("ACCEPT", member).await.status, 202);
    let spec = hear_apply(agent).await;
    let report = AgentToMaster::OperationUpdate(finished(&spec));
    agent.say(&report).await;
    scheduler
}

#[test]
fn every_key_that_tools_read_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let board = board(&address, dir.path(), "n1").await;
        let mut hello = hello(&board);
        let more = nesos_wire::resource_text::parse("ports:[31000-31009]").unwrap();
        hello.resources.add(&more);
        let (mut agent, id) = register(&board, &address, hello).await;
        let mut scheduler = inhabited(&address, &mut agent).await;
        let launch = loop {
            if let MasterToAgent::Launch { tasks } = agent.hear().await {
                break tasks;
            }
        };
        agent.say(&update(&launch[0], TaskState::Running)).await;
        scheduler.wait("UPDATE").await;

        let state = read(&address, "/master/state").await;
        has(&state, MASTER);
        has(&state["leader_info"], LEADER);
        assert_eq!(state["pid"], state["leader"], "this is the leader");
        let (slave, framework) = (&state["slaves"][0], &state["frameworks"][0]);
        has(slave, SLAVE);
        has(framework, FRAMEWORK);
        has(&framework["tasks"][0], TASK);
        has(&framework["tasks"][0]["statuses"][0], STATUS);
        // Four scalars always, ranges as text.
        for resources in [&slave["used_resources"], &framework["resources"]] {
            has(resources, "cpus mem disk gpus");
        }
        assert_eq!(slave["used_resources"]["ports"], "[31000-31001]");
        assert_eq!(slave["reserved_resources"]["db"]["mem"], 64.0);

        let summary = read(&address, "/state-summary").await;
        has(&summary, "hostname cluster slaves frameworks");
        has(&summary["slaves"][0], COUNTS);
        has(&summary["frameworks"][0], COUNTS);
        assert_eq!(
            summary["slaves"][0]["framework_ids"],
            json!([scheduler.id["value"]])
        );
        assert_eq!(summary["frameworks"][0]["slave_ids"], json!([id]));
        let role = read(&address, "/roles").await["roles"]
            .as_array()
            .unwrap()
            .iter()
            .find(|role| role["name"] == "db")
            .unwrap()
            .clone();
        has(&role, ROLE);
        has(&role["quota"], "role guarantee limit consumed");
        chosen(&address, &id, &scheduler.id).await;
    });
}

/// Parameters that choose one object.
async fn chosen(address: &str, agent: &str, framework: &Value) {
    let framework = framework["value"].as_str().unwrap();
    for (path, list) in [
        (format!("/slaves?slave_id={agent}"), "slaves"),
        (
            format!("/frameworks?framework_id={framework}"),
            "frameworks",
        ),
        (
            format!("/tasks?framework_id={framework}&task_id=t"),
            "tasks",
        ),
    ] {
        let one = read(address, &path).await;
        assert_eq!(one[list].as_array().unwrap().len(), 1, "{path}: {one}");
        match list {
            "slaves" => {
                has(&one, "recovered_slaves");
                has(&one["slaves"][0], SLAVE);
                has(&one["slaves"][0], FULL);
            }
            "frameworks" => has(&one, "completed_frameworks unregistered_frameworks"),
            _ => has(&one["tasks"][0], TASK),
        }
        let none = read(address, &path.replace("_id=", "_id=no-such-")).await;
        assert_eq!(none[list], json!([]), "{path}");
    }
}
