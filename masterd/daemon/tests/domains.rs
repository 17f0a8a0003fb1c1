//! Fault domains: who is admitted, who is offered what, where they are shown. In both forms.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::{Agent, board};
use common::form::{FORMS, Scheduler};
use common::http::get;
use common::{Master, run};
use nesos_wire::domain::Domain;
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use serde_json::{Value, json};

/// Dials as an agent of this domain; the master's answer.
async fn dial(
    address: &str,
    dir: &std::path::Path,
    node: &str,
    domain: Option<&str>,
) -> (Agent, MasterToAgent) {
    let board = board(address, dir, node).await;
    let mut hello = board.hello();
    hello.domain = domain.map(|text| Domain::parse(text).unwrap());
    let mut agent = board.dial(address).await;
    agent.say(&AgentToMaster::Hello(hello)).await;
    let answer = agent.hear().await;
    (agent, answer)
}

fn framework(capabilities: &[&str]) -> Value {
    let capabilities: Vec<Value> = capabilities.iter().map(|c| json!({ "type": c })).collect();
    json!({"framework_info": {"user": "u", "name": "n", "roles": ["a"], "capabilities": capabilities}})
}

/// The hosts of the next OFFERS, sorted.
async fn hosts(scheduler: &mut Scheduler) -> Vec<String> {
    let offers = scheduler.wait("OFFERS").await;
    let offers = offers["offers"]["offers"].as_array().unwrap();
    let mut hosts: Vec<String> = offers
        .iter()
        .map(|offer| offer["hostname"].as_str().unwrap().to_owned())
        .collect();
    hosts.sort();
    hosts
}

fn domain(region: &str, zone: &str) -> Value {
    json!({"fault_domain": {"region": {"name": region}, "zone": {"name": zone}}})
}

#[test]
fn agents_of_other_regions_are_for_those_who_know_regions() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &["--domain=garden/shed"]);
    let address = master.address();
    run(async {
        let dir = dir.path();
        let _plain = dial(&address, dir, "n1", None).await;
        let _near = dial(&address, dir, "n2", Some("garden/house")).await;
        let _far = dial(&address, dir, "n3", Some("cellar/rack")).await;
        for form in FORMS {
            let mut local = Scheduler::subscribe(form, &address, framework(&["MULTI_ROLE"])).await;
            assert_eq!(hosts(&mut local).await, ["host-n1", "host-n2"]);
            let aware = framework(&["MULTI_ROLE", "REGION_AWARE"]);
            let mut aware = Scheduler::subscribe(form, &address, aware).await;
            let offers = aware.wait("OFFERS").await;
            let offer = &offers["offers"]["offers"][0];
            assert_eq!(offer["hostname"], "host-n3");
            assert_eq!(offer["domain"], domain("cellar", "rack"));
            for scheduler in [&aware, &local] {
                assert_eq!(scheduler.call("TEARDOWN", json!({})).await.status, 202);
            }
            let (_, shown) = form.operate(&address, &json!({"type": "GET_MASTER"})).await;
            let info = &shown["get_master"]["master_info"];
            assert_eq!(info["domain"], domain("garden", "shed"));
        }
        let state = get(&address, "/state").await.json();
        assert_eq!(state["domain"], domain("garden", "shed"));
        assert_eq!(state["leader_info"]["domain"], domain("garden", "shed"));
        let shown: Vec<&Value> = state["slaves"].as_array().unwrap().iter().collect();
        let far = shown.iter().find(|slave| slave["hostname"] == "host-n3");
        assert_eq!(far.unwrap()["domain"], domain("cellar", "rack"));
    });
}

#[test]
fn zones_can_be_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &["--domain=garden/shed"]);
    let address = master.address();
    run(async {
        let _one = dial(&address, dir.path(), "n1", Some("garden/shed")).await;
        let _two = dial(&address, dir.path(), "n2", Some("garden/house")).await;
        let house = json!({"selector": {"pseudoattribute_type": "ZONE"}, "predicate": {"text_equals": {"value": "house"}}});
        let mut subscribe = framework(&["MULTI_ROLE"]);
        subscribe["offer_constraints"] =
            json!({"role_constraints": {"a": {"groups": [{"attribute_constraints": [house]}]}}});
        let mut scheduler = Scheduler::subscribe(FORMS[0], &address, subscribe).await;
        assert_eq!(hosts(&mut scheduler).await, ["host-n2"]);
    });
}

#[test]
fn an_agent_with_a_domain_needs_a_master_with_one() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    run(async {
        let (_agent, answer) = dial(&master.address(), dir.path(), "n1", Some("garden/shed")).await;
        let MasterToAgent::Refused { reason } = answer else {
            panic!("not refused: {answer:?}")
        };
        assert!(reason.contains("--domain"), "{reason}");
    });
}
