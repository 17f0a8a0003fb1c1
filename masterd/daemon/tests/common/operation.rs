//! Disk, reservations and volumes of role `db` and principal `p` as JSON, and an agent that has some.

use nesos_wire::message::{AgentToMaster, Hello, MasterToAgent};
use nesos_wire::operation::{OperationReport, OperationSpec, OperationState, OperationStatus};
use nesos_wire::{Uuid, resource_text};
use serde_json::{Value, json};

use super::agent::{Agent, Board};

/// `disk` of role db, with what else is in `rest`.
pub fn disk(amount: u32, rest: Value) -> Value {
    let made = json!([{"type": "DYNAMIC", "role": "db", "principal": "p"}]);
    let mut disk = json!({"name": "disk", "type": "SCALAR", "scalar": {"value": amount}, "reservations": made});
    for (key, value) in rest.as_object().unwrap() {
        disk[key] = value.clone();
    }
    disk
}

pub fn volume(amount: u32) -> Value {
    let volume = json!({"container_path": "data", "mode": "RW"});
    disk(
        amount,
        json!({"disk": {"persistence": {"id": "v1", "principal": "p"}, "volume": volume}}),
    )
}

pub fn reserve(id: &str, resource: Value) -> Value {
    json!({"type": "RESERVE", "id": {"value": id}, "reserve": {"resources": [resource]}})
}

pub fn create(id: &str, volume: Value) -> Value {
    json!({"type": "CREATE", "id": {"value": id}, "create": {"volumes": [volume]}})
}

pub fn hello(board: &Board) -> Hello {
    Hello {
        resources: resource_text::parse("cpus:4;mem:1024;disk:1000").unwrap(),
        ..board.hello()
    }
}

pub async fn register(board: &Board, address: &str, hello: Hello) -> (Agent, String) {
    let mut agent = board.dial(address).await;
    agent.say(&AgentToMaster::Hello(hello)).await;
    match agent.hear().await {
        MasterToAgent::Welcome(welcome) => (agent, welcome.agent.to_string()),
        other => panic!("not welcome: {other:?}"),
    }
}

pub async fn hear_apply(agent: &mut Agent) -> OperationSpec {
    match agent.hear().await {
        MasterToAgent::Apply(spec) => spec,
        other => panic!("expected an operation: {other:?}"),
    }
}

pub fn finished(spec: &OperationSpec) -> OperationReport {
    OperationReport {
        spec: spec.clone(),
        status: OperationStatus {
            state: OperationState::Finished,
            message: String::new(),
            uuid: Some(Uuid([9; 16])),
        },
    }
}
