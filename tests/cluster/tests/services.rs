//! Services as a person sees them, with `nesos service`; and that they notice nothing when the master that leads dies.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nesos_cluster_tests::{DevCluster, Nesos, eventually, http};
use serde_json::Value;

/// Machines that compile beside are slow, and a new leader waits for its agents.
const SOON: Duration = Duration::from_secs(60);
/// A machine that runs other tests stands still for longer than the default; deaths are noticed at once all the same.
const PATIENT: &str = "--master-flag=--election_timeout_ms=2000";

/// Ids of a service's tasks that run; none while nobody answers.
fn running(nesos: &Nesos, service: &str) -> BTreeSet<String> {
    let shown = nesos.run(&["--output", "json", "service", "show", service]);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap_or_default();
    let tasks = shown["tasks"].as_array().into_iter().flatten();
    let running = tasks.filter(|task| task["state"] == "TASK_RUNNING");
    running
        .filter_map(|task| Some(task["id"].as_str()?.to_owned()))
        .collect()
}

fn wait_running(nesos: &Nesos, service: &str, count: usize) -> BTreeSet<String> {
    eventually(&format!("{count} of {service} run"), SOON, || {
        let running = running(nesos, service);
        (running.len() == count).then_some(running)
    })
}

/// How often a line was written.
fn lines(file: &Path) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

/// Name of the master that leads.
fn leader(cluster: &DevCluster) -> String {
    eventually("somebody leads", SOON, || {
        let leads = |address: &str| {
            let answer = http::try_get(address, "/state");
            answer.is_some_and(|answer| answer.status == 200)
        };
        let mut masters = cluster.masters.iter();
        let leading = masters.find(|(_, address)| leads(address));
        leading.map(|(name, _)| name.clone())
    })
}

#[test]
fn services_are_operated_from_the_command_line() {
    let cluster = DevCluster::start(2, &[]);
    let nesos = &cluster.nesos;
    assert!(nesos.json(&["service", "list"]).is_empty());
    let ended = nesos.run(&[
        "service",
        "run",
        "/shop/web",
        "-n",
        "2",
        "--port",
        "http",
        "--env",
        "WORD=x",
        "--",
        "exec sleep 600",
    ]);
    let done = "service /shop/web is as it is to be\n";
    assert_eq!((ended.code, ended.stdout.as_str()), (0, done), "{ended:?}");
    let first = running(nesos, "/shop/web");
    assert_eq!(first.len(), 2);

    assert_eq!(nesos.run(&["service", "scale", "/shop/web", "3"]).code, 0);
    let more = running(nesos, "/shop/web");
    assert!(
        first.is_subset(&more) && more.len() == 3,
        "{first:?} {more:?}"
    );

    assert_eq!(nesos.run(&["service", "restart", "/shop/web"]).code, 0);
    let anew = running(nesos, "/shop/web");
    assert!(
        anew.is_disjoint(&more) && anew.len() == 3,
        "{more:?} {anew:?}"
    );

    let versions = nesos.run(&["service", "versions", "/shop/web"]).stdout;
    let oldest = versions.lines().last().unwrap();
    assert_eq!(
        nesos
            .run(&["service", "rollback", "/shop/web", oldest])
            .code,
        0
    );
    assert_eq!(running(nesos, "/shop/web").len(), 2);

    let listed = nesos.json(&["service", "list"]);
    assert_eq!(listed[0]["id"], "/shop/web");
    assert_eq!(listed[0]["tasksRunning"], 2);

    for (wrong, says) in [
        (
            &["service", "scale", "/nope", "1"][..],
            "'/nope' does not exist",
        ),
        (&["service", "show", "/nope"], "'/nope' does not exist"),
        (&["service", "run", "/Bad", "--", "true"], "Bad': must"),
        (&["service", "put", "/no/such/file"], "/no/such/file: "),
    ] {
        let ended = nesos.run(wrong);
        assert!(ended.code != 0 && ended.stderr.contains(says), "{ended:?}");
    }

    assert_eq!(nesos.run(&["service", "remove", "/shop/web"]).code, 0);
    assert!(nesos.json(&["service", "list"]).is_empty());
    assert!(nesos.json(&["ps"]).is_empty());
    cluster.stop();
}

#[test]
fn services_do_not_notice_that_leaders_die() {
    let cluster = DevCluster::start(2, &["--masters", "3", PATIENT]);
    let nesos = &cluster.nesos;
    leader(&cluster);
    let started = cluster.work_dir().join("started");
    let command = format!("echo x >> {}; exec sleep 600", started.display());
    let ended = nesos.run(&["service", "run", "/web", "-n", "3", "--", &command]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let before = running(nesos, "/web");
    assert_eq!((before.len(), lines(&started)), (3, 3));
    for _ in 0..2 {
        let name = leader(&cluster);
        cluster.kill_and_wait_restart(&name);
        assert_eq!(wait_running(nesos, "/web", 3), before);
    }
    assert_eq!(lines(&started), 3, "each was started once");

    // Who dies is replaced by the leader that never started it.
    let victim = before.first().unwrap();
    assert_eq!(nesos.run(&["kill", victim]).code, 0);
    let after = eventually("another one runs in its place", SOON, || {
        let running = running(nesos, "/web");
        (running.len() == 3 && !running.contains(victim)).then_some(running)
    });
    assert_eq!(after.intersection(&before).count(), 2);

    // What was begun under one leader is ended under the next.
    let ended = nesos.run(&["service", "restart", "--no-wait", "/web"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    cluster.kill_and_wait_restart(&leader(&cluster));
    eventually("all are replaced, and nothing is left to do", SOON, || {
        let shown = nesos.run(&["--output", "json", "service", "show", "/web"]);
        let shown: Value = serde_json::from_str(&shown.stdout).ok()?;
        let running = running(nesos, "/web");
        let is_done = shown["deployments"].as_array().is_some_and(Vec::is_empty);
        (is_done && running.len() == 3 && running.is_disjoint(&after)).then_some(())
    });
    assert_eq!(lines(&started), 7, "three, one more, and three anew");
    cluster.stop();
}
