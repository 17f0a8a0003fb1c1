//! pymesos 0.3.15, unmodified, operates a master and an agent: what they tell, what can be changed, and the events of it.
#![allow(clippy::unwrap_used)]

use nesos_client_tests::Script;
use nesos_cluster_tests::DevCluster;

#[test]
fn pymesos_operates_a_master_and_an_agent() {
    let cluster = DevCluster::start(1, &[]);
    let mut operator = Script::start("operate.py", &cluster);
    operator.expect(&cluster, "done");
    assert!(operator.succeeds());
    cluster.stop();
}
