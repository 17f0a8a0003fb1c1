//! Default executors: groups of held tasks that live and die together.

use super::executors::{executor, executor_key, given};
use super::*;
use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};

fn pod() -> FrameworkExecutor {
    let mut pod = executor("p", ExecutorKind::Default, 1);
    pod.command.environment = vec![("A".into(), "pod".into()), ("B".into(), "pod".into())];
    pod
}

/// A live agent with a group of `a` and `b` that run.
fn running() -> Bench {
    let mut bench = Bench::live();
    let mut first = given("a", &pod(), 1);
    first.command.environment = vec![("A".into(), "task".into())];
    bench.give(&pod(), true, vec![first, given("b", &pod(), 2)], true);
    for task in ["a", "b"] {
        bench.container_event(task, ContainerEvent::Started);
        bench.container_event(task, ContainerEvent::Running);
    }
    bench
}

fn kills(bench: &Bench) -> usize {
    bench
        .actions
        .iter()
        .filter(|action| matches!(action, Action::Kill { .. }))
        .count()
}

#[test]
fn each_task_has_a_container_inside_the_executors() {
    let bench = running();
    let around = bench
        .agent
        .executors()
        .next()
        .expect("one")
        .container
        .clone();
    let launched: Vec<_> = bench
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Launch { parent, spec, .. } => {
                Some((parent.clone(), spec.command.environment.clone()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(launched.len(), 2, "the executor has no process");
    assert!(
        launched
            .iter()
            .all(|(parent, _)| *parent == Some(around.clone()))
    );
    let environment: Vec<_> = launched[0]
        .1
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        environment,
        ["A=pod", "B=pod", "A=task"],
        "the task's own wins"
    );
    assert_eq!(resource_text::text(&bench.agent.used()), "cpus:1.5;mem:64");
    let status = bench.last_status("a");
    assert_eq!(status.executor, Some(ExecutorId::new("p")));
    assert_ne!(bench.container("a"), bench.container("b"));
    let nested = format!("{around}.{}", bench.container("a"));
    assert_eq!(status.container, Some(ContainerId::new(nested)));
}

#[test]
fn a_failure_takes_the_group_along_but_not_others() {
    let mut bench = running();
    bench.give(&pod(), false, vec![given("c", &pod(), 3)], true);
    bench.container_event("c", ContainerEvent::Running);
    bench.finish("a", Outcome::Exit(1));
    assert_eq!(kills(&bench), 1, "b, not c");
    bench.finish("b", Outcome::Signal(15));
    assert_eq!(kills(&bench), 1);
    assert_eq!(bench.drain("a").last(), Some(&TaskState::Failed));
    bench.reconnect();
    assert_eq!(bench.drain("b").last(), Some(&TaskState::Killed));
    assert_eq!(bench.agent.executors().count(), 1);
    bench.finish("c", Outcome::Exit(0));
    bench.reconnect();
    assert_eq!(
        bench.agent.executors().count(),
        1,
        "an end is not acknowledged yet"
    );
    bench.drain("c");
    assert_eq!(bench.agent.executors().count(), 0);
    assert_eq!(resource_text::text(&bench.agent.used()), "");
}

#[test]
fn one_that_finishes_leaves_the_others_alone() {
    let mut bench = running();
    bench.finish("a", Outcome::Exit(0));
    assert_eq!(kills(&bench), 0);
    bench.drain("a");
    assert_eq!(bench.agent.executors().count(), 1);
    bench.finish("b", Outcome::Exit(0));
    bench.sent.clear();
    bench.reconnect();
    bench.drain("b");
    assert_eq!(bench.agent.executors().count(), 0);
}

#[test]
fn a_kill_is_for_all_of_the_group() {
    let mut bench = running();
    let kill = MasterToAgent::Kill {
        key: key("b"),
        grace_ms: Some(10),
    };
    bench.message(kill);
    let graces: Vec<u32> = bench
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Kill { grace_ms, .. } => Some(*grace_ms),
            _ => None,
        })
        .collect();
    assert_eq!(
        graces,
        [10, 3000],
        "the others have their own grace periods"
    );
    bench.finish("a", Outcome::Signal(15));
    bench.finish("b", Outcome::Signal(15));
    assert_eq!(bench.drain("a").last(), Some(&TaskState::Killed));
}

#[test]
fn a_launch_that_fails_takes_the_group_along() {
    let mut bench = Bench::live();
    bench.give(
        &pod(),
        true,
        vec![given("a", &pod(), 1), given("b", &pod(), 2)],
        true,
    );
    bench.container_event(
        "a",
        ContainerEvent::LaunchFailed {
            message: "no".into(),
        },
    );
    let destroyed = |action: &Action| matches!(action, Action::Destroy { .. });
    assert!(
        bench.actions.iter().any(destroyed),
        "b is given up while it is launched"
    );
    bench.container_event(
        "b",
        ContainerEvent::LaunchFailed {
            message: "given up".into(),
        },
    );
    assert_eq!(bench.last_status("b").state, TaskState::Killed);
}

#[test]
fn pods_outlive_the_agent_and_end_when_told() {
    let mut bench = running();
    bench.restart(config());
    bench.connect();
    assert_eq!(
        (bench.hello().executors.len(), bench.hello().tasks.len()),
        (1, 2)
    );
    let adopted = bench
        .actions
        .iter()
        .filter(|action| matches!(action, Action::Adopt { .. }));
    assert_eq!(adopted.count(), 2);
    bench.message(MasterToAgent::ShutdownExecutor {
        key: executor_key("p"),
    });
    assert_eq!(kills(&bench), 2);
    bench.finish("a", Outcome::Signal(15));
    bench.finish("b", Outcome::Signal(15));
    assert_eq!(
        bench.agent.executors().count(),
        0,
        "it does not wait for acknowledgements"
    );
    assert_eq!(bench.ended(), [(1, 0)]);
    assert_eq!(bench.drain("a").last(), Some(&TaskState::Killed));
}

#[test]
fn a_group_that_cannot_be_stored_fails_as_a_whole() {
    let mut bench = Bench::live();
    bench.disk_is_full = true;
    bench.give(
        &pod(),
        true,
        vec![given("a", &pod(), 1), given("b", &pod(), 2)],
        true,
    );
    assert!(
        !bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::Launch { .. }))
    );
    for task in ["a", "b"] {
        assert!(bench.last_status(task).state.is_terminal());
        bench.drain(task);
    }
    bench.disk_is_full = false;
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.agent.executors().count(), 0);
    bench.restart(config());
    assert_eq!(
        (bench.agent.executors().count(), bench.agent.tasks().count()),
        (0, 0)
    );
}
