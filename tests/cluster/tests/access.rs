//! Finding the master and being let in: login, redirects to the leader, commands without a cluster.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Read, Write};
use std::net::TcpListener;

use nesos_cluster_tests::{DevCluster, Nesos, http};

#[test]
fn a_master_that_wants_a_login_gets_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials.json");
    std::fs::write(
        &file,
        r#"{"credentials":[{"principal":"ann","secret":"s3cret:with colon"}]}"#,
    )
    .unwrap();
    let credentials = format!("--master-flag=--credentials={}", file.display());
    let cluster = DevCluster::start(
        1,
        &["--master-flag=--api_access=authenticated", &credentials],
    );
    let nesos = &cluster.nesos;

    let anonymous = nesos.run(&["run", "--", "true"]);
    assert_eq!(anonymous.code, 1, "{anonymous:?}");
    assert!(anonymous.stderr.contains("401"), "{anonymous:?}");
    let wrong = nesos.run(&[
        "--principal",
        "ann",
        "--secret",
        "guess",
        "run",
        "--",
        "true",
    ]);
    assert_eq!(wrong.code, 1, "{wrong:?}");
    let login = ["--principal", "ann", "--secret", "s3cret:with colon"];
    let ended = nesos.run(&[&login[..], &["run", "--", "echo in"]].concat());
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "in\n"),
        "{ended:?}"
    );
    // Reading is open to all.
    assert_eq!(nesos.json(&["nodes"]).len(), 1);
    let answer = http::request(&cluster.master, "POST", "/teardown", &[], b"frameworkId=x");
    assert_eq!(answer.status, 401, "{answer:?}");
    cluster.stop();
}

#[test]
fn agents_do_without_tls_where_both_ends_were_told_so() {
    let flags = [
        "--master-flag=--agent_tls=optional",
        "--agent-flag=--master_tls=off",
    ];
    let cluster = DevCluster::start(1, &flags);
    let ended = cluster.nesos.run(&["run", "--", "echo plain"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "plain\n"),
        "{ended:?}"
    );
    let logs = cluster.logs();
    for flag in ["--agent_tls=optional: ", "--master_tls=off: "] {
        assert!(logs.contains(flag), "{flag}: {logs}");
    }
    cluster.stop();
}

#[test]
fn redirects_lead_to_the_leader() {
    let cluster = DevCluster::start(1, &[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let follower = listener.local_addr().unwrap().to_string();
    let leader = cluster.master.clone();
    // Serves for as long as the test runs; ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: //{leader}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let nesos = cluster.nesos.clone().with_master(&follower);
    assert_eq!(nesos.json(&["nodes"]).len(), 1);
    let ended = nesos.run(&["run", "--", "echo led"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "led\n"),
        "{ended:?}"
    );
    cluster.stop();
}

#[test]
fn a_cluster_on_this_machine_is_found_without_a_flag() {
    let cluster = DevCluster::start(1, &[]);
    let home = cluster.work_dir().parent().unwrap().to_owned();
    let nesos = Nesos::new(&home);
    assert_eq!(nesos.json(&["nodes"]).len(), 1);
    cluster.stop();
    assert_eq!(
        nesos.run(&["nodes"]).code,
        3,
        "nobody believes in a cluster that has ended"
    );
}

#[test]
fn boards_that_are_not_there_are_said_to_be_missing() {
    let home = tempfile::tempdir().unwrap();
    let nesos = Nesos::new(home.path());
    for arguments in [
        &["vm", "list"][..],
        &["vm", "down"],
        &["vm", "kill", "board-1"],
        &["vm", "console", "board-1"],
    ] {
        let ended = nesos.run(arguments);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains("nesos vm up"), "{ended:?}");
    }
    let folder = home.path().join("nowhere").display().to_string();
    let ended = nesos.run(&["vm", "up", "1", "--port", "0", "--image", &folder]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("cargo xtask image"), "{ended:?}");
}
