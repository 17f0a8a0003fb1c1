//! A board that lost its power: its tasks are reported lost under the same identity, and nothing is taken for them.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use agentd_core::checkpoint::{self, Record};
use common::{Link, Master, key, run, shell};
use nesos_wire::message::AgentToMaster;
use nesos_wire::task::{Reason, TaskState};

/// As if the kernel had started anew since: its boot id is another one, nothing runs, what was in memory is gone.
fn lose_power(master: &mut Master) {
    let helpers = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let runs = master.work_dir().join("run").display().to_string();
            let is_its = line.starts_with(b"nesos-executor\0")
                && String::from_utf8_lossy(&line).contains(&runs);
            is_its
                .then(|| entry.file_name().to_str()?.parse().ok())
                .flatten()
        });
    let helpers: Vec<i32> = helpers.collect();
    assert!(!helpers.is_empty());
    master.kill_agent();
    for pid in helpers {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
    }
    fs::remove_dir_all(master.work_dir().join("run")).unwrap();
    let log = master.work_dir().join("meta/checkpoint.log");
    let mut bytes = fs::read(&log).unwrap();
    let boot_id = "earlier".into();
    checkpoint::append(&mut bytes, &Record::Boot { boot_id }).unwrap();
    fs::write(&log, bytes).unwrap();
}

async fn end_of(link: &mut Link) -> (TaskState, Option<Reason>) {
    loop {
        let Some(AgentToMaster::Update(update)) = link.next().await else {
            continue;
        };
        link.acknowledge(&update).await;
        if update.status.state.is_terminal() {
            return (update.status.state, update.status.reason);
        }
    }
}

#[test]
fn a_reboot_loses_tasks_with_a_reason_and_keeps_the_identity() {
    run(async {
        for (is_aware, lost) in [(true, TaskState::Gone), (false, TaskState::Lost)] {
            let mut master = Master::new().await;
            master.start_agent();
            let (mut link, before) = master.link().await;
            let mut task = shell("t", "sleep 1000");
            task.partition_aware = is_aware;
            link.launch(task).await;
            link.until(TaskState::Running).await;
            drop(link);
            lose_power(&mut master);
            master.start_agent();
            let (mut link, after) = master.link().await;
            assert_eq!((&after.node, after.agent.is_some()), (&before.node, true));
            assert_ne!(after.boot_id, "earlier");
            assert_eq!(
                end_of(&mut link).await,
                (lost, Some(Reason::AgentRestarted))
            );
            // It serves on, and its word is final.
            link.launch(shell("next", "true")).await;
            let (_, update) = link.until(TaskState::Finished).await;
            assert_eq!(update.key, key("next"));
        }
    });
}
