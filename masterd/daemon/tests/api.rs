//! The HTTP API's rules: malformed calls, paths, connections, and who may write.
#![allow(clippy::unwrap_used)]

mod common;

use common::http::{Client, get, head, request};
use common::{Master, run};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const PATH: &str = "/api/v1/scheduler";
const SUBSCRIBE: &str =
    r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}"#;

async fn post(address: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let answer = request(address, "POST", PATH, headers, body.as_bytes()).await;
    (answer.status, answer.text())
}

#[test]
fn malformed_calls_are_400_with_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    run(async {
        let no_info = r#"{"type":"SUBSCRIBE","subscribe":{}}"#;
        let no_type = r#"{"framework_id":{"value":"x"}}"#;
        for body in ["", "{", "[]", "null", "\u{0}", no_info, no_type] {
            let (status, text) = post(&master.address(), &[JSON], body).await;
            assert_eq!(status, 400, "{body}");
            assert!(text.starts_with("Failed to "), "{body}: {text}");
        }
    });
}

#[test]
fn paths_match_by_longest_prefix_and_master_may_stand_in_front() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        for path in [
            "/version",
            "/master/version",
            "/version/",
            "/master/version/",
        ] {
            let answer = get(&address, path).await;
            let version = answer.json()["version"].as_str().unwrap().to_string();
            assert!(
                version.split('.').all(|part| part.parse::<u32>().is_ok()),
                "{version}"
            );
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (200, Some("application/json"))
            );
        }
        for path in [
            "/state",
            "/state-summary",
            "/slaves",
            "/frameworks",
            "/tasks",
            "/roles",
            "/flags",
            "/metrics/snapshot",
            "/system/stats.json",
        ] {
            assert!(get(&address, path).await.json().is_object(), "{path}");
            assert_eq!(
                request(&address, "POST", path, &[], b"").await.status,
                405,
                "{path}"
            );
        }
        let state = get(&address, "/master/state").await.json();
        for key in [
            "version",
            "id",
            "pid",
            "leader",
            "slaves",
            "frameworks",
            "completed_frameworks",
            "flags",
            "activated_slaves",
        ] {
            assert!(!state[key].is_null(), "{key}");
        }
        assert_eq!(state["cluster"], "test");
        assert_eq!(get(&address, "/health").await.status, 200);
        assert_eq!(get(&address, "/nothing").await.status, 404);
    });
}

#[test]
fn pages_redirects_and_padding() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let redirect = get(&address, "/redirect").await;
        assert_eq!(
            (redirect.status, redirect.header("location")),
            (307, Some(format!("//{address}").as_str()))
        );
        let padded = get(&address, "/version?jsonp=show").await;
        assert!(padded.text().starts_with("show({") && padded.text().ends_with(");"));
        assert_eq!(get(&address, "/version?jsonp=a(b)").await.status, 400);
        let page = get(&address, "/").await;
        assert!(
            page.header("content-type")
                .unwrap()
                .starts_with("text/html")
                && page.text().contains("/state")
        );
        let health = request(
            &address,
            "POST",
            "/api/v1",
            &[JSON],
            br#"{"type":"GET_HEALTH"}"#,
        )
        .await;
        assert_eq!(health.json()["get_health"]["healthy"], true);
    });
}

#[test]
fn connections_are_kept_and_chunked_requests_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    run(async {
        let mut client = Client::connect(&master.address()).await;
        for _ in 0..3 {
            client.send(&head("GET", "/health", &[], 0)).await;
            assert_eq!(client.answer().await.status, 200);
        }
        let chunked = "POST /api/v1/scheduler HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                       Transfer-Encoding: chunked\r\n\r\n12\r\n{\"type\":\"UNKNOWN\"}\r\n0\r\n\r\n";
        client.send(chunked.as_bytes()).await;
        assert_eq!(client.answer().await.status, 501);
    });
}

#[test]
fn authentication_asks_for_the_frameworks_principal() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials.json");
    std::fs::write(&file, r#"{"credentials":[{"principal":"p","secret":"s"}]}"#).unwrap();
    let flags = [
        "--api_access=authenticated",
        &format!("--credentials={}", file.display()),
    ];
    let master = Master::start(&dir.path().join("m"), 0, &flags);
    let address = master.address();
    run(async {
        assert_eq!(get(&address, "/state").await.status, 200, "reading is open");
        let answer = request(&address, "GET", PATH, &[], b"").await;
        assert_eq!(answer.status, 401, "before everything else");
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Basic realm=\"mesos-master-scheduler\"")
        );
        let basic = ("Authorization", "Basic cDpz");
        assert_eq!(
            request(&address, "POST", PATH, &[JSON, basic], SUBSCRIBE.as_bytes())
                .await
                .status,
            400,
            "other principal"
        );
        let own = SUBSCRIBE.replace(r#""name":"n""#, r#""name":"n","principal":"p""#);
        let mut client = Client::connect(&address).await;
        client
            .send(&head("POST", PATH, &[JSON, basic], own.len()))
            .await;
        client.send(own.as_bytes()).await;
        assert_eq!(client.head().await.status, 200);
        assert_eq!(
            request(&address, "POST", "/teardown", &[], b"frameworkId=x")
                .await
                .status,
            401
        );
        assert_eq!(
            request(&address, "POST", "/teardown", &[basic], b"frameworkId=x")
                .await
                .status,
            400
        );
    });
}

#[test]
fn help_lists_the_endpoints_and_tells_of_each() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let all = get(&address, "/help").await.text();
        assert!(
            all.contains("/state-summary\n    ") && all.contains("/weights\n"),
            "{all}"
        );
        let one = get(&address, "/help/master/redirect").await.text();
        assert_eq!(one, "/redirect\n    Leads to the leading master.\n");
        let json = get(&address, "/help?format=json").await.json();
        assert_eq!(json["processes"][0]["id"], "master");
        assert_eq!(get(&address, "/help/nothing").await.status, 404);
        let processes = get(&address, "/__processes__").await.json();
        assert_eq!(processes[0]["id"], "master");
        for path in ["/profiler/start", "/memory-profiler/state"] {
            let answer = get(&address, path).await;
            assert_eq!(answer.status, 400, "{path}");
            assert!(answer.text().contains("not enabled"), "{path}");
        }
    });
}
