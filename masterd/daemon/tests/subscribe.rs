//! Subscribing, failing over and leaving, in both forms: Mesos's rules of who gets which id, stream and error.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::board;
use common::form::{FORMS, Form, Scheduler};
use common::http::get;
use common::{Master, run};
use serde_json::{Value, json};

/// A SUBSCRIBE whose `framework_info` has these members besides user and name.
fn info(members: Value) -> Value {
    let mut info = json!({"user": "root", "name": "n"});
    let further = members.as_object().unwrap().clone();
    info.as_object_mut().unwrap().extend(further);
    json!({"framework_info": info})
}

async fn shown(address: &str, id: &Value) -> Value {
    let frameworks = get(address, "/frameworks").await.json();
    let mut all = frameworks["frameworks"].as_array().unwrap().iter();
    all.find(|known| known["id"] == id["value"])
        .unwrap()
        .clone()
}

async fn refresh(scheduler: &Scheduler) -> u16 {
    scheduler.call("REVIVE", json!({})).await.status
}

#[test]
fn ids_are_allotted_and_kept() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let state = get(&address, "/state").await.json();
            let master_id = state["id"].as_str().unwrap();
            // An empty id is none.
            for (number, members) in [(0, json!({})), (1, json!({"id": {"value": ""}}))] {
                let mut scheduler = Scheduler::subscribe(form, &address, info(members)).await;
                assert_eq!(
                    scheduler.id["value"],
                    format!("{master_id}-{number:04}").as_str()
                );
                assert_eq!(scheduler.event().await, json!({"type": "HEARTBEAT"}));
            }
            // One that this master has never seen may come from an earlier one.
            let id = json!({"value": "made-elsewhere"});
            let scheduler = Scheduler::subscribe(form, &address, info(json!({"id": id}))).await;
            assert_eq!(scheduler.id, id);
        });
    }
}

#[test]
fn a_newer_stream_ends_the_older_one() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let (_agent, _) = board(&address, dir.path(), "n1")
                .await
                .register(&address)
                .await;
            let first =
                info(json!({"principal": "p", "checkpoint": true, "failover_timeout": 3600.0}));
            let mut old = Scheduler::subscribe(form, &address, first).await;
            let lost = old.wait("OFFERS").await["offers"]["offers"][0].take();
            let again = json!({"principal": "p", "id": old.id, "user": "other", "name": "new", "failover_timeout": 3600.0});
            let mut new = Scheduler::subscribe(form, &address, info(again)).await;
            assert_eq!(new.id, old.id);
            assert_ne!(new.stream, old.stream);
            let error = old.wait("ERROR").await;
            assert_eq!(error["error"]["message"], "Framework failed over");
            assert_eq!(old.event_or_end().await, None);
            assert_eq!((refresh(&old).await, refresh(&new).await), (400, 202));
            // The old stream's offers are void without a word; what they held is offered again.
            let mut kinds = Vec::new();
            let fresh = loop {
                let mut event = new.event().await;
                kinds.push(event["type"].as_str().unwrap().to_owned());
                if event["type"] == "OFFERS" {
                    break event["offers"]["offers"][0].take();
                }
            };
            assert_eq!(kinds, ["HEARTBEAT", "OFFERS"]);
            assert_ne!(fresh["id"], lost["id"]);
            assert_eq!(fresh["resources"], lost["resources"]);
            let known = shown(&address, &new.id).await;
            assert_eq!(
                (&known["name"], &known["user"], &known["checkpoint"]),
                (&json!("new"), &json!("root"), &json!(true))
            );
            // A principal never changes; the stream that stands is not harmed by the attempt.
            let foreign = info(json!({"principal": "q", "id": new.id}));
            let why = Scheduler::refused(form, &address, foreign).await;
            assert!(why.contains("principal"), "{why}");
            assert_eq!(refresh(&new).await, 202);
        });
    }
}

#[test]
fn what_is_wrong_with_a_framework_is_one_error_event() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &["--roles=lab,a,b"]);
    let address = master.address();
    let many = json!([{"type": "MULTI_ROLE"}]);
    let negative = json!({"lab": {"min_allocatable_resources": {"quantities": [{"quantities": {"cpus": {"value": -1.0}}}]}}});
    let cases = [
        json!({"role": "lab/../x"}),
        json!({"role": "/lab"}),
        json!({"role": "-lab"}),
        json!({"role": "a b"}),
        json!({"role": "*/a"}),
        json!({"role": "other"}),
        json!({"roles": ["a"]}),
        json!({"role": "a", "capabilities": many}),
        json!({"roles": ["a", "a"], "capabilities": many}),
        json!({"roles": ["a", "other"], "capabilities": many}),
        json!({"role": "lab", "failover_timeout": -5.0}),
        json!({"role": "lab", "failover_timeout": "Infinity"}),
        json!({"role": "lab", "id": {"value": ".."}}),
        json!({"role": "lab", "id": {"value": "a/b"}}),
        json!({"role": "lab", "id": {"value": "a\\b"}}),
        json!({"role": "lab", "id": {"value": "a\u{7}"}}),
        json!({"role": "lab", "id": {"value": "x".repeat(256)}}),
        json!({"role": "lab", "offer_filters": negative}),
    ];
    run(async {
        for form in FORMS {
            for case in &cases {
                let why = Scheduler::refused(form, &address, info(case.clone())).await;
                assert!(!why.is_empty(), "{case}");
            }
            let mut suppressed = info(json!({"roles": ["a"], "capabilities": many}));
            suppressed["suppressed_roles"] = json!(["b"]);
            let why = Scheduler::refused(form, &address, suppressed).await;
            assert!(why.contains("Suppressed role 'b'"), "{why}");
        }
        let state = get(&address, "/state").await.json();
        assert_eq!(state["frameworks"], json!([]));
        assert_eq!(state["completed_frameworks"], json!([]));
    });
}

#[test]
fn what_is_wrong_with_the_call_is_a_status() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        for form in FORMS {
            let mut call = json!({"type": "SUBSCRIBE", "subscribe": info(json!({}))});
            let stream = [("Mesos-Stream-Id", "7b6a1a4e-0000-4000-8000-000000000000")];
            assert_eq!(form.post(&address, &call, &stream).await.status, 400);
            let html = [("Accept", "text/html")];
            assert_eq!(form.post(&address, &call, &html).await.status, 406);
            call["framework_id"] = json!({"value": "one"});
            assert_eq!(form.post(&address, &call, &[]).await.status, 400);
            call["subscribe"] = info(json!({"id": {"value": "other"}}));
            assert_eq!(form.post(&address, &call, &[]).await.status, 400);
            let missing = json!({"type": "SUBSCRIBE"});
            let answer = form.post(&address, &missing, &[]).await;
            assert_eq!(answer.status, 400);
            assert!(answer.text().starts_with("Failed to "), "{}", answer.text());
        }
    });
}

#[test]
fn a_framework_that_has_ended_never_returns() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            // By its own TEARDOWN, by an operator's, and by leaving without a failover timeout.
            let mut own = Scheduler::subscribe(form, &address, info(json!({}))).await;
            assert_eq!(own.call("TEARDOWN", json!({})).await.status, 202);
            while own.event_or_end().await.is_some() {}
            let mut ended = Scheduler::subscribe(form, &address, info(json!({}))).await;
            let teardown =
                json!({"type": "TEARDOWN", "teardown": {"framework_id": ended.id.clone()}});
            assert_eq!(form.operate(&address, &teardown).await.0, 200);
            while ended.event_or_end().await.is_some() {}
            let left = Scheduler::subscribe(form, &address, info(json!({}))).await;
            let id = left.id.clone();
            drop(left);
            while get(&address, "/frameworks").await.json()["frameworks"] != json!([]) {}
            for id in [&own.id, &ended.id, &id] {
                let why = Scheduler::refused(form, &address, info(json!({"id": id}))).await;
                assert_eq!(why, "Framework has been removed");
            }
            assert_eq!(
                refresh(&own).await,
                400,
                "its calls know no framework any more"
            );
        });
    }
}

#[test]
fn a_framework_that_is_away_keeps_its_place() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let (_agent, _) = board(&address, dir.path(), "n1")
                .await
                .register(&address)
                .await;
            let members = json!({"failover_timeout": 3600.0});
            let mut scheduler = Scheduler::subscribe(form, &address, info(members.clone())).await;
            scheduler.wait("OFFERS").await;
            let (id, stream) = (scheduler.id.clone(), scheduler.stream.clone());
            drop(scheduler);
            let call = json!({"type": "REVIVE", "framework_id": id});
            let headers = [("Mesos-Stream-Id", stream.as_str())];
            while form.post(&address, &call, &headers).await.status != 403 {}
            // Its offers went to whoever is there.
            let mut other = Scheduler::subscribe(form, &address, info(json!({}))).await;
            other.wait("OFFERS").await;
            let known = shown(&address, &id).await;
            assert_eq!(
                (&known["active"], &known["connected"]),
                (&json!(false), &json!(false))
            );
            let mut members = members;
            members["id"] = id.clone();
            let again = Scheduler::subscribe(form, &address, info(members)).await;
            assert_eq!(again.id, id);
            assert_ne!(again.stream, stream);
        });
    }
}

#[test]
fn suppressed_roles_get_nothing_until_they_revive() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let (_agent, _) = board(&address, dir.path(), "n1")
                .await
                .register(&address)
                .await;
            let mut subscribe = info(
                json!({"roles": ["a", "b"], "failover_timeout": 3600.0, "capabilities": [{"type": "MULTI_ROLE"}]}),
            );
            subscribe["suppressed_roles"] = json!(["a", "b"]);
            let quiet = Scheduler::subscribe(form, &address, subscribe.clone()).await;
            subscribe["framework_info"]["id"] = quiet.id.clone();
            let mut quiet = Scheduler::subscribe(form, &address, subscribe).await;
            // What it does not want goes to the next one, at once.
            let mut other = Scheduler::subscribe(form, &address, info(json!({}))).await;
            let offer = other.wait("OFFERS").await["offers"]["offers"][0].take();
            assert_eq!(other.call("SUPPRESS", json!({})).await.status, 202);
            let decline = json!({"offer_ids": [offer["id"]]});
            assert_eq!(other.call("DECLINE", decline).await.status, 202);
            // A role that it is not in makes the whole call void.
            let foreign = json!({"roles": ["b", "c"]});
            assert_eq!(quiet.call("REVIVE", foreign).await.status, 202);
            assert_eq!(
                get(&address, "/metrics/snapshot").await.json()["master/outstanding_offers"],
                0.0
            );
            assert_eq!(
                quiet.call("REVIVE", json!({"roles": ["b"]})).await.status,
                202
            );
            let offer = quiet.wait("OFFERS").await["offers"]["offers"][0].take();
            assert_eq!(offer["allocation_info"]["role"], "b");
        });
    }
}

/// One stream in each form: the forms mix freely between frameworks.
#[test]
fn forms_mix() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let body = json!({"type": "SUBSCRIBE", "subscribe": info(json!({}))});
        // The answer's form is the one accepted, not the one sent; without a wish it is JSON.
        let wishes: [(&[(&str, &str)], &str); 4] = [
            (&[], "application/json"),
            (&[("Accept", "*/*")], "application/json"),
            (
                &[("Accept", "application/x-protobuf")],
                "application/x-protobuf",
            ),
            (&[("Accept", "application/json")], "application/json"),
        ];
        for form in FORMS {
            for (accept, expected) in wishes {
                let answer = head_of(form, &address, &body, accept).await;
                assert_eq!(answer.as_deref(), Some(expected), "{form:?} {accept:?}");
            }
        }
    });
}

/// The media type of the stream that a SUBSCRIBE opens.
async fn head_of(
    form: Form,
    address: &str,
    call: &Value,
    accept: &[(&str, &str)],
) -> Option<String> {
    let mut client = form.open(address, call, accept).await;
    let answer = client.head().await;
    assert_eq!(answer.status, 200);
    answer.header("content-type").map(str::to_owned)
}
