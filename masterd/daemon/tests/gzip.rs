//! gzip in both directions, its bounds, and what is never compressed.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};

use common::http::{Answer, Client, head, request};
use common::{Master, run};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

const JSON: (&str, &str) = ("Content-Type", "application/json");
const PACKED: (&str, &str) = ("Content-Encoding", "gzip");
const TAKES: (&str, &str) = ("Accept-Encoding", "gzip");

fn pack(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn unpack(answer: &Answer) -> Vec<u8> {
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let mut plain = Vec::new();
    GzDecoder::new(&answer.body[..])
        .read_to_end(&mut plain)
        .unwrap();
    plain
}

#[test]
fn calls_are_inflated_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let revive = br#"{"type":"REVIVE","framework_id":{"value":"nobody"}}"#;
        let bomb = pack(&vec![b' '; 8 * 1024 * 1024 + 1]);
        let br = ("Content-Encoding", "br");
        for (headers, body, status, sentence) in [
            (
                &[JSON, PACKED],
                pack(revive),
                400,
                "Framework cannot be found",
            ),
            (
                &[JSON, PACKED],
                revive.to_vec(),
                400,
                "Failed to decompress the body",
            ),
            (
                &[JSON, PACKED],
                bomb,
                413,
                "The body is larger than 8388608 bytes when",
            ),
            (
                &[JSON, br],
                revive.to_vec(),
                415,
                "Expecting 'Content-Encoding' of gzip",
            ),
        ] {
            let answer = request(&address, "POST", "/api/v1/scheduler", headers, &body).await;
            assert_eq!(answer.status, status, "{sentence}");
            assert!(answer.text().starts_with(sentence), "{}", answer.text());
        }
        let health = pack(br#"{"type":"GET_HEALTH"}"#);
        let answer = request(&address, "POST", "/api/v1", &[JSON, PACKED], &health).await;
        assert_eq!(answer.json()["get_health"]["healthy"], true);
    });
}

#[test]
fn large_answers_are_compressed_for_who_takes_it() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let snapshot = "/metrics/snapshot";
        let packed = request(&address, "GET", snapshot, &[TAKES], b"").await;
        let metrics: serde_json::Value = serde_json::from_slice(&unpack(&packed)).unwrap();
        assert_eq!(metrics["master/elected"], 1.0);
        assert_eq!(packed.header("vary"), Some("Accept-Encoding"));
        let refused = ("Accept-Encoding", "gzip;q=0, identity");
        for headers in [&[][..], &[refused]] {
            let plain = request(&address, "GET", snapshot, headers, b"").await;
            assert!(plain.body.len() >= 1024);
            assert_eq!(plain.header("content-encoding"), None);
            assert_eq!(plain.json()["master/elected"], 1.0);
        }
        let small = request(&address, "GET", "/version", &[TAKES], b"").await;
        assert_eq!(small.header("content-encoding"), None);
    });
}

#[test]
fn streams_are_never_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    run(async {
        let mut client = Client::connect(&master.address()).await;
        let body = br#"{"type":"SUBSCRIBE"}"#;
        client
            .send(&head("POST", "/api/v1", &[JSON, TAKES], body.len()))
            .await;
        client.send(body).await;
        assert_eq!(client.head().await.header("content-encoding"), None);
        let event = common::http::parse(&client.chunk().await.unwrap());
        assert_eq!(event["type"], "SUBSCRIBED");
    });
}
