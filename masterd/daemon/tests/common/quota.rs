//! Quota as tests say and read it, and agents and frameworks to share out.

use std::path::Path;

use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::resource_text::parse;
use serde_json::{Value, json};

use super::agent::{Agent, board};
use super::form::{Form, Scheduler};

/// A linked agent with these resources.
pub async fn agent(address: &str, dir: &Path, node: &str, resources: &str) -> Agent {
    let board = board(address, dir, node).await;
    let mut hello = board.hello();
    hello.resources = parse(resources).unwrap();
    let mut agent = board.dial(address).await;
    agent.say(&AgentToMaster::Hello(hello)).await;
    assert!(matches!(agent.hear().await, MasterToAgent::Welcome(_)));
    agent
}

pub async fn framework(form: Form, address: &str, role: &str) -> Scheduler {
    let info = json!({"user": "root", "name": role, "roles": [role], "capabilities": [{"type": "MULTI_ROLE"}]});
    Scheduler::subscribe(form, address, json!({ "framework_info": info })).await
}

pub fn scalars(amounts: &[(&str, f64)]) -> Value {
    let scalar = |(name, value): &(&str, f64)| ((*name).to_owned(), json!({ "value": value }));
    amounts
        .iter()
        .map(scalar)
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// As it is shown, too: Mesos leaves empty maps out.
pub fn config(role: &str, guarantees: &[(&str, f64)], limits: &[(&str, f64)]) -> Value {
    let mut config = json!({ "role": role });
    for (member, amounts) in [("guarantees", guarantees), ("limits", limits)] {
        if !amounts.is_empty() {
            config[member] = scalars(amounts);
        }
    }
    config
}

/// UPDATE_QUOTA; its status and sentence.
pub async fn update(form: Form, address: &str, force: bool, configs: &[Value]) -> (u16, String) {
    let call =
        json!({"type": "UPDATE_QUOTA", "update_quota": {"force": force, "quota_configs": configs}});
    let (status, sentence) = form.operate(address, &call).await;
    (status, sentence.as_str().unwrap_or_default().to_owned())
}

pub async fn set(form: Form, address: &str, configs: &[Value]) {
    assert_eq!(
        update(form, address, false, configs).await,
        (200, String::new())
    );
}

pub async fn shown(form: Form, address: &str) -> Value {
    let (status, answer) = form.operate(address, &json!({"type": "GET_QUOTA"})).await;
    assert_eq!(status, 200);
    answer["get_quota"]["status"].clone()
}
