//! Executors of other people's making: pymesos 0.3.15 as scheduler and custom executor, over a crash of the agent; and task
//! groups for a scheduler that has nothing but HTTP.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::Duration;

use nesos_client_tests::{Cluster, Script};
use nesos_cluster_tests::{DevCluster, eventually};

/// Grace periods and a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Processes of this executor: they have its script on their command line.
fn workers() -> usize {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/pymesos/worker.py").as_bytes();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let runs = |line: &Vec<u8>| line.split(|byte| *byte == 0).any(|word| word == script);
    lines.filter(runs).count()
}

#[test]
fn a_pymesos_executor_is_shared_returns_after_a_crash_and_ends_with_its_framework() {
    let cluster = DevCluster::start(1, &[]);
    let mut foreman = Script::start("executor.py", &cluster);
    foreman.expect(&cluster, "running");
    assert_eq!(workers(), 1, "one executor for both tasks");
    cluster.kill_and_wait_restart("agent-1");
    foreman.go_on();
    foreman.expect(&cluster, "heard");
    foreman.expect(&cluster, "reused");
    foreman.expect(&cluster, "ended");
    assert_eq!(workers(), 1);
    let master = Cluster::at(&cluster.master);
    let executors = || master.get("/state").unwrap()["frameworks"][0]["executors"].clone();
    assert_eq!(executors()[0]["executor_id"], "worker");
    foreman.go_on();
    assert!(foreman.succeeds());
    eventually("the executor to end", LIMIT, || {
        (workers() == 0).then_some(())
    });
    let state = master.get("/state").unwrap();
    assert_eq!(state["frameworks"], serde_json::json!([]));
    cluster.stop();
}

#[test]
fn pods_live_and_die_together_for_a_scheduler_without_a_library() {
    let cluster = DevCluster::start(1, &[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/http/pod.py");
    let output = Command::new("python3")
        .args([script, &cluster.master])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    let states: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |task: &str| -> Vec<&str> {
        let seen = states[task].as_array().unwrap().iter();
        seen.map(|one| one[0].as_str().unwrap()).collect()
    };
    let begin = ["TASK_STARTING", "TASK_RUNNING"];
    assert_eq!(of("a"), [&begin[..], &["TASK_FAILED"]].concat());
    assert_eq!(of("b"), [&begin[..], &["TASK_KILLED"]].concat());
    for task in ["c", "d"] {
        assert_eq!(of(task), [&begin[..], &["TASK_FINISHED"]].concat());
    }
    assert_eq!(
        (&states["a"][0][1], &states["d"][0][1]),
        (&"failing".into(), &"finishing".into())
    );
    let master = Cluster::at(&cluster.master);
    eventually("the framework to go", LIMIT, || {
        let state = master.get("/state").unwrap();
        (state["frameworks"] == serde_json::json!([])).then_some(())
    });
    cluster.stop();
}
