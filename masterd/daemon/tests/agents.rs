//! What operators do to agents through `POST /api/v1`, and what frameworks, agents and readers then see.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::{Agent, Board, board};
use common::form::{FORMS, Form};
use common::http::{Scheduler, get};
use common::{Master, run};
use nesos_wire::message::{AgentToMaster, MasterToAgent, TaskUpdate};
use nesos_wire::task::{Source, TaskState, TaskStatus};
use nesos_wire::{AgentId, TaskKey, Uuid};
use serde_json::{Value, json};

/// The call of this type about this agent; its status.
async fn order(form: Form, address: &str, kind: &str, agent: &str) -> u16 {
    let member = kind.to_lowercase();
    let body = json!({"type": kind, member: {"agent_id": {"value": agent}}});
    form.operate(address, &body).await.0
}

/// DRAIN_AGENT; status and sentence.
async fn drain(form: Form, address: &str, agent: &str, grace: Value) -> (u16, Value) {
    let member = json!({"agent_id": {"value": agent}, "max_grace_period": grace});
    let call = json!({"type": "DRAIN_AGENT", "drain_agent": member});
    form.operate(address, &call).await
}

async fn slave(address: &str) -> Value {
    get(address, "/slaves").await.json()["slaves"][0].clone()
}

fn killed(agent: &str) -> TaskStatus {
    TaskStatus {
        state: TaskState::Killed,
        source: Source::Executor,
        reason: None,
        message: String::new(),
        timestamp: 1.0,
        uuid: Some(Uuid([7; 16])),
        agent: Some(AgentId::new(agent)),
        executor: None,
        container: None,
        healthy: None,
        check: None,
        data: Vec::new(),
        unreachable_time: None,
        extra: Vec::new(),
    }
}

/// What `/slaves` shows of an agent that is being drained within 1.5 s.
fn is_draining(shown: &Value) {
    assert_eq!(
        (&shown["active"], &shown["deactivated"]),
        (&json!(false), &json!(true))
    );
    let config = json!({"max_grace_period": {"nanoseconds": 1_500_000_000}, "mark_gone": false});
    assert_eq!(
        shown["drain_info"],
        json!({"state": "DRAINING", "config": config})
    );
    assert!(
        shown["estimated_drain_start_time_seconds"]
            .as_f64()
            .unwrap()
            > 1e9
    );
}

/// The draining agent's task ends: the framework is told why and acknowledges, the agent hears that.
async fn die(agent: &mut Agent, scheduler: &mut Scheduler, key: &TaskKey, agent_id: &str) {
    let update = TaskUpdate {
        key: key.clone(),
        status: killed(agent_id),
        latest: TaskState::Killed,
    };
    agent.say(&AgentToMaster::Update(update)).await;
    let update = scheduler.wait("UPDATE").await;
    let status = &update["update"]["status"];
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&json!("TASK_KILLED"), &json!("REASON_AGENT_DRAINING"))
    );
    let acknowledge = json!({"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"]});
    let members = format!(r#""type":"ACKNOWLEDGE","acknowledge":{acknowledge}"#);
    assert_eq!(scheduler.call(&members).await, 202);
    assert!(matches!(
        agent.hear().await,
        MasterToAgent::Acknowledge { .. }
    ));
}

#[test]
fn an_agent_is_drained_and_survives_a_restart_drained() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        let (board, id) = run(async {
            let board = board(&address, dir.path(), "n1").await;
            let id = drained(form, &address, &board).await;
            (board, id)
        });
        let port = master.port;
        master.kill();
        let _master = Master::start(dir.path(), port, &[]);
        run(async {
            let before = shown(form, &address).await;
            assert_eq!(before["agents"], Value::Null);
            assert_eq!(before["recovered_agents"][0]["id"]["value"], id.as_str());
            let (_agent, again) = board.register(&address).await;
            assert_eq!(again, id);
            let known = shown(form, &address).await["agents"][0].take();
            assert_eq!(known["drain_info"]["state"], "DRAINED");
            assert_eq!(order(form, &address, "REACTIVATE_AGENT", &id).await, 200);
            let shown = slave(&address).await;
            assert_eq!(
                (&shown["active"], &shown["drain_info"]),
                (&json!(true), &Value::Null)
            );
        });
    }
}

/// GET_AGENTS
async fn shown(form: Form, address: &str) -> Value {
    let (status, mut answer) = form.operate(address, &json!({"type": "GET_AGENTS"})).await;
    assert_eq!(status, 200);
    answer["get_agents"].take()
}

/// Drains the agent of its one task; the agent's id.
async fn drained(form: Form, address: &str, board: &Board) -> String {
    let (mut agent, id) = board.register(address).await;
    let mut scheduler = Scheduler::subscribe(address, r#","failover_timeout":60"#, None).await;
    let offers = scheduler.wait("OFFERS").await;
    let accept = common::http::launch(&offers["offers"]["offers"][0], "t:1");
    assert_eq!(scheduler.call(&accept).await, 202);
    let MasterToAgent::Launch { tasks } = agent.hear().await else {
        panic!("expected a launch")
    };
    let (status, sentence) = drain(form, address, &id, json!({"seconds": -1})).await;
    assert_eq!(status, 400, "{sentence}");
    let text = drain(Form::Json, address, &id, json!("10mins")).await;
    assert_eq!(text.0, 400, "the documentation's form was never one");
    let grace = json!({"seconds": 1, "nanos": 500_000_000});
    let answer = drain(form, address, &id, grace).await;
    assert_eq!(answer, (200, Value::Null));
    let kill = MasterToAgent::Kill {
        key: tasks[0].key.clone(),
        grace_ms: Some(1500),
    };
    assert_eq!(agent.hear().await, kill);
    is_draining(&slave(address).await);
    let known = shown(form, address).await["agents"][0].take();
    assert_eq!(
        (&known["active"], &known["deactivated"]),
        (&json!(false), &json!(true))
    );
    let config = json!({"max_grace_period": {"nanoseconds": 1_500_000_000}, "mark_gone": false});
    let info = json!({"state": "DRAINING", "config": config});
    assert_eq!(known["drain_info"], info);
    let since = known["estimated_drain_start_time"]["nanoseconds"].as_i64();
    assert!(since.unwrap() > 1_000_000_000_000_000_000);
    let refused = order(form, address, "REACTIVATE_AGENT", &id).await;
    assert_eq!(refused, 400, "it is still draining");
    die(&mut agent, &mut scheduler, &tasks[0].key, &id).await;
    assert_eq!(slave(address).await["drain_info"]["state"], "DRAINED");
    id
}

#[test]
fn an_agent_is_shown_with_all_that_tools_read() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let board = board(&address, dir.path(), "n1").await;
            let (agent, id) = board.register(&address).await;
            let mut scheduler =
                Scheduler::subscribe(&address, r#","failover_timeout":60"#, None).await;
            scheduler.wait("OFFERS").await;
            let known = shown(form, &address).await["agents"][0].take();
            assert_eq!(known["agent_info"]["id"]["value"], id.as_str());
            assert_eq!(known["agent_info"]["hostname"], "host-n1");
            assert_eq!(
                known["agent_info"]["resources"], known["total_resources"],
                "nothing is reserved"
            );
            for key in ["version", "pid", "registered_time", "capabilities"] {
                assert!(!known[key].is_null(), "{key}: {known}");
            }
            for key in [
                "drain_info",
                "estimated_drain_start_time",
                "reregistered_time",
            ] {
                assert!(known[key].is_null(), "{key}: {known}");
            }
            let offered = &known["offered_resources"][0];
            assert_eq!(offered["scalar"], known["total_resources"][0]["scalar"]);
            assert_eq!(offered["allocation_info"]["role"], "*");
            drop(agent);
            while shown(form, &address).await["agents"][0]["active"] != false {}
            let mut hello = board.hello();
            hello.agent = Some(AgentId::new(id));
            let mut agent = board.dial(&address).await;
            agent.say(&AgentToMaster::Hello(hello)).await;
            assert!(matches!(agent.hear().await, MasterToAgent::Welcome(_)));
            let known = shown(form, &address).await["agents"][0].take();
            assert_eq!(known["active"], true);
            assert!(!known["reregistered_time"].is_null());
        });
    }
}

#[test]
fn an_agent_is_deactivated_then_gone_for_ever() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &["--agent_removal_rate_limit=1/10mins"]);
        let address = master.address();
        run(async {
            let board = board(&address, dir.path(), "n1").await;
            gone(form, &address, &board).await;
        });
    }
}

async fn gone(form: Form, address: &str, board: &Board) {
    let (mut agent, id) = board.register(address).await;
    let mut scheduler = Scheduler::subscribe(address, "", None).await;
    scheduler.wait("OFFERS").await;
    assert_eq!(order(form, address, "DEACTIVATE_AGENT", &id).await, 200);
    scheduler.wait("RESCIND").await;
    assert_eq!(order(form, address, "REACTIVATE_AGENT", &id).await, 200);
    scheduler.wait("OFFERS").await;
    assert_eq!(order(form, address, "REACTIVATE_AGENT", &id).await, 400);
    for (kind, status) in [
        ("DRAIN_AGENT", 400),
        ("DEACTIVATE_AGENT", 400),
        ("REACTIVATE_AGENT", 400),
        ("MARK_AGENT_GONE", 404),
    ] {
        assert_eq!(order(form, address, kind, "nobody").await, status, "{kind}");
        let missing = form.operate(address, &json!({ "type": kind })).await;
        assert_eq!(missing.0, 400, "{kind}");
    }
    assert_eq!(order(form, address, "MARK_AGENT_GONE", &id).await, 200);
    assert!(matches!(agent.hear().await, MasterToAgent::Refused { .. }));
    assert_eq!(agent.hear_or_end().await, None);
    assert_eq!(
        scheduler.wait("FAILURE").await["failure"]["agent_id"]["value"],
        id
    );
    assert_eq!(order(form, address, "MARK_AGENT_GONE", &id).await, 200);
    assert_eq!(slave(address).await, Value::Null);
    let mut hello = board.hello();
    hello.agent = Some(AgentId::new(id));
    let mut agent = board.dial(address).await;
    agent.say(&AgentToMaster::Hello(hello)).await;
    assert!(matches!(agent.hear().await, MasterToAgent::Refused { .. }));
}
