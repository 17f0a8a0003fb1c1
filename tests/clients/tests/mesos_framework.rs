//! mesos-framework 0.5.3 from npm, unmodified, launches tasks and hears of their end.
//!
//! Against the cluster that `NESOS_TEST_MASTER` names, else against one of plain processes on loopback.

use nesos_client_tests::{Cluster, mesos_framework_finishes};

#[test]
fn mesos_framework_launches_ten_tasks_that_all_finish() {
    let cluster = Cluster::new(2).unwrap_or_else(|error| panic!("{error}"));
    mesos_framework_finishes(&cluster, 10);
}
