//! pymesos 0.3.15 from PyPI, unmodified, launches tasks and hears of their end.
//!
//! Against the cluster that `NESOS_TEST_MASTER` names, else against one of plain processes on loopback; tests/qemu does the
//! same on emulated boards.

use nesos_client_tests::{Cluster, pymesos_finishes};

#[test]
fn pymesos_launches_twenty_tasks_that_all_finish() {
    let cluster = Cluster::new(2).unwrap_or_else(|error| panic!("{error}"));
    // More than one offer's worth on small boards.
    pymesos_finishes(&cluster, 20);
}
