//! pymesos 0.3.15 brings an executor of its own, on pymesos too, that outlives its tasks, the agent and the master; and runs
//! pods.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use nesos_client_tests::{Cluster, Script};
use nesos_cluster_tests::{DevCluster, eventually};
use serde_json::Value;

/// SHUTDOWN has 5 s, then the executor is killed.
const SHUTDOWN: Duration = Duration::from_secs(30);

/// Every file below `folder` that is called `name`.
fn find(folder: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        // Links to the latest run would show each one twice.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => find(&entry.path(), name, found),
            Ok(_) if entry.file_name() == name => found.push(entry.path()),
            _ => {}
        }
    }
}

/// The only framework's executor ids, its tasks in use, and the cpus it uses, as `/state` shows them.
fn shown(cluster: &DevCluster) -> (Vec<String>, usize, f64) {
    let state = Cluster::at(&cluster.master).get("/state").unwrap();
    let framework = &state["frameworks"][0];
    let ids = framework["executors"].as_array().unwrap().iter();
    let is_running = |task: &&Value| task["state"] == "TASK_RUNNING";
    let tasks = framework["tasks"].as_array().unwrap().iter();
    let used = framework["used_resources"]["cpus"].as_f64().unwrap();
    assert_eq!(state["slaves"][0]["used_resources"]["cpus"], used);
    (
        ids.map(|one| one["executor_id"].as_str().unwrap().to_owned())
            .collect(),
        tasks.filter(is_running).count(),
        used,
    )
}

#[test]
fn pymesos_brings_an_executor_that_lives_through_crashes_and_runs_pods() {
    let cluster = DevCluster::start(1, &[]);
    let mut holder = Script::start("hold.py", &cluster);
    holder.expect(&cluster, "running");
    let (ids, tasks, used) = shown(&cluster);
    assert_eq!((ids.as_slice(), tasks), (&["holder:1".to_owned()][..], 2));
    assert!((used - 0.3).abs() < 1e-9, "{used}");
    cluster.kill_and_wait_restart("agent-1");
    cluster.kill_and_wait_restart("master");
    holder.go_on();

    // Without tasks it is still there, and still paid for.
    holder.expect(&cluster, "idle");
    let (ids, tasks, used) = shown(&cluster);
    assert_eq!((ids.as_slice(), tasks), (&["holder:1".to_owned()][..], 0));
    assert!((used - 0.1).abs() < 1e-9, "{used}");
    holder.go_on();

    holder.expect(&cluster, "again");
    holder.go_on();
    holder.expect(&cluster, "pods");
    let (ids, tasks, _) = shown(&cluster);
    assert_eq!(
        (ids.as_slice(), tasks),
        (&["holder:1".to_owned(), "pod".to_owned()][..], 3)
    );
    holder.go_on();
    holder.expect(&cluster, "done");
    assert!(holder.succeeds());

    // The end of the framework asks its executor to end.
    let asked = || {
        let mut found = Vec::new();
        find(&cluster.work_dir(), "shutdown", &mut found);
        (found.len() == 1).then_some(())
    };
    eventually("the executor is asked to end", SHUTDOWN, asked);
    let gone = || {
        let state = Cluster::at(&cluster.master).get("/state").ok()?;
        let used = &state["slaves"][0]["used_resources"]["cpus"];
        (*used == 0.0 && state["frameworks"] == serde_json::json!([])).then_some(())
    };
    eventually("nothing is left", SHUTDOWN, gone);
    cluster.stop();
}
