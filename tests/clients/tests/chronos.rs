//! chronos-python 1.2.1 from PyPI, unmodified, operates jobs: by time, after others, now; what ends how, and what is refused.

use nesos_client_tests::Script;
use nesos_cluster_tests::DevCluster;

#[test]
fn chronos_python_operates_jobs() {
    let cluster = DevCluster::start(1, &[]);
    let folder = cluster.work_dir().display().to_string();
    let mut operator = Script::start_chronos("operate.py", &cluster, &[&folder]);
    for part in [
        "nothing", "time", "family", "tasks", "failure", "shown", "names", "refused", "older",
        "done",
    ] {
        operator.expect(&cluster, part);
    }
    assert!(operator.succeeds());
    cluster.stop();
}

/// Jobs, how they went, and the run that goes on are the registry's: a master that dies takes nothing with it.
#[test]
fn jobs_outlive_the_master() {
    let cluster = DevCluster::start(1, &[]);
    let folder = cluster.work_dir().display().to_string();
    let mut operator = Script::start_chronos("outlive.py", &cluster, &[&folder]);
    operator.expect(&cluster, "running");
    cluster.kill_and_wait_restart("master");
    operator.go_on();
    operator.expect(&cluster, "done");
    assert!(operator.succeeds());
    cluster.stop();
}
