//! Weights through the operator API, in both forms, and through `/weights`: who gets how much, what is refused, what stays.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::board;
use common::form::{FORMS, Form, Scheduler};
use common::http::{Answer, get, request};
use common::{Master, run};
use serde_json::{Value, json};

fn weight(role: &str, weight: f64) -> Value {
    json!({"role": role, "weight": weight})
}

/// UPDATE_WEIGHTS; its status and sentence.
async fn update(form: Form, address: &str, weights: &[Value]) -> (u16, String) {
    let call = json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": weights}});
    let (status, sentence) = form.operate(address, &call).await;
    (status, sentence.as_str().unwrap_or_default().to_owned())
}

async fn put(address: &str, body: &str) -> Answer {
    request(address, "PUT", "/weights", &[], body.as_bytes()).await
}

async fn shown(form: Form, address: &str) -> Value {
    let (status, answer) = form.operate(address, &json!({"type": "GET_WEIGHTS"})).await;
    assert_eq!(status, 200);
    answer["get_weights"]["weight_infos"].clone()
}

async fn framework(form: Form, address: &str, role: &str) -> Scheduler {
    let info = json!({"user": "root", "name": role, "roles": [role], "capabilities": [{"type": "MULTI_ROLE"}]});
    Scheduler::subscribe(form, address, json!({ "framework_info": info })).await
}

/// Mesos's behaviour 20 and RebalancedForUpdatedWeights: all offers are taken back, then divided by the new weights.
#[test]
fn offers_are_divided_by_weight() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let mut agents = Vec::new();
            for node in ["n1", "n2", "n3", "n4", "n5", "n6"] {
                agents.push(
                    board(&address, dir.path(), node)
                        .await
                        .register(&address)
                        .await,
                );
            }
            let mut one = framework(form, &address, "one").await;
            assert_eq!(
                one.wait("OFFERS").await["offers"]["offers"]
                    .as_array()
                    .unwrap()
                    .len(),
                6
            );
            let mut two = framework(form, &address, "two/deep").await;
            let mut three = framework(form, &address, "three").await;
            let weights = [weight(" two ", 2.0), weight("three", 3.0)];
            assert_eq!(update(form, &address, &weights).await, (200, String::new()));
            for _ in 0..6 {
                one.wait("RESCIND").await;
            }
            for (scheduler, count) in [(&mut one, 1), (&mut two, 2), (&mut three, 3)] {
                let offers = scheduler.wait("OFFERS").await;
                assert_eq!(offers["offers"]["offers"].as_array().unwrap().len(), count);
            }
            let (_, roles) = form.operate(&address, &json!({"type": "GET_ROLES"})).await;
            let roles = roles["get_roles"]["roles"].as_array().unwrap().clone();
            let seen: Vec<(&str, f64)> = roles
                .iter()
                .map(|r| (r["name"].as_str().unwrap(), r["weight"].as_f64().unwrap()))
                .collect();
            let all = [
                ("*", 1.0),
                ("one", 1.0),
                ("three", 3.0),
                ("two", 2.0),
                ("two/deep", 1.0),
            ];
            assert_eq!(seen, all);
            let metrics = get(&address, "/metrics/snapshot").await.json();
            let share = metrics["allocator/mesos/roles/three/shares/dominant"]
                .as_f64()
                .unwrap();
            assert!((share - 0.5).abs() < 1e-9, "{share}");
            assert_eq!(
                metrics["allocator/mesos/offer_filters/roles/one/active"],
                0.0
            );
        });
    }
}

/// What is refused; nothing of it is done.
async fn refusals(form: Form, address: &str) {
    let mut nobody = weight("", 1.0);
    nobody.as_object_mut().unwrap().remove("role");
    for (weights, part) in [
        (
            vec![weight("a", 0.0)],
            "'WeightInfo.weight' of role 'a': it must be above 0, not 0",
        ),
        (
            vec![weight("a", -1.5)],
            "'WeightInfo.weight' of role 'a': it must be above 0, not -1.5",
        ),
        (
            vec![weight("a", 2.0), weight("/a", 2.0)],
            "'WeightInfo.role': Role '/a' is not valid",
        ),
        (
            vec![weight("a", 2.0), weight("q", 2.0)],
            "'WeightInfo.role' 'q': it is not present in the master's --roles",
        ),
        (
            vec![weight("a", 2.0), weight("a", 3.0)],
            "'WeightInfo.role' 'a': it stands twice",
        ),
        (
            vec![weight("a", 2.0), nobody],
            "'weight_infos[1].role': it must be there",
        ),
    ] {
        let (status, sentence) = update(form, address, &weights).await;
        assert_eq!(status, 400, "{part}");
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn weights_are_checked_shown_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let flag = "--roles=a,b/c,x";
    let mut master = Master::start(dir.path(), 0, &[flag, "--weights=a=4,x=2"]);
    run(async {
        let address = master.address();
        assert_eq!(
            get(&address, "/weights").await.json(),
            json!([weight("a", 4.0), weight("x", 2.0)])
        );
        for form in FORMS {
            refusals(form, &address).await;
        }
        for bad in [
            "{",
            "{}",
            r#"[{"role":"a","weight":"heavy"}]"#,
            r#"[{"role":"a"}]"#,
        ] {
            assert_eq!(put(&address, bad).await.status, 400, "{bad}");
        }
        assert_eq!(
            shown(Form::Json, &address).await,
            json!([weight("a", 4.0), weight("x", 2.0)])
        );
        assert_eq!(
            put(&address, r#"[{"role":"a","weight":1.25}]"#)
                .await
                .status,
            200
        );
        let answer = request(&address, "POST", "/weights", &[], b"").await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET, PUT"))
        );
    });
    let port = master.port;
    master.kill();
    // The registry has weights now, so the flag says nothing any more.
    master = Master::start(dir.path(), port, &[flag, "--weights=a=9"]);
    run(async {
        for form in FORMS {
            assert_eq!(
                shown(form, &master.address()).await,
                json!([weight("a", 1.25), weight("x", 2.0)])
            );
        }
    });
}

#[test]
fn only_those_who_may_write_share_the_cluster_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials.json");
    std::fs::write(&file, r#"{"credentials":[{"principal":"p","secret":"s"}]}"#).unwrap();
    let credentials = format!("--credentials={}", file.display());
    let flags = ["--api_access=authenticated", &credentials];
    let master = Master::start(&dir.path().join("m"), 0, &flags);
    let address = master.address();
    run(async {
        for form in FORMS {
            for (kind, member) in [
                ("UPDATE_QUOTA", json!({})),
                ("SET_QUOTA", json!({"quota_request": {}})),
                ("REMOVE_QUOTA", json!({"role": "a"})),
                ("UPDATE_WEIGHTS", json!({})),
            ] {
                let call = json!({"type": kind, kind.to_lowercase(): member});
                assert_eq!(form.operate(&address, &call).await.0, 401, "{kind}");
            }
            assert_eq!(
                shown(form, &address).await.as_array().map_or(0, Vec::len),
                0
            );
        }
        for (method, path) in [
            ("POST", "/quota"),
            ("DELETE", "/quota/a"),
            ("PUT", "/weights"),
        ] {
            assert_eq!(
                request(&address, method, path, &[], b"").await.status,
                401,
                "{path}"
            );
        }
        let basic = [("Authorization", "Basic cDpz")];
        assert_eq!(
            request(&address, "PUT", "/weights", &basic, b"[]")
                .await
                .status,
            200
        );
    });
}
