//! pymesos 0.3.15 from PyPI, unmodified, launches tasks and hears of their end.
//!
//! Against the cluster that `NESOS_TEST_MASTER` names, else against one of plain processes on loopback.
#![allow(clippy::unwrap_used)]

use nesos_client_tests::{Cluster, pymesos};
use std::process::Command;

/// How many tasks: more than one offer's worth on small boards.
const TASKS: usize = 20;
/// Seconds for all of them: emulated boards on a loaded machine are slow.
const SECONDS: &str = "180";

#[test]
fn pymesos_launches_twenty_tasks_that_all_finish() {
    let python = pymesos().unwrap_or_else(|error| panic!("{error}"));
    let cluster = Cluster::new(2).unwrap_or_else(|error| panic!("{error}"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/pymesos/launch.py");
    let output = Command::new(python)
        .args([script, &cluster.master, &TASKS.to_string(), SECONDS])
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
    let tasks = report["tasks"].as_object().unwrap();
    assert_eq!(tasks.len(), TASKS, "{said}");
    for (name, states) in tasks {
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

    // pymesos tears its framework down at the end: it has moved to the completed ones, with its tasks.
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
        TASKS,
        "{answer}"
    );
}
