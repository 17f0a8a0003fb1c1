//! What each client does in its tests: launch tasks, hear of their end, tear its framework down.
//!
//! Panics with a sentence: this is test code. Called by the tests here and by those on emulated boards.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::{Cluster, mesos_framework, pymesos};
use std::process::Command;

/// Seconds for all tasks: emulated boards on a loaded machine are slow.
const SECONDS: &str = "180";

/// Lets pymesos launch `tasks` tasks on `cluster` and asserts that each was seen running and then finished.
///
/// # Panics
/// It cannot be installed, or a task did not finish.
pub fn pymesos_finishes(cluster: &Cluster, tasks: usize) {
    let python = pymesos().unwrap_or_else(|error| panic!("{error}"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/pymesos/launch.py");
    finishes(cluster, tasks, Command::new(python).arg(script));
}

/// As [`pymesos_finishes`], with mesos-framework.
///
/// # Panics
/// It cannot be installed, or a task did not finish.
pub fn mesos_framework_finishes(cluster: &Cluster, tasks: usize) {
    let module = mesos_framework().unwrap_or_else(|error| panic!("{error}"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/mesos-framework/launch.js");
    finishes(cluster, tasks, Command::new("node").arg(script).arg(module));
}

/// Runs a client's script, which says in JSON what became of its tasks.
fn finishes(cluster: &Cluster, tasks: usize, script: &mut Command) {
    let output = script
        .args([&cluster.master, &tasks.to_string(), SECONDS])
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{}:\n{said}", output.status);
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let states_of = report["tasks"].as_object().unwrap();
    assert_eq!(states_of.len(), tasks, "{said}");
    for (name, states) in states_of {
        let states = states.as_array().unwrap();
        assert_eq!(
            states.last().unwrap(),
            "TASK_FINISHED",
            "{name}: {states:?}\n{said}"
        );
        assert!(
            states.contains(&"TASK_RUNNING".into()),
            "{name} was seen running: {states:?}"
        );
    }

    // Each tears its framework down at the end: it has moved to the completed ones, with its tasks.
    let framework = report["framework"].as_str().unwrap();
    let answer = cluster
        .get(&format!("/frameworks?framework_id={framework}"))
        .unwrap();
    assert_eq!(answer["frameworks"], serde_json::json!([]), "{answer}");
    let completed = &answer["completed_frameworks"][0];
    assert_eq!(completed["id"], framework, "{answer}");
    let finished = completed["completed_tasks"].as_array().unwrap();
    assert_eq!(
        finished
            .iter()
            .filter(|task| task["state"] == "TASK_FINISHED")
            .count(),
        tasks,
        "{answer}"
    );
}
