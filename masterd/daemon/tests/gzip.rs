//! gzip in both directions and both forms, its bounds, and what is never compressed.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};

use common::form::{FORMS, Form};
use common::http::{Answer, Client, head, request};
use common::{Master, run};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use nesos_api::operator::master::Response;
use serde_json::json;

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
        for form in FORMS {
            inflated(form, &address).await;
        }
    });
}

async fn inflated(form: Form, address: &str) {
    let media_type = ("Content-Type", form.media_type());
    let revive =
        form.scheduler_call(&json!({"type": "REVIVE", "framework_id": {"value": "nobody"}}));
    let bomb = pack(&vec![b' '; 8 * 1024 * 1024 + 1]);
    let br = ("Content-Encoding", "br");
    for (encoding, body, status, sentence) in [
        (PACKED, pack(&revive), 400, "Framework cannot be found"),
        (PACKED, revive.clone(), 400, "Failed to decompress the body"),
        (
            PACKED,
            bomb,
            413,
            "The body is larger than 8388608 bytes when",
        ),
        (br, revive, 415, "Expecting 'Content-Encoding' of gzip"),
    ] {
        let headers = [media_type, encoding];
        let answer = request(address, "POST", "/api/v1/scheduler", &headers, &body).await;
        assert_eq!(answer.status, status, "{sentence}");
        assert!(answer.text().starts_with(sentence), "{}", answer.text());
    }
    let health = pack(&form.operator_call(&json!({"type": "GET_HEALTH"})));
    let headers = [media_type, PACKED];
    let answer = request(address, "POST", "/api/v1", &headers, &health).await;
    assert_eq!(answer.json()["get_health"]["healthy"], true);
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
        for form in FORMS {
            let body = form.operator_call(&json!({"type": "GET_METRICS", "get_metrics": {}}));
            let [content, accept] = form.headers();
            let headers = [content, accept, TAKES];
            let answer = unpack(&request(&address, "POST", "/api/v1", &headers, &body).await);
            let answer = match form {
                Form::Json => Response::from_json(&answer),
                Form::Protobuf => Response::from_protobuf(&answer),
            };
            let metrics = answer.unwrap().get_metrics.unwrap().metrics;
            assert!(metrics.iter().any(|metric| metric.name == "master/elected"));
        }
    });
}

#[test]
fn streams_are_never_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    let info = json!({"framework_info": {"user": "u", "name": "n"}});
    let schedule = json!({"type": "SUBSCRIBE", "subscribe": info});
    run(async {
        for form in FORMS {
            let watch = form.operator_call(&json!({"type": "SUBSCRIBE"}));
            for (path, body) in [
                ("/api/v1", watch),
                ("/api/v1/scheduler", form.scheduler_call(&schedule)),
            ] {
                let [content, accept] = form.headers();
                let mut client = Client::connect(&address).await;
                let head = head("POST", path, &[content, accept, TAKES], body.len());
                client.send(&head).await;
                client.send(&body).await;
                let answer = client.head().await;
                assert_eq!(answer.status, 200);
                assert_eq!(answer.header("content-encoding"), None);
                // A record begins with its length.
                assert!(client.chunk().await.unwrap()[0].is_ascii_digit());
            }
        }
    });
}
