//! Input that no well-behaved peer sends: a clear refusal, nothing lost, nobody crashes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::time::Duration;

use nesos_base::token::JoinToken;
use nesos_cluster_tests::{DevCluster, http};
use nesos_shell::framed::{self, FrameReader};
use nesos_shell::tls::{self, NodeKey};
use nesos_wire::join::{JoinAnswer, JoinRequest};
use nesos_wire::message::AgentToMaster;
use nesos_wire::{NodeId, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(60);
const SCHEDULER: &str = "/api/v1/scheduler";
/// What is wrong, method, headers, body, the status it deserves.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [u8], u16);
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A cluster with a task that goes on while the test misbehaves; [`Witness::testify`] shows that nothing was lost.
struct Witness {
    cluster: DevCluster,
    run: nesos_cluster_tests::Running,
    pids: [i32; 2],
}

impl Witness {
    fn new() -> Self {
        let cluster = DevCluster::start(1, &[]);
        let mut run = cluster.nesos.start(&[
            "run",
            "--name",
            "witness",
            "--",
            "echo begun; while [ ! -e go ]; do sleep 0.1; done; exit 5",
        ]);
        run.wait_for("begun", SOON);
        let pids = [
            cluster.pid("master").as_raw(),
            cluster.pid("agent-1").as_raw(),
        ];
        Self { cluster, run, pids }
    }

    fn testify(self) {
        let pids = [
            self.cluster.pid("master").as_raw(),
            self.cluster.pid("agent-1").as_raw(),
        ];
        assert_eq!(pids, self.pids, "no daemon died");
        assert_eq!(
            http::request(&self.cluster.master, "GET", "/health", &[], b"").status,
            200
        );
        let ended = self.cluster.nesos.run(&["kill", "witness"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let ended = self.run.wait(SOON);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (143, "begun\n"),
            "{ended:?}"
        );
        self.cluster.stop();
    }
}

#[test]
fn a_scheduler_that_speaks_nonsense_is_told_so() {
    let witness = Witness::new();
    let master = witness.cluster.master.as_str();
    let subscribe =
        br#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"x"}}}"#;
    let cases: [Case<'_>; 8] = [
        (
            "malformed JSON",
            "POST",
            &[JSON],
            b"{\"type\": SUBSCRIBE",
            400,
        ),
        ("no JSON object", "POST", &[JSON], b"[1, 2]", 400),
        (
            "an unknown call",
            "POST",
            &[JSON],
            br#"{"type":"DANCE"}"#,
            400,
        ),
        (
            "a missing part",
            "POST",
            &[JSON],
            br#"{"type":"SUBSCRIBE"}"#,
            400,
        ),
        (
            "a wrong content type",
            "POST",
            &[("Content-Type", "text/plain")],
            subscribe,
            415,
        ),
        (
            "a type nobody can be sent",
            "POST",
            &[JSON, ("Accept", "text/html")],
            subscribe,
            406,
        ),
        (
            "protobuf that is none",
            "POST",
            &[("Content-Type", "application/x-protobuf")],
            &[0xff; 64],
            400,
        ),
        ("a GET", "GET", &[], b"", 405),
    ];
    for (what, method, headers, body, status) in cases {
        let answer = http::request(master, method, SCHEDULER, headers, body);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert!(
            status == 405 || !answer.body.trim().is_empty(),
            "{what} gets a sentence: {answer:?}"
        );
    }
    assert_eq!(
        http::request(master, "GET", "/no/such/page", &[], b"").status,
        404
    );
    witness.testify();
}

#[test]
fn unknown_fields_are_ignored_as_mesos_does() {
    let witness = Witness::new();
    let body = br#"{"type":"SUBSCRIBE","x":1,"subscribe":{"framework_info":{"user":"root","name":"x","y":{"z":[]}},"w":null}}"#;
    let mut stream = http::connect(&witness.cluster.master);
    let head = format!(
        "POST {SCHEDULER} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut first = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    // The framework goes without a word and in the middle of a record.
    drop(stream);
    witness.testify();
}

#[test]
fn bodies_without_end_and_heads_without_sense_cost_nothing() {
    let witness = Witness::new();
    let master = witness.cluster.master.as_str();
    let before = resident(witness.pids[0]);

    let mut stream = http::connect(master);
    let head = format!(
        "POST {SCHEDULER} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1073741824\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let piece = vec![b' '; 1 << 20];
    // The master need not listen to the end: a broken pipe is an answer too.
    for _ in 0..64 {
        if stream.write_all(&piece).is_err() {
            break;
        }
    }
    assert_eq!(http::read_answer(&mut stream).status, 413);

    let mut half = http::connect(master);
    half.write_all(
        format!("POST {SCHEDULER} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{{\"type\"")
            .as_bytes(),
    )
    .unwrap();
    drop(half);

    let mut junk = http::connect(master);
    junk.write_all(b"\x00\x01\x02 this is neither TLS nor HTTP\r\n\r\n")
        .unwrap();
    let mut long = http::connect(master);
    let _ = long
        .write_all(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1 << 20)).as_bytes());

    let after = resident(witness.pids[0]);
    assert!(
        after < before + (32 << 10),
        "the master grew from {before} to {after} kB"
    );
    witness.testify();
}

#[test]
fn a_fake_agent_gets_nowhere() {
    let witness = Witness::new();
    let master = witness.cluster.master.clone();
    let text = std::fs::read_to_string(witness.cluster.work_dir().join("agent.toml")).unwrap();
    let token = text
        .lines()
        .find_map(|line| line.strip_prefix("token = "))
        .unwrap();
    let token = JoinToken::parse(token.trim_matches('"')).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(SOON, async {
            huge_frame_before_joining(&master, &token).await;
            wrong_secret(&master, &token).await;
            wrong_pin(&master, &token).await;
            huge_frame_and_garbage_on_the_link(&master, &token).await;
        })
        .await
        .expect("the master answers");
    });
    let nodes = witness.cluster.nesos.json(&["nodes"]);
    assert_eq!(nodes.len(), 1, "nobody else has joined: {nodes:?}");
    witness.testify();
}

async fn huge_frame_before_joining(master: &str, token: &JoinToken) {
    let mut link = tls::connect(
        tls::join_client(token).unwrap(),
        TcpStream::connect(master).await.unwrap(),
    )
    .await
    .unwrap();
    link.write_all(&[0xff; 8]).await.unwrap();
    expect_closed(&mut link).await;
}

async fn wrong_secret(master: &str, token: &JoinToken) {
    let mut wrong = token.clone();
    wrong.secret[0] ^= 1;
    let answer = join(master, &wrong, &NodeKey::generate().unwrap()).await;
    let JoinAnswer::Refused { reason } = answer else {
        panic!("let in: {answer:?}")
    };
    assert!(reason.contains("token"), "{reason}");
}

async fn wrong_pin(master: &str, token: &JoinToken) {
    let mut wrong = token.clone();
    wrong.pin[0] ^= 1;
    let stream = TcpStream::connect(master).await.unwrap();
    assert!(
        tls::connect(tls::join_client(&wrong).unwrap(), stream)
            .await
            .is_err(),
        "another cluster's CA is not trusted"
    );
}

async fn huge_frame_and_garbage_on_the_link(master: &str, token: &JoinToken) {
    let key = NodeKey::generate().unwrap();
    let answer = join(master, token, &key).await;
    let JoinAnswer::Accepted {
        certificate, ca, ..
    } = answer
    else {
        panic!("refused: {answer:?}")
    };
    for bytes in [
        &[0xff; 64][..],
        &[8, 0, 0, 0, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee],
    ] {
        let config = tls::link_client(&ca, &certificate, &key).unwrap();
        let mut link = tls::connect(config, TcpStream::connect(master).await.unwrap())
            .await
            .unwrap();
        link.write_all(bytes).await.unwrap();
        expect_closed(&mut link).await;
    }
    // A message that may not be the first one.
    let config = tls::link_client(&ca, &certificate, &key).unwrap();
    let mut link = tls::connect(config, TcpStream::connect(master).await.unwrap())
        .await
        .unwrap();
    framed::write(&mut link, &AgentToMaster::Pong { sequence: 1 })
        .await
        .unwrap();
    expect_closed(&mut link).await;
}

async fn join(master: &str, token: &JoinToken, key: &NodeKey) -> JoinAnswer {
    let stream = TcpStream::connect(master).await.unwrap();
    let mut link = tls::connect(tls::join_client(token).unwrap(), stream)
        .await
        .unwrap();
    let request = JoinRequest {
        version: version::CURRENT,
        secret: token.secret,
        node: NodeId::new("fake"),
        hostname: "fake".to_owned(),
        public_key: key.public_key().unwrap(),
    };
    framed::write(&mut link, &request).await.unwrap();
    FrameReader::new(&mut link)
        .read()
        .await
        .unwrap()
        .expect("an answer")
}

/// The peer may say why; then it hangs up.
async fn expect_closed(link: &mut (impl AsyncReadExt + Unpin)) {
    let mut rest = Vec::new();
    // A reset is a hang-up too.
    let _ = link.read_to_end(&mut rest).await;
    assert!(rest.len() < 4096, "{} bytes came back", rest.len());
}

/// Resident memory of a process, kB.
fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
