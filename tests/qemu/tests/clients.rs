//! A program that we did not write, unmodified, uses a cluster of boards.

use nesos_client_tests::{Cluster, pymesos_finishes};
use nesos_qemu_tests::VmCluster;

#[test]
fn pymesos_finishes_twenty_tasks_on_emulated_boards() {
    let boards = VmCluster::start(3);
    pymesos_finishes(&Cluster::at(boards.master()), 20);
}
