//! Operators' operations on resources: through `POST /api/v1` in both forms and through the older endpoints.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::board;
use common::form::{FORMS, Form, Scheduler};
use common::http::request;
use common::operation::{disk, finished, hear_apply, hello, register, volume};
use common::{Master, run};
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::resource_text;
use serde_json::{Value, json};

#[test]
fn operators_change_what_is_free() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let board = board(&address, dir.path(), "n1").await;
            let (mut agent, id) = register(&board, &address, hello(&board)).await;
            let mut scheduler = Scheduler::subscribe(
                form,
                &address,
                json!({"framework_info": {"user": "u", "name": "n"}}),
            )
            .await;
            scheduler.wait("OFFERS").await;
            let about = |kind: &str, name: &str, list: Value| {
                let member = kind.to_lowercase();
                json!({"type": kind, member: {"agent_id": {"value": id}, name: list}})
            };
            let plan = [
                (
                    "RESERVE_RESOURCES",
                    "resources",
                    disk(100, json!({})),
                    "disk(db, dynamic by p):100",
                ),
                (
                    "CREATE_VOLUMES",
                    "volumes",
                    volume(64),
                    "disk(db, dynamic by p)[volume v1 at data]:64",
                ),
                (
                    "DESTROY_VOLUMES",
                    "volumes",
                    volume(64),
                    "disk(db, dynamic by p):64",
                ),
                (
                    "UNRESERVE_RESOURCES",
                    "resources",
                    disk(100, json!({})),
                    "disk:100",
                ),
            ];
            for (kind, name, resource, made) in plan {
                let call = about(kind, name, json!([resource]));
                let (status, text) = form.operate(&address, &call).await;
                assert_eq!(status, 202, "{kind}: {text}");
                let spec = hear_apply(&mut agent).await;
                assert_eq!(resource_text::text(&spec.converted), made);
                let report = finished(&spec);
                agent.say(&AgentToMaster::OperationUpdate(report)).await;
                assert!(matches!(
                    agent.hear().await,
                    MasterToAgent::AcknowledgeOperation { .. }
                ));
            }
            refused(&address, form, about).await;
            scheduler.wait("RESCIND").await;
        });
    }
}

/// Operators' requests that cannot be met.
async fn refused(address: &str, form: Form, about: impl Fn(&str, &str, Value) -> Value) {
    let reserve = |list: Value| about("RESERVE_RESOURCES", "resources", list);
    let too_much = reserve(json!([disk(1001, json!({}))]));
    assert_eq!(form.operate(address, &too_much).await.0, 409);
    assert_eq!(form.operate(address, &reserve(json!([]))).await.0, 400);
    let mut nobody = reserve(json!([disk(1, json!({}))]));
    nobody["reserve_resources"]["agent_id"]["value"] = json!("nobody");
    assert_eq!(form.operate(address, &nobody).await.0, 400);
}

#[test]
fn volumes_grow_and_shrink() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        run(grown_and_shrunk(form, &master.address(), dir.path()));
    }
}

async fn grown_and_shrunk(form: Form, address: &str, dir: &std::path::Path) {
    let board = board(address, dir, "n1").await;
    let (mut agent, id) = register(&board, address, hello(&board)).await;
    let setup = [
        (
            "/reserve",
            format!("slaveId={id}&resources={}", json!([disk(100, json!({}))])),
        ),
        (
            "/create-volumes",
            format!("slaveId={id}&volumes={}", json!([volume(64)])),
        ),
    ];
    for (path, body) in setup {
        let answer = request(address, "POST", path, &[], body.as_bytes()).await;
        assert_eq!(answer.status, 202, "{path}: {}", answer.text());
        hear_apply(&mut agent).await;
    }
    let agent_id = json!({ "value": id });
    let grow = json!({"type": "GROW_VOLUME", "grow_volume": {"agent_id": agent_id, "volume": volume(64), "addition": disk(36, json!({}))}});
    assert_eq!(form.operate(address, &grow).await.0, 202);
    let grown = hear_apply(&mut agent).await;
    assert_eq!(
        resource_text::text(&grown.converted),
        "disk(db, dynamic by p)[volume v1 at data]:100"
    );
    let shrink = json!({"type": "SHRINK_VOLUME", "shrink_volume": {"agent_id": agent_id, "volume": volume(100), "subtract": {"value": 50}}});
    assert_eq!(form.operate(address, &shrink).await.0, 202);
    let shrunk = hear_apply(&mut agent).await;
    assert_eq!(
        resource_text::text(&shrunk.converted),
        "disk(db, dynamic by p):50;disk(db, dynamic by p)[volume v1 at data]:50"
    );
    for (path, body) in [
        ("/reserve", "slaveId=x".to_owned()),
        (
            "/reserve",
            format!("slaveId={id}&resources={{\"name\":\"cpus\"}}"),
        ),
        ("/unreserve", format!("slaveId={id}&resources=[{{}}]")),
        (
            "/destroy-volumes",
            format!("slaveId={id}&volumes={}", json!([disk(1, json!({}))])),
        ),
    ] {
        let answer = request(address, "POST", path, &[], body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text());
    }
}
