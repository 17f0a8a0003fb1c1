//! `/v2` without agents: who may write, what is refused and how, and in what forms one may ask. What runs is told in `tests/clients`.
#![allow(clippy::unwrap_used)]

mod common;

use common::http::{Answer, Client, get, head, request};
use common::{Master, run};
use serde_json::{Value, json};

/// That of `/a`, of which nothing can run here.
const APP: &str = r#"{"id":"a","cmd":"x","labels":{"k":"v"},"ports":[0,0]}"#;

async fn ask(address: &str, method: &str, path: &str, body: &str) -> Answer {
    request(address, method, path, &[], body.as_bytes()).await
}

fn ids(apps: &Value) -> Vec<&str> {
    let apps = apps.as_array().unwrap().iter();
    apps.map(|app| app["id"].as_str().unwrap()).collect()
}

#[test]
fn only_those_who_may_write_change_services() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials.json");
    std::fs::write(&file, r#"{"credentials":[{"principal":"p","secret":"s"}]}"#).unwrap();
    let credentials = format!("--credentials={}", file.display());
    let flags = ["--api_access=authenticated", &credentials];
    let master = Master::start(&dir.path().join("m"), 0, &flags);
    let address = master.address();
    run(async {
        for (method, path) in [
            ("POST", "/v2/apps"),
            ("PUT", "/v2/apps"),
            ("PUT", "/v2/apps/a"),
            ("DELETE", "/v2/apps/a"),
            ("POST", "/v2/apps/a/restart"),
            ("DELETE", "/v2/apps/a/tasks"),
            ("POST", "/v2/tasks/delete"),
            ("PUT", "/v2/groups"),
            ("DELETE", "/v2/deployments/d"),
            ("DELETE", "/v2/queue/a/delay"),
            ("DELETE", "/v2/leader"),
        ] {
            let answer = ask(&address, method, path, APP).await;
            assert_eq!(answer.status, 401, "{method} {path}");
        }
        let basic = [("Authorization", "Basic cDpz")];
        let put = request(&address, "POST", "/v2/apps", &basic, APP.as_bytes()).await;
        assert_eq!(put.status, 201, "{}", put.text());
        assert_eq!(
            get(&address, "/v2/apps").await.json()["apps"][0]["id"],
            "/a"
        );
    });
}

#[test]
fn what_is_wrong_is_told_in_json() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        assert_eq!(ask(&address, "POST", "/v2/apps", APP).await.status, 201);
        for (method, path, body, status) in [
            ("POST", "/v2/apps", "{", 400),
            ("POST", "/v2/apps", "[]", 422),
            ("POST", "/v2/apps", r#"{"id":"B","cmd":"x"}"#, 422),
            (
                "POST",
                "/v2/apps",
                r#"{"id":"b","cmd":"x","constraints":[["h","LIKE","("]]}"#,
                422,
            ),
            ("POST", "/v2/apps", APP, 409),
            ("PUT", "/v2/apps/a", r#"{"instances":2}"#, 409),
            ("PUT", "/v2/apps/a?force=True", r#"{"cpus":-1}"#, 422),
            ("PUT", "/v2/apps/b", r#"{"cpus":1}"#, 422),
            (
                "PUT",
                "/v2/apps/b",
                r#"{"version":"2026-01-31T12:00:00.000Z"}"#,
                404,
            ),
            ("PUT", "/v2/apps", r#"[{"cpus":1}]"#, 422),
            ("POST", "/v2/tasks/delete", "{}", 422),
            (
                "POST",
                "/v2/groups",
                r#"{"id":"g","apps":[{"id":"/x","cmd":"x"}]}"#,
                422,
            ),
            ("DELETE", "/v2/groups/g", "", 404),
            ("DELETE", "/v2/apps/a/tasks/t", "", 404),
            ("DELETE", "/v2/deployments/d", "", 404),
            ("DELETE", "/v2/leader", "", 409),
            ("GET", "/v2/apps/b", "", 404),
            ("GET", "/v2/pods", "", 404),
            ("GET", "/v2/apps?label=%3D%3D", "", 422),
        ] {
            let answer = ask(&address, method, path, body).await;
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
            assert!(answer.json()["message"].is_string(), "{method} {path}");
        }
        assert_eq!(ask(&address, "POST", "/v2/apps/a", "{}").await.status, 405);
        let refused = ask(
            &address,
            "POST",
            "/v2/apps",
            r#"{"id":"b","cmd":"x","cpus":"1"}"#,
        )
        .await;
        let told = json!({"message": "Object is not valid",
            "details": [{"path": "/cpus", "errors": ["error.expected.jsnumber"]}]});
        assert_eq!(refused.json(), told);
    });
}

#[test]
fn one_may_ask_in_several_forms() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let made = ask(&address, "POST", "/v2/apps", APP).await;
        assert_eq!(made.json()["ports"], json!([10_000, 10_001]));
        let deployment = made.json()["deployments"][0]["id"].clone();
        assert_eq!(made.header("marathon-deployment-id"), deployment.as_str());
        let more = r#"{"id":"/g/h/b","cmd":"x y"}"#;
        assert_eq!(
            ask(&address, "PUT", "/v2/apps//g/h/b", more).await.status,
            201
        );
        for (path, found) in [
            ("/v2/apps/", vec!["/a", "/g/h/b"]),
            ("/v2/apps?id=g/h", vec!["/g/h/b"]),
            ("/v2/apps?cmd=y", vec!["/g/h/b"]),
            ("/v2/apps?label=k%3D%3Dv", vec!["/a"]),
            ("/v2/apps?label=k!%3Dv", vec!["/g/h/b"]),
        ] {
            let answer = get(&address, path).await.json();
            assert_eq!(ids(&answer["apps"]), found, "{path}");
        }
        let within = get(&address, "/v2/apps/g/*").await.json();
        assert_eq!(ids(&within["*"]), ["/g/h/b"]);
        for path in [
            "/v2/apps/g/h/b",
            "/v2/apps//g/h/b/",
            "/v2/apps/%2Fg%2Fh%2Fb",
        ] {
            assert_eq!(
                get(&address, path).await.json()["app"]["id"],
                "/g/h/b",
                "{path}"
            );
        }
        let whole = r#"{"cmd":"z","ports":[0]}"#;
        let put = ask(
            &address,
            "PUT",
            "/v2/apps/a?partialUpdate=false&force=true",
            whole,
        )
        .await;
        assert_eq!(put.status, 200, "{}", put.text());
        let app = get(&address, "/v2/apps/a?embed=app.taskStats").await.json()["app"].clone();
        assert_eq!(
            (&app["labels"], &app["ports"]),
            (&json!({}), &json!([10_000]))
        );
        assert_eq!((&app["cmd"], &app["taskStats"]), (&json!("z"), &json!({})));
        let versions = get(&address, "/v2/apps/a/versions").await.json();
        assert_eq!(versions["versions"].as_array().unwrap().len(), 2);
        let accept = [("Accept", "text/plain")];
        let text = request(&address, "GET", "/v2/tasks", &accept, b"")
            .await
            .text();
        assert_eq!(text, "a\t10000\ng_h_b\t10002\n");
        assert_eq!(get(&address, "/ping").await.text(), "pong");
    });
}

/// A listener, once there is a place for it.
async fn place(address: &str) -> Client {
    loop {
        let mut client = Client::connect(address).await;
        client.send(&head("GET", "/v2/events", &[], 0)).await;
        if client.head().await.status == 200 {
            return client;
        }
    }
}

/// As many as may be at a time.
const MAX_LISTENERS: usize = 32;

#[test]
fn listeners_hear_what_they_want_and_who_does_not_read_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let mut listeners = Vec::new();
        for _ in 0..MAX_LISTENERS {
            let mut client = Client::connect(&address).await;
            let path = "/v2/events?event_type=deployment_success&event_type=deployment_failed";
            client.send(&head("GET", path, &[], 0)).await;
            let answer = client.head().await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-type"), Some("text/event-stream"));
            listeners.push(client);
        }
        assert_eq!(get(&address, "/v2/events").await.status, 503);
        let app = r#"{"id":"none","cmd":"x","instances":0}"#;
        let made = ask(&address, "POST", "/v2/apps", app).await.json();
        let told = loop {
            let chunk = listeners[0].chunk().await.unwrap();
            let text = String::from_utf8(chunk).unwrap();
            if let Some(data) = text.split("data: ").nth(1) {
                break serde_json::from_str::<Value>(data).unwrap();
            }
        };
        assert_eq!(told["eventType"], "deployment_success");
        assert_eq!(told["id"], made["deployments"][0]["id"]);
        drop(listeners);

        // The others' places are free as soon as their ends were noticed.
        let place = tokio::time::timeout(common::DEADLINE, place(&address));
        let mut slow = place.await.unwrap();
        let big = format!(r#"{{"labels":{{"k":"{}"}}}}"#, "x".repeat(30_000));
        for _ in 0..MAX_PUTS {
            let path = "/v2/apps/none?force=true";
            assert_eq!(ask(&address, "PUT", path, &big).await.status, 200);
        }
        assert!(slow.ends().await);
    });
    master.wait_log("it reads too slowly");
}

/// Far more than what waits for a listener and what the kernel takes of it: each is told in several events of 30 kB.
const MAX_PUTS: usize = 200;
