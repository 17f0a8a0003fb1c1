//! The operator API's event stream: its snapshot, every kind of event in both forms, and a reader that does not read.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::{Agent, board};
use common::form::{FORMS, Watcher};
use common::http::{Client, Scheduler, get, head, launch, parse, request};
use common::{Master, run};
use nesos_api::operator::master::{Event, EventType};
use nesos_api::recordio;
use nesos_wire::Uuid;
use nesos_wire::message::{AgentToMaster, MasterToAgent, TaskUpdate};
use nesos_wire::task::{Source, TaskSpec, TaskState, TaskStatus};
use serde_json::Value;

const SUBSCRIBE: &str = r#"{"type":"SUBSCRIBE"}"#;

/// Opens a stream; the answer's head has been read.
async fn watch(address: &str, accept: &str) -> Client {
    let mut client = Client::connect(address).await;
    let headers = [("Content-Type", "application/json"), ("Accept", accept)];
    client
        .send(&head("POST", "/api/v1", &headers, SUBSCRIBE.len()))
        .await;
    client.send(SUBSCRIBE.as_bytes()).await;
    let head = client.head().await;
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, Some(accept))
    );
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    client
}

/// The next event in JSON that is no heartbeat.
async fn next(client: &mut Client) -> Value {
    loop {
        let event = parse(&client.chunk().await.expect("an event"));
        if event["type"] != "HEARTBEAT" {
            return event;
        }
    }
}

async fn expect(client: &mut Client, kind: &str) -> Value {
    let event = next(client).await;
    assert_eq!(event["type"], kind, "{event}");
    event
}

async fn run_task(agent: &mut Agent, spec: &TaskSpec) {
    let status = TaskStatus {
        state: TaskState::Running,
        source: Source::Executor,
        reason: None,
        message: String::new(),
        timestamp: 1.5,
        uuid: Some(Uuid::from_random([7; 16])),
        agent: None,
        executor: Some(spec.executor.clone()),
        container: None,
        healthy: None,
        check: None,
        data: b"private".to_vec(),
        unreachable_time: None,
        extra: Vec::new(),
    };
    let update = TaskUpdate {
        key: spec.key.clone(),
        latest: status.state,
        status,
    };
    agent.say(&AgentToMaster::Update(update)).await;
}

#[test]
fn everything_that_happens_is_told_in_both_forms() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let mut json = watch(&address, "application/json").await;
        let mut protobuf = watch(&address, "application/x-protobuf").await;
        let first = expect(&mut json, "SUBSCRIBED").await;
        assert_eq!(first["subscribed"]["heartbeat_interval_seconds"], 15.0);
        assert!(first["subscribed"]["get_state"]["get_agents"].is_object());
        assert_eq!(parse(&json.chunk().await.unwrap())["type"], "HEARTBEAT");

        let (mut agent, id) = board(&address, dir.path(), "n1")
            .await
            .register(&address)
            .await;
        let added = expect(&mut json, "AGENT_ADDED").await;
        assert_eq!(
            added["agent_added"]["agent"]["agent_info"]["id"]["value"],
            id.as_str()
        );
        let mut scheduler = Scheduler::subscribe(&address, r#","failover_timeout":60"#, None).await;
        expect(&mut json, "FRAMEWORK_ADDED").await;
        let offers = scheduler.wait("OFFERS").await;
        scheduler
            .call(&launch(&offers["offers"]["offers"][0], "t:1"))
            .await;
        let added = expect(&mut json, "TASK_ADDED").await;
        assert_eq!(added["task_added"]["task"]["state"], "TASK_STAGING");
        let MasterToAgent::Launch { tasks } = agent.hear().await else {
            panic!("no launch")
        };
        run_task(&mut agent, &tasks[0]).await;
        let updated = &expect(&mut json, "TASK_UPDATED").await["task_updated"];
        assert_eq!(updated["state"], "TASK_RUNNING");
        assert_eq!(
            updated["framework_id"]["value"],
            scheduler.framework.as_str()
        );
        assert_eq!(updated["status"]["data"], Value::Null, "not for operators");

        let id = scheduler.framework.clone();
        let again = Scheduler::subscribe(&address, r#","failover_timeout":60"#, Some(&id)).await;
        expect(&mut json, "FRAMEWORK_UPDATED").await;
        let form = format!("frameworkId={}", again.framework);
        assert_eq!(
            request(&address, "POST", "/teardown", &[], form.as_bytes())
                .await
                .status,
            200
        );
        assert_eq!(
            expect(&mut json, "TASK_UPDATED").await["task_updated"]["state"],
            "TASK_KILLED"
        );
        let removed = expect(&mut json, "FRAMEWORK_REMOVED").await;
        assert_eq!(
            removed["framework_removed"]["framework_info"]["id"]["value"],
            id.as_str()
        );
        agent.say(&AgentToMaster::Goodbye).await;
        expect(&mut json, "AGENT_REMOVED").await;
        told_in_protobuf(&mut protobuf).await;
    });
}

/// The same story as the JSON stream told.
async fn told_in_protobuf(client: &mut Client) {
    use EventType::*;
    for kind in [
        Subscribed,
        Heartbeat,
        AgentAdded,
        FrameworkAdded,
        TaskAdded,
        TaskUpdated,
        FrameworkUpdated,
        TaskUpdated,
        FrameworkRemoved,
        AgentRemoved,
    ] {
        let mut decoder = recordio::Decoder::new(1 << 20);
        decoder.push(&client.chunk().await.unwrap());
        let record = decoder
            .next_record()
            .unwrap()
            .expect("one record per chunk");
        let event = Event::from_protobuf(&record).unwrap();
        assert_eq!(event.r#type, Some(kind), "{event:?}");
    }
}

#[test]
fn a_newcomer_gets_what_there_is_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let (_agent, id) = board(&address, dir.path(), "n1")
            .await
            .register(&address)
            .await;
        let mut client = watch(&address, "application/json").await;
        let first = expect(&mut client, "SUBSCRIBED").await;
        let agents = &first["subscribed"]["get_state"]["get_agents"]["agents"];
        assert_eq!(agents[0]["agent_info"]["id"]["value"], id.as_str());
        let open = "master/operator_event_stream_subscribers";
        assert_eq!(get(&address, "/metrics/snapshot").await.json()[open], 1.0);
        drop(client);
        while get(&address, "/metrics/snapshot").await.json()[open] != 0.0 {}
    });
}

#[test]
fn one_watcher_more_takes_the_oldests_place() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let flags = ["--max_operator_event_stream_subscribers=2"];
        let master = Master::start(dir.path(), 0, &flags);
        let address = master.address();
        run(async {
            let mut oldest = Watcher::open(form, &address).await;
            let mut second = Watcher::open(form, &address).await;
            assert_eq!(second.event().await["type"], "SUBSCRIBED");
            let mut newest = Watcher::open(form, &address).await;
            while oldest.event_or_end().await.is_some() {}
            assert_eq!(newest.event().await["type"], "SUBSCRIBED");
            let _scheduler = Scheduler::subscribe(&address, "", None).await;
            for watcher in [&mut second, &mut newest] {
                assert_eq!(watcher.event().await["type"], "FRAMEWORK_ADDED");
            }
        });
    }
}

#[test]
fn a_watcher_that_does_not_read_is_cut() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let mut client = watch(&address, form.media_type()).await;
            let info = format!(
                r#","failover_timeout":60,"hostname":"{}""#,
                "h".repeat(60_000)
            );
            let id = Scheduler::subscribe(&address, &info, None).await.framework;
            let cut = "nesos/operator_event_streams_cut";
            while get(&address, "/metrics/snapshot").await.json()[cut] == 0.0 {
                Scheduler::subscribe(&address, &info, Some(&id)).await;
            }
            assert!(client.ends().await);
        });
    }
}
