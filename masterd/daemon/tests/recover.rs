//! Masters that are lost for ever: what is left begins anew, by hand, and never by mistake.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Output;

use common::group::{Group, give_key};
use common::http::{Scheduler, get};
use common::{Master, run};
use masterd_core::consensus::{Store, segment};
use raft_proto::eraftpb::{Entry, HardState};

const INFO: &str = r#","failover_timeout":600"#;

/// masterd with a flag that makes it end; its exit code and what it says.
fn recover(work_dir: &Path, flag: &str) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = std::process::Command::new(env!("CARGO_BIN_EXE_masterd"))
        .args([
            format!("--work_dir={}", work_dir.display()),
            flag.to_owned(),
        ])
        .output()
        .unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

fn number(group: &Group, at: usize) -> String {
    let address = group.members[at].address();
    let masters = group.masters(at);
    let own = masters
        .iter()
        .find(|master| master["address"] == address.as_str());
    own.unwrap()["number"].as_str().unwrap().to_owned()
}

#[test]
fn what_one_disk_has_begins_a_new_group() {
    let mut group = Group::start(3);
    let leader = group.leader();
    let address = group.members[leader].address();
    let framework = run(Scheduler::subscribe(&address, INFO, None)).framework;
    let survivor = (leader + 1) % 3;
    group.until("the survivor has everything", |group| {
        let masters = group.masters(leader);
        masters.iter().all(|master| master["behind"] == 0)
    });
    let own = number(&group, survivor);
    let other = number(&group, leader);
    let dir = group.members[survivor].dir.clone();
    let (code, text) = recover(&dir, &format!("--force_new_cluster={own}"));
    assert_eq!(code, Some(1), "while it runs");
    assert!(text.contains("another masterd uses"), "{text}");
    for at in 0..3 {
        group.members[at].kill();
    }
    let (code, text) = recover(&dir, &format!("--force_new_cluster={other}"));
    assert_eq!(code, Some(1), "another master's number");
    assert!(text.contains("nothing was done"), "{text}");
    let (code, text) = recover(&dir, &format!("--force_new_cluster={own}"));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("the only one of a new group"), "{text}");
    // The flag that was left in a script does nothing more.
    let (code, text) = recover(&dir, &format!("--force_new_cluster={own}"));
    assert_eq!(code, Some(1), "{text}");
    group.members[survivor].start();
    let address = group.members[survivor].address();
    let state = run(get(&address, "/state")).json();
    assert_eq!(state["frameworks"][0]["id"], framework.as_str());
    group.until("the others are forgotten", |group| {
        group.masters(survivor).len() == 1
    });
    // One of the old group comes back: it is a stranger that leads nothing.
    group.members[leader].start();
    group.until("it asks to be let in", |group| {
        let masters = group.masters(survivor);
        masters.iter().any(|master| master["role"] == "candidate")
    });
    let stranger = group.members[leader].address();
    assert_eq!(run(get(&stranger, "/state")).status, 503);
}

#[test]
fn what_a_later_masterd_has_agreed_on_ends_this_one_instead_of_being_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let entry = Entry {
        index: 2,
        term: 1,
        data: vec![0xff].into(),
        ..Entry::default()
    };
    let store = Store {
        entries: vec![entry],
        hard_state: Some(HardState {
            term: 1,
            vote: 0,
            commit: 2,
        }),
        must_flush: true,
        snapshot: None,
    };
    let mut bytes = segment::head(0, 0).to_vec();
    bytes.extend(segment::record(0, &store).unwrap());
    bytes.resize(segment::SEGMENT, 0);
    let log = dir.path().join("log");
    std::fs::create_dir(&log).unwrap();
    std::fs::write(log.join(format!("{:016x}", 0)), bytes).unwrap();
    let (code, text) = recover(dir.path(), "--port=0");
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("entry 2, on which the masters have agreed"),
        "{text}"
    );
}

#[test]
fn a_backup_begins_a_new_group() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let master = Master::start(&old, 0, &[]);
    let address = master.address();
    let (framework, backup) = run(async {
        let framework = Scheduler::subscribe(&address, INFO, None).await.framework;
        let backup = get(&address, "/nesos/v1/backup").await;
        assert_eq!(backup.status, 200);
        (framework, backup.body)
    });
    let file = dir.path().join("backup");
    let flag = format!("--restore={}", file.display());
    std::fs::write(&file, &backup[..backup.len() - 1]).unwrap();
    let (code, text) = recover(&new, &flag);
    assert_eq!(code, Some(1));
    assert!(text.contains("damaged or cut off"), "{text}");
    std::fs::write(&file, &backup).unwrap();
    master.kill();
    let (code, text) = recover(&old, &flag);
    assert_eq!(code, Some(1), "a folder that is in use");
    assert!(text.contains("restore into a folder that is new"), "{text}");
    let (code, text) = recover(&new, &flag);
    assert_eq!(code, Some(0), "{text}");
    give_key(&old, &new);
    let master = Master::start(&new, 0, &[]);
    let state = run(get(&master.address(), "/state")).json();
    assert_eq!(state["frameworks"][0]["id"], framework.as_str());
    assert_eq!(master.terminate(), Some(0));
}
