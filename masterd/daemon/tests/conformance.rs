//! The scheduler API's calls and events, the same story told once in JSON and once in protobuf.
//!
//! The table "Conformance" of the README names these tests.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::{Agent, board};
use common::http::{Client, head, request};
use common::{Master, run};
use nesos_api::message::Bytes;
use nesos_api::scheduler::{self as api, Call, CallType, Event, EventType};
use nesos_api::v1::{self, FrameworkID};
use nesos_wire::message::{AgentToMaster, MasterToAgent, TaskUpdate};
use nesos_wire::task::{Source, TaskSpec, TaskState, TaskStatus};
use nesos_wire::{ExecutorId, Uuid};

const PATH: &str = "/api/v1/scheduler";

/// A scheduler that speaks one of the two forms.
struct Scheduler {
    client: Client,
    address: String,
    media_type: &'static str,
    stream: String,
    framework: Option<FrameworkID>,
}

impl Scheduler {
    async fn subscribe(address: &str, media_type: &'static str) -> Self {
        let mut scheduler = Self {
            client: Client::connect(address).await,
            address: address.into(),
            media_type,
            stream: String::new(),
            framework: None,
        };
        let framework_info = v1::FrameworkInfo {
            user: "u".into(),
            name: "n".into(),
            ..Default::default()
        };
        let mut call = scheduler.call(CallType::Subscribe);
        call.subscribe = Some(api::CallSubscribe {
            framework_info,
            ..Default::default()
        });
        let body = scheduler.encode(&call);
        let headers = [("Content-Type", media_type), ("Accept", media_type)];
        let head = head("POST", PATH, &headers, body.len());
        scheduler.client.send(&head).await;
        scheduler.client.send(&body).await;
        let answer = scheduler.client.head().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some(media_type));
        scheduler.stream = answer.header("mesos-stream-id").unwrap().into();
        let subscribed = scheduler.wait(EventType::Subscribed).await.subscribed;
        scheduler.framework = Some(subscribed.unwrap().framework_id);
        scheduler.wait(EventType::Heartbeat).await;
        scheduler
    }

    fn call(&self, kind: CallType) -> Call {
        Call {
            r#type: Some(kind),
            framework_id: self.framework.clone(),
            ..Call::default()
        }
    }

    fn encode(&self, call: &Call) -> Vec<u8> {
        match self.media_type {
            "application/json" => call.to_json(),
            _ => call.to_protobuf(),
        }
    }

    async fn send(&self, call: &Call) -> u16 {
        let headers = [
            ("Content-Type", self.media_type),
            ("Mesos-Stream-Id", &self.stream),
        ];
        let body = self.encode(call);
        let answer = request(&self.address, "POST", PATH, &headers, &body).await;
        answer.status
    }

    async fn wait(&mut self, kind: EventType) -> Event {
        loop {
            let chunk = self.client.chunk().await.expect("an event");
            let newline = chunk.iter().position(|byte| *byte == b'\n').unwrap();
            let record = &chunk[newline + 1..];
            let event = match self.media_type {
                "application/json" => Event::from_json(record).unwrap(),
                _ => Event::from_protobuf(record).unwrap(),
            };
            if event.r#type == Some(kind) {
                return event;
            }
        }
    }

    /// Launches a task on the next offer; what the agent is told.
    async fn launch(&mut self, agent: &mut Agent) -> TaskSpec {
        let offers = self.wait(EventType::Offers).await.offers.unwrap().offers;
        let task = v1::TaskInfo {
            name: "n".into(),
            task_id: "t".into(),
            agent_id: offers[0].agent_id.clone(),
            resources: vec![v1::Resource::scalar("cpus", 1.0)],
            command: Some(v1::CommandInfo {
                value: Some("true".into()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut call = self.call(CallType::Accept);
        call.accept = Some(api::CallAccept {
            offer_ids: vec![offers[0].id.clone()],
            operations: vec![v1::OfferOperation {
                r#type: Some(v1::OfferOperationType::Launch),
                launch: Some(v1::OfferOperationLaunch {
                    task_infos: vec![task],
                }),
                ..Default::default()
            }],
            filters: Some(v1::Filters {
                refuse_seconds: Some(0.0),
            }),
        });
        assert_eq!(self.send(&call).await, 202);
        match agent.hear().await {
            MasterToAgent::Launch { mut tasks } => tasks.remove(0),
            other => panic!("no launch: {other:?}"),
        }
    }
}

async fn report(agent: &mut Agent, spec: &TaskSpec, uuid: Uuid) {
    let status = TaskStatus {
        state: TaskState::Running,
        source: Source::Executor,
        reason: None,
        message: String::new(),
        timestamp: 1.5,
        uuid: Some(uuid),
        agent: None,
        executor: Some(spec.executor.clone()),
        container: None,
        healthy: None,
        check: None,
        data: b"bytes".to_vec(),
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

/// Every call that reaches the agent, and every event that comes of it.
async fn story(media_type: &'static str) {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    let (mut agent, id) = board(&address, dir.path(), "n1")
        .await
        .register(&address)
        .await;
    let mut scheduler = Scheduler::subscribe(&address, media_type).await;
    let spec = scheduler.launch(&mut agent).await;
    let rest = scheduler.wait(EventType::Offers).await.offers.unwrap();
    assert_eq!(
        rest.offers[0].resources[0].scalar.as_ref().unwrap().value,
        3.0
    );

    let uuid = Uuid::from_random([7; 16]);
    report(&mut agent, &spec, uuid).await;
    let status = scheduler
        .wait(EventType::Update)
        .await
        .update
        .unwrap()
        .status;
    assert_eq!(status.state, v1::TaskState::Running);
    assert_eq!(status.data, Some(Bytes(b"bytes".to_vec())));
    let mut call = scheduler.call(CallType::Acknowledge);
    call.acknowledge = Some(api::CallAcknowledge {
        agent_id: id.as_str().into(),
        task_id: "t".into(),
        uuid: status.uuid.unwrap(),
    });
    assert_eq!(scheduler.send(&call).await, 202);
    assert!(matches!(agent.hear().await, MasterToAgent::Acknowledge { uuid: u, .. } if u == uuid));

    messages(&mut scheduler, &mut agent, &id).await;

    let mut call = scheduler.call(CallType::Reconcile);
    call.reconcile = Some(api::CallReconcile::default());
    assert_eq!(scheduler.send(&call).await, 202);
    let status = scheduler
        .wait(EventType::Update)
        .await
        .update
        .unwrap()
        .status;
    assert_eq!(status.reason, Some(v1::TaskStatusReason::Reconciliation));

    let mut call = scheduler.call(CallType::Kill);
    call.kill = Some(api::CallKill {
        task_id: "t".into(),
        ..Default::default()
    });
    assert_eq!(scheduler.send(&call).await, 202);
    assert!(matches!(agent.hear().await, MasterToAgent::Kill { .. }));

    agent.say(&AgentToMaster::Goodbye).await;
    end(&mut scheduler, &id, &rest.offers[0].id).await;
}

/// What an agent's goodbye means to a scheduler, and its own.
async fn end(scheduler: &mut Scheduler, id: &str, offer: &v1::OfferID) {
    let rescinded = scheduler.wait(EventType::Rescind).await.rescind.unwrap();
    assert_eq!(rescinded.offer_id, *offer);
    let status = scheduler
        .wait(EventType::Update)
        .await
        .update
        .unwrap()
        .status;
    assert_eq!(status.state, v1::TaskState::Lost);
    let failure = scheduler.wait(EventType::Failure).await.failure.unwrap();
    assert_eq!(failure.agent_id.unwrap().value, id);
    assert_eq!(
        scheduler.send(&scheduler.call(CallType::Teardown)).await,
        202
    );
    while scheduler.client.chunk().await.is_some() {}
}

/// MESSAGE in both directions.
async fn messages(scheduler: &mut Scheduler, agent: &mut Agent, id: &str) {
    let mut call = scheduler.call(CallType::Message);
    call.message = Some(api::CallMessage {
        agent_id: id.into(),
        executor_id: "e".into(),
        data: Bytes(vec![0, 1, 255]),
    });
    assert_eq!(scheduler.send(&call).await, 202);
    let MasterToAgent::FrameworkMessage {
        framework, data, ..
    } = agent.hear().await
    else {
        panic!("no message")
    };
    assert_eq!(data, [0, 1, 255]);
    let message = AgentToMaster::FrameworkMessage {
        framework,
        executor: ExecutorId::new("e"),
        data: vec![255, 0],
    };
    agent.say(&message).await;
    let message = scheduler.wait(EventType::Message).await.message.unwrap();
    assert_eq!(message.data, Bytes(vec![255, 0]));
}

/// The calls about offers, and those that a master may ignore.
async fn offers(media_type: &'static str) {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    let (_agent, _) = board(&address, dir.path(), "n1")
        .await
        .register(&address)
        .await;
    let mut scheduler = Scheduler::subscribe(&address, media_type).await;
    let first = scheduler.wait(EventType::Offers).await.offers.unwrap();
    assert_eq!(
        scheduler.send(&scheduler.call(CallType::Suppress)).await,
        202
    );
    let mut call = scheduler.call(CallType::Decline);
    call.decline = Some(api::CallDecline {
        offer_ids: vec![first.offers[0].id.clone()],
        ..Default::default()
    });
    assert_eq!(scheduler.send(&call).await, 202);
    let mut call = scheduler.call(CallType::Request);
    call.request = Some(api::CallRequest::default());
    assert_eq!(scheduler.send(&call).await, 202);
    assert_eq!(scheduler.send(&scheduler.call(CallType::Revive)).await, 202);
    let second = scheduler.wait(EventType::Offers).await.offers.unwrap();
    assert_ne!(second.offers[0].id, first.offers[0].id);
}

#[test]
fn a_tasks_story_in_json() {
    run(story("application/json"));
}

#[test]
fn a_tasks_story_in_protobuf() {
    run(story("application/x-protobuf"));
}

#[test]
fn offers_in_json() {
    run(offers("application/json"));
}

#[test]
fn offers_in_protobuf() {
    run(offers("application/x-protobuf"));
}
