//! marathon-python 0.13.0, unmodified, operates services: one story for each thing that its users do.

use std::process::Command;

use nesos_client_tests::marathon;
use nesos_cluster_tests::DevCluster;

/// Gives the library what Python 3.10 moved, from outside.
const COMPAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/marathon/compat");

/// Tells a story of `marathon/stories.py` on a cluster of its own.
fn tell(story: &str) {
    let python = marathon().unwrap_or_else(|error| panic!("{error}"));
    let cluster = DevCluster::start(2, &[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/marathon/stories.py");
    let ended = Command::new(python)
        .args([script, &cluster.master, story])
        .env("PYTHONPATH", COMPAT)
        .output();
    let ended = ended.unwrap_or_else(|error| panic!("{story}: {error}"));
    let told = String::from_utf8_lossy(&ended.stdout);
    let complaints = String::from_utf8_lossy(&ended.stderr);
    let is_done = ended.status.success() && told.trim() == "done";
    assert!(is_done, "{told}{complaints}{}", cluster.logs());
    cluster.stop();
}

#[test]
fn apps_are_created_scaled_taken_back_and_removed() {
    tell("lifecycle");
}

#[test]
fn instances_are_replaced_and_never_too_few() {
    tell("replacing");
}

#[test]
fn tasks_know_their_ports_and_come_back_when_killed() {
    tell("tasks");
}

#[test]
fn health_checks_decide_what_is_deployed() {
    tell("health");
}

#[test]
fn events_are_told_as_they_happen() {
    tell("events");
}

#[test]
fn what_fits_nowhere_waits_and_deployments_are_taken_back() {
    tell("waiting");
}

#[test]
fn groups_come_and_go_together() {
    tell("groups");
}
