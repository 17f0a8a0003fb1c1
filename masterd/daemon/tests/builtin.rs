//! The framework of the built-in schedulers is the master's own: nobody speaks for it, nobody ends it, and it comes back with the master.
#![allow(clippy::unwrap_used)]

mod common;

use common::http::{get, request};
use common::{Master, run};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("Content-Type", "application/json");

async fn frameworks(address: &str) -> Vec<String> {
    let answer: Value = get(address, "/frameworks").await.json();
    let all = answer["frameworks"].as_array().unwrap().iter();
    all.map(|one| one["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn nobody_else_is_the_masters_own_framework() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    run(async {
        let address = master.address();
        assert!(
            frameworks(&address).await.is_empty(),
            "without services there is none"
        );
        let web = json!({"id": "/web", "cmd": "sleep 1000", "instances": 2});
        let answer = request(
            &address,
            "POST",
            "/v2/apps",
            &[JSON],
            web.to_string().as_bytes(),
        )
        .await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(frameworks(&address).await, ["nesos"]);

        let info = json!({"user": "root", "name": "thief", "id": {"value": "nesos"}});
        let subscribe = json!({
            "type": "SUBSCRIBE", "framework_id": {"value": "nesos"},
            "subscribe": {"framework_info": info},
        });
        let accept = json!({"type": "TEARDOWN", "framework_id": {"value": "nesos"}});
        for call in [subscribe, accept] {
            let call = call.to_string();
            let path = "/api/v1/scheduler";
            let answer = request(&address, "POST", path, &[JSON], call.as_bytes()).await;
            assert_eq!(answer.status, 403, "{}", answer.text());
            assert_eq!(answer.text(), "Framework 'nesos' is the master's own");
        }
        let teardown = b"frameworkId=nesos";
        let answer = request(&address, "POST", "/teardown", &[], teardown).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(
            answer
                .text()
                .contains("remove its services and jobs instead"),
            "{}",
            answer.text()
        );
    });
    let port = master.port;
    master.kill();
    let master = Master::start(dir.path(), port, &[]);
    run(async {
        let address = master.address();
        assert_eq!(frameworks(&address).await, ["nesos"]);
        let shown = get(&address, "/v2/apps/web").await.json();
        assert_eq!(shown["app"]["instances"], 2);
        let deployments = get(&address, "/v2/deployments").await.json();
        assert_eq!(
            deployments[0]["affectedApps"],
            json!(["/web"]),
            "it still waits for agents"
        );
    });
}
