//! Mesos's order of checks (`Master::Http::scheduler`) for every scheduler call, in both forms.
//!
//! Each test stops at one rung of the ladder: whatever comes later must not matter.
#![allow(clippy::unwrap_used)]

mod common;

use common::form::{FORMS, Form, Scheduler};
use common::http::{Answer, get, request};
use common::{Master, run};
use serde_json::{Value, json};

const PATH: &str = "/api/v1/scheduler";
const HTML: (&str, &str) = ("Accept", "text/html");
/// A UUID of sixteen bytes, and one that is none.
const UUID: &str = "AAAAAAAAQACAAAAAAAAAAA==";
const SHORT: &str = "AAAA";

/// Every call but SUBSCRIBE and TEARDOWN, of the framework `id`, whole.
fn calls(id: &Value, uuid: &str) -> Vec<Value> {
    let (agent, one) = (json!({"value": "a"}), json!({"value": "one"}));
    let ids = json!([one]);
    let info = json!({"id": id, "user": "u", "name": "n", "failover_timeout": 3600.0});
    let members = [
        ("ACCEPT", json!({"offer_ids": ids, "operations": []})),
        ("DECLINE", json!({"offer_ids": ids})),
        ("ACCEPT_INVERSE_OFFERS", json!({"inverse_offer_ids": ids})),
        ("DECLINE_INVERSE_OFFERS", json!({"inverse_offer_ids": ids})),
        ("REVIVE", json!({"roles": []})),
        ("SUPPRESS", json!({"roles": ["nobodys"]})),
        ("KILL", json!({"task_id": one})),
        ("SHUTDOWN", json!({"executor_id": one, "agent_id": agent})),
        (
            "ACKNOWLEDGE",
            json!({"agent_id": agent, "task_id": one, "uuid": uuid}),
        ),
        (
            "ACKNOWLEDGE_OPERATION_STATUS",
            json!({"agent_id": agent, "operation_id": one, "uuid": uuid}),
        ),
        ("RECONCILE", json!({"tasks": [{"task_id": one}]})),
        (
            "RECONCILE_OPERATIONS",
            json!({"operations": [{"operation_id": one}]}),
        ),
        (
            "MESSAGE",
            json!({"agent_id": agent, "executor_id": one, "data": "AA=="}),
        ),
        ("REQUEST", json!({"requests": [{"agent_id": agent}]})),
        ("UPDATE_FRAMEWORK", json!({"framework_info": info})),
    ];
    let call = |(kind, member): (&str, Value)| json!({"type": kind, "framework_id": id, kind.to_lowercase(): member});
    members.into_iter().map(call).collect()
}

/// A subscribed scheduler, and all of its calls.
async fn subscribed(form: Form, address: &str) -> (Scheduler, Vec<Value>) {
    let info = json!({"user": "u", "name": "n", "failover_timeout": 3600.0});
    let scheduler = Scheduler::subscribe(form, address, json!({ "framework_info": info })).await;
    let calls = calls(&scheduler.id, UUID);
    (scheduler, calls)
}

fn expect(answer: &Answer, status: u16, sentence: &str, call: &Value) {
    let found = (answer.status, answer.text());
    assert_eq!(found.0, status, "{call}: {}", found.1);
    assert!(found.1.starts_with(sentence), "{call}: {}", found.1);
}

fn without_member(call: &Value) -> Value {
    json!({"type": call["type"], "framework_id": call["framework_id"]})
}

/// REVIVE and SUPPRESS without their member mean all roles.
fn needs_member(call: &Value) -> bool {
    call["type"] != "REVIVE" && call["type"] != "SUPPRESS"
}

#[test]
fn a_whole_call_on_its_stream_is_taken() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let (scheduler, mut calls) = subscribed(form, &address).await;
            let stream = ("Mesos-Stream-Id", scheduler.stream.as_str());
            calls.push(json!({"type": "TEARDOWN", "framework_id": scheduler.id}));
            for call in &calls {
                let updates = call["type"] == "UPDATE_FRAMEWORK";
                let answer = form.post(&address, call, &[stream]).await;
                expect(&answer, if updates { 200 } else { 202 }, "", call);
                assert_eq!(answer.body, b"", "{call}");
            }
            let answer = form.post(&address, &calls[0], &[stream]).await;
            expect(&answer, 400, "Framework cannot be found", &calls[0]);
        });
    }
}

#[test]
fn method_and_content_type_come_first() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
            let answer = request(&address, method, PATH, &[HTML], b"").await;
            let allow = (answer.status, answer.header("allow"));
            assert_eq!(allow, (405, Some("POST")), "{method}");
        }
        for (media_type, status) in [
            (None, 400),
            (Some("application/json; charset=utf-8"), 415),
            (Some("application/x-protobuf; x=y"), 415),
            (Some("Application/JSON"), 415),
            (Some("application/recordio"), 415),
            (Some("text/plain"), 415),
        ] {
            let mut headers = vec![HTML];
            headers.extend(media_type.map(|media_type| ("Content-Type", media_type)));
            for body in [&b"nonsense"[..], br#"{"type":"SUBSCRIBE"}"#, b""] {
                let answer = request(&address, "POST", PATH, &headers, body).await;
                assert_eq!(answer.status, status, "{media_type:?}");
            }
        }
    });
}

#[test]
fn the_body_comes_before_accept_framework_and_stream() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    let nobody = json!({"value": "nobody"});
    run(async {
        for form in FORMS {
            let headers = [("Content-Type", form.media_type()), HTML];
            for garbage in [&b"\x7f\x7f"[..], b"{\"type\":", b"\x08\xff", b"[1]"] {
                let answer = request(&address, "POST", PATH, &headers, garbage).await;
                expect(&answer, 400, "Failed to parse body into Call", &json!(null));
            }
            let no_type = json!({"framework_id": nobody});
            let answer = form.post(&address, &no_type, &[HTML]).await;
            expect(&answer, 400, "Failed to validate", &no_type);
            for call in calls(&nobody, UUID)
                .iter()
                .filter(|call| needs_member(call))
            {
                let call = without_member(call);
                let answer = form.post(&address, &call, &[HTML]).await;
                expect(&answer, 400, "Failed to validate", &call);
            }
            for call in calls(&nobody, UUID) {
                let mut nameless = call;
                nameless.as_object_mut().unwrap().remove("framework_id");
                let answer = form.post(&address, &nameless, &[HTML]).await;
                expect(&answer, 400, "Failed to validate", &nameless);
            }
            let short = calls(&nobody, SHORT);
            let seen = |call: &&Value| call["type"].as_str().unwrap().starts_with("ACKNOWLEDGE");
            assert_eq!(short.iter().filter(seen).count(), 2);
            for call in short.iter().filter(seen) {
                let answer = form.post(&address, call, &[HTML]).await;
                expect(&answer, 400, "Failed to validate", call);
            }
            let unknown = json!({"type": "UNKNOWN", "framework_id": nobody});
            let answer = form.post(&address, &unknown, &[HTML]).await;
            expect(&answer, 501, "Received 'UNKNOWN' call", &unknown);
        }
    });
}

#[test]
fn only_calls_with_an_answer_look_at_accept() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let subscribe = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "u", "name": "n"}}});
            let any = ("Mesos-Stream-Id", "x");
            for (headers, status) in [(&[HTML, any][..], 406), (&[any], 400)] {
                let answer = form.post(&address, &subscribe, headers).await;
                assert_eq!(answer.status, status, "{headers:?}");
            }
            // Before the framework is looked for, and before its stream.
            let nobody = calls(&json!({"value": "nobody"}), UUID);
            for call in &nobody {
                let is_answered = call["type"] == "RECONCILE_OPERATIONS";
                let status = if is_answered { 406 } else { 400 };
                let answer = form.post(&address, call, &[HTML]).await;
                assert_eq!(answer.status, status, "{call}");
            }
            let (scheduler, calls) = subscribed(form, &address).await;
            let stream = ("Mesos-Stream-Id", scheduler.stream.as_str());
            for call in &calls {
                let status = match call["type"].as_str().unwrap() {
                    "RECONCILE_OPERATIONS" => 406,
                    "UPDATE_FRAMEWORK" => 200,
                    _ => 202,
                };
                let answer = form.post(&address, call, &[HTML, stream]).await;
                assert_eq!(answer.status, status, "{call}");
            }
        });
    }
}

#[test]
fn the_framework_comes_before_its_connection_and_that_before_the_stream() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let wrong = ("Mesos-Stream-Id", "7b6a1a4e-0000-4000-8000-000000000000");
            for call in calls(&json!({"value": "nobody"}), UUID) {
                let answer = form.post(&address, &call, &[wrong]).await;
                expect(&answer, 400, "Framework cannot be found", &call);
            }
            let (scheduler, mut calls) = subscribed(form, &address).await;
            calls.push(json!({"type": "TEARDOWN", "framework_id": scheduler.id}));
            for call in &calls {
                let answer = form.post(&address, call, &[]).await;
                expect(&answer, 400, "All non-subscribe calls", call);
                let answer = form.post(&address, call, &[wrong]).await;
                expect(&answer, 400, "The stream ID included", call);
            }
            let id = scheduler.id.clone();
            drop(scheduler);
            while shown(&address, &id).await["connected"] != false {}
            for call in &calls {
                let answer = form.post(&address, call, &[wrong]).await;
                expect(&answer, 403, "Framework is not subscribed", call);
            }
        });
    }
}

async fn shown(address: &str, id: &Value) -> Value {
    let path = format!("/frameworks?framework_id={}", id["value"].as_str().unwrap());
    get(address, &path).await.json()["frameworks"][0].take()
}

#[test]
fn who_asks_comes_first_and_whose_framework_it_is_before_the_stream() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials.json");
        let known = json!([{"principal": "p", "secret": "s"}, {"principal": "q", "secret": "s"}]);
        std::fs::write(&file, json!({ "credentials": known }).to_string()).unwrap();
        let credentials = format!("--credentials={}", file.display());
        let flags = ["--api_access=authenticated", &credentials];
        let master = Master::start(&dir.path().join("m"), 0, &flags);
        let address = master.address();
        let (own, other) = (
            ("Authorization", "Basic cDpz"),
            ("Authorization", "Basic cTpz"),
        );
        run(async {
            let answer = request(&address, "GET", PATH, &[], b"").await;
            let realm = Some("Basic realm=\"mesos-master-scheduler\"");
            let found = (answer.status, answer.header("www-authenticate"));
            assert_eq!(found, (401, realm), "before the method");
            let info = json!({"user": "u", "name": "n", "principal": "p"});
            let subscribe =
                json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info.clone()}});
            for (headers, status) in [(&[][..], 401), (&[other], 400)] {
                let answer = form.post(&address, &subscribe, headers).await;
                assert_eq!(answer.status, status, "{headers:?}");
            }
            let accept = ("Accept", form.media_type());
            let mut stream = form.open(&address, &subscribe, &[own, accept]).await;
            assert_eq!(stream.head().await.status, 200);
            let frameworks = get(&address, "/frameworks").await.json();
            let id = json!({"value": frameworks["frameworks"][0]["id"]});
            for call in calls(&id, UUID) {
                let answer = form.post(&address, &call, &[]).await;
                assert_eq!(answer.status, 401, "{call}");
                let answer = form.post(&address, &call, &[other]).await;
                expect(&answer, 400, "Authenticated principal", &call);
                let answer = form.post(&address, &call, &[own]).await;
                expect(&answer, 400, "All non-subscribe calls", &call);
            }
        });
    }
}
