//! Daemons that are killed: tasks live on, nothing is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use nesos_cluster_tests::{DevCluster, eventually};

const SOON: Duration = Duration::from_secs(60);

/// Counts to forty in about eight seconds and ends with 7.
const COUNT: &str =
    "i=1; while [ $i -le 40 ]; do echo line $i; i=$((i+1)); sleep 0.2; done; exit 7";

fn counted() -> String {
    (1..=40).map(|i| format!("line {i}\n")).collect()
}

#[test]
fn a_killed_agent_loses_no_output_and_no_exit_code() {
    let cluster = DevCluster::start(1, &[]);
    let mut run = cluster.nesos.start(&["run", "--", COUNT]);
    run.wait_for("line 5\n", SOON);
    cluster.kill_and_wait_restart("agent-1");
    let ended = run.wait(SOON);
    assert_eq!(
        (ended.code, ended.stdout),
        (7, counted()),
        "{}",
        ended.stderr
    );
    cluster.stop();
}

#[test]
fn a_task_that_ends_while_the_agent_is_away_keeps_its_exit_code() {
    let cluster = DevCluster::start(1, &[]);
    let mut run = cluster
        .nesos
        .start(&["run", "--", "echo begun; sleep 0.5; echo ended; exit 9"]);
    run.wait_for("begun", SOON);
    // Restart takes 200 ms at first and doubles: the third life begins after the task's end.
    cluster.kill_and_wait_restart("agent-1");
    cluster.kill_and_wait_restart("agent-1");
    cluster.kill_and_wait_restart("agent-1");
    let ended = run.wait(SOON);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (9, "begun\nended\n"),
        "{}",
        ended.stderr
    );
    cluster.stop();
}

#[test]
fn a_killed_master_comes_back_and_everybody_returns() {
    let cluster = DevCluster::start(2, &[]);
    let before = cluster.nesos.json(&["nodes"]);
    let mut run = cluster
        .nesos
        .start(&["run", "--on", "agent-2", "--", COUNT]);
    run.wait_for("line 5\n", SOON);
    cluster.kill_and_wait_restart("master");
    let nodes = eventually("both agents are back", SOON, || {
        let ended = cluster.nesos.run(&["--output", "json", "nodes"]);
        let nodes: Vec<serde_json::Value> = ended
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        (nodes
            .iter()
            .filter(|node| node["state"] == "active")
            .count()
            == 2)
            .then_some(nodes)
    });
    let ids = |nodes: &[serde_json::Value]| {
        nodes
            .iter()
            .map(|node| node["agent"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&nodes), ids(&before), "agents keep their ids");
    let ended = run.wait(SOON);
    assert_eq!(
        (ended.code, ended.stdout),
        (7, counted()),
        "{}",
        ended.stderr
    );
    cluster.stop();
}

#[test]
fn both_killed_at_once_is_no_loss_either() {
    let cluster = DevCluster::start(1, &[]);
    let mut run = cluster.nesos.start(&["run", "--", COUNT]);
    run.wait_for("line 5\n", SOON);
    cluster.kill_and_wait_restart("master");
    cluster.kill_and_wait_restart("agent-1");
    let ended = run.wait(SOON);
    assert_eq!(
        (ended.code, ended.stdout),
        (7, counted()),
        "{}",
        ended.stderr
    );
    cluster.stop();
}
