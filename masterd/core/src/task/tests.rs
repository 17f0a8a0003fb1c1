//! What is packed opens to what it was.
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::resource::Resources;
use nesos_wire::task::{Reason, Source};
use nesos_wire::{ContainerId, FrameworkId, TaskId};
use proptest::prelude::*;

use super::difference::difference;
use super::pattern::MAX_PATTERNS;
use super::*;

fn text() -> impl Strategy<Value = Vec<u8>> {
    // Few letters, so that much is in common.
    proptest::collection::vec(b'a'..=b'c', 0..40)
}

fn spec(task: &str, executor: &str, role: &str, name: &str, info: Vec<u8>) -> TaskSpec {
    TaskSpec {
        key: TaskKey {
            framework: FrameworkId::new("f"),
            task: TaskId::new(task),
        },
        attempt: Attempt(3),
        name: name.to_owned(),
        executor: ExecutorId::new(executor),
        kind: ExecutorKind::default(),
        role: role.to_owned(),
        resources: Resources::new(),
        limits: [("mem".to_owned(), None)].into(),
        command: Command {
            user: Some("nobody".to_owned()),
            ..Command::default()
        },
        kill_grace_ms: 5,
        partition_aware: true,
        task_killing: false,
        checkpoint: true,
        checks: None,
        info,
        framework_info: Vec::new(),
    }
}

prop_compose! {
    fn status()(
        state in prop_oneof![Just(TaskState::Starting), Just(TaskState::Running), Just(TaskState::Unreachable)],
        message in "[a-c]{0,3}",
        agent in proptest::option::of("[ab]"),
        executor in proptest::option::of("[ab]"),
        container in proptest::option::of("[ab]"),
        timestamp in 0u16..100,
        uuid in proptest::option::of(any::<[u8; 16]>()),
        data in text(),
    ) -> TaskStatus {
        TaskStatus {
            state,
            source: Source::Executor,
            reason: uuid.map(|_| Reason::Reconciliation),
            message,
            timestamp: f64::from(timestamp),
            uuid: uuid.map(Uuid),
            agent: agent.map(AgentId::new),
            executor: executor.map(ExecutorId::new),
            container: container.map(ContainerId::new),
            healthy: None,
            check: None,
            unreachable_time: Some(1.5),
            extra: data.clone(),
            data,
        }
    }
}

proptest! {
    #[test]
    fn a_difference_makes_the_text_again(text in text(), base in text()) {
        prop_assert_eq!(apply(&difference(&text, &base), base), text);
    }

    #[test]
    fn specs_open_to_what_was_launched(
        launched in proptest::collection::vec(("[ab]", "[ab]", "[a-z]", "[ab]", text()), 1..60)
    ) {
        let mut patterns = Patterns::default();
        for (task, executor, role, name, info) in launched {
            let spec = spec(&task, &executor, &role, &name, info);
            let packed = Task::new(spec.clone(), AgentId::new("a"), &mut patterns);
            prop_assert_eq!(packed.open(), spec);
            prop_assert!(patterns.known.len() <= MAX_PATTERNS);
        }
    }

    #[test]
    fn statuses_open_to_what_was_recorded(recorded in proptest::collection::vec(status(), 0..40)) {
        let spec = spec("a", "a", "r", "n", Vec::new());
        let mut task = Task::new(spec, AgentId::new("a"), &mut Patterns::default());
        let mut expected: Vec<TaskStatus> = Vec::new();
        for status in recorded {
            task.record(status.clone());
            expected.pop_if(|last| last.state == status.state);
            expected.push(TaskStatus { data: Vec::new(), ..status });
            if expected.len() > MAX_STATUSES {
                expected.remove(0);
            }
            prop_assert_eq!(task.statuses(), expected.clone());
            prop_assert!(task.has_statuses());
        }
    }
}

#[test]
fn tasks_that_differ_in_their_ids_share_the_rest() {
    let mut patterns = Patterns::default();
    let info = |id: &str, agent: &AgentId| format!("task {id} on {agent}, and more").into_bytes();
    let mut launch = |number: u32| {
        let id = format!("t{number}");
        let agent = AgentId::new(format!("agent-{number}"));
        let spec = spec(&id, &id, "r", "worker", info(&id, &agent));
        let task = Task::new(spec, agent, &mut patterns);
        assert_eq!(task.packed.len(), 0);
        task.spec
    };
    let (first, second) = (launch(1), launch(23456));
    assert!(Arc::ptr_eq(&first.pattern, &second.pattern));
    assert!(ArcStr::ptr_eq(&first.name, &second.name));
    let shared = second.key.task.as_str().as_ptr();
    assert_eq!(shared, second.executor.as_str().as_ptr());
}

#[test]
fn tasks_of_several_executors_share_each_executors_description() {
    let mut patterns = Patterns::default();
    let mut launch = |number: u32, executor: &str| {
        let id = format!("t{number}");
        // An executor's description is longer than all else.
        let info = format!("{id}: {}", executor.repeat(1000)).into_bytes();
        let mut spec = spec(&id, executor, "r", "worker", info);
        spec.kind = ExecutorKind::Custom;
        let task = Task::new(spec.clone(), AgentId::new("a"), &mut patterns);
        assert_eq!(task.open(), spec);
        task
    };
    let tasks: Vec<Task> = (0..8)
        .map(|number| launch(number, ["x", "y"][number as usize % 2]))
        .collect();
    for (first, second) in tasks.iter().zip(&tasks[2..]) {
        assert!(Arc::ptr_eq(&first.spec.pattern, &second.spec.pattern));
        assert_eq!(second.packed.len(), 0);
    }
    assert!(!Arc::ptr_eq(&tasks[0].spec.pattern, &tasks[1].spec.pattern));
}

#[test]
fn executors_that_differ_in_their_ids_alone_share_a_description() {
    let mut patterns = Patterns::default();
    let mut launch = |number: u32| {
        let id = format!("t{number}");
        let executor = format!("executor-{number}");
        let info = format!("{id} {executor} {}", "x".repeat(1000)).into_bytes();
        let mut spec = spec(&id, &executor, "r", "worker", info);
        spec.kind = ExecutorKind::Custom;
        Task::new(spec, AgentId::new("a"), &mut patterns)
    };
    let (first, second) = (launch(1), launch(2));
    assert!(Arc::ptr_eq(&first.spec.pattern, &second.spec.pattern));
    assert!(second.packed.len() < 32);
}

#[test]
fn ids_of_another_length_are_foretold_soon_and_tasks_of_all_kinds_share_patterns() {
    let mut patterns = Patterns::default();
    let mut launch = |id: &str, text: &str| {
        let mut info = vec![id.len() as u8];
        info.extend_from_slice(id.as_bytes());
        info.extend_from_slice(text.as_bytes());
        let spec = spec(id, id, "r", "worker", info.clone());
        let task = Task::new(spec, AgentId::new("agent"), &mut patterns);
        assert_eq!(task.info(), info);
        task
    };
    for id in ["1", "12", "123", "1234", "12345"] {
        let tasks: Vec<Task> = (0..20).map(|_| launch(id, "same")).collect();
        assert_eq!(tasks[19].packed.len(), 0, "{id}");
    }
    let tasks: Vec<Task> = (0..160)
        .map(|n| launch("1", &format!("kind {n}")))
        .collect();
    let mut kinds: Vec<_> = tasks
        .iter()
        .map(|task| Arc::as_ptr(&task.spec.pattern))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert!(kinds.len() <= 15, "{} patterns of 160 tasks", kinds.len());
}
