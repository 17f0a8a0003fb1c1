//! A scheduler's stream from SUBSCRIBE over OFFERS to updates, with an agent on the other side.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::{Agent, board, update};
use common::http::{Scheduler, get, launch, request};
use common::{Master, run};
use nesos_wire::Uuid;
use nesos_wire::message::{AgentToMaster, FileChunk, FileError, MasterToAgent};
use nesos_wire::task::{TaskSpec, TaskState};

/// Both updates of a task's life, each acknowledged by the scheduler and that heard by the agent.
async fn update_and_acknowledge(
    agent: &mut Agent,
    id: &str,
    scheduler: &mut Scheduler,
    spec: &TaskSpec,
) {
    let life = [
        (TaskState::Running, "TASK_RUNNING"),
        (TaskState::Finished, "TASK_FINISHED"),
    ];
    for (state, name) in life {
        agent.say(&update(spec, state)).await;
        let update = scheduler.wait("UPDATE").await;
        let status = &update["update"]["status"];
        assert_eq!(status["state"], name);
        assert_eq!(status["task_id"]["value"], "t:1");
        assert_eq!(status["container_status"]["container_id"]["value"], "c1");
        let uuid = status["uuid"].as_str().unwrap();
        let acknowledge = format!(
            r#""type":"ACKNOWLEDGE","acknowledge":{{"agent_id":{{"value":"{id}"}},"task_id":{{"value":"t:1"}},"uuid":"{uuid}"}}"#
        );
        assert_eq!(scheduler.call(&acknowledge).await, 202);
        let expected = Uuid::from_random([state as u8; 16]);
        assert!(
            matches!(agent.hear().await, MasterToAgent::Acknowledge { uuid, .. } if uuid == expected)
        );
    }
}

/// A scheduler whose task `t:1` runs on the agent.
async fn running(address: &str, agent: &mut Agent) -> Scheduler {
    let mut scheduler = Scheduler::subscribe(address, "", None).await;
    let offers = scheduler.wait("OFFERS").await;
    let offer = &offers["offers"]["offers"][0];
    assert_eq!(
        offer["allocation_info"],
        serde_json::Value::Null,
        "no MULTI_ROLE"
    );
    scheduler.call(&launch(offer, "t:1")).await;
    let MasterToAgent::Launch { tasks } = agent.hear().await else {
        panic!("no launch")
    };
    agent.say(&update(&tasks[0], TaskState::Running)).await;
    scheduler.wait("UPDATE").await;
    scheduler
}

#[test]
fn a_task_passes_from_offer_to_acknowledged_end() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let (mut agent, agent_id) = board(&address, dir.path(), "n1")
            .await
            .register(&address)
            .await;
        let mut scheduler = Scheduler::subscribe(
            &address,
            r#","roles":["lab"],"capabilities":[{"type":"MULTI_ROLE"}]"#,
            None,
        )
        .await;
        let heartbeat = scheduler.client.chunk().await.unwrap();
        assert_eq!(&heartbeat[..], b"20\n{\"type\":\"HEARTBEAT\"}");
        let offers = scheduler.wait("OFFERS").await;
        let offer = &offers["offers"]["offers"][0];
        assert_eq!(offer["agent_id"]["value"], agent_id.as_str());
        assert_eq!(offer["allocation_info"]["role"], "lab");
        assert_eq!(offer["url"]["address"]["ip"], "127.0.0.1");
        assert_eq!(offer["attributes"][0]["text"]["value"], "a");
        assert_eq!(scheduler.call(&launch(offer, "t:1")).await, 202);
        let MasterToAgent::Launch { tasks } = agent.hear().await else {
            panic!("no launch")
        };
        let spec = &tasks[0];
        assert_eq!(
            (
                spec.key.task.as_str(),
                spec.command.value.as_str(),
                spec.role.as_str()
            ),
            ("t:1", "true", "lab")
        );

        update_and_acknowledge(&mut agent, &agent_id, &mut scheduler, spec).await;
        let state = get(&address, "/state").await.json();
        let framework = &state["frameworks"][0];
        assert_eq!(framework["tasks"].as_array().unwrap().len(), 0);
        assert_eq!(framework["completed_tasks"][0]["state"], "TASK_FINISHED");
        assert_eq!(
            get(&address, "/tasks?task_id=t:1").await.json()["tasks"][0]["slave_id"],
            agent_id.as_str()
        );
        let metrics = get(&address, "/metrics/snapshot").await.json();
        assert_eq!(
            (
                &metrics["master/tasks_finished"],
                &metrics["master/slaves_active"]
            ),
            (&1.0.into(), &1.0.into())
        );
        assert_eq!(scheduler.call(r#""type":"TEARDOWN""#).await, 202);
        assert_eq!(
            get(&address, "/frameworks").await.json()["completed_frameworks"][0]["name"],
            "test"
        );
    });
}

#[test]
fn a_launch_that_fits_no_frame_arrives_in_several() {
    const TASKS: usize = 700;
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let (mut agent, _) = board(&address, dir.path(), "n1")
            .await
            .register(&address)
            .await;
        let mut scheduler = Scheduler::subscribe(&address, "", None).await;
        let offers = scheduler.wait("OFFERS").await;
        let offer = &offers["offers"]["offers"][0];
        let long = format!("true {}", "x".repeat(8000));
        let tasks: Vec<_> = (0..TASKS)
            .map(|n| {
                serde_json::json!({
                    "name": "n", "task_id": {"value": format!("t{n}")}, "agent_id": offer["agent_id"],
                    "resources": [{"name": "mem", "type": "SCALAR", "scalar": {"value": 1}}],
                    "command": {"value": long},
                })
            })
            .collect();
        let launch = serde_json::json!([{"type": "LAUNCH", "launch": {"task_infos": tasks}}]);
        let accept = format!(
            r#""type":"ACCEPT","accept":{{"offer_ids":[{}],"operations":{launch}}}"#,
            offer["id"]
        );
        assert_eq!(scheduler.call(&accept).await, 202);
        let (mut messages, mut arrived) = (0, Vec::new());
        while arrived.len() < TASKS {
            let MasterToAgent::Launch { tasks } = agent.hear().await else {
                panic!("no launch")
            };
            arrived.extend(tasks.into_iter().map(|task| task.key.task.to_string()));
            messages += 1;
        }
        let expected: Vec<String> = (0..TASKS).map(|n| format!("t{n}")).collect();
        assert!(messages > 1 && arrived == expected, "{messages} messages");
    });
}

#[test]
fn files_are_read_through_the_agents_link() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let (mut agent, _) = board(&address, dir.path(), "n1")
            .await
            .register(&address)
            .await;
        let scheduler = running(&address, &mut agent).await;
        let base = format!("/nesos/v1/tasks/{}/t%3A1/files", scheduler.framework);
        let chunk = FileChunk {
            offset: 5,
            data: b"\x00hello".to_vec(),
            size: 11,
            identity: 77,
            ended: false,
        };
        for (result, status) in [
            (Ok(chunk), 200),
            (Err(FileError::NotFound), 404),
            (Err(FileError::Forbidden), 403),
            (Err(FileError::Io("broken card".into())), 500),
        ] {
            let path = format!("{base}/out/a%20b?offset=5&length=6");
            let serving = async {
                let MasterToAgent::ReadFile {
                    request,
                    path,
                    offset,
                    length,
                    ..
                } = agent.hear().await
                else {
                    panic!()
                };
                assert_eq!((path.as_str(), offset, length), ("out/a b", 5, 6));
                agent
                    .say(&AgentToMaster::FileData { request, result })
                    .await;
            };
            let (answer, ()) = tokio::join!(get(&address, &path), serving);
            assert_eq!(answer.status, status);
            if status == 200 {
                assert_eq!(answer.body, b"\x00hello");
                assert_eq!(answer.header("nesos-file-size"), Some("11"));
                assert_eq!(answer.header("nesos-file-identity"), Some("77"));
                assert_eq!(answer.header("nesos-task-ended"), Some("false"));
            }
        }
        assert_eq!(
            get(&address, &format!("{base}/stdout?offset=x"))
                .await
                .status,
            400
        );
        assert_eq!(
            get(&address, "/nesos/v1/tasks/f/t/files/stdout")
                .await
                .status,
            404
        );
        assert_eq!(get(&address, "/nesos/v1/tasks/f").await.status, 404);
        drop(agent);
        let mut status = 0;
        while status != 503 {
            status = get(&address, &format!("{base}/stdout")).await.status;
        }
    });
}

#[test]
fn an_operator_ends_a_task() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let (mut agent, _) = board(&address, dir.path(), "n1")
            .await
            .register(&address)
            .await;
        let scheduler = running(&address, &mut agent).await;
        let kill = format!(
            "/nesos/v1/tasks/{}/t%3A1/kill?grace_ms=7",
            scheduler.framework
        );
        assert_eq!(get(&address, &kill).await.status, 405);
        assert_eq!(request(&address, "POST", &kill, &[], b"").await.status, 202);
        let heard = agent.hear().await;
        assert!(
            matches!(
                heard,
                MasterToAgent::Kill {
                    grace_ms: Some(7),
                    ..
                }
            ),
            "{heard:?}"
        );
    });
}
