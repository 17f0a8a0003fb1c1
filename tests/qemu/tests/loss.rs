//! Three masters on boards whose network loses packets: nobody is taken for dead who is not, and who is dead is found.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use nesos_cluster_tests::eventually;
use nesos_qemu_tests::{BOOT, VmCluster};
use serde_json::Value;

/// Of the frames between boards, percent.
const LOSS: &str = "5";
/// How long the boards live with it, by the clock of the one that leads: several hundred heartbeats.
const STRETCH: u64 = 60;
/// Frames that are lost meanwhile, at the least: heartbeats alone are 400, and each is answered.
const LOST: u64 = 20;

/// Seconds since the board's kernel started.
fn uptime(cluster: &VmCluster, board: &str) -> u64 {
    let (said, code) = cluster.shell(board).run("cut -d. -f1 /proc/uptime");
    assert_eq!(code, 0, "{said}");
    said.trim().parse().unwrap_or_else(|_| panic!("{said:?}"))
}

fn lost(cluster: &VmCluster, arguments: &[&str]) -> Value {
    let all = [&["--output", "json", "vm", "loss"], arguments].concat();
    let ended = cluster.nesos.run(&all);
    assert_eq!(ended.code, 0, "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

#[test]
fn a_network_that_loses_packets_raises_no_false_alarm() {
    let cluster = VmCluster::start_with(4, &["--masters", "3"]);
    let leader = cluster.leader(3, 3);
    let (name, term) = cluster.led().unwrap();
    assert_eq!(name, leader);
    let _ = lost(&cluster, &[LOSS, "--seed", "5"]);
    let begin = uptime(&cluster, &leader);
    let (mut writes, mut longest) = (0, Duration::ZERO);
    while uptime(&cluster, &leader) - begin < STRETCH {
        for _ in 0..10 {
            writes += 1;
            let asked = Instant::now();
            assert_eq!(cluster.put_weight("lossy", writes), Some(200), "{writes}");
            longest = longest.max(asked.elapsed());
        }
        assert_eq!(cluster.led(), Some((leader.clone(), term)), "a false alarm");
    }
    let told = lost(&cluster, &[]);
    eprintln!("... {writes} writes, the longest {longest:?}; {told}");
    assert!(told["lost"].as_u64().unwrap() >= LOST, "{told}");

    // With its network as bad as before.
    cluster.vm(&["kill", &leader]);
    let dead = Instant::now();
    let (next, later) = eventually("another one leads", BOOT, || {
        cluster.led().filter(|(name, _)| *name != leader)
    });
    assert!(later > term, "{next} in {later} after {term}");
    eventually("it takes writes", BOOT, || {
        writes += 1;
        (cluster.put_weight("lossy", writes) == Some(200)).then_some(())
    });
    eprintln!("... {next} leads and writes after {:?}", dead.elapsed());
    assert!(lost(&cluster, &["0"])["percent"] == 0.0);
    let _ = cluster.active_node("board-4");
}
