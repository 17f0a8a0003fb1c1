//! Tasks and people that kill what they should not: the agent cleans up and says what it knows.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::{Master, run, shell, until};
use nesos_wire::task::{Reason, TaskState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Writes the ids of its helper and of two children, one of which leaves its session.
const FAMILY: &str = "sleep 1000 & a=$!; setsid sleep 1001 & echo $PPID $a $! > pids; wait";

async fn family(master: &Master) -> Vec<i32> {
    let text = until("the task's children", || {
        fs::read_to_string(master.sandbox("t").join("pids"))
            .ok()
            .filter(|text| text.ends_with('\n'))
    })
    .await;
    text.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

async fn until_gone(pids: &[i32]) {
    until("the task's processes to be gone", || {
        pids.iter()
            .all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
            .then_some(())
    })
    .await;
}

#[test]
fn a_killed_helper_takes_its_task_with_it() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        link.launch(shell("t", FAMILY)).await;
        link.until(TaskState::Running).await;
        let pids = family(&master).await;
        kill(Pid::from_raw(pids[0]), Signal::SIGKILL).unwrap();
        let (_, update) = link.until(TaskState::Failed).await;
        assert_eq!(update.status.reason, Some(Reason::ExecutorTerminated));
        until_gone(&pids).await;
    });
}

#[test]
fn a_helper_killed_while_the_agent_is_away_takes_its_task_with_it() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        link.launch(shell("t", FAMILY)).await;
        link.until(TaskState::Running).await;
        let pids = family(&master).await;
        master.kill_agent();
        kill(Pid::from_raw(pids[0]), Signal::SIGKILL).unwrap();
        master.start_agent();
        let (mut link, _) = master.link().await;
        link.until(TaskState::Failed).await;
        until_gone(&pids).await;
    });
}

#[test]
fn a_board_that_has_become_another_one_is_named_and_refused() {
    run(async {
        let mut master = Master::new()
            .await
            .with_fixed_port()
            .with_flag("--reconfiguration_policy=additive".into());
        master.start_agent();
        let _link = master.link().await;
        master.kill_agent();
        let mut master = master.with_resources("cpus:2;mem:512");
        master.start_agent();
        assert!(!master.agent_ends().await.success());
        let log = master.log();
        assert!(
            log.contains("--reconfiguration_policy: the resources changed from"),
            "{log}"
        );
        assert!(log.contains("--reconfiguration_policy=any"), "{log}");
        let mut master = master.with_resources("cpus:8;mem:1024");
        master.start_agent();
        let _link = master.link().await;
        master.kill_agent();
    });
}
