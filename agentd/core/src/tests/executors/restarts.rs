//! Executors over restarts of the agent and the board, on a full disk, and at the end of their framework.

use super::*;

#[test]
fn after_a_restart_it_returns_with_what_it_knows() {
    let mut bench = running();
    bench.give(
        &custom(),
        false,
        vec![given("b", &custom(), 2), given("c", &custom(), 3)],
        false,
    );
    bench.restart(config());
    bench.connect();
    let view = bench.agent.executor(&executor_key("e")).expect("known");
    assert!(matches!(view.phase, ExecutorPhase::Returning { .. }));
    assert_eq!(bench.hello().executors.len(), 1);
    let call = ExecutorCall::Subscribe {
        stream: 1,
        tasks: vec![TaskId::new("b")],
        updates: vec![
            (TaskId::new("a"), says(TaskState::Running, 1)),
            (TaskId::new("b"), says(TaskState::Running, 2)),
        ],
    };
    bench.call("e", call);
    assert_eq!(
        bench.heard(),
        [
            "1: SUBSCRIBED",
            "1: ACKNOWLEDGED a 1",
            "1: ACKNOWLEDGED b 2"
        ]
    );
    let lost = bench.last_status("c");
    assert_eq!(
        (lost.state, lost.reason),
        (TaskState::Dropped, Some(Reason::AgentRestarted))
    );
    assert_eq!(bench.drain("a"), [TaskState::Running]);
    bench.restart(config());
    bench.subscribe("e", 1);
    bench.says("e", "a", TaskState::Running, 1);
    assert_eq!(
        bench
            .agent
            .tasks()
            .filter(|view| view.spec.key == key("a"))
            .map(|view| view.statuses().count())
            .sum::<usize>(),
        1
    );
}

#[test]
fn one_that_does_not_return_is_ended() {
    let mut bench = running();
    bench.restart(config());
    bench.connect();
    bench.pass(Duration::from_secs(16));
    assert_eq!(bench.heard(), ["destroy"]);
    bench.holder_event("e", finished(Outcome::Signal(9)));
    let status = bench.last_status("a");
    assert_eq!(
        (status.state, status.reason),
        (TaskState::Gone, Some(Reason::ExecutorReregistrationTimeout))
    );
}

#[test]
fn tasks_that_it_cannot_have_wait_over_a_restart() {
    let mut bench = Bench::live();
    bench.give(&custom(), true, vec![given("a", &custom(), 1)], false);
    bench.restart(config());
    bench.subscribe("e", 1);
    assert_eq!(bench.heard(), ["1: SUBSCRIBED", "1: LAUNCH a"]);
    bench.message(MasterToAgent::ShutdownExecutor {
        key: executor_key("e"),
    });
    bench.connect();
    bench.message(MasterToAgent::ShutdownExecutor {
        key: executor_key("e"),
    });
    bench.restart(config());
    bench.subscribe("e", 1);
    assert_eq!(
        bench.heard(),
        ["1: SHUTDOWN", "1: closed"],
        "its shutdown is remembered"
    );
}

#[test]
fn what_cannot_be_checkpointed_is_not_started() {
    let mut bench = Bench::live();
    bench.disk_is_full = true;
    bench.give(&custom(), true, vec![given("a", &custom(), 1)], false);
    assert!(bench.heard().is_empty());
    assert_eq!(
        bench.last_status("a").reason,
        Some(Reason::ContainerLaunchFailed)
    );
    assert_eq!(
        (bench.agent.executors().count(), bench.ended()),
        (0, vec![(1, -1)])
    );
    let mut bench = running();
    bench.disk_is_full = true;
    bench.give(&custom(), false, vec![given("b", &custom(), 2)], false);
    assert!(bench.heard().is_empty(), "it never hears of the task");
    assert_eq!(
        bench.last_status("b").reason,
        Some(Reason::ContainerLaunchFailed)
    );
    assert_eq!(bench.agent.executors().count(), 1);
}

#[test]
fn a_gone_framework_takes_its_executors_along_in_silence() {
    let mut bench = running();
    bench.sent.clear();
    bench.message(MasterToAgent::ShutdownFramework {
        framework: FrameworkId::new("f"),
    });
    assert_eq!(bench.heard(), ["1: SHUTDOWN"]);
    bench.says("e", "a", TaskState::Killed, 2);
    bench.holder_event("e", finished(Outcome::Exit(0)));
    assert_eq!(
        (bench.agent.tasks().count(), bench.agent.executors().count()),
        (0, 0)
    );
    assert!(bench.updates().is_empty());
}

#[test]
fn the_agents_own_end_is_theirs() {
    let mut bench = running();
    bench.event(Event::Shutdown);
    assert_eq!(bench.heard(), ["1: SHUTDOWN"]);
    bench.holder_event("e", finished(Outcome::Exit(0)));
    assert!(matches!(bench.actions.last(), Some(Action::Stop)));
}

#[test]
fn a_rebooted_board_has_no_executors() {
    let mut bench = running();
    bench.restart(Config {
        boot_id: "boot-2".into(),
        ..config()
    });
    bench.holder_event("e", ContainerEvent::Vanished);
    assert_eq!(bench.last_status("a").state, TaskState::Gone);
    assert_eq!(bench.agent.executors().count(), 0);
    bench.restart(config());
    assert_eq!(bench.agent.executors().count(), 0);
}
