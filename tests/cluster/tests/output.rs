//! Output that is more than is kept: what `nesos logs` shows of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use nesos_cluster_tests::DevCluster;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn logs_follow_files_that_are_turned_over() {
    let cluster = DevCluster::start(1, &[]);
    // One line at a time, each when the one before was seen: nothing is dropped before it could be read.
    let text = "i=0; while [ $i -lt 12 ]; do echo line $i of a text that fills a file soon; \
        until test -e go$i; do sleep 0.02; done; i=$((i+1)); done";
    let size = "CONTAINER_LOGGER_MAX_STDOUT_SIZE=100B";
    let mut run = cluster
        .nesos
        .start(&["run", "--name", "wordy", "--env", size, "--", text]);
    run.wait_for("line 0 of", SOON);
    let mut logs = cluster.nesos.start(&["logs", "-f", "wordy"]);
    for line in 0..12 {
        let wanted = format!("line {line} of a text that fills a file soon\n");
        run.wait_for(&wanted, SOON);
        logs.wait_for(&wanted, SOON);
        let go = format!("touch go{line}");
        let ended = cluster.nesos.run(&["exec", "wordy", "--", &go]);
        // The last one ends the task, and the session may end with it before it has told its own end.
        assert!(ended.code == 0 || line == 11, "{ended:?}");
    }
    let all: String = (0..12)
        .map(|line| format!("line {line} of a text that fills a file soon\n"))
        .collect();
    for ended in [run.wait(SOON), logs.wait(SOON)] {
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (0, all.as_str()),
            "{ended:?}"
        );
        assert!(!ended.stderr.contains("missing"), "{}", ended.stderr);
    }
    // What is kept, from its beginning, which is no line's: two files of at most 100 bytes.
    let kept = cluster.nesos.run(&["logs", "wordy"]).stdout;
    assert!(
        all.ends_with(&kept) && (101..=200).contains(&kept.len()),
        "{kept}"
    );
    cluster.stop();
}

#[test]
fn a_reader_is_told_what_it_has_missed() {
    let cluster = DevCluster::start(1, &[]);
    let size = "CONTAINER_LOGGER_MAX_STDOUT_SIZE=1KB";
    let text = "echo first; until test -e go; do sleep 0.02; done; \
        i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done; echo last";
    let mut run = cluster
        .nesos
        .start(&["run", "--name", "wordy", "--env", size, "--", text]);
    run.wait_for("first\n", SOON);
    assert_eq!(
        cluster.nesos.run(&["exec", "wordy", "--", "touch go"]).code,
        0
    );
    let ended = run.wait(SOON);
    assert!(ended.stdout.starts_with("first\n") && ended.stdout.ends_with("\nlast\n"));
    assert!(
        ended.stderr.contains("some output is missing"),
        "{}",
        ended.stderr
    );
    cluster.stop();
}
