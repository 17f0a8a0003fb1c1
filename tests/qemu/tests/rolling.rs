//! `nesos update` on a cluster of boards that start through U-Boot: one after the other, and not one more when one does not come back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::time::Duration;

use nesos_cluster_tests::{Nesos, eventually};
use nesos_qemu_tests::{Update, VmCluster};
use serde_json::Value;

const BOARD: &str = "qemu-virt";
/// Boards install, restart and prove themselves one after the other.
const ROLL: Duration = Duration::from_secs(420);
const SOON: Duration = Duration::from_secs(90);

fn file(folder: &tempfile::TempDir, name: &str, bundle: &Update) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bundle.signed()).unwrap();
    path
}

fn update(nesos: &Nesos, bundle: &std::path::Path) -> nesos_cluster_tests::Ended {
    let bundle = bundle.display().to_string();
    nesos.run_within(
        ROLL,
        &["--output", "json", "update", &bundle, "--grace", "2"],
    )
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("JSON lines")
}

fn healthy(nesos: &Nesos) -> Option<()> {
    let services = nesos.json(&["service", "list"]);
    let has = |key: &str| services.first().and_then(|one| one[key].as_u64());
    (has("tasksRunning") == Some(1)).then_some(())
}

#[test]
fn boards_are_updated_in_turn_and_a_bad_update_stops_at_the_first() {
    let cluster = VmCluster::start_with(3, &["--u-boot", "--append", "nesos.shell"]);
    let nesos = &cluster.nesos;
    let started = nesos.run(&["service", "run", "/up", "--mem", "8", "--", "sleep 100000"]);
    assert_eq!(started.code, 0, "{started:?}");
    eventually("the service runs", SOON, || healthy(nesos));
    let folder = tempfile::tempdir().unwrap();

    let bad = Update::of(BOARD).with_root_file("/usr/bin/agentd", b"#!/bin/sh\nexit 3\n");
    let ended = update(nesos, &file(&folder, "bad.nub", &bad));
    assert_eq!(ended.code, 1, "{ended:?}");
    let sentence = "stopped at board-2: it came back as it was: slot b: daemons ended 3 times";
    assert!(ended.stderr.contains(sentence), "{ended:?}");
    assert!(
        ended.stderr.contains("0 of 2 boards are updated"),
        "{ended:?}"
    );
    let states: Vec<_> = nesos.json(&["nodes"]);
    assert!(
        states.iter().all(|node| node["state"] == "active"),
        "{states:?}"
    );
    eventually("the service runs after a bad update", SOON, || {
        healthy(nesos)
    });

    let good = file(&folder, "good.nub", &Update::of(BOARD));
    let ended = update(nesos, &good);
    assert_eq!(ended.code, 0, "{ended:?}");
    let said = lines(&ended.stdout);
    assert_eq!(said[0]["update"], serde_json::json!(["board-2", "board-3"]));
    assert!(said[0]["left_out"]["board-1"].is_string(), "{said:?}");
    assert_eq!(said[1]["from"], "this machine");
    let from = said[2]["from"].as_str().unwrap();
    assert!(
        from.ends_with(":5051"),
        "the second takes it from the first: {from}"
    );
    for board in ["board-2", "board-3"] {
        let (status, _) = cluster.shell(board).run("nesos-update --status");
        for line in ["running=b", "committed=b", "on_trial=false"] {
            assert!(status.lines().any(|one| one == line), "{line}: {status}");
        }
    }
    eventually("the service runs after the update", SOON, || healthy(nesos));

    // Begun again, nothing is left to do.
    let ended = update(nesos, &good);
    assert_eq!(ended.code, 0, "{ended:?}");
    let said = lines(&ended.stdout);
    assert_eq!(said[0]["update"], serde_json::json!([]));
    assert_eq!(
        said[0]["current"],
        serde_json::json!(["board-2", "board-3"])
    );
}
