//! Who is let in, who is believed, and what a broken or hostile master can do to an agent: nothing.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{Read, Write};

use common::{Master, run, shell, until};
use nesos_base::token::ClusterKey;
use nesos_shell::plain::{self, PlainError, Secrets};
use nesos_wire::message::MasterToAgent;
use nesos_wire::task::TaskState;

#[test]
fn a_wrong_secret_is_refused_with_a_sentence() {
    run(async {
        let master = Master::new().await;
        let token = nesos_shell::tls::join_token(&nesos_base::token::ClusterKey([7; 32])).unwrap();
        let wrong = nesos_base::token::JoinToken {
            secret: [0; 16],
            ..token
        };
        let mut master = master.with_token(&wrong.to_text());
        master.start_agent();
        master
            .serve_until_logged("the master refuses to let this node join: the secret is wrong")
            .await;
    });
}

#[test]
fn a_token_of_another_cluster_does_not_tell_its_secret() {
    run(async {
        let token = nesos_shell::tls::join_token(&nesos_base::token::ClusterKey([8; 32])).unwrap();
        let mut master = Master::new().await.with_token(&token.to_text());
        master.start_agent();
        master
            .serve_until_logged("the master belongs to another cluster")
            .await;
    });
}

#[test]
fn the_certificate_is_kept() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (_, first) = master.link().await;
        master.kill_agent();
        // Without the token only the certificate is left to show.
        let mut master = master
            .with_token("nesos-000102030405060708090a0b0c0d0e0f-000102030405060708090a0b0c0d0e0f");
        let credentials = master.work_dir().join("meta/credentials");
        assert!(credentials.exists());
        master.start_agent();
        master
            .serve_until_logged("the master belongs to another cluster")
            .await;
        assert!(
            credentials.exists(),
            "another token joins anew and does not destroy the old certificate"
        );
        assert!(!first.node.as_str().is_empty());
    });
}

#[test]
fn a_huge_frame_ends_the_link_and_not_the_agent() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        link.launch(shell("t", "sleep 1000")).await;
        link.until(TaskState::Running).await;
        link.send_bytes(&[0xff; 64]).await;
        assert!(link.next().await.is_none());
        let (mut link, hello) = master.link().await;
        assert_eq!(hello.tasks.len(), 1);
        link.send_bytes(&[3, 0, 0, 0, 0xee, 0xee, 0xee]).await;
        assert!(link.next().await.is_none());
        let (mut link, _) = master.link().await;
        link.send(&MasterToAgent::Ping { sequence: 5 }).await;
        assert_eq!(
            link.next().await,
            Some(nesos_wire::message::AgentToMaster::Pong { sequence: 5 })
        );
    });
}

#[test]
fn a_damaged_log_costs_what_is_damaged() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        link.launch(shell("t", "sleep 1000")).await;
        link.until(TaskState::Running).await;
        master.kill_agent();
        let log = master.work_dir().join("meta/checkpoint.log");
        let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
        file.write_all(b"nRc1 half a record").unwrap();
        master.start_agent();
        let (_, hello) = master.link().await;
        assert_eq!(hello.tasks.len(), 1);
        assert!(master.log().contains("damaged"), "{}", master.log());
    });
}

#[test]
fn only_one_agentd_uses_a_work_directory() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let _link = master.link().await;
        let second = std::process::Command::new(env!("CARGO_BIN_EXE_agentd"))
            .arg(format!("--work_dir={}", master.work_dir().display()))
            .args([
                "--port=0",
                "--ip=127.0.0.1",
                "--mdns=off",
                "--executor=/bin/true",
            ])
            .output()
            .unwrap();
        assert!(!second.status.success());
        assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another agentd"));
    });
}

#[test]
fn the_http_server_shows_state_and_no_secret() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (_link, hello) = master.link().await;
        let get = |request: &str| {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", hello.port)).unwrap();
            stream
                .write_all(
                    format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                        .as_bytes(),
                )
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        assert!(get("GET /health").starts_with("HTTP/1.1 200"));
        let state = until("registration", || {
            Some(get("GET /slave(1)/state")).filter(|text| text.contains("\"id\":\"m-S1\""))
        })
        .await;
        assert!(
            state.contains("\"cpus\":4") && !state.contains("join_token"),
            "{state}"
        );
        assert!(get("GET /metrics/snapshot").contains("\"slave/registered\":1"));
        assert!(get("POST /state").starts_with("HTTP/1.1 405"));
        assert!(get("GET /nothing").starts_with("HTTP/1.1 404"));
    });
}

#[test]
fn without_tls_a_master_has_to_prove_itself_too() {
    run(async {
        let mut master = Master::new().await.with_flag("--master_tls=off".into());
        master.start_agent();
        let mut stream = master.accept_plain().await;
        // Not the cluster that gave this agent its secret.
        let strangers = Secrets::new(&ClusterKey([9; 32]));
        let answer = plain::answer(&mut stream, &strangers).await;
        assert!(matches!(answer, Err(PlainError::Io(_))), "{answer:?}");
        let text = "the master does not know this node's secret";
        until(text, || master.log().contains(text).then_some(())).await;
        let warning = "--master_tls=off: what this agent and its master say";
        assert!(master.log().contains(warning), "{}", master.log());

        let mut stream = master.accept_plain().await;
        plain::refuse(&mut stream, "TLS only").await.unwrap();
        let text = "refuses this node without TLS: TLS only";
        until(text, || master.log().contains(text).then_some(())).await;
    });
}
