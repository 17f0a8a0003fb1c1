//! Maintenance of machines: schedule, inverse offers, machines down and up, in both forms of the v1 API and through the
//! older endpoints.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::{Board, board};
use common::form::{FORMS, Form, Scheduler};
use common::http::{get, request};
use common::{Master, run};
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use serde_json::{Value, json};

const START: i64 = 2_000_000_000_000_000_000;

/// The machine of board `n1`, its name in other letters than its own.
fn machine() -> Value {
    json!({"hostname": "HOST-n1", "ip": "127.0.0.1"})
}

fn unavailability() -> Value {
    json!({"start": {"nanoseconds": START}, "duration": {"nanoseconds": 60_000_000_000_i64}})
}

fn schedule() -> Value {
    json!({"windows": [{"machine_ids": [machine()], "unavailability": unavailability()}]})
}

fn update(schedule: Value) -> Value {
    json!({"type": "UPDATE_MAINTENANCE_SCHEDULE", "update_maintenance_schedule": {"schedule": schedule}})
}

/// START_ or STOP_MAINTENANCE.
fn order(kind: &str, machines: &[Value]) -> Value {
    json!({"type": kind, kind.to_lowercase(): {"machines": machines}})
}

fn framework() -> Value {
    json!({"framework_info": {"user": "root", "name": "n", "failover_timeout": 60}})
}

async fn status(form: Form, address: &str) -> Value {
    let call = json!({"type": "GET_MAINTENANCE_STATUS"});
    let (status, mut answer) = form.operate(address, &call).await;
    assert_eq!(status, 200, "{answer}");
    answer["get_maintenance_status"]["status"].take()
}

/// Makes a call that must succeed.
async fn done(form: Form, address: &str, call: &Value) {
    let (status, answer) = form.operate(address, call).await;
    assert_eq!((status, answer), (200, Value::Null), "{call}");
}

async fn post(address: &str, path: &str, body: &Value) -> (u16, String) {
    let answer = request(address, "POST", path, &[], body.to_string().as_bytes()).await;
    (answer.status, answer.text())
}

/// The sentence with which masterd turns the board away.
async fn refused(board: &Board, address: &str) -> String {
    let mut agent = board.dial(address).await;
    agent.say(&AgentToMaster::Hello(board.hello())).await;
    match agent.hear().await {
        MasterToAgent::Refused { reason } => {
            assert_eq!(agent.hear_or_end().await, None);
            reason
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// The framework answers its inverse offer; what GET_MAINTENANCE_STATUS then says of it.
async fn answer(scheduler: &mut Scheduler, address: &str, kind: &str) -> Value {
    let event = scheduler.wait("INVERSE_OFFERS").await;
    let offer = &event["inverse_offers"]["inverse_offers"][0];
    assert_eq!(offer["unavailability"], unavailability());
    assert_eq!(offer["framework_id"], scheduler.id);
    assert_eq!(offer["url"]["address"]["hostname"], "host-n1");
    let member = json!({"inverse_offer_ids": [offer["id"]], "filters": {"refuse_seconds": 0}});
    assert_eq!(scheduler.call(kind, member).await.status, 202);
    let shown = status(scheduler.form, address).await;
    let stance = shown["draining_machines"][0]["statuses"][0].clone();
    assert_eq!(stance["framework_id"], scheduler.id, "{shown}");
    assert!(stance["timestamp"]["nanoseconds"].as_i64().unwrap() > 1_000_000_000_000_000_000);
    stance["status"].clone()
}

#[test]
fn frameworks_are_asked_to_leave_a_machine_that_then_goes_down_and_up() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        run(story(form, master, dir.path()));
    }
}

async fn story(form: Form, master: Master, dir: &std::path::Path) {
    let address = master.address();
    let board = board(&address, dir, "n1").await;
    let (mut agent, id) = board.register(&address).await;
    let mut scheduler = Scheduler::subscribe(form, &address, framework()).await;
    let offers = scheduler.wait("OFFERS").await;
    assert_eq!(offers["offers"]["offers"][0]["unavailability"], Value::Null);
    done(form, &address, &update(schedule())).await;
    let rescind = scheduler.wait("RESCIND").await;
    assert_eq!(
        rescind["rescind"]["offer_id"],
        offers["offers"]["offers"][0]["id"]
    );
    let offers = scheduler.wait("OFFERS").await;
    assert_eq!(
        offers["offers"]["offers"][0]["unavailability"],
        unavailability()
    );
    let get_schedule = json!({"type": "GET_MAINTENANCE_SCHEDULE"});
    let (_, shown) = form.operate(&address, &get_schedule).await;
    assert_eq!(shown["get_maintenance_schedule"]["schedule"], schedule());
    // Asked, it accepts; asked again after the filter, it declines.
    let accepts = answer(&mut scheduler, &address, "ACCEPT_INVERSE_OFFERS").await;
    assert_eq!(accepts, "ACCEPT");
    let declines = answer(&mut scheduler, &address, "DECLINE_INVERSE_OFFERS").await;
    assert_eq!(declines, "DECLINE");
    // Another schedule takes back what was asked under the old one.
    scheduler.wait("INVERSE_OFFERS").await;
    let (_, shown) = form
        .operate(&address, &json!({"type": "GET_FRAMEWORKS"}))
        .await;
    let asked = &shown["get_frameworks"]["frameworks"][0]["inverse_offers"][0];
    assert_eq!(asked["agent_id"]["value"], id);
    done(form, &address, &update(json!({}))).await;
    let rescind = scheduler.wait("RESCIND_INVERSE_OFFER").await;
    assert_eq!(
        rescind["rescind_inverse_offer"]["inverse_offer_id"],
        asked["id"]
    );
    let metrics = get(&address, "/metrics/snapshot").await.json();
    assert_eq!(metrics["master/inverse_offers_sent"], 3.0);
    assert_eq!(metrics["master/inverse_offers_rescinded"], 1.0);
    // Down: the board is told, and stays out across a restart of the master.
    done(form, &address, &update(schedule())).await;
    done(form, &address, &order("START_MAINTENANCE", &[machine()])).await;
    assert!(matches!(agent.hear().await, MasterToAgent::Refused { .. }));
    assert_eq!(agent.hear_or_end().await, None);
    let failure = scheduler.wait("FAILURE").await;
    assert_eq!(failure["failure"]["agent_id"]["value"], id);
    let port = master.port;
    master.kill();
    let master = Master::start(dir, port, &[]);
    let reason = refused(&board, &address).await;
    assert!(reason.contains("host-n1 (127.0.0.1) is down"), "{reason}");
    let shown = status(form, &address).await;
    assert_eq!(shown["down_machines"], json!([machine()]));
    // Up again: nothing is planned any more.
    done(form, &address, &order("STOP_MAINTENANCE", &[machine()])).await;
    let (_agent, _) = board.register(&address).await;
    let shown = status(form, &address).await;
    assert!(shown["down_machines"][0].is_null() && shown["draining_machines"][0].is_null());
    drop(master);
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    let window = |machines: &[Value]| json!({"windows": [{"machine_ids": machines, "unavailability": unavailability()}]});
    let mut negative = schedule();
    negative["windows"][0]["unavailability"]["duration"]["nanoseconds"] = json!(-1);
    let bad = [
        (
            window(&[]),
            "List of machines in the maintenance window is empty",
        ),
        (window(&[machine(), machine()]), "more than once"),
        (window(&[json!({})]), "Both 'hostname' and 'ip'"),
        (window(&[json!({"ip": "nowhere"})]), "'ip' of a machine"),
        (negative, "'duration' is negative"),
    ];
    run(async {
        for form in FORMS {
            for (schedule, sentence) in &bad {
                let (status, text) = form.operate(&address, &update(schedule.clone())).await;
                assert_eq!(status, 400, "{schedule}");
                assert!(text.as_str().unwrap().contains(sentence), "{text}");
            }
            for kind in ["START_MAINTENANCE", "STOP_MAINTENANCE"] {
                for machines in [vec![], vec![machine()], vec![json!({})]] {
                    let (status, text) = form.operate(&address, &order(kind, &machines)).await;
                    assert_eq!(status, 400, "{kind} {machines:?}: {text}");
                }
                let (status, _) = form.operate(&address, &json!({ "type": kind })).await;
                assert_eq!(status, 400, "{kind}");
            }
        }
    });
}

#[test]
fn the_older_endpoints_do_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let board = board(&address, dir.path(), "n1").await;
        let (mut agent, _) = board.register(&address).await;
        assert_eq!(
            get(&address, "/maintenance/schedule").await.json(),
            json!({})
        );
        assert_eq!(get(&address, "/maintenance/status").await.json(), json!({}));
        let set = post(&address, "/master/maintenance/schedule", &schedule()).await;
        assert_eq!(set, (200, String::new()));
        let shown = get(&address, "/maintenance/schedule").await.json();
        assert_eq!(shown, schedule());
        let shown = get(&address, "/maintenance/status").await.json();
        assert_eq!(shown, json!({"draining_machines": [{"id": machine()}]}));
        let (status, sentence) = post(&address, "/machine/up", &json!([machine()])).await;
        assert!(
            status == 400 && sentence.contains("not in DOWN mode"),
            "{sentence}"
        );
        let down = post(&address, "/machine/down", &json!([machine()])).await;
        assert_eq!(down, (200, String::new()));
        assert!(matches!(agent.hear().await, MasterToAgent::Refused { .. }));
        let (status, sentence) = post(&address, "/maintenance/schedule", &json!({})).await;
        assert!(
            status == 400 && sentence.contains("deactivated"),
            "{sentence}"
        );
        let shown = get(&address, "/maintenance/status").await.json();
        assert_eq!(shown, json!({"down_machines": [machine()]}));
        let up = post(&address, "/machine/up", &json!([machine()])).await;
        assert_eq!(up, (200, String::new()));
        board.register(&address).await;
        for (path, body) in [
            ("/machine/down", json!({})),
            ("/machine/up", json!([1])),
            ("/machine/up", json!([])),
            ("/maintenance/schedule", json!([])),
        ] {
            assert_eq!(post(&address, path, &body).await.0, 400, "{path} {body}");
        }
        let answer = get(&address, "/machine/down").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
        let answer = request(&address, "PUT", "/maintenance/schedule", &[], b"").await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET, POST"))
        );
    });
}

#[test]
fn the_registry_is_shown_in_mesoss_shape() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let path = "/registrar(1)/registry";
        let shown = get(&address, path).await.json();
        assert_eq!(shown["slaves"], json!({"slaves": []}));
        assert_eq!(
            (&shown["schedules"], &shown["weights"]),
            (&json!([]), &json!([]))
        );
        let board = board(&address, dir.path(), "n1").await;
        let (_agent, id) = board.register(&address).await;
        assert_eq!(
            post(&address, "/maintenance/schedule", &schedule()).await.0,
            200
        );
        let weights = br#"[{"role":"web","weight":2.5}]"#;
        assert_eq!(
            request(&address, "PUT", "/weights", &[], weights)
                .await
                .status,
            200
        );
        let shown = get(&address, path).await.json();
        assert_eq!(
            get(&address, "/registrar%281%29/registry").await.json(),
            shown
        );
        assert_eq!(shown["master"]["info"]["port"], master.port);
        let slave = &shown["slaves"]["slaves"][0];
        assert_eq!(slave["info"]["id"]["value"], id.as_str());
        assert_eq!(slave["deactivated"], false);
        assert_eq!(shown["schedules"], json!([schedule()]));
        let machine_shown = &shown["machines"]["machines"][0]["info"];
        assert_eq!(machine_shown["mode"], "DRAINING");
        assert_eq!(machine_shown["id"], machine());
        assert_eq!(
            shown["weights"],
            json!([{"info": {"role": "web", "weight": 2.5}}])
        );
        assert_eq!(
            post(&address, "/registrar(1)/registry", &json!({})).await.0,
            405
        );
    });
}
