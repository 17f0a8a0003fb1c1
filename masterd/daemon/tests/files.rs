//! `/files/*`, LIST_FILES and READ_FILE on the master: its log, and nothing else of the host.
#![allow(clippy::unwrap_used)]

mod common;

use common::http::{get, request};
use common::{Master, run};
use nesos_api::operator::master as api;

const PROTOBUF: &[(&str, &str)] = &[
    ("Content-Type", "application/x-protobuf"),
    ("Accept", "application/x-protobuf"),
];
const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];

#[test]
fn the_log_is_read_through_the_legacy_endpoints() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let size = get(&address, "/files/read?path=/master/log").await.json()["offset"]
            .as_u64()
            .unwrap();
        assert!(size > 0);
        let read = get(&address, "/files/read?path=/master/log&offset=0").await;
        let read = read.json();
        let text = read["data"].as_str().unwrap();
        assert!(text.contains("listens on"), "{text}");
        assert_eq!(read["offset"], 0);
        let part = get(
            &address,
            "/master/files/read?path=/master/log/&offset=3&length=4",
        )
        .await;
        assert_eq!(part.json()["data"], text[3..7]);
        let beyond = get(
            &address,
            "/files/read?path=/master/log&offset=99999999&jsonp=f",
        )
        .await;
        assert_eq!(beyond.text(), r#"f({"offset":99999999,"data":""});"#);
        let whole = get(&address, "/files/download?path=/master/log").await;
        assert_eq!(
            whole.header("content-disposition"),
            Some("attachment; filename=log")
        );
        assert!(whole.text().starts_with(text));
        let browse = get(&address, "/files/browse?path=/master/log").await;
        assert_eq!(browse.text(), "[]");
        assert_eq!(
            get(&address, "/files/debug").await.text(),
            r#"{"/master/log":"memory"}"#
        );
    });
}

#[test]
fn nothing_else_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        for (path, status) in [
            ("read?path=/etc/passwd", 404),
            ("read?path=/master/log/../../etc/passwd", 404),
            ("read?path=/master", 404),
            ("browse?path=/", 404),
            ("browse?path=/etc", 404),
            ("download?path=/master/log%00", 404),
            ("read", 400),
            ("browse?path=", 400),
            ("read?path=/master/log&offset=-2", 400),
            ("read?path=/master/log&length=-2", 400),
            ("read?path=/master/log&offset=x", 400),
            ("delete?path=/master/log", 404),
        ] {
            let answer = get(&address, &format!("/files/{path}")).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
            assert!(!answer.text().is_empty(), "{path}");
        }
        let answer = request(&address, "POST", "/files/debug", &[], b"").await;
        assert_eq!(answer.status, 405);
    });
}

#[test]
fn the_log_is_read_through_calls() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let read = r#"{"type":"READ_FILE","read_file":{"path":"/master/log","offset":0}}"#;
        let answer = request(&address, "POST", "/api/v1", JSON, read.as_bytes()).await;
        let text = api::Response::from_json(&answer.body).unwrap().read_file;
        let text = text.unwrap();
        let call = api::Call::from_json(read.as_bytes()).unwrap();
        let answer = request(&address, "POST", "/api/v1", PROTOBUF, &call.to_protobuf()).await;
        let binary = api::Response::from_protobuf(&answer.body).unwrap();
        let binary = binary.read_file.unwrap();
        assert!(text.size > 0 && binary.data.0.starts_with(&text.data.0));
        let list = r#"{"type":"LIST_FILES","list_files":{"path":"/master/log"}}"#;
        let answer = request(&address, "POST", "/api/v1", JSON, list.as_bytes()).await;
        assert_eq!(answer.text(), r#"{"type":"LIST_FILES","list_files":{}}"#);
        for (call, status) in [
            (read.replace("/master/log", "/etc/passwd"), 404),
            (list.replace("/master/log", "/"), 404),
            (r#"{"type":"READ_FILE"}"#.to_string(), 400),
            (r#"{"type":"LIST_FILES","list_files":{}}"#.to_string(), 400),
        ] {
            let answer = request(&address, "POST", "/api/v1", JSON, call.as_bytes()).await;
            assert_eq!(answer.status, status, "{call}: {}", answer.text());
        }
    });
}
