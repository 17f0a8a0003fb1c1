//! What a person who looks after a cluster does with `nesos`: quota, weights, draining and deactivating nodes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use nesos_cluster_tests::{DevCluster, Nesos, eventually};
use serde_json::json;

#[test]
fn the_cluster_is_shared_out_from_the_command_line() {
    let cluster = DevCluster::start(1, &[]);
    let nesos = &cluster.nesos;
    assert!(nesos.json(&["quota"]).is_empty());
    let set = [
        "quota",
        "set",
        "web",
        "--guarantee",
        "cpus:0.5",
        "--limit",
        "cpus:1;mem:256",
    ];
    let ended = nesos.run(&set);
    let said = "role web has guarantee cpus:0.5, limit cpus:1;mem:256\n";
    assert_eq!((ended.code, ended.stdout.as_str()), (0, said), "{ended:?}");
    let table = nesos.run(&["quota"]).stdout;
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    let expected = [
        ["ROLE", "RESOURCE", "GUARANTEE", "LIMIT", "CONSUMED"],
        ["web", "cpus", "0.5", "1", "0"],
        ["web", "mem", "-", "256", "0"],
    ];
    assert_eq!(rows, expected);
    let shown = json!({"role": "web", "guarantee": {"cpus": 0.5}, "limit": {"cpus": 1.0, "mem": 256.0}, "consumed": {}});
    assert_eq!(nesos.json(&["quota"]), [shown]);

    let much = ["quota", "set", "web", "--guarantee", "cpus:1000"];
    let refused = nesos.run(&much);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("'cpus' would be 1000 but the cluster has 2"),
        "{refused:?}"
    );
    assert_eq!(nesos.run(&[&much[..], &["--force"]].concat()).code, 0);
    assert_eq!(
        nesos.json(&["quota", "remove", "web"]),
        [json!({"role": "web", "removed": true})]
    );
    let again = nesos.run(&["quota", "remove", "web"]);
    assert_eq!(again.code, 1);
    assert!(
        again.stderr.contains("Role 'web' has no quota set"),
        "{again:?}"
    );

    let weights = nesos.json(&["weights", "set", "web=2", "lab/east=0.5"]);
    assert_eq!(weights.len(), 2);
    let expected = [
        json!({"role": "lab/east", "weight": 0.5}),
        json!({"role": "web", "weight": 2.0}),
    ];
    assert_eq!(nesos.json(&["weights"]), expected);
    let bad = nesos.run(&["weights", "set", "a//b=2"]);
    assert!(
        bad.code == 1 && bad.stderr.contains("Role 'a//b' is not valid"),
        "{bad:?}"
    );
    cluster.stop();
}

/// Waits until `nesos nodes` shows the one node like this.
fn wait_state(nesos: &Nesos, state: &str) {
    eventually(
        &format!("a node that is {state}"),
        Duration::from_secs(30),
        || (nesos.json(&["nodes"])[0]["state"] == state).then_some(()),
    );
}

#[test]
fn a_node_is_drained_and_comes_back() {
    let cluster = DevCluster::start(1, &[]);
    let nesos = &cluster.nesos;
    let node = nesos.json(&["nodes"])[0].clone();
    let (name, agent) = (
        node["name"].as_str().unwrap(),
        node["agent"].as_str().unwrap(),
    );
    let mut running = nesos.start(&["run", "--", "echo up; sleep 600"]);
    running.wait_for("up", Duration::from_secs(30));
    let drained = nesos.json(&["drain", name, "--grace", "0.2"]);
    assert_eq!(
        drained,
        [json!({"node": name, "agent": agent, "state": "draining"})]
    );
    let ended = running.wait(Duration::from_secs(30));
    assert_ne!(ended.code, 0, "its task was killed: {ended:?}");
    wait_state(nesos, "drained");
    let said = nesos.run(&["activate", agent]).stdout;
    assert_eq!(said, format!("{name} is active again\n"));
    wait_state(nesos, "active");
    assert_eq!(nesos.run(&["deactivate", name]).code, 0);
    wait_state(nesos, "deactivated");
    assert_eq!(nesos.run(&["activate", name]).code, 0);
    let twice = nesos.run(&["activate", name]);
    assert!(
        twice.code == 1 && twice.stderr.contains("is not deactivated"),
        "{twice:?}"
    );
    let nobody = nesos.run(&["drain", "nobody"]);
    assert_eq!(nobody.code, 1);
    assert!(
        nobody.stderr.contains("no node is called 'nobody'"),
        "{nobody:?}"
    );
    cluster.stop();
}
