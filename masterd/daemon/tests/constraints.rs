//! Offer constraints through the scheduler API, in both forms: what is offered, what is refused, where they are shown.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::{Agent, board};
use common::form::{FORMS, Form, Scheduler};
use common::http::get;
use common::{Master, run};
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::resource_text::parse_attributes;
use serde_json::{Value, json};

/// A linked agent on host `host-NODE` with these attributes.
async fn agent(address: &str, dir: &std::path::Path, node: &str, attributes: &str) -> Agent {
    let board = board(address, dir, node).await;
    let mut hello = board.hello();
    hello.attributes = parse_attributes(attributes).unwrap();
    let mut agent = board.dial(address).await;
    agent.say(&AgentToMaster::Hello(hello)).await;
    assert!(matches!(agent.hear().await, MasterToAgent::Welcome(_)));
    agent
}

fn framework(constraints: Value) -> Value {
    let info = json!({"user": "root", "name": "n", "roles": ["a", "b"], "capabilities": [{"type": "MULTI_ROLE"}]});
    json!({"framework_info": info, "suppressed_roles": ["b"], "offer_constraints": constraints})
}

/// Constraints of role `a`, one list per group.
fn role_a(groups: &[&[Value]]) -> Value {
    let groups = groups.iter();
    let groups: Vec<Value> = groups
        .map(|group| json!({"attribute_constraints": group}))
        .collect();
    json!({"role_constraints": {"a": {"groups": groups}}})
}

fn on(attribute: &str, predicate: Value) -> Value {
    json!({"selector": {"attribute_name": attribute}, "predicate": predicate})
}

fn on_hostname(predicate: Value) -> Value {
    json!({"selector": {"pseudoattribute_type": "HOSTNAME"}, "predicate": predicate})
}

/// The hosts of the next OFFERS, sorted.
async fn hosts(scheduler: &mut Scheduler) -> Vec<String> {
    let offers = scheduler.wait("OFFERS").await;
    let offers = offers["offers"]["offers"].as_array().unwrap();
    let host = |offer: &Value| offer["hostname"].as_str().unwrap().to_owned();
    let mut hosts: Vec<String> = offers.iter().map(host).collect();
    hosts.sort();
    hosts
}

/// Updates the framework's constraints; status and sentence.
async fn update(scheduler: &Scheduler, constraints: Value) -> (u16, String) {
    let mut member = framework(constraints);
    member["framework_info"]["id"] = scheduler.id.clone();
    let answer = scheduler.call("UPDATE_FRAMEWORK", member).await;
    (answer.status, answer.text())
}

#[test]
fn offers_come_from_agents_that_fit() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let dir = dir.path();
        let _one = agent(&address, dir, "n1", "rack:a1;zone:west").await;
        let _two = agent(&address, dir, "n2", "rack:b2;zone:west").await;
        let _three = agent(&address, dir, "n3", "cores:4").await;
        for form in FORMS {
            story(form, &address).await;
        }
    });
}

/// Each predicate, groups and selectors; afterwards the framework is gone.
async fn story(form: Form, address: &str) {
    let rack_a = on("rack", json!({"text_matches": {"regex": "a[0-9]"}}));
    let given = role_a(&[std::slice::from_ref(&rack_a)]);
    let mut scheduler = Scheduler::subscribe(form, address, framework(given.clone())).await;
    assert_eq!(hosts(&mut scheduler).await, ["host-n1"]);
    let shown = get(address, "/frameworks").await.json()["frameworks"][0].take();
    assert_eq!(shown["offer_constraints"], given);
    let (_, shown) = form
        .operate(address, &json!({"type": "GET_FRAMEWORKS"}))
        .await;
    let shown = &shown["get_frameworks"]["frameworks"][0];
    assert_eq!(shown["offer_constraints"], given);
    // What is offered stays offered, so each step may only add one agent.
    let west = on("zone", json!({"text_equals": {"value": "west"}}));
    let not_a = on("rack", json!({"text_not_matches": {"regex": "a.*"}}));
    let there = on("rack", json!({"exists": {}}));
    let second = role_a(&[&[west, not_a, there]]);
    assert_eq!(update(&scheduler, second).await.0, 200);
    assert_eq!(hosts(&mut scheduler).await, ["host-n2"]);
    let nobody = on_hostname(json!({"text_equals": {"value": "nobody"}}));
    let absent = on("rack", json!({"not_exists": {}}));
    let differs = on("cores", json!({"text_not_equals": {"value": "4"}}));
    let third = role_a(&[&[nobody], &[absent, differs]]);
    assert_eq!(update(&scheduler, third).await.0, 200);
    assert_eq!(hosts(&mut scheduler).await, ["host-n3"]);
    assert_eq!(scheduler.call("TEARDOWN", json!({})).await.status, 202);
}

#[test]
fn constraints_that_cannot_be_are_refused() {
    let one = on("rack", json!({"exists": {}}));
    let other_role =
        json!({"role_constraints": {"c": {"groups": [{"attribute_constraints": [one]}]}}});
    let two = json!({"exists": {}, "not_exists": {}});
    let both = json!({"selector": {"attribute_name": "k", "pseudoattribute_type": "ZONE"}, "predicate": {"exists": {}}});
    let unknown =
        json!({"selector": {"pseudoattribute_type": "UNKNOWN"}, "predicate": {"exists": {}}});
    let regex = |text: &str| role_a(&[&[on("k", json!({"text_matches": {"regex": text}}))]]);
    let bad: [(Value, &str); 10] = [
        (role_a(&[]), "'groups' for role 'a'"),
        (role_a(&[&[]]), "without 'attribute_constraints'"),
        (other_role, "role 'c'"),
        (role_a(&[&[on("k", json!({}))]]), "'predicate'"),
        (role_a(&[&[on("k", two)]]), "'predicate'"),
        (role_a(&[&[both]]), "'selector.attribute_name'"),
        (role_a(&[&[unknown]]), "pseudoattribute"),
        (regex("("), "pattern '('"),
        (regex("(a{1,40}){1,40}"), "size limit"),
        (
            role_a(&[&[on("k", json!({"text_not_matches": {"regex": "[b-a]"}}))]]),
            "pattern '[b-a]'",
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        for form in FORMS {
            let good = Scheduler::subscribe(form, &address, framework(json!({}))).await;
            for (constraints, sentence) in &bad {
                let (status, text) = update(&good, constraints.clone()).await;
                assert_eq!(status, 400, "{constraints}");
                assert!(text.contains(sentence), "{text}");
                let subscribe = framework(constraints.clone());
                let text = Scheduler::refused(form, &address, subscribe).await;
                assert!(text.contains(sentence), "{text}");
            }
        }
    });
}
