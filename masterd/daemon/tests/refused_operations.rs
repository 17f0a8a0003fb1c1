//! Operations on resources that cannot be, in both forms: each one is an error with a sentence, and changes nothing.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::board;
use common::form::{FORMS, Form, Scheduler};
use common::http::get;
use common::operation::{create, disk, hear_apply, hello, register, reserve, volume};
use common::{Master, run};
use nesos_wire::message::MasterToAgent;
use nesos_wire::resource_text;
use serde_json::{Value, json};

/// A scheduler of role `db` and principal `p`, without SHARED_RESOURCES.
async fn subscribe(address: &str, form: Form) -> Scheduler {
    let capabilities = json!([{"type": "RESERVATION_REFINEMENT"}, {"type": "MULTI_ROLE"}]);
    let info = json!({"user": "u", "name": "n", "principal": "p", "roles": ["db"], "capabilities": capabilities});
    Scheduler::subscribe(form, address, json!({ "framework_info": info })).await
}

fn operation(kind: &str, member: Value) -> Value {
    json!({"type": kind, kind.to_lowercase(): member})
}

/// A reservation of the given type and role, by `p`.
fn reserved(kind: &str, role: &str) -> Value {
    json!({"reservations": [{"type": kind, "role": role, "principal": "p"}]})
}

fn by(principal: Value) -> Value {
    json!({"reservations": [{"type": "DYNAMIC", "role": "db", "principal": principal}]})
}

/// The volume `v1`, its JSON changed at this pointer.
fn odd_volume(pointer: &str, value: Value) -> Value {
    let mut odd = volume(10);
    odd["disk"]["persistence"]["id"] = json!("v2");
    *odd.pointer_mut(pointer).unwrap() = value;
    odd
}

/// The volume `v1` of 64, with one more member.
fn v1_with(member: &str, value: Value) -> Value {
    let mut changed = volume(64);
    changed[member] = value;
    changed
}

fn on_mount() -> Value {
    let mut mounted = volume(64);
    mounted["disk"]["source"] = json!({"type": "MOUNT", "mount": {"root": "/mnt"}});
    mounted
}

fn reservations() -> Vec<(Value, &'static str)> {
    let one = |rest: Value| reserve("", disk(1, rest));
    let mut revocable = reserved("DYNAMIC", "db");
    revocable["revocable"] = json!({});
    let elsewhere = json!({"allocation_info": {"role": "web"}});
    let two = json!([
        disk(1, json!({"allocation_info": {"role": "db"}})),
        disk(1, elsewhere.clone())
    ]);
    let source = json!({"source": [disk(1, json!({"reservations": []}))], "resources": [disk(1, json!({}))]});
    let unreserve = |resource: Value| operation("UNRESERVE", json!({ "resources": [resource] }));
    vec![
        (
            reserve("", disk(5000, json!({}))),
            "not contained in what the offers still hold",
        ),
        (one(by(json!("q"))), "names principal q, but p asks"),
        (one(by(Value::Null)), "names no principal, but p asks"),
        (one(reserved("DYNAMIC", "web")), "the offer is for role db"),
        (one(reserved("DYNAMIC", "*")), "reserved to '*'"),
        (one(reserved("STATIC", "db")), "has no dynamic reservation"),
        (
            one(json!({"reservations": []})),
            "has no dynamic reservation",
        ),
        (one(revocable), "revocable"),
        (one(elsewhere), "allocated to role web"),
        (
            operation("RESERVE", json!({ "resources": two })),
            "two roles",
        ),
        (
            operation("RESERVE", source),
            "source can only be set by operators",
        ),
        (
            operation("RESERVE", json!({"resources": []})),
            "names no resources",
        ),
        (operation("RESERVE", Value::Null), "reserve is missing"),
        (
            reserve("", volume(10)),
            "is a persistent volume, expected none",
        ),
        (
            unreserve(disk(1, json!({"reservations": []}))),
            "is not dynamically reserved",
        ),
        (
            unreserve(disk(1, reserved("STATIC", "db"))),
            "is not dynamically reserved",
        ),
        (
            unreserve(volume(64)),
            "is a persistent volume, expected none",
        ),
        (
            unreserve(disk(500, json!({}))),
            "not contained in what the offers still hold",
        ),
        (operation("UNRESERVE", Value::Null), "unreserve is missing"),
    ]
}

fn volumes() -> Vec<(Value, &'static str)> {
    let destroy = |volume: Value| operation("DESTROY", json!({ "volumes": [volume] }));
    let odd = |pointer: &str, value: Value| create("", odd_volume(pointer, value));
    let mut hosted = odd_volume("/disk/volume/container_path", json!("data"));
    hosted["disk"]["volume"]["host_path"] = json!("/tmp");
    let twice = odd_volume("/disk/volume/container_path", json!("data"));
    let mut large = odd_volume("/disk/volume/container_path", json!("data"));
    large["scalar"]["value"] = json!(500);
    let mut shared = odd_volume("/disk/volume/container_path", json!("data"));
    shared["shared"] = json!({});
    vec![
        (
            create("", volume(10)),
            "persistent volume v1 of role db exists already",
        ),
        (
            operation("CREATE", json!({"volumes": [twice, twice]})),
            "the persistence id 'v2' twice",
        ),
        (odd("/disk/persistence/id", json!("a/b")), "'/'"),
        (odd("/disk/persistence/id", json!("")), "empty"),
        (
            odd("/disk/persistence/principal", json!("q")),
            "names principal q, but p asks",
        ),
        (
            odd("/disk/volume/mode", json!("RO")),
            "is read-only, expected mode RW",
        ),
        (odd("/disk/volume/container_path", json!("/abs")), "/abs"),
        (odd("/disk/volume/container_path", json!("a/../..")), ".."),
        (odd("/reservations", json!([])), "is not reserved"),
        (create("", hosted), "host_path"),
        (create("", disk(1, json!({}))), "is not a persistent volume"),
        (
            create("", large),
            "not contained in what the offers still hold",
        ),
        (create("", shared), "lacks SHARED_RESOURCES"),
        (operation("CREATE", Value::Null), "create is missing"),
        (
            destroy(odd_volume("/disk/volume/mode", json!("RW"))),
            "not contained in what the offers still hold",
        ),
        (destroy(disk(1, json!({}))), "is not a persistent volume"),
        (operation("DESTROY", Value::Null), "destroy is missing"),
    ]
}

fn sizes() -> Vec<(Value, &'static str)> {
    let grow = |volume: Value, addition: Value| {
        operation(
            "GROW_VOLUME",
            json!({"volume": volume, "addition": addition}),
        )
    };
    let shrink = |volume: Value, amount: f64| {
        operation(
            "SHRINK_VOLUME",
            json!({"volume": volume, "subtract": {"value": amount}}),
        )
    };
    let more = || disk(1, json!({}));
    let shared = || v1_with("shared", json!({}));
    vec![
        (grow(volume(64), disk(0, json!({}))), "names no resources"),
        (
            grow(volume(64), disk(1, json!({"reservations": []}))),
            "not disk of the same reservation",
        ),
        (
            grow(disk(64, json!({})), more()),
            "is not a persistent volume",
        ),
        (grow(shared(), more()), "is shared, its size is fixed"),
        (
            grow(on_mount(), more()),
            "whole mounted disk, its size is fixed",
        ),
        (
            grow(volume(64), disk(500, json!({}))),
            "not contained in what the offers still hold",
        ),
        (
            operation("GROW_VOLUME", Value::Null),
            "grow_volume is missing",
        ),
        (shrink(volume(64), 0.0), "cannot be shrunk by 0"),
        (shrink(volume(64), 64.0), "cannot be shrunk by 64"),
        (shrink(volume(64), 65.0), "cannot be shrunk by 65"),
        (shrink(volume(64), -1.0), "not a finite amount"),
        (
            shrink(disk(64, json!({})), 1.0),
            "is not a persistent volume",
        ),
        (shrink(shared(), 1.0), "is shared, its size is fixed"),
        (
            shrink(on_mount(), 1.0),
            "whole mounted disk, its size is fixed",
        ),
        (
            operation("SHRINK_VOLUME", Value::Null),
            "shrink_volume is missing",
        ),
        (
            operation("CREATE_DISK", Value::Null),
            "CREATE_DISK is of storage plugins",
        ),
        (
            operation("DESTROY_DISK", Value::Null),
            "DESTROY_DISK is of storage plugins",
        ),
    ]
}

#[test]
fn what_cannot_be_is_an_error_and_changes_nothing() {
    for form in FORMS {
        for cases in [reservations(), volumes(), sizes()] {
            let dir = tempfile::tempdir().unwrap();
            let master = Master::start(dir.path(), 0, &[]);
            run(refused(form, &master.address(), dir.path(), cases));
        }
    }
}

/// Two good operations, the bad ones, and a launch in one ACCEPT.
async fn refused(form: Form, address: &str, dir: &std::path::Path, cases: Vec<(Value, &str)>) {
    let board = board(address, dir, "n1").await;
    let (mut agent, _) = register(&board, address, hello(&board)).await;
    let mut scheduler = subscribe(address, form).await;
    let offer = scheduler.wait("OFFERS").await["offers"]["offers"][0].take();
    let mut operations = vec![
        reserve("r1", disk(100, json!({}))),
        create("c1", volume(64)),
    ];
    for (at, (operation, _)) in cases.iter().enumerate() {
        // One that has no name fails without a word.
        let mut nameless = operation.clone();
        nameless.as_object_mut().unwrap().remove("id");
        operations.push(nameless.clone());
        nameless["id"] = json!({"value": format!("o{at}")});
        operations.push(nameless);
    }
    let cpus = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}});
    let task = json!({"name": "n", "task_id": {"value": "t"}, "agent_id": offer["agent_id"],
        "resources": [cpus, volume(64)], "command": {"value": "true"}});
    operations.push(json!({"type": "LAUNCH", "launch": {"task_infos": [task]}}));
    let member = json!({"offer_ids": [offer["id"]], "operations": operations});
    assert_eq!(scheduler.call("ACCEPT", member).await.status, 202);
    for (at, (operation, sentence)) in cases.iter().enumerate() {
        let event = scheduler.wait("UPDATE_OPERATION_STATUS").await;
        let status = &event["update_operation_status"]["status"];
        let message = status["message"].as_str().unwrap();
        assert!(message.contains(sentence), "{operation}: {message}");
        assert_eq!(status["operation_id"]["value"], format!("o{at}").as_str());
        assert_eq!(status["state"], "OPERATION_ERROR");
        assert!(status["uuid"].is_null(), "there is nothing to acknowledge");
    }
    let made = [hear_apply(&mut agent).await, hear_apply(&mut agent).await];
    let texts = made.map(|spec| resource_text::text(&spec.converted));
    let expected = [
        "disk(db, dynamic by p):100",
        "disk(db, dynamic by p)[volume v1 at data]:64",
    ];
    assert_eq!(texts, expected);
    assert!(matches!(agent.hear().await, MasterToAgent::Launch { .. }));
    let slave = get(address, "/slaves").await.json()["slaves"][0].take();
    assert_eq!(slave["reserved_resources"]["db"]["disk"], 100.0);
    assert_eq!(slave["unreserved_resources"]["disk"], 900.0);
}

#[test]
fn an_operation_with_offers_that_are_none_is_an_error() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let mut scheduler = subscribe(&address, form).await;
            let operations = [reserve("z", disk(1, json!({})))];
            for ids in [json!([{"value": "gone"}]), json!([])] {
                let stale = json!({"offer_ids": ids, "operations": operations});
                assert_eq!(scheduler.call("ACCEPT", stale).await.status, 202);
                let event = scheduler.wait("UPDATE_OPERATION_STATUS").await;
                let status = &event["update_operation_status"]["status"];
                assert_eq!(status["state"], "OPERATION_ERROR");
                let message = status["message"].as_str().unwrap();
                assert!(message.contains("invalid offers"), "{message}");
            }
        });
    }
}
