//! What operators do to agents through `POST /api/v1`, and what frameworks, agents and readers then see.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::{Agent, board};
use common::http::{Answer, Scheduler, get, request};
use common::{Master, run};
use nesos_wire::message::{AgentToMaster, MasterToAgent, TaskUpdate};
use nesos_wire::task::{Source, TaskState, TaskStatus};
use nesos_wire::{AgentId, TaskKey, Uuid};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("Content-Type", "application/json");

async fn call(address: &str, body: &Value) -> Answer {
    request(
        address,
        "POST",
        "/api/v1",
        &[JSON],
        body.to_string().as_bytes(),
    )
    .await
}

/// The call of this type about this agent; its status.
async fn order(address: &str, kind: &str, agent: &str) -> u16 {
    let member = kind.to_lowercase();
    let body = json!({"type": kind, member: {"agent_id": {"value": agent}}});
    call(address, &body).await.status
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
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let board = board(&address, dir.path(), "n1").await;
        let (mut agent, id) = board.register(&address).await;
        let mut scheduler = Scheduler::subscribe(&address, r#","failover_timeout":60"#, None).await;
        let offers = scheduler.wait("OFFERS").await;
        let accept = common::http::launch(&offers["offers"]["offers"][0], "t:1");
        assert_eq!(scheduler.call(&accept).await, 202);
        let MasterToAgent::Launch { tasks } = agent.hear().await else {
            panic!("expected a launch")
        };
        let drain = |grace: Value| json!({"type": "DRAIN_AGENT", "drain_agent": {"agent_id": {"value": id}, "max_grace_period": grace}});
        let bad = call(&address, &drain(json!({"seconds": -1}))).await;
        assert_eq!(bad.status, 400, "{}", bad.text());
        assert_eq!(call(&address, &drain(json!("10mins"))).await.status, 400);
        let answer = call(
            &address,
            &drain(json!({"seconds": 1, "nanos": 500_000_000})),
        )
        .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let kill = MasterToAgent::Kill {
            key: tasks[0].key.clone(),
            grace_ms: Some(1500),
        };
        assert_eq!(agent.hear().await, kill);
        is_draining(&slave(&address).await);
        assert_eq!(order(&address, "REACTIVATE_AGENT", &id).await, 400);
        die(&mut agent, &mut scheduler, &tasks[0].key, &id).await;
        assert_eq!(slave(&address).await["drain_info"]["state"], "DRAINED");
        drop(agent);
        let port = master.port;
        master.kill();
        let master = Master::start(dir.path(), port, &[]);
        let address = master.address();
        let (_agent, again) = board.register(&address).await;
        assert_eq!(again, id);
        let agents = call(&address, &json!({"type": "GET_AGENTS"})).await.json();
        let shown = &agents["get_agents"]["agents"][0];
        assert_eq!(shown["drain_info"]["state"], "DRAINED");
        assert_eq!(order(&address, "REACTIVATE_AGENT", &id).await, 200);
        let shown = slave(&address).await;
        assert_eq!(
            (&shown["active"], &shown["drain_info"]),
            (&json!(true), &Value::Null)
        );
    });
}

#[test]
fn an_agent_is_deactivated_then_gone_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &["--agent_removal_rate_limit=1/10mins"]);
    let address = master.address();
    run(async {
        let board = board(&address, dir.path(), "n1").await;
        let (mut agent, id) = board.register(&address).await;
        let mut scheduler = Scheduler::subscribe(&address, "", None).await;
        scheduler.wait("OFFERS").await;
        assert_eq!(order(&address, "DEACTIVATE_AGENT", &id).await, 200);
        scheduler.wait("RESCIND").await;
        assert_eq!(order(&address, "REACTIVATE_AGENT", &id).await, 200);
        scheduler.wait("OFFERS").await;
        assert_eq!(order(&address, "REACTIVATE_AGENT", &id).await, 400);
        for (kind, status) in [
            ("DRAIN_AGENT", 400),
            ("DEACTIVATE_AGENT", 400),
            ("REACTIVATE_AGENT", 400),
            ("MARK_AGENT_GONE", 404),
        ] {
            assert_eq!(order(&address, kind, "nobody").await, status, "{kind}");
            let missing = call(&address, &json!({ "type": kind })).await;
            assert_eq!(missing.status, 400, "{kind}");
        }
        assert_eq!(order(&address, "MARK_AGENT_GONE", &id).await, 200);
        assert!(matches!(agent.hear().await, MasterToAgent::Refused { .. }));
        assert_eq!(agent.hear_or_end().await, None);
        assert_eq!(
            scheduler.wait("FAILURE").await["failure"]["agent_id"]["value"],
            id
        );
        assert_eq!(order(&address, "MARK_AGENT_GONE", &id).await, 200);
        assert_eq!(slave(&address).await, Value::Null);
        let mut hello = board.hello();
        hello.agent = Some(AgentId::new(id));
        let mut agent = board.dial(&address).await;
        agent.say(&AgentToMaster::Hello(hello)).await;
        assert!(matches!(agent.hear().await, MasterToAgent::Refused { .. }));
    });
}
