//! The HTTP API's rules: Mesos's order of checks, status codes, paths, and who may write.
#![allow(clippy::unwrap_used)]

mod common;

use common::http::{Client, Scheduler, get, head, request};
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
fn scheduler_calls_are_checked_in_mesoss_order() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let answer = get(&address, PATH).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
        let expected = "405 Method Not Allowed. Expecting one of { 'POST' }, but received 'GET'.";
        assert_eq!(answer.text(), expected);
        let (charset, text) = (
            "application/json; charset=utf-8",
            ("Content-Type", "text/plain"),
        );
        let protobuf = ("Content-Type", "application/x-protobuf");
        let (html, stream) = (("Accept", "text/html"), ("Mesos-Stream-Id", "x"));
        for (headers, body, status) in [
            (&[][..], "nonsense", 400),
            (&[("Content-Type", charset)], "nonsense", 415),
            (&[text], SUBSCRIBE, 415),
            (&[protobuf], "\u{7f}\u{7f}", 400),
            (&[JSON, html], SUBSCRIBE, 406),
            (&[JSON, html, stream], SUBSCRIBE, 406),
            (&[JSON, stream], SUBSCRIBE, 400),
            (&[JSON], r#"{"type":"UNKNOWN"}"#, 501),
            (&[JSON], r#"{"type":"REVIVE"}"#, 400),
        ] {
            assert_eq!(
                post(&address, headers, body).await.0,
                status,
                "{headers:?} {body}"
            );
        }
        let unknown = r#"{"type":"REVIVE","framework_id":{"value":"nobody"}}"#;
        let (status, text) = post(&address, &[JSON], unknown).await;
        assert_eq!((status, text.as_str()), (400, "Framework cannot be found"));
    });
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
fn calls_need_the_right_stream() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let scheduler = Scheduler::subscribe(&address, r#","failover_timeout":60"#, None).await;
        assert_eq!(scheduler.call(r#""type":"REVIVE""#).await, 202);
        assert_eq!(
            scheduler
                .call(r#""type":"REQUEST","request":{"requests":[]}"#)
                .await,
            202
        );
        assert_eq!(
            scheduler
                .call(r#""type":"DECLINE","decline":{"offer_ids":[{"value":"gone"}]}"#)
                .await,
            202
        );
        assert_eq!(scheduler.call(r#""type":"ACCEPT""#).await, 400);
        assert_eq!(scheduler.call(r#""type":"ACKNOWLEDGE","acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"AA=="}"#).await, 400);
        let body = format!(
            r#"{{"type":"REVIVE","framework_id":{{"value":"{}"}}}}"#,
            scheduler.framework
        );
        let call = async |headers: &[(&str, &str)]| {
            request(&address, "POST", PATH, headers, body.as_bytes())
                .await
                .status
        };
        assert_eq!(call(&[JSON]).await, 400, "no stream id");
        assert_eq!(call(&[JSON, ("Mesos-Stream-Id", "other")]).await, 400);
        let (framework, stream_id) = (scheduler.framework.clone(), scheduler.stream_id.clone());
        drop(scheduler);
        let mut status = 202;
        while status == 202 {
            status = call(&[JSON, ("Mesos-Stream-Id", &stream_id)]).await;
        }
        assert_eq!(status, 403, "not subscribed any more");
        let again =
            Scheduler::subscribe(&address, r#","failover_timeout":60"#, Some(&framework)).await;
        assert_eq!(again.framework, framework);
        assert_ne!(again.stream_id, stream_id);
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
