//! Peers that mean harm or are broken: masterd says why, cuts them, and goes on.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::{board, foreign_board, join};
use common::http::{Client, Scheduler, get, head};
use common::{Master, run};
use nesos_base::token::JoinToken;
use nesos_wire::NodeId;
use nesos_wire::join::JoinAnswer;
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use tokio::io::AsyncWriteExt;

/// A board that is in order still gets in.
async fn is_in_order(address: &str, work_dir: &std::path::Path, node: &str) {
    assert_eq!(get(address, "/health").await.status, 200);
    board(address, work_dir, node).await.register(address).await;
}

#[test]
fn a_wrong_token_is_refused_with_a_sentence_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let mut token =
            JoinToken::parse(&std::fs::read_to_string(dir.path().join("token")).unwrap()).unwrap();
        let (answer, _) = join(&address, &token, "bad/name").await;
        assert!(matches!(answer, JoinAnswer::Refused { reason } if reason.contains('/')));
        token.secret[0] ^= 1;
        let (answer, _) = join(&address, &token, "thief").await;
        assert!(
            matches!(answer, JoinAnswer::Refused { reason } if reason.contains("join token is wrong"))
        );
    });
    let line = master.wait_log("thief");
    assert!(
        line.contains("host-thief")
            && line.contains("127.0.0.1")
            && line.contains("join token is wrong"),
        "{line}"
    );
}

#[test]
fn agents_that_are_not_who_they_say_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let node = board(&address, dir.path(), "n1").await;
        let mut agent = node.dial(&address).await;
        let mut hello = node.hello();
        hello.node = NodeId::new("n2");
        agent.say(&AgentToMaster::Hello(hello)).await;
        let answer = agent.hear().await;
        assert!(
            matches!(answer, MasterToAgent::Refused { ref reason } if reason.contains("'n1'")),
            "{answer:?}"
        );
        assert!(agent.hear_or_end().await.is_none());

        let mut impatient = node.dial(&address).await;
        impatient.say(&AgentToMaster::Goodbye).await;
        assert!(
            matches!(impatient.hear().await, MasterToAgent::Refused { reason } if reason.contains("Hello"))
        );

        // The spy trusts the master's CA, but its own certificate is from elsewhere.
        let spy = common::agent::Board {
            ca: node.ca.clone(),
            ..foreign_board("n1")
        };
        assert!(spy.dial(&address).await.hear_or_end().await.is_none());
        is_in_order(&address, dir.path(), "n3").await;
    });
}

#[test]
fn huge_and_malformed_frames_end_only_their_link() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let node = board(&address, dir.path(), "n1").await;
        for bytes in [
            &[0xff; 64][..],
            &[0, 0, 0x40, 0, 1, 2, 3],
            &[3, 0, 0, 0, 0xee, 0xee, 0xee],
        ] {
            let (mut agent, _) = node.register(&address).await;
            agent.writer.write_all(bytes).await.unwrap();
            if bytes.len() == 7 && bytes[2] == 0x40 {
                // Half of a legal frame, then silence and the end.
                agent.writer.shutdown().await.unwrap();
            }
            assert!(agent.hear_or_end().await.is_none());
        }
        let mut early = node.dial(&address).await;
        early.writer.write_all(&[0xff; 64]).await.unwrap();
        assert!(
            matches!(early.hear().await, MasterToAgent::Refused { reason } if reason.contains("bytes was announced"))
        );
        is_in_order(&address, dir.path(), "n2").await;
    });
}

#[test]
fn a_body_beyond_the_bound_is_413_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let headers = [("Content-Type", "application/json")];
        let mut client = Client::connect(&address).await;
        client
            .send(&head("POST", "/api/v1/scheduler", &headers, 1 << 30))
            .await;
        assert_eq!(client.answer().await.status, 413, "by its announced length");

        let mut client = Client::connect(&address).await;
        client
            .send(b"POST /api/v1/scheduler HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        let (mut read, mut write) = client.stream.into_split();
        let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
        let sending = async {
            // Never ends by itself; the master closes.
            while write.write_all(&chunk).await.is_ok() {}
        };
        let reading = async {
            let mut answer = Vec::new();
            let mut piece = [0; 4096];
            while let Ok(read) = tokio::io::AsyncReadExt::read(&mut read, &mut piece).await {
                answer.extend_from_slice(&piece[..read]);
                if read == 0 || answer.windows(4).any(|w| w == b"\r\n\r\n") {
                    break;
                }
            }
            answer
        };
        let answer = tokio::select! {
            answer = reading => answer,
            () = sending => Vec::new(),
        };
        // The reset may overtake the answer; a whole gigabyte may not get through.
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 413"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        is_in_order(&address, dir.path(), "n1").await;
    });
    let memory = std::fs::read_to_string(format!("/proc/{}/status", master.pid())).unwrap();
    let peak = memory
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 64 * 1024, "peak memory {kilobytes} kB");
}

#[test]
fn garbage_on_the_port_ends_only_its_connection() {
    let dir = tempfile::tempdir().unwrap();
    let mut master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        for garbage in [
            &b"\x16\x03\x01\x00\x05hello"[..],
            b"\x00\x01\x02\x03\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"12\n{\"type\":\"SUBSC",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            let mut client = Client::connect(&address).await;
            client.send(garbage).await;
            client.stream.shutdown().await.unwrap();
            assert!(client.ends().await);
        }
        let mut client = Client::connect(&address).await;
        let endless = vec![b'a'; 64 * 1024];
        let request = [b"GET /health HTTP/1.1\r\nX: ".as_slice(), &endless].concat();
        // The master may close before everything is written.
        let _ = client.stream.write_all(&request).await;
        assert!(client.ends().await);
        is_in_order(&address, dir.path(), "n1").await;
    });
    assert!(master.is_alive());
}

#[test]
fn slow_senders_are_cut_and_idle_connections_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let mut idle = Client::connect(&address).await;
        idle.send(&head("GET", "/health", &[], 0)).await;
        assert_eq!(idle.answer().await.status, 200);
        let mut silent = Client::connect(&address).await;
        let mut half = Client::connect(&address).await;
        half.send(b"GET /health HTTP/1.1\r\nHost").await;
        let mut later = Client::connect(&address).await;
        later.send(&head("GET", "/health", &[], 0)).await;
        later.answer().await;
        later.send(b"GET /he").await;
        assert!(silent.ends().await && half.ends().await && later.ends().await);
        idle.send(&head("GET", "/health", &[], 0)).await;
        assert_eq!(
            idle.answer().await.status,
            200,
            "an idle connection is kept"
        );
    });
}

#[test]
fn idle_connections_make_room_for_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let mut idle = Vec::new();
        for _ in 0..530 {
            idle.push(Client::connect(&address).await);
        }
        assert_eq!(get(&address, "/health").await.status, 200);
        is_in_order(&address, dir.path(), "n1").await;
    });
}

#[test]
fn a_scheduler_that_does_not_read_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let (mut agent, _) = board(&address, dir.path(), "n1")
            .await
            .register(&address)
            .await;
        let deaf = Scheduler::subscribe(&address, r#","failover_timeout":600"#, None).await;
        let framework = nesos_wire::FrameworkId::new(deaf.framework.as_str());
        let message = AgentToMaster::FrameworkMessage {
            framework,
            executor: nesos_wire::ExecutorId::new("e"),
            data: vec![7; 512 * 1024],
        };
        let mut sent = 0;
        while deaf.call(r#""type":"REVIVE""#).await == 202 {
            agent.say(&message).await;
            sent += 1;
            assert!(sent < 1000, "never cut");
        }
        assert_eq!(deaf.call(r#""type":"REVIVE""#).await, 403);
    });
    master.wait_log("reads too slowly");
}
