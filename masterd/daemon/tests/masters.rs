//! Several masters: they come, agree, die, return and leave, and nothing that was agreed on is forgotten.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;

use common::agent::board;
use common::group::{Group, give_key};
use common::http::{Scheduler, get, request};
use common::{Master, run};
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use serde_json::json;

const INFO: &str = r#","failover_timeout":600"#;

#[test]
fn when_the_leader_dies_another_one_knows_all() {
    let mut group = Group::start(3);
    let leader = group.leader();
    assert_eq!(leader, 0, "nobody took it from the first one");
    let address = group.members[leader].address();
    let (board, agent, framework) = run(async {
        let board = board(&address, &group.members[leader].dir, "n1").await;
        let (mut link, agent) = board.register(&address).await;
        let MasterToAgent::Masters { addresses } = link.hear().await else {
            panic!("not told of the masters");
        };
        assert_eq!(addresses.len(), 3);
        let scheduler = Scheduler::subscribe(&address, INFO, None).await;
        (board, agent, scheduler.framework)
    });
    group.members[leader].kill();
    let next = group.leader();
    let address = group.members[next].address();
    run(async {
        let state = get(&address, "/state").await.json();
        assert_eq!(state["recovered_slaves"][0]["id"], agent.as_str());
        assert_eq!(state["frameworks"][0]["id"], framework.as_str());
        let (_link, again) = board.register(&address).await;
        assert_eq!(again, agent);
        let mut scheduler = Scheduler::subscribe(&address, INFO, Some(&framework)).await;
        scheduler.wait("OFFERS").await;
    });
    // It returns, follows, and can lead again.
    group.members[leader].start();
    group.until("the old leader follows", |group| {
        let masters = group.masters(next);
        masters
            .iter()
            .all(|master| master["connected"] == true && master["behind"] == 0)
    });
    let back = group.members[leader].address();
    assert_eq!(group.wish(next, &json!({ "hand_over": back })).0, 200);
    group.until("it leads", |group| group.leader() == leader);
    let state = run(get(&back, "/state")).json();
    assert_eq!(state["frameworks"][0]["id"], framework.as_str());
}

#[test]
fn those_who_follow_lead_to_the_leader() {
    let group = Group::start(3);
    let leader = group.leader();
    let address = group.members[leader].address();
    for follower in group.alive().into_iter().filter(|at| *at != leader) {
        let follower = group.members[follower].address();
        run(async {
            for (method, path) in [
                ("POST", "/api/v1/scheduler"),
                ("POST", "/master/api/v1"),
                ("GET", "/master/state?x=1"),
                ("GET", "/"),
                ("POST", "/nesos/v1/masters"),
            ] {
                let answer = request(&follower, method, path, &[], b"").await;
                assert_eq!(answer.status, 307, "{path}");
                let location = format!("//{address}{path}");
                assert_eq!(answer.header("location"), Some(&*location));
            }
            let answer = get(&follower, "/redirect").await;
            assert_eq!(answer.header("location"), Some(&*format!("//{address}")));
            assert_eq!(get(&follower, "/health").await.status, 200);
            let metrics = get(&follower, "/metrics/snapshot").await.json();
            assert_eq!(metrics["master/elected"], 0.0);
            // Any master lets boards in; they are then told who leads.
            let board = board(&follower, &group.members[0].dir, "n2").await;
            let mut link = board.dial(&follower).await;
            link.say(&AgentToMaster::Hello(board.hello())).await;
            let leader = address.clone();
            assert_eq!(link.hear().await, MasterToAgent::Redirect { leader });
            assert_eq!(link.hear_or_end().await, None);
        });
    }
}

#[test]
fn without_a_majority_nothing_is_agreed_on_and_nobody_is_led() {
    let mut group = Group::start(3);
    let leader = group.leader();
    let others: Vec<usize> = group
        .alive()
        .into_iter()
        .filter(|at| *at != leader)
        .collect();
    let one = group.members[others[0]].address();
    let (status, text) = {
        group.members[others[1]].kill();
        group.until("its end is seen", |group| {
            let masters = group.masters(leader);
            masters
                .iter()
                .filter(|master| master["connected"] == false)
                .count()
                == 1
        });
        // Of the two that would be left one is dead.
        group.wish(leader, &json!({ "remove": one }))
    };
    assert_eq!(status, 409, "{text}");
    assert!(text.contains("2 masters would vote, of which 1"), "{text}");
    group.members[others[0]].kill();
    let address = group.members[leader].address();
    group.until("it stops leading", |_| {
        run(get(&address, "/state")).status == 503
    });
    assert_eq!(run(get(&address, "/state")).text(), "No leader elected");
    assert_eq!(run(get(&address, "/health")).status, 200);
    group.members[others[1]].start();
    group.leader();
}

#[test]
fn masters_are_let_in_and_sent_away() {
    let mut group = Group::start(1);
    let address = group.candidate();
    let stranger = json!({ "add": "nobody" });
    let (status, text) = group.wish(0, &stranger);
    assert_eq!(status, 404, "{text}");
    assert!(
        text.contains("'nobody' among those that ask to be let in"),
        "{text}"
    );
    assert_eq!(group.wish(0, &json!({ "add_learner": address })).0, 200);
    group.until("it learns", |group| {
        let masters = group.masters(0);
        let learner = masters
            .iter()
            .find(|master| master["address"] == address.as_str());
        learner.is_some_and(|master| master["role"] == "learner" && master["behind"] == 0)
    });
    assert_eq!(group.wish(0, &json!({ "promote": address })).0, 200);
    group.until("it votes", |group| {
        group.role(0, &address).as_deref() == Some("voter")
    });
    let own = group.members[0].address();
    let (status, text) = group.wish(0, &json!({ "remove": own }));
    assert_eq!(status, 409, "{text}");
    assert!(text.contains("hand the leadership over first"), "{text}");
    assert_eq!(group.wish(0, &json!({ "remove": address })).0, 200);
    // Nothing has happened to it, so it goes on asking.
    group.until("it asks to be let in again", |group| {
        group.role(0, &address).as_deref() == Some("candidate")
    });
    assert_eq!(group.wish(0, &json!({ "add": address })).0, 200);
    group.until("it votes again", |group| {
        group.role(0, &address).as_deref() == Some("voter")
    });
    for (wish, expected) in [
        (json!({ "ad": "x" }), "unknown variant `ad`"),
        (json!({ "add": 5 }), "expected"),
        (json!([]), "expected"),
    ] {
        let (status, text) = group.wish(0, &wish);
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

/// As a board without power, it closes no connection.
#[test]
fn who_says_nothing_any_more_is_not_counted_on() {
    let group = Group::start(3);
    let leader = group.leader();
    let others = group.alive().into_iter().filter(|at| *at != leader);
    let [silent, left] = others.collect::<Vec<_>>()[..] else {
        panic!("three masters");
    };
    let [silent_at, left_at] = [silent, left].map(|at| group.members[at].address());
    let is_connected = |group: &Group, address: &str| {
        let masters = group.masters(leader);
        let found = masters.iter().find(|master| master["address"] == address);
        found.unwrap()["connected"] == true
    };
    assert!(is_connected(&group, &silent_at) && is_connected(&group, &left_at));
    let signal = |name: &str| {
        let pid = group.members[silent].master.as_ref().unwrap().pid();
        let arguments = [name.to_owned(), pid.to_string()];
        assert!(
            Command::new("kill")
                .args(arguments)
                .status()
                .unwrap()
                .success()
        );
    };
    signal("-STOP");
    group.until("its silence is seen", |group| {
        !is_connected(group, &silent_at)
    });
    assert!(is_connected(&group, &left_at));
    // Without the other one there would be two that vote, and one that answers.
    let (status, text) = group.wish(leader, &json!({ "remove": left_at }));
    assert_eq!(status, 409, "{text}");
    assert!(text.contains("of which 1 are connected"), "{text}");
    let (status, text) = group.wish(leader, &json!({ "hand_over": silent_at }));
    assert_eq!(status, 404, "{text}");
    signal("-CONT");
    group.until("it is back", |group| is_connected(group, &silent_at));
    assert_eq!(group.wish(leader, &json!({ "remove": left_at })).0, 200);
}

#[test]
fn a_leader_that_wants_three_masters_lets_them_in_by_itself() {
    let mut group = Group::found(&["--masters=3"]);
    let is = |group: &Group, address: &str, role| group.role(0, address).as_deref() == Some(role);
    // With one more there would be two, and the loss of either would stop both.
    let one = group.candidate();
    let two = group.ask();
    group.until("there are three", |group| {
        is(group, &one, "voter") && is(group, &two, "voter")
    });
    let spare = group.candidate();
    let (status, text) = group.wish(0, &json!({ "remove": one }));
    assert_eq!(status, 200, "{text}");
    group.until("the spare one takes the place", |group| {
        is(group, &spare, "voter")
    });
    // Who was sent away stays away, even if there is room, until somebody says otherwise.
    group.again(1);
    group.until("it asks", |group| is(group, &one, "candidate"));
    let (status, text) = group.wish(0, &json!({ "remove": spare }));
    assert_eq!(status, 200, "{text}");
    group.again(3);
    group.until("both ask", |group| {
        is(group, &one, "candidate") && is(group, &spare, "candidate")
    });
    assert_eq!(group.wish(0, &json!({ "add": one })).0, 200);
    group.until("it votes again", |group| is(group, &one, "voter"));
    assert!(is(&group, &spare, "candidate"));
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (flag, expected) in [
        ("--masters=2", "--masters: expected 1, 3, 5 or 7, found 2"),
        ("--join=mdns", "--join=mdns needs --mdns"),
        ("--join=shelf", "--join: expected host:port, found 'shelf'"),
        ("--join=,", "--join: expected host:port or mdns, found ','"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_masterd"))
            .arg(format!("--work_dir={}", dir.path().display()))
            .arg(flag)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_master_with_another_key_or_cluster_is_not_heard() {
    let mut group = Group::start(1);
    let address = group.members[0].address();
    let join = format!("--join={address}");
    let dir = tempfile::tempdir().unwrap();
    // It has made a key of its own.
    let stranger = Master::start(&dir.path().join("a"), 0, &[&join]);
    stranger.wait_log("no link to the master at");
    let other = dir.path().join("b");
    give_key(&group.members[0].dir, &other);
    let node = run(board(&address, &group.members[0].dir, "n1"));
    // A board's certificate is none of a master's.
    let config = nesos_shell::tls::master_client(&node.ca, &node.certificate, &node.key).unwrap();
    run(async {
        let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let stream = nesos_shell::tls::connect(config, stream).await.unwrap();
        let mut reader = nesos_shell::framed::FrameReader::new(stream);
        let heard = reader
            .read_within::<nesos_wire::masters::MasterToMaster>(common::DEADLINE)
            .await;
        assert!(!matches!(heard, Ok(Some(_))), "{heard:?}");
    });
    let first = group.members[0].master.as_ref().unwrap();
    first.wait_log("it has no master's certificate");
    assert_eq!(group.masters(0).len(), 1);
    // The right key lets it ask.
    group.candidate();
    assert_eq!(group.masters(0).len(), 2);
}

#[test]
fn a_planned_end_hands_the_leadership_over() {
    let mut group = Group::start(3);
    let leader = group.leader();
    let master = group.members[leader].master.take().unwrap();
    assert_eq!(master.terminate(), Some(0));
    assert_ne!(group.leader(), leader);
}

#[test]
fn a_long_log_is_saved_and_forgotten_and_who_missed_it_gets_all() {
    let mut group = Group::start(3);
    let leader = group.leader();
    let late = (leader + 1) % 3;
    group.members[late].kill();
    let address = group.members[leader].address();
    // Forty times sixty kilobytes that the registry has to keep, one after the other.
    let text = "x".repeat(60_000);
    let framework = run(async {
        let info = |n: usize| format!(r#","failover_timeout":600,"webui_url":"{n}{text}""#);
        let scheduler = Scheduler::subscribe(&address, &info(0), None).await;
        let framework = scheduler.framework.clone();
        for n in 1..40 {
            Scheduler::subscribe(&address, &info(n), Some(&framework)).await;
        }
        framework
    });
    let log = |at: usize| {
        std::fs::read_dir(group.members[at].dir.join("log"))
            .unwrap()
            .count()
    };
    group.until("the log is forgotten", |_| log(leader) <= 3);
    group.members[late].start();
    group.until("the late one has everything", |group| {
        let masters = group.masters(leader);
        masters.iter().all(|master| master["behind"] == 0)
    });
    let back = group.members[late].address();
    assert_eq!(group.wish(leader, &json!({ "hand_over": back })).0, 200);
    group.until("it leads", |group| group.leader() == late);
    let state = run(get(&back, "/state")).json();
    assert_eq!(state["frameworks"][0]["id"], framework.as_str());
    let shown = state["frameworks"][0]["webui_url"].as_str().unwrap();
    assert_eq!(shown.len(), 60_002);
    assert!(shown.starts_with("39x"));
}

#[test]
fn an_older_copy_of_a_masters_disk_is_refused() {
    let mut group = Group::start(3);
    let leader = group.leader();
    let old = (leader + 1) % 3;
    let all_have_all = |group: &Group| {
        let masters = group.masters(leader);
        let has_all =
            |master: &serde_json::Value| master["connected"] == true && master["behind"] == 0;
        masters.iter().all(has_all)
    };
    let parts = ["registry", "log"];
    let dir = group.members[old].dir.clone();
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        for part in parts {
            let status = Command::new("cp")
                .arg("-a")
                .arg(from.join(part))
                .arg(to)
                .status();
            assert!(status.unwrap().success());
        }
    };
    let kept = tempfile::tempdir().unwrap();
    group.members[old].kill();
    copy(&dir, kept.path());
    group.members[old].start();
    let address = group.members[leader].address();
    run(async {
        for _ in 0..5 {
            Scheduler::subscribe(&address, INFO, None).await;
        }
    });
    group.until("it has what came later", all_have_all);
    group.members[old].kill();
    for part in parts {
        std::fs::remove_dir_all(dir.join(part)).unwrap();
    }
    copy(kept.path(), &dir);
    group.members[old].start();
    let master = group.members[old].master.take().unwrap();
    let line = master.wait_log("this master had confirmed entries of the log up to");
    assert!(
        line.contains("older copy") && line.contains("nesos master remove"),
        "{line}"
    );
    // The others go on, and let it in anew as somebody else.
    master.kill();
    let number = |group: &Group| {
        let masters = group.masters(leader);
        let gone = group.members[old].address();
        let found = masters.iter().find(|master| master["address"] == gone);
        found.map(|master| master["number"].clone())
    };
    group.until("it is missed", |group| {
        let masters = group.masters(leader);
        masters.iter().any(|master| master["connected"] == false)
    });
    let number = number(&group).unwrap();
    let (status, text) = group.wish(leader, &json!({ "remove": number }));
    assert_eq!(status, 200, "{text}");
}
