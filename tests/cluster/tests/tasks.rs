//! `nesos` and two agents: running, listing, reading, killing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use nesos_cluster_tests::{DevCluster, Nesos, eventually};
use nix::sys::signal::Signal;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_command_gives_its_output_and_its_exit_code() {
    let cluster = DevCluster::start(2, &[]);
    let nesos = &cluster.nesos;

    let ended = nesos.run(&["run", "--", "echo out; echo err >&2; exit 3"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (3, "out\n"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("err\n"), "{ended:?}");

    let ended = nesos.run(&[
        "run",
        "--env",
        "A=1 2",
        "--env",
        "B=x=y",
        "--",
        "/bin/sh",
        "-c",
        "echo \"$A|$B|$0|$1\"",
        "zero",
        "one two",
    ]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "1 2|x=y|zero|one two\n"),
        "{ended:?}"
    );

    let file = cluster.work_dir().join("greeting.txt");
    std::fs::write(&file, "hello from a file\n").unwrap();
    let uri = format!("file://{}", file.display());
    let ended = nesos.run(&["run", "--uri", &uri, "--", "cat greeting.txt"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "hello from a file\n"),
        "{ended:?}"
    );

    let ended = nesos.run(&["run", "--", "kill -9 $$"]);
    assert_eq!(ended.code, 137, "{ended:?}");

    for agent in ["agent-1", "agent-2"] {
        let ended = nesos.run(&["--output", "json", "run", "--on", agent, "--", "true"]);
        let report: serde_json::Value =
            serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
        assert_eq!(
            (ended.code, &report["node"], &report["state"]),
            (0, &agent.into(), &"TASK_FINISHED".into()),
            "{ended:?}"
        );
    }
    cluster.stop();
}

#[test]
fn large_output_arrives_whole() {
    let cluster = DevCluster::start(1, &[]);
    let ended = cluster.nesos.run(&[
        "run",
        "--",
        "i=0; while [ $i -lt 60000 ]; do echo line $i; i=$((i+1)); done",
    ]);
    let expected: String = (0..60_000).map(|i| format!("line {i}\n")).collect();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stdout == expected,
        "{} bytes of {} arrived",
        ended.stdout.len(),
        expected.len()
    );
    cluster.stop();
}

#[test]
fn tasks_are_listed_read_and_killed() {
    let cluster = DevCluster::start(1, &[]);
    let nesos = &cluster.nesos;
    let nodes = nesos.json(&["nodes"]);
    assert_eq!(
        (nodes.len(), &nodes[0]["name"], &nodes[0]["state"]),
        (1, &"agent-1".into(), &"active".into())
    );
    assert_eq!(
        (nodes[0]["cpus"].as_f64(), nodes[0]["mem"].as_f64()),
        (Some(2.0), Some(1024.0))
    );

    let mut run = nesos.start(&[
        "run",
        "--name",
        "sleeper",
        "--cpus",
        "0.5",
        "--",
        "echo begun; sleep 1000",
    ]);
    run.wait_for("begun", SOON);
    let listed = nesos.json(&["ps"]);
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(
        (&listed[0]["name"], &listed[0]["state"], &listed[0]["node"]),
        (&"sleeper".into(), &"TASK_RUNNING".into(), &"agent-1".into())
    );
    assert_eq!(nesos.json(&["nodes"])[0]["cpus_used"].as_f64(), Some(0.5));
    assert_eq!(nesos.run(&["logs", "sleeper"]).stdout, "begun\n");

    let ended = nesos.run(&["kill", "sleep"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let ended = run.wait(SOON);
    assert_eq!(ended.code, 143, "the exit code of SIGTERM: {ended:?}");
    eventually("the resources are free", SOON, || {
        (nesos.json(&["nodes"])[0]["cpus_used"].as_f64() == Some(0.0)).then_some(())
    });
    assert!(nesos.json(&["ps"]).is_empty());
    let all = nesos.json(&["ps", "--all"]);
    assert_eq!(
        (all.len(), &all[0]["state"]),
        (1, &"TASK_KILLED".into()),
        "{all:?}"
    );
    cluster.stop();
}

#[test]
fn following_logs_ends_with_the_task() {
    let cluster = DevCluster::start(1, &[]);
    let mut run = cluster.nesos.start(&[
        "run",
        "--name",
        "talker",
        "--",
        "echo one; while [ ! -e go ]; do sleep 0.1; done; echo two; echo three >&2",
    ]);
    run.wait_for("one", SOON);
    let mut follow = cluster.nesos.start(&["logs", "-f", "talker"]);
    follow.wait_for("one", SOON);
    let sandbox = find(&cluster.work_dir(), "stdout").expect("the task's sandbox");
    std::fs::write(sandbox.with_file_name("go"), "").unwrap();
    let ended = run.wait(SOON);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "one\ntwo\n"),
        "{ended:?}"
    );
    let ended = follow.wait(SOON);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "one\ntwo\n"),
        "{ended:?}"
    );
    cluster.stop();
}

#[test]
fn ctrl_c_kills_the_task() {
    let cluster = DevCluster::start(1, &[]);
    let mut run = cluster.nesos.start(&[
        "run",
        "--",
        "trap 'echo bye; exit 0' TERM; echo begun; while :; do sleep 0.1; done",
    ]);
    run.wait_for("begun", SOON);
    run.signal(Signal::SIGINT);
    let ended = run.wait(SOON);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (130, "begun\nbye\n"),
        "{ended:?}"
    );
    cluster.stop();
}

#[test]
fn refusals_usage_and_silence_have_their_exit_codes() {
    let cluster = DevCluster::start(1, &[]);
    let nesos = &cluster.nesos;
    let never = nesos.run(&["run", "--cpus", "64", "--", "true"]);
    assert_eq!(never.code, 1, "{never:?}");
    assert!(
        never.stderr.contains("no node can ever run this"),
        "{never:?}"
    );
    let unknown = nesos.run(&["run", "--on", "agent-9", "--", "true"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert!(
        unknown.stderr.contains("no node is called 'agent-9'"),
        "{unknown:?}"
    );
    assert_eq!(nesos.run(&["kill", "nothing"]).code, 1);
    assert_eq!(nesos.run(&["run", "--cpus", "-1", "--", "true"]).code, 2);
    assert_eq!(nesos.run(&["dance"]).code, 2);
    let masters = nesos.run(&["dev", "up", "--masters", "10"]);
    assert_eq!(masters.code, 2, "{masters:?}");
    assert!(masters.stderr.contains("1..=9"), "{masters:?}");

    let nowhere = nesos.clone().with_master("127.0.0.1:1");
    assert_eq!(nowhere.run(&["nodes"]).code, 3);
    assert_eq!(nowhere.run(&["run", "--", "true"]).code, 3);
    let home = tempfile::tempdir().unwrap();
    assert_eq!(
        Nesos::new(home.path()).run(&["nodes"]).code,
        3,
        "no master is known and mDNS is off"
    );
    cluster.stop();
}

#[test]
fn a_stopped_cluster_leaves_no_process() {
    let cluster = DevCluster::start(1, &[]);
    let mut run = cluster.nesos.start(&["run", "--", "echo $$; sleep 1000"]);
    run.wait_for("\n", SOON);
    let task: i32 = run.stdout().trim().parse().unwrap();
    let pids = [
        cluster.pid("master").as_raw(),
        cluster.pid("agent-1").as_raw(),
        task,
    ];
    cluster.stop();
    for pid in pids {
        assert!(
            !std::path::Path::new(&format!("/proc/{pid}")).exists(),
            "process {pid} is left"
        );
    }
}

fn find(folder: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    std::fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        match entry.file_type().ok()?.is_dir() {
            true => find(&path, name),
            false => (path.file_name()? == name).then_some(path),
        }
    })
}
