//! Large answers: what is kept from one `/state` to the next must never show in the next.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Instant;

use common::agent::board;
use common::http::get;
use common::{DEADLINE, Master, run};
use nesos_wire::message::{AgentToMaster, MasterToAgent, TaskReport, TaskUpdate};
use nesos_wire::task::{Command, Source, TaskSpec, TaskState, TaskStatus};
use nesos_wire::{AgentId, Attempt, ExecutorId, FrameworkId, TaskId, TaskKey, Uuid, resource_text};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TASKS: usize = 200;

fn spec(number: usize) -> TaskSpec {
    let task = format!("task-{number:03}");
    TaskSpec {
        key: TaskKey {
            framework: FrameworkId::new("an-earlier-masters-0001"),
            task: TaskId::new(task.as_str()),
        },
        attempt: Attempt(1),
        name: task.clone(),
        executor: ExecutorId::new(task.as_str()),
        kind: Default::default(),
        role: "lab".into(),
        resources: resource_text::parse("cpus:0.01;mem:1").unwrap(),
        limits: Default::default(),
        command: Command::default(),
        kill_grace_ms: 1,
        partition_aware: false,
        task_killing: false,
        checkpoint: true,
        checks: None,
        info: Vec::new(),
        framework_info: Vec::new(),
    }
}

fn status(agent: &AgentId, state: TaskState, uuid: u8) -> TaskStatus {
    TaskStatus {
        state,
        source: Source::Executor,
        reason: None,
        message: String::new(),
        timestamp: 1.5,
        uuid: Some(Uuid([uuid; 16])),
        agent: Some(agent.clone()),
        executor: None,
        container: None,
        healthy: None,
        check: None,
        data: Vec::new(),
        unreachable_time: None,
        extra: Vec::new(),
    }
}

/// How many of the framework's tasks have finished, as an endpoint shows it.
async fn finished(address: &str, path: &str) -> usize {
    let shown = get(address, path).await.json();
    let tasks = shown["frameworks"][0]["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), TASKS);
    let is_so = |task: &&Value| task["state"] == "TASK_FINISHED";
    tasks.iter().filter(is_so).count()
}

/// `/state` says what the endpoints say that keep nothing. Nothing may change meanwhile.
async fn check(address: &str) {
    let (whole, frameworks, slaves) = (
        get(address, "/state").await.json(),
        get(address, "/frameworks").await.json(),
        get(address, "/slaves").await.json(),
    );
    assert_eq!(whole["frameworks"], frameworks["frameworks"]);
    for (shown, full) in std::iter::zip(
        whole["slaves"].as_array().unwrap(),
        slaves["slaves"].as_array().unwrap(),
    ) {
        for (name, value) in shown.as_object().unwrap() {
            assert_eq!(value, &full[name], "{name}");
        }
    }
}

#[test]
fn what_is_kept_between_two_answers_is_never_old() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let board = board(&address, dir.path(), "board-1").await;
        let mut hello = board.hello();
        hello.tasks = (0..TASKS)
            .map(|number| TaskReport {
                spec: spec(number),
                latest: TaskState::Running,
                status: None,
            })
            .collect();
        let mut agent = board.dial(&address).await;
        agent.say(&AgentToMaster::Hello(hello)).await;
        let MasterToAgent::Welcome(welcome) = agent.hear().await else {
            panic!("not welcome");
        };
        for (step, number) in [7, 8, 190, 64, 63, 0, 199].into_iter().enumerate() {
            assert_eq!(finished(&address, "/state").await, step);
            check(&address).await;
            let update = TaskUpdate {
                key: spec(number).key,
                status: status(&welcome.agent, TaskState::Finished, number as u8),
                latest: TaskState::Finished,
            };
            agent.say(&AgentToMaster::Update(update)).await;
            let begin = Instant::now();
            while finished(&address, "/frameworks").await == step {
                assert!(begin.elapsed() < DEADLINE, "the update is not shown");
            }
        }
        check(&address).await;
        let used = &get(&address, "/state").await.json()["slaves"][0]["used_resources"];
        assert_eq!(used["mem"], (TASKS - 7) as f64);
    });
}

#[test]
fn many_who_ask_at_once_all_get_the_whole_answer() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let asking = (0..40).map(|_| {
            let address = address.clone();
            tokio::spawn(async move { get(&address, "/state").await })
        });
        let mut lengths = Vec::new();
        for answer in asking.collect::<Vec<_>>() {
            let answer = answer.await.unwrap();
            assert_eq!(
                (answer.status, &answer.json()["slaves"]),
                (200, &Value::Array(vec![]))
            );
            lengths.push(answer.body.len());
        }
        assert!(lengths.iter().all(|length| *length == lengths[0]));
    });
}

/// Tasks of [`slow`], and how many control characters each one's name has: one byte in the `Hello`, six in JSON.
const SLOW: (usize, usize) = (10_000, 120);

#[test]
fn a_reader_who_is_too_slow_is_cut_off_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &["--large_answer_timeout=1secs"]);
    let address = master.address();
    run(async {
        let board = board(&address, dir.path(), "board-1").await;
        let mut hello = board.hello();
        let task = |number: usize| TaskReport {
            spec: TaskSpec {
                name: "\u{1}".repeat(SLOW.1),
                ..spec(number)
            },
            latest: TaskState::Running,
            status: None,
        };
        hello.tasks = (0..SLOW.0).map(task).collect();
        let mut agent = board.dial(&address).await;
        agent.say(&AgentToMaster::Hello(hello)).await;
        agent.hear().await;

        let mut slow = TcpStream::connect(&address).await.unwrap();
        let request = format!("GET /state HTTP/1.1\r\nHost: {address}\r\n\r\n");
        slow.write_all(request.as_bytes()).await.unwrap();
        let begin = Instant::now();
        loop {
            let metrics = get(&address, "/metrics/snapshot").await.json();
            if metrics["nesos/large_answers_cut"] == 1.0 {
                break;
            }
            assert!(begin.elapsed() < DEADLINE, "it is not cut off");
        }
        // What was under way to it is all that it gets.
        let mut read = Vec::new();
        let end = tokio::time::timeout(DEADLINE, slow.read_to_end(&mut read)).await;
        assert!(end.is_ok(), "the connection stays open");
        assert!(read.len() < SLOW.0 * SLOW.1 * 6, "{}", read.len());
        assert_eq!(get(&address, "/health").await.status, 200);
    });
}
