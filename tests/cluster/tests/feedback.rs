//! What a framework is told of its operations by a real agent: ends that are told until they are acknowledged, and what
//! becomes of those that an agent is too far away to carry out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use nesos_cluster_tests::resources::{Format, PRINCIPAL, ROLE};
use nesos_cluster_tests::scheduler::{Scheduler, operate, task};
use nesos_cluster_tests::{DevCluster, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// A daemon that is held still; it goes on when this is dropped.
struct Held(Pid);

impl Held {
    fn still(cluster: &DevCluster, name: &str) -> Self {
        let pid = cluster.pid(name);
        kill(pid, Signal::SIGSTOP).unwrap();
        Self(pid)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It is gone if the cluster has ended.
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

fn subscribe(cluster: &DevCluster, id: Option<&Value>) -> Scheduler {
    let mut members = json!({"principal": PRINCIPAL, "roles": [ROLE], "failover_timeout": 600.0,
        "capabilities": Format::Stack.capabilities()});
    if let Some(id) = id {
        members["id"] = id.clone();
    }
    Scheduler::subscribe(&cluster.master, members)
}

fn reserve(id: &str) -> Value {
    let resources = json!([Format::Stack.reserved("disk", 16.0)]);
    json!({"type": "RESERVE", "id": {"value": id}, "reserve": {"resources": resources}})
}

/// The answer of RECONCILE_OPERATIONS; statuses that are told again meanwhile are acknowledged again.
fn reconcile(scheduler: &mut Scheduler, id: &str, agent: Option<&Value>) -> Value {
    let mut asked = json!({"operation_id": {"value": id}});
    if let Some(agent) = agent {
        asked["agent_id"] = agent.clone();
    }
    scheduler.call("RECONCILE_OPERATIONS", json!({"operations": [asked]}));
    loop {
        let status = scheduler.operation_status();
        if status["uuid"].is_null() && status["operation_id"]["value"] == id {
            return status["state"].clone();
        }
        scheduler.acknowledge_operation(&status);
    }
}

fn operations(cluster: &DevCluster) -> Vec<Value> {
    let answer = operate(&cluster.master, "GET_OPERATIONS", json!({}));
    let shown: Value = serde_json::from_str(&answer.body).unwrap();
    let all = shown["get_operations"]["operations"].as_array();
    all.cloned().unwrap_or_default()
}

#[test]
fn an_end_is_told_until_it_is_acknowledged() {
    let cluster = DevCluster::start(1, &[]);
    let mut scheduler = subscribe(&cluster, None);
    let offer = scheduler.standing_offer();
    let agent = offer["agent_id"].clone();
    scheduler.accept(&offer, json!([reserve("r")]));
    let told = scheduler.operation_status();
    assert_eq!(told["state"], "OPERATION_FINISHED", "{told}");
    assert_eq!(told["agent_id"], agent);
    let made = &told["converted_resources"][0];
    assert_eq!(made["reservations"][0]["role"], ROLE, "{told}");
    assert_eq!(
        reconcile(&mut scheduler, "r", Some(&agent)),
        "OPERATION_FINISHED"
    );
    // Nobody has acknowledged it: whoever forgets is reminded.
    cluster.kill_and_wait_restart("agent-1");
    let again = scheduler.operation_status();
    assert_eq!(
        (&again["state"], &again["uuid"]),
        (&told["state"], &told["uuid"])
    );
    cluster.kill_and_wait_restart("master");
    eventually("the master answers", SOON, || {
        std::net::TcpStream::connect(&cluster.master).ok()
    });
    let id = scheduler.id.clone();
    let mut scheduler = subscribe(&cluster, Some(&id));
    let again = scheduler.operation_status();
    assert_eq!(
        (&again["state"], &again["uuid"]),
        (&told["state"], &told["uuid"])
    );
    scheduler.acknowledge_operation(&again);
    eventually("it is forgotten", SOON, || {
        // A repetition may have crossed the acknowledgement: this acknowledges it too.
        reconcile(&mut scheduler, "r", Some(&agent));
        operations(&cluster).is_empty().then_some(())
    });
    let nowhere = json!({"value": "nowhere"});
    for agent in [Some(&agent), Some(&nowhere), None] {
        // A repetition may have crossed the acknowledgement.
        eventually("nobody knows of it", SOON, || {
            let state = reconcile(&mut scheduler, "r", agent);
            (state == "OPERATION_UNKNOWN").then_some(())
        });
    }
    cluster.stop();
}

#[test]
fn an_unreachable_agents_operations_are_told_as_such_until_it_is_back() {
    let flags = [
        "--master-flag=--agent_ping_timeout=1secs",
        "--master-flag=--max_agent_ping_timeouts=5",
        "--master-flag=--agent_reregister_timeout=5secs",
    ];
    let cluster = DevCluster::start(1, &flags);
    let mut scheduler = subscribe(&cluster, None);
    let offer = scheduler.standing_offer();
    let agent = offer["agent_id"].clone();
    let held = Held::still(&cluster, "agent-1");
    scheduler.accept(&offer, json!([reserve("r")]));
    assert_eq!(
        reconcile(&mut scheduler, "r", Some(&agent)),
        "OPERATION_PENDING"
    );
    let told = scheduler.operation_status();
    assert_eq!(told["state"], "OPERATION_UNREACHABLE", "{told}");
    assert_eq!(
        (&told["operation_id"]["value"], &told["agent_id"]),
        (&json!("r"), &agent)
    );
    let failure = scheduler.wait("FAILURE");
    assert_eq!(failure["failure"]["agent_id"], agent);
    for id in ["r", "never"] {
        let state = reconcile(&mut scheduler, id, Some(&agent));
        assert_eq!(state, "OPERATION_UNREACHABLE");
    }
    // Back again it has carried out what reached it in time, or never heard of it.
    drop(held);
    eventually("the agent is reachable", SOON, || {
        let state = reconcile(&mut scheduler, "never", Some(&agent));
        (state == "OPERATION_UNKNOWN").then_some(())
    });
    let state = reconcile(&mut scheduler, "r", Some(&agent));
    assert!(
        state == "OPERATION_UNKNOWN" || state == "OPERATION_FINISHED",
        "{state}"
    );
    // A new master that has not heard of the agent yet does not know either.
    let held = Held::still(&cluster, "agent-1");
    cluster.kill_and_wait_restart("master");
    eventually("the master answers", SOON, || {
        std::net::TcpStream::connect(&cluster.master).ok()
    });
    let id = scheduler.id.clone();
    let mut scheduler = subscribe(&cluster, Some(&id));
    assert_eq!(
        reconcile(&mut scheduler, "never", Some(&agent)),
        "OPERATION_RECOVERING"
    );
    drop(held);
    eventually("the agent is back", SOON, || {
        let state = reconcile(&mut scheduler, "never", Some(&agent));
        (state == "OPERATION_UNKNOWN").then_some(())
    });
    cluster.stop();
}

#[test]
fn an_agent_that_is_gone_takes_operations_and_tasks_along() {
    let cluster = DevCluster::start(1, &[]);
    let mut scheduler = subscribe(&cluster, None);
    let offer = scheduler.standing_offer();
    let agent = offer["agent_id"].clone();
    let file = cluster.work_dir().join("pid");
    let command = format!("echo $$ > {}; sleep 600", file.display());
    let runs =
        json!([{"type": "LAUNCH", "launch": {"task_infos": [task(&offer, "t", 0.1, &command)]}}]);
    scheduler.accept(&offer, runs);
    scheduler.status_until("TASK_RUNNING");
    let pid = eventually("the task has said who it is", SOON, || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.trim().parse::<u32>().ok()
    });
    let offer = scheduler.standing_offer();
    let held = Held::still(&cluster, "agent-1");
    scheduler.accept(&offer, json!([reserve("r")]));
    assert_eq!(
        reconcile(&mut scheduler, "r", Some(&agent)),
        "OPERATION_PENDING"
    );
    let answer = operate(
        &cluster.master,
        "MARK_AGENT_GONE",
        json!({ "agent_id": agent }),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = scheduler.operation_status();
    assert_eq!(told["state"], "OPERATION_GONE_BY_OPERATOR", "{told}");
    let status = scheduler.status();
    assert_eq!(status["state"], "TASK_GONE_BY_OPERATOR", "{status}");
    for id in ["r", "never"] {
        let state = reconcile(&mut scheduler, id, Some(&agent));
        assert_eq!(state, "OPERATION_GONE_BY_OPERATOR");
    }
    drop(held);
    eventually("the task has ended with its agent", SOON, || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        status.is_err().then_some(())
    });
    // It may never return.
    let slaves = operate(&cluster.master, "GET_AGENTS", json!({}));
    let shown: Value = serde_json::from_str(&slaves.body).unwrap();
    assert!(shown["get_agents"]["agents"].is_null(), "{shown}");
    cluster.stop();
}
