//! Custom executors: started, subscribed, given tasks, told to end, lost and found again.

use super::*;
use crate::{ExecutorCall, ExecutorEvent, ExecutorPhase, HEARTBEAT};
use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};
use nesos_wire::task::{Reason, Source, TaskStatus};
use nesos_wire::{ExecutorKey, Uuid};

pub(super) fn executor_key(id: &str) -> ExecutorKey {
    ExecutorKey {
        framework: FrameworkId::new("f"),
        executor: ExecutorId::new(id),
    }
}

mod ends;
mod restarts;
mod sizes;

/// An executor of half a cpu.
pub(super) fn executor(id: &str, kind: ExecutorKind, attempt: u64) -> FrameworkExecutor {
    FrameworkExecutor {
        key: executor_key(id),
        attempt: Attempt(attempt),
        kind,
        name: id.into(),
        source: String::new(),
        role: "*".into(),
        resources: resource_text::parse("cpus:0.5;mem:32").expect("valid"),
        command: Command::default(),
        shutdown_grace_ms: None,
        checkpoint: true,
        partition_aware: true,
        info: Vec::new(),
        framework_info: Vec::new(),
    }
}

pub(super) fn given(task: &str, executor: &FrameworkExecutor, attempt: u64) -> TaskSpec {
    TaskSpec {
        executor: executor.key.executor.clone(),
        kind: executor.kind,
        resources: resource_text::parse("cpus:0.5;mem:16").expect("valid"),
        ..spec(task, attempt)
    }
}

/// A status of an executor; the number is its uuid.
pub(super) fn says(state: TaskState, number: u8) -> TaskStatus {
    TaskStatus {
        state,
        source: Source::Executor,
        reason: None,
        message: String::new(),
        timestamp: 7.0,
        uuid: Some(Uuid([number; 16])),
        agent: None,
        executor: None,
        container: None,
        healthy: Some(true),
        check: None,
        data: b"data".to_vec(),
        unreachable_time: None,
        extra: Vec::new(),
    }
}

impl Bench {
    pub(super) fn give(
        &mut self,
        executor: &FrameworkExecutor,
        start: bool,
        tasks: Vec<TaskSpec>,
        group: bool,
    ) {
        self.message(MasterToAgent::LaunchExecutor {
            executor: Box::new(executor.clone()),
            start,
            tasks,
            group,
        });
    }

    pub(super) fn call(&mut self, id: &str, call: ExecutorCall) {
        self.event(Event::Executor {
            key: executor_key(id),
            call,
        });
    }

    pub(super) fn subscribe(&mut self, id: &str, stream: u64) {
        self.call(id, subscription(stream));
    }

    pub(super) fn says(&mut self, id: &str, task: &str, state: TaskState, number: u8) {
        self.call(
            id,
            ExecutorCall::Update {
                task: TaskId::new(task),
                status: Box::new(says(state, number)),
            },
        );
    }

    /// What executors were told since the last question, as `stream: EVENT task…`.
    pub(super) fn heard(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        for action in self.actions.drain(..) {
            heard.extend(match action {
                Action::TellExecutor { stream, event } => {
                    Some(format!("{stream}: {}", word(&event)))
                }
                Action::CloseExecutor { stream } => Some(format!("{stream}: closed")),
                Action::Destroy { .. } => Some("destroy".to_string()),
                Action::Launch { spec, .. } => Some(format!("launch {}", spec.key.task)),
                _ => None,
            });
        }
        heard
    }

    pub(super) fn holder_event(&mut self, id: &str, event: ContainerEvent) {
        let view = self
            .agent
            .executor(&executor_key(id))
            .expect("a known executor");
        let container = view.container.clone();
        self.event(Event::Container { container, event });
    }

    pub(super) fn last_status(&self, task: &str) -> TaskStatus {
        let view = self.agent.tasks().find(|view| view.spec.key == key(task));
        view.expect("a known task")
            .status
            .expect("a status")
            .clone()
    }

    pub(super) fn ended(&self) -> Vec<(u64, i32)> {
        let ended = self.sent.iter().filter_map(|message| match message {
            AgentToMaster::ExecutorEnded {
                attempt, status, ..
            } => Some((attempt.0, *status)),
            _ => None,
        });
        ended.collect()
    }
}

pub(super) fn subscription(stream: u64) -> ExecutorCall {
    ExecutorCall::Subscribe {
        stream,
        tasks: Vec::new(),
        updates: Vec::new(),
    }
}

fn word(event: &ExecutorEvent) -> String {
    match event {
        ExecutorEvent::Subscribed { .. } => "SUBSCRIBED".into(),
        ExecutorEvent::Launch { task } => format!("LAUNCH {}", task.key.task),
        ExecutorEvent::LaunchGroup { tasks } => {
            let names: Vec<_> = tasks.iter().map(|task| task.key.task.to_string()).collect();
            format!("LAUNCH_GROUP {}", names.join(" "))
        }
        ExecutorEvent::Kill { task, grace_ms } => format!("KILL {task} {grace_ms:?}"),
        ExecutorEvent::Acknowledged { task, uuid } => format!("ACKNOWLEDGED {task} {}", uuid.0[0]),
        ExecutorEvent::Message { data } => format!("MESSAGE {}", String::from_utf8_lossy(data)),
        ExecutorEvent::Shutdown => "SHUTDOWN".into(),
        ExecutorEvent::Heartbeat => "HEARTBEAT".into(),
    }
}

fn custom() -> FrameworkExecutor {
    executor("e", ExecutorKind::Custom, 1)
}

/// Live, with executor `e` subscribed on stream 1 and running task `a`.
fn running() -> Bench {
    let mut bench = Bench::live();
    bench.give(&custom(), true, vec![given("a", &custom(), 1)], false);
    bench.holder_event("e", ContainerEvent::Started);
    bench.subscribe("e", 1);
    bench.says("e", "a", TaskState::Running, 1);
    bench.heard();
    bench
}

#[test]
fn an_executor_is_started_subscribes_and_gets_its_tasks() {
    let mut bench = Bench::live();
    let tasks = vec![given("b", &custom(), 1), given("a", &custom(), 2)];
    bench.give(&custom(), true, tasks, false);
    assert_eq!(bench.heard(), ["launch e"], "one container for all");
    assert_eq!(resource_text::text(&bench.agent.used()), "cpus:1.5;mem:64");
    bench.subscribe("e", 1);
    assert_eq!(
        bench.heard(),
        ["1: SUBSCRIBED", "1: LAUNCH b", "1: LAUNCH a"]
    );
    bench.give(&custom(), false, vec![given("c", &custom(), 3)], false);
    assert_eq!(
        bench.heard(),
        ["1: LAUNCH c"],
        "a live executor is used again"
    );
    bench.give(&custom(), true, vec![given("c", &custom(), 3)], false);
    assert!(bench.heard().is_empty(), "the same launch again");
    bench.pass(HEARTBEAT + Duration::from_secs(1));
    assert_eq!(bench.heard(), ["1: HEARTBEAT"]);
    bench.reconnect();
    let hello = bench.hello();
    assert_eq!((hello.executors, hello.tasks.len()), (vec![custom()], 3));
}

#[test]
fn its_statuses_go_the_reliable_way_and_are_acknowledged_behind_their_records() {
    let mut bench = running();
    let update = bench.last_update();
    assert_eq!(update.status.executor, Some(ExecutorId::new("e")));
    assert_eq!(
        (update.status.data.as_slice(), update.status.healthy),
        (&b"data"[..], Some(true))
    );
    assert_eq!(
        update.status.container.as_ref(),
        Some(&bench.container("a"))
    );
    bench.acknowledge(&update);
    bench.says("e", "a", TaskState::Running, 1);
    assert_eq!(
        bench.heard(),
        ["1: ACKNOWLEDGED a 1"],
        "a repeated one is not told again"
    );
    assert_eq!(bench.updates().len(), 1);
    bench.disk_is_full = true;
    bench.says("e", "a", TaskState::Finished, 2);
    assert!(
        bench.heard().is_empty(),
        "not acknowledged before it is on disk"
    );
    bench.disk_is_full = false;
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.heard(), ["1: ACKNOWLEDGED a 2"]);
    bench.says("e", "a", TaskState::Failed, 3);
    assert_eq!(
        bench.heard(),
        ["1: ACKNOWLEDGED a 3"],
        "a second end is harmless"
    );
    assert_eq!(bench.drain("a"), [TaskState::Finished]);
    assert!(
        bench.agent.executor(&executor_key("e")).is_some(),
        "it outlives its tasks"
    );
    assert!(bench.heard().iter().all(|word| word != "destroy"));
    bench.says("e", "stranger", TaskState::Running, 9);
    assert_eq!(bench.heard(), ["1: ACKNOWLEDGED stranger 9"]);
}

#[test]
fn a_group_for_a_custom_executor_goes_as_one() {
    let mut bench = Bench::live();
    let group = |first| {
        vec![
            given("a", &custom(), first),
            given("b", &custom(), first + 1),
        ]
    };
    bench.give(&custom(), true, group(1), true);
    bench.subscribe("e", 1);
    assert_eq!(
        bench.heard(),
        ["launch e", "1: SUBSCRIBED", "1: LAUNCH_GROUP a b"]
    );
    bench.call("e", ExecutorCall::Lost { stream: 1 });
    let waiting = vec![given("c", &custom(), 3), given("d", &custom(), 4)];
    bench.give(&custom(), false, waiting, true);
    bench.message(MasterToAgent::Kill {
        key: key("c"),
        grace_ms: None,
    });
    for task in ["c", "d"] {
        assert_eq!(
            bench.last_status(task).reason,
            Some(Reason::TaskKilledDuringLaunch)
        );
    }
    let huge = TaskSpec {
        resources: resource_text::parse("cpus:99").expect("valid"),
        ..given("f", &custom(), 6)
    };
    bench.give(&custom(), false, vec![given("g", &custom(), 5), huge], true);
    for task in ["g", "f"] {
        assert_eq!(bench.last_status(task).state, TaskState::Dropped);
    }
}

#[test]
fn messages_go_both_ways() {
    let mut bench = running();
    let message = MasterToAgent::FrameworkMessage {
        framework: FrameworkId::new("f"),
        executor: ExecutorId::new("e"),
        data: b"ping".to_vec(),
    };
    bench.message(message.clone());
    assert_eq!(bench.heard(), ["1: MESSAGE ping"]);
    bench.call(
        "e",
        ExecutorCall::Message {
            data: b"pong".to_vec(),
        },
    );
    let sent = bench.sent.last();
    assert!(matches!(sent, Some(AgentToMaster::FrameworkMessage { data, .. }) if data == b"pong"));
    bench.call("e", ExecutorCall::Lost { stream: 1 });
    bench.message(message);
    assert!(bench.heard().is_empty());
}
