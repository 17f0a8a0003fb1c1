//! Three masters whose leader is killed again and again: no task notices, no framework is forgotten.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use nesos_cluster_tests::http;
use nesos_cluster_tests::scheduler::{Scheduler, task};
use nesos_cluster_tests::{DevCluster, eventually};
use serde_json::{Value, json};

/// Daemons are started again after growing pauses.
const SOON: Duration = Duration::from_secs(60);
const ROUNDS: usize = 4;
/// A machine that runs other tests stands still for longer than the default; deaths are noticed at once all the same.
const PATIENT: &str = "--master-flag=--election_timeout_ms=2000";

/// Name and address of the master that leads.
fn leader(cluster: &DevCluster) -> (String, String) {
    eventually("somebody leads", SOON, || {
        let masters = cluster.masters.iter();
        let leads = |address: &str| {
            let answer = http::try_get(address, "/state");
            answer.is_some_and(|answer| answer.status == 200)
        };
        let mut leading = masters.filter(|(_, address)| leads(address));
        leading.next().cloned()
    })
}

fn state(address: &str) -> Value {
    let answer = http::try_get(address, "/state");
    answer.map_or(Value::Null, |answer| {
        serde_json::from_str(&answer.body).unwrap_or_default()
    })
}

#[test]
fn tasks_do_not_notice_that_leaders_die() {
    let cluster = DevCluster::start(2, &["--masters", "3", PATIENT]);
    let members = || json!({"failover_timeout": 600.0});
    let (_, address) = leader(&cluster);
    let mut scheduler = Scheduler::subscribe(&address, members());
    let offer = scheduler.standing_offer();
    let started = cluster.work_dir().join("started");
    let command = format!("echo x >> {}; exec sleep 600", started.display());
    let runs =
        json!([{"type": "LAUNCH", "launch": {"task_infos": [task(&offer, "t", 0.1, &command)]}}]);
    scheduler.accept(&offer, runs);
    scheduler.status_until("TASK_RUNNING");
    let mut leaders = Vec::new();
    for _ in 0..ROUNDS {
        let (name, _) = leader(&cluster);
        cluster.kill_and_wait_restart(&name);
        leaders.push(name);
        let (_, address) = leader(&cluster);
        let mut members = members();
        members["id"] = scheduler.id.clone();
        scheduler = Scheduler::subscribe(&address, members);
        eventually("all agents are back", SOON, || {
            let state = state(&address);
            (state["activated_slaves"].as_f64() == Some(2.0)).then_some(())
        });
        let asked = json!({"tasks": [{"task_id": {"value": "t"}}]});
        scheduler.call("RECONCILE", asked);
        let status = scheduler.status();
        assert_eq!(status["state"], "TASK_RUNNING", "{status}");
    }
    leaders.dedup();
    assert!(
        leaders.len() > 1,
        "the leadership never changed: {leaders:?}"
    );
    // All masters are back, and have all that was agreed on.
    let (_, address) = leader(&cluster);
    eventually("all masters have everything", SOON, || {
        let answer = http::try_get(&address, "/nesos/v1/masters")?;
        let answer: Value = serde_json::from_str(&answer.body).ok()?;
        let all = answer["masters"].as_array()?;
        let has_all = |master: &Value| master["connected"] == true && master["behind"] == 0;
        (all.len() == 3 && all.iter().all(has_all)).then_some(())
    });
    let times = std::fs::read_to_string(&started).unwrap();
    assert_eq!(times, "x\n", "the task was started once");
    cluster.stop();
}
