//! Jobs as a person sees them, with `nesos job`; and that they go on when the master that leads does not.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::Duration;

use nesos_cluster_tests::{DevCluster, Nesos, eventually};
use serde_json::{Value, json};

/// Machines that compile beside are slow, and a new leader waits for its agents.
const SOON: Duration = Duration::from_secs(60);

fn job(nesos: &Nesos, name: &str) -> Value {
    nesos.json(&["job", "show", name]).remove(0)
}

/// Waits until a job has ended so often, well and badly.
fn wait_counts(nesos: &Nesos, name: &str, successes: u64, errors: u64) {
    eventually(&format!("{name} has ended"), SOON, || {
        // A master that just began to lead may not answer.
        let shown = nesos.run(&["--output", "json", "job", "show", name]).stdout;
        let shown: Value = serde_json::from_str(&shown).unwrap_or_default();
        let is_so = shown["successCount"] == successes && shown["errorCount"] == errors;
        is_so.then_some(())
    });
}

#[test]
fn jobs_are_operated_from_the_command_line() {
    let cluster = DevCluster::start(1, &[]);
    let nesos = &cluster.nesos;
    assert!(nesos.json(&["job", "list"]).is_empty());
    let out = cluster.work_dir().join("out");
    let say = format!("echo $WORD >> {}", out.display());
    let add = [
        "job",
        "add",
        "twice",
        "--schedule",
        "R2//PT1S",
        "--env",
        "WORD=hello",
        "--",
        &say,
    ];
    let ended = nesos.run(&add);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "job twice is kept\n"),
        "{ended:?}"
    );
    wait_counts(nesos, "twice", 2, 0);
    assert_eq!(fs::read_to_string(&out).unwrap(), "hello\nhello\n");
    assert_eq!(job(nesos, "twice")["disabled"], true);

    assert_eq!(
        nesos
            .run(&["job", "add", "then", "--after", "twice", "--", "true"])
            .code,
        0
    );
    let started = nesos.json(&["job", "run", "twice"]);
    assert_eq!(started, [json!({"job": "twice", "state": "started"})]);
    wait_counts(nesos, "then", 1, 0);
    let table = nesos.run(&["job", "list"]).stdout;
    let then = table
        .lines()
        .find(|line| line.starts_with("then "))
        .unwrap();
    assert!(then.contains("after twice"), "{table}");

    // Its child has its schedule then, of which nothing is left.
    assert_eq!(nesos.run(&["job", "remove", "twice"]).code, 0);
    let then = job(nesos, "then");
    assert_eq!(
        (&then["disabled"], &then["successCount"]),
        (&json!(true), &json!(1))
    );
    assert!(
        then["schedule"].as_str().unwrap().starts_with("R0/"),
        "{then}"
    );
    cluster.stop();
}

#[test]
fn a_definition_is_put_and_its_run_killed() {
    let cluster = DevCluster::start(1, &[]);
    let nesos = &cluster.nesos;
    // A definition of one's own, with what the other command has no word for.
    let file = cluster.work_dir().join("job.json");
    let definition = json!({
        "name": "long", "command": "sleep 1000", "schedule": "R1/2090-01-01T00:00:00Z/P1D", "parents": [],
        "cpus": 0.1, "mem": 16, "disk": 8, "owner": "me",
    });
    fs::write(&file, definition.to_string()).unwrap();
    assert_eq!(nesos.run(&["job", "put", file.to_str().unwrap()]).code, 0);
    assert_eq!(job(nesos, "long")["owner"], "me");
    assert_eq!(nesos.run(&["job", "run", "long"]).code, 0);
    let is_there = || nesos.run(&["ps"]).stdout.contains("ChronosTask:long");
    eventually("it runs", SOON, || is_there().then_some(()));
    assert_eq!(nesos.run(&["job", "kill", "long"]).code, 0);
    eventually("it has ended", SOON, || (!is_there()).then_some(()));
    wait_counts(nesos, "long", 0, 0);
    cluster.stop();
}

#[test]
fn what_is_refused_is_told_in_a_sentence() {
    let cluster = DevCluster::start(1, &[]);
    let nesos = &cluster.nesos;
    for (arguments, said) in [
        (&["job", "run", "nobody"][..], "job \"nobody\" not found"),
        (&["job", "remove", "nobody"], "job \"nobody\" not found"),
        (&["job", "show", "nobody"], "nobody"),
        (
            &["job", "add", "x", "--schedule", "daily", "--", "true"],
            "schedule: expected R[n]",
        ),
        (
            &["job", "add", "x", "--after", "nobody", "--", "true"],
            "parents: there is no job \"nobody\"",
        ),
    ] {
        let refused = nesos.run(arguments);
        assert!(
            refused.code == 1 && refused.stderr.contains(said),
            "{refused:?}"
        );
    }
    cluster.stop();
}

/// A run goes on while masters come and go, its end is counted once, and its child starts.
#[test]
fn jobs_go_on_under_another_leader() {
    let cluster = DevCluster::start(1, &["--masters", "3"]);
    let nesos = &cluster.nesos;
    let [gate, begun] = ["gate", "begun"].map(|name| cluster.work_dir().join(name));
    let wait = format!(
        "echo begun >> {}; until [ -e {} ]; do sleep 0.1; done",
        begun.display(),
        gate.display()
    );
    let far = "R1/2090-01-01T00:00:00Z/P1D";
    assert_eq!(
        nesos
            .run(&["job", "add", "parent", "--schedule", far, "--", &wait])
            .code,
        0
    );
    assert_eq!(
        nesos
            .run(&["job", "add", "child", "--after", "parent", "--", "true"])
            .code,
        0
    );
    assert_eq!(nesos.run(&["job", "run", "parent"]).code, 0);
    eventually("it runs", SOON, || fs::read_to_string(&begun).ok());
    let leader = cluster.masters[0].0.clone();
    cluster.kill_and_wait_restart(&leader);
    fs::write(&gate, "").unwrap();
    wait_counts(nesos, "child", 1, 0);
    wait_counts(nesos, "parent", 1, 0);
    assert_eq!(fs::read_to_string(&begun).unwrap(), "begun\n");
    cluster.stop();
}
