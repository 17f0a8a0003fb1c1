//! UPDATE_FRAMEWORK in both forms: what it changes, what it may not change, and who hears of it.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::board;
use common::form::{FORMS, Form, Scheduler, Watcher};
use common::http::get;
use common::{Master, run};
use serde_json::{Value, json};

/// `framework_info` with these roles.
fn info(roles: &[&str]) -> Value {
    let many = json!([{"type": "MULTI_ROLE"}]);
    json!({"user": "root", "name": "n", "principal": "p", "checkpoint": true, "failover_timeout": 60.0,
        "roles": roles, "capabilities": many})
}

async fn subscribe(form: Form, address: &str, roles: &[&str], suppressed: &[&str]) -> Scheduler {
    let member = json!({"framework_info": info(roles), "suppressed_roles": suppressed});
    Scheduler::subscribe(form, address, member).await
}

/// Updates to this `framework_info`, which gets the scheduler's id; status and sentence.
async fn update(scheduler: &Scheduler, mut info: Value, suppressed: &[&str]) -> (u16, String) {
    info["id"] = scheduler.id.clone();
    let member = json!({"framework_info": info, "suppressed_roles": suppressed});
    let answer = scheduler.call("UPDATE_FRAMEWORK", member).await;
    (answer.status, answer.text())
}

async fn updated(scheduler: &Scheduler, info: Value, suppressed: &[&str]) {
    let answer = update(scheduler, info, suppressed).await;
    assert_eq!(answer, (200, String::new()));
}

/// The next offer.
async fn offer(scheduler: &mut Scheduler) -> Value {
    scheduler.wait("OFFERS").await["offers"]["offers"][0].take()
}

fn role(offer: &Value) -> &str {
    offer["allocation_info"]["role"].as_str().unwrap()
}

async fn decline(scheduler: &Scheduler, offer: &Value) {
    let member = json!({"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 3600.0}});
    assert_eq!(scheduler.call("DECLINE", member).await.status, 202);
}

#[test]
fn what_may_change_changes_and_is_shown() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let (_agent, _) = board(&address, dir.path(), "n1")
                .await
                .register(&address)
                .await;
            let mut scheduler = subscribe(form, &address, &["a"], &["a"]).await;
            let mut new = info(&["b", "c"]);
            new["name"] = json!("new");
            new["webui_url"] = json!("http://here");
            new["hostname"] = json!("here");
            new["failover_timeout"] = json!(7.5);
            new["labels"] = json!({"labels": [{"key": "k", "value": "v"}]});
            new["capabilities"] =
                json!([{"type": "MULTI_ROLE"}, {"type": "RESERVATION_REFINEMENT"}]);
            updated(&scheduler, new.clone(), &["b"]).await;
            let (_, shown) = form
                .operate(&address, &json!({"type": "GET_FRAMEWORKS"}))
                .await;
            let shown = &shown["get_frameworks"]["frameworks"][0]["framework_info"];
            for (member, value) in new.as_object().unwrap() {
                assert_eq!(&shown[member], value, "{member}");
            }
            let older = get(&address, "/frameworks").await.json()["frameworks"][0].take();
            assert_eq!(
                (&older["name"], &older["roles"]),
                (&new["name"], &new["roles"])
            );
            let offer = offer(&mut scheduler).await;
            assert_eq!(role(&offer), "c");
            let resource = &offer["resources"][0];
            assert!(
                resource["role"].is_null(),
                "reservations are a stack now: {offer}"
            );
        });
    }
}

#[test]
fn what_may_not_change_is_refused_and_nothing_is_changed() {
    let cases = [
        ("user", json!("somebody")),
        ("principal", json!("q")),
        ("checkpoint", json!(false)),
        ("roles", json!(["a", "a"])),
        ("roles", json!(["a//b"])),
        ("roles", json!(["other"])),
        ("role", json!("a")),
        ("failover_timeout", json!(-1.0)),
        ("capabilities", json!([])),
    ];
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &["--roles=a,b,a//b"]);
        let address = master.address();
        run(async {
            let scheduler = subscribe(form, &address, &["a"], &[]).await;
            let frameworks = json!({"type": "GET_FRAMEWORKS"});
            let before = form.operate(&address, &frameworks).await;
            for (member, value) in &cases {
                let mut wrong = info(&["a"]);
                wrong[*member] = value.clone();
                let (status, sentence) = update(&scheduler, wrong, &[]).await;
                assert_eq!(status, 400, "{member} {value}");
                assert!(
                    sentence.starts_with("Not a valid")
                        || sentence.contains("FrameworkInfo")
                        || sentence.contains(member),
                    "{member}: {sentence}"
                );
            }
            let (status, sentence) = update(&scheduler, info(&["a"]), &["b"]).await;
            assert_eq!(status, 400);
            assert!(sentence.contains("Suppressed role 'b'"), "{sentence}");
            let mut foreign = info(&["a"]);
            foreign["id"] = json!({"value": "other"});
            let member = json!({ "framework_info": foreign });
            assert_eq!(scheduler.call("UPDATE_FRAMEWORK", member).await.status, 400);
            assert_eq!(form.operate(&address, &frameworks).await, before);
        });
    }
}

#[test]
fn offers_follow_the_roles() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let (_agent, _) = board(&address, dir.path(), "n1")
                .await
                .register(&address)
                .await;
            let mut scheduler = subscribe(form, &address, &["a"], &["a"]).await;
            // A role that is added gets offers; what it holds when it is left is taken back.
            updated(&scheduler, info(&["a", "b"]), &["a"]).await;
            let first = offer(&mut scheduler).await;
            assert_eq!(role(&first), "b");
            updated(&scheduler, info(&["a"]), &[]).await;
            let rescind = scheduler.wait("RESCIND").await;
            assert_eq!(rescind["rescind"]["offer_id"], first["id"]);
            let second = offer(&mut scheduler).await;
            assert_eq!(role(&second), "a");
            // What a role holds when it is suppressed stays with it, but it gets no more.
            updated(&scheduler, info(&["a"]), &["a"]).await;
            let outstanding = "master/outstanding_offers";
            let metrics = get(&address, "/metrics/snapshot").await.json();
            assert_eq!(metrics[outstanding], 1.0);
            decline(&scheduler, &second).await;
            let metrics = get(&address, "/metrics/snapshot").await.json();
            assert_eq!(metrics[outstanding], 0.0);
            // Wanting offers again forgets what the role had declined.
            updated(&scheduler, info(&["a"]), &[]).await;
            let third = offer(&mut scheduler).await;
            assert_eq!(third["resources"], second["resources"]);
        });
    }
}

#[test]
fn watchers_hear_of_what_is_another() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let mut watcher = Watcher::open(form, &address).await;
            assert_eq!(watcher.event().await["type"], "SUBSCRIBED");
            let scheduler = subscribe(form, &address, &["a"], &[]).await;
            assert_eq!(watcher.event().await["type"], "FRAMEWORK_ADDED");
            // The same again, and what is no part of FrameworkInfo, is no news.
            updated(&scheduler, info(&["a"]), &[]).await;
            updated(&scheduler, info(&["a"]), &["a"]).await;
            let mut new = info(&["a"]);
            new["name"] = json!("new");
            updated(&scheduler, new, &[]).await;
            let event = watcher.event().await;
            assert_eq!(event["type"], "FRAMEWORK_UPDATED");
            let shown = &event["framework_updated"]["framework"]["framework_info"];
            assert_eq!(shown["name"], "new");
        });
    }
}
