//! The flashed bytes, booted: boards find each other, run tasks, and survive kill -9 and power cuts.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use nesos_cluster_tests::eventually;
use nesos_qemu_tests::{BOOT, VmCluster};

/// Counts to forty in some ten seconds and ends with 7.
const COUNT: &str =
    "i=1; while [ $i -le 40 ]; do echo line $i; i=$((i+1)); sleep 0.2; done; exit 7";

fn counted() -> String {
    (1..=40).map(|i| format!("line {i}\n")).collect()
}

#[test]
fn three_boards_find_each_other_and_run_tasks() {
    let cluster = VmCluster::start(3);
    let nesos = &cluster.nesos;
    let nodes = nesos.json(&["nodes"]);
    assert_eq!(nodes.len(), 2, "one master and two agents: {nodes:?}");
    for board in ["board-2", "board-3"] {
        let ended = nesos.run_within(
            BOOT,
            &[
                "run",
                "--on",
                board,
                "--",
                "uname -m; echo to stderr >&2; exit 4",
            ],
        );
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (4, "aarch64\n"),
            "{ended:?}"
        );
        assert!(ended.stderr.contains("to stderr"), "{ended:?}");
    }
    isolated_and_limited(&cluster);
    orderly_shutdown(&cluster);
}

/// A task sees its own processes only, and one that takes too much memory is ended and reported as such.
fn isolated_and_limited(cluster: &VmCluster) {
    let ended = cluster.nesos.run_within(
        BOOT,
        &["run", "--", "ls -d /proc/[0-9]* | wc -l; cat /proc/1/comm"],
    );
    let processes: u32 = ended
        .stdout
        .split_whitespace()
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or(u32::MAX);
    assert!(
        ended.code == 0 && processes <= 5,
        "a PID namespace of its own: {ended:?}"
    );
    assert!(!ended.stdout.contains("init"), "{ended:?}");

    let ended = cluster
        .nesos
        .run_within(BOOT, &["run", "--mem", "32", "--", "tail /dev/zero"]);
    assert_eq!(ended.code, 137, "{ended:?}");
    assert!(ended.stderr.contains("Memory limit exceeded"), "{ended:?}");
}

fn orderly_shutdown(cluster: &VmCluster) {
    let log = cluster.board("board-2").join("console.log");
    // Kept open, since `vm down` removes it.
    let mut log = std::fs::File::open(log).unwrap();
    cluster.vm(&["down"]);
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut log, &mut text).unwrap();
    let text = String::from_utf8_lossy(&text).to_lowercase();
    assert!(
        text.contains("power off") || text.contains("power down") || text.contains("shutdown"),
        "{text}"
    );
}

#[test]
fn daemons_killed_on_their_boards_lose_nothing() {
    let cluster = VmCluster::start(2);
    let mut run = cluster.nesos.start(&["run", "--", COUNT]);
    run.wait_for("line 3\n", BOOT);
    let (_, code) = cluster.shell("board-2").run("kill -9 $(pidof agentd)");
    assert_eq!(code, 0, "agentd was killed");
    let ended = run.wait(BOOT);
    assert_eq!(
        (ended.code, ended.stdout),
        (7, counted()),
        "after agentd's end: {}",
        ended.stderr
    );

    let before = cluster.active_node("board-2");
    let mut run = cluster.nesos.start(&["run", "--", COUNT]);
    run.wait_for("line 3\n", BOOT);
    let (_, code) = cluster.shell("board-1").run("kill -9 $(pidof masterd)");
    assert_eq!(code, 0, "masterd was killed");
    let ended = run.wait(BOOT);
    assert_eq!(
        (ended.code, ended.stdout),
        (7, counted()),
        "after masterd's end: {}",
        ended.stderr
    );
    assert_eq!(
        cluster.active_node("board-2")["agent"],
        before["agent"],
        "the agent keeps its id"
    );
}

#[test]
fn a_board_returns_after_a_power_cut_under_the_same_identity() {
    let cluster = VmCluster::start(2);
    let before = cluster.active_node("board-2");
    let mut run = cluster
        .nesos
        .start(&["run", "--", "echo begun; sleep 1000"]);
    run.wait_for("begun", BOOT);
    cluster.vm(&["kill", "board-2"]);
    // This framework knows partitions: the task is unreachable before it is lost.
    run.wait_for_complaint("board-2 is unreachable", BOOT);
    cluster.vm(&["start", "board-2"]);
    let ended = run.wait(BOOT);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (1, "begun\n"),
        "the framework learns that the task is gone: {ended:?}"
    );
    let after = cluster.active_node("board-2");
    assert_eq!(after["agent"], before["agent"], "the same identity");
    let ended = cluster.nesos.run_within(BOOT, &["run", "--", "echo again"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "again\n"),
        "{ended:?}"
    );

    // The master's power too: registry and key are on its disk.
    cluster.vm(&["kill", "board-1"]);
    cluster.vm(&["start", "board-1"]);
    assert_eq!(
        cluster.active_node("board-2")["agent"],
        before["agent"],
        "the master remembers"
    );
}

#[test]
fn a_full_data_partition_is_reported_and_heals() {
    let cluster = VmCluster::start(2);
    let mut shell = cluster.shell("board-2");
    let _ = shell.run("dd if=/dev/zero of=/data/filler bs=64k 2>/dev/null; sync");
    let full = cluster
        .nesos
        .run_within(BOOT, &["run", "--", "echo some output"]);
    assert!(
        full.code != 0 && !full.stderr.is_empty(),
        "an error with a sentence: {full:?}"
    );
    let (_, code) = shell.run("pidof agentd && rm /data/filler && sync");
    assert_eq!(code, 0, "agentd lives");
    eventually("tasks run again", Duration::from_secs(120), || {
        let ended = cluster.nesos.run_within(BOOT, &["run", "--", "echo fine"]);
        (ended.code == 0 && ended.stdout == "fine\n").then_some(())
    });
}
