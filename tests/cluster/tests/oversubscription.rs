//! What tasks do not use is lent, offered as revocable, and taken back under pressure, with real daemons.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use nesos_cluster_tests::resources::{amount, scalar};
use nesos_cluster_tests::scheduler::{Scheduler, task};
use nesos_cluster_tests::{DevCluster, eventually, http};
use serde_json::{Value, json};

fn capable() -> Value {
    let names = ["PARTITION_AWARE", "REVOCABLE_RESOURCES"];
    json!({"capabilities": names.map(|name| json!({ "type": name }))})
}

/// The revocable cpus of an offer.
fn lent(offer: &Value) -> Option<f64> {
    let all = offer["resources"].as_array()?;
    let is_lent = |one: &&Value| one["name"] == "cpus" && one["revocable"].is_object();
    all.iter().find(is_lent).map(scalar)
}

/// The next offer with revocable cpus; others are declined for long.
fn revocable_offer(scheduler: &mut Scheduler) -> Value {
    loop {
        let offer = scheduler.standing_offer();
        if lent(&offer).is_some() {
            return offer;
        }
        let member = json!({"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 3600.0}});
        scheduler.call("DECLINE", member);
    }
}

#[test]
fn what_is_not_used_is_lent_and_taken_back() {
    // A tolerance of nothing is always exceeded.
    let cluster = DevCluster::start(
        1,
        &[
            "--agent-flag=--resource_estimator=slack",
            "--agent-flag=--qos_controller=pressure",
            "--agent-flag=--qos_cpu_pressure=0",
            "--agent-flag=--oversubscribed_resources_interval=1secs",
            "--resources=cpus:2;mem:256",
        ],
    );
    let mut scheduler = Scheduler::subscribe(&cluster.master, capable());
    let offer = scheduler.standing_offer();
    assert_eq!(
        lent(&offer),
        None,
        "nobody leaves anything unused yet: {offer}"
    );
    // Sleeping it uses nothing of its cpu.
    scheduler.launch(
        &[&offer],
        json!([task(&offer, "lender", 1.0, "sleep 1000")]),
    );
    scheduler.status_until("TASK_RUNNING");

    let offer = revocable_offer(&mut scheduler);
    let cpus = lent(&offer).unwrap();
    assert!(cpus > 0.0 && cpus <= 0.8, "{offer}");
    let mut lodger = task(&offer, "lodger", 0.1, "sleep 1000");
    let mut share = amount("cpus", 0.1);
    share["revocable"] = json!({});
    lodger["resources"] = json!([share]);
    scheduler.launch(&[&offer], json!([lodger]));
    let status = loop {
        let status = scheduler.status();
        scheduler.acknowledge(&status);
        if status["task_id"]["value"] == "lodger" && status["state"] == "TASK_GONE" {
            break status;
        }
        assert_ne!(status["state"], "TASK_FAILED", "{status}");
    };
    assert_eq!(status["reason"], "REASON_CONTAINER_PREEMPTED", "{status}");
    assert_eq!(status["source"], "SOURCE_AGENT", "{status}");

    let metrics = |name: &str| {
        let answer = http::request(&cluster.master, "GET", "/metrics/snapshot", &[], b"");
        let metrics: Value = serde_json::from_str(&answer.body).ok()?;
        metrics[name].as_f64()
    };
    eventually(
        "the master counts it apart",
        Duration::from_secs(20),
        || {
            let total = metrics("master/cpus_revocable_total")?;
            let used = metrics("master/cpus_revocable_used")?;
            (total > 0.0 && used == 0.0 && metrics("master/cpus_total")? == 2.0).then_some(())
        },
    );
    cluster.stop();
}
