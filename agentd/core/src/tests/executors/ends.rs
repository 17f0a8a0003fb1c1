//! Executors that end, or never are: given up, told to end, with a task that is killed, of a run that is not there.

use super::*;

#[test]
fn one_that_does_not_subscribe_is_given_up() {
    let mut bench = Bench::live();
    bench.give(&custom(), true, vec![given("a", &custom(), 1)], false);
    bench.pass(Duration::from_secs(300));
    assert_eq!(bench.heard(), ["launch e"], "fetching may take long");
    bench.holder_event("e", ContainerEvent::Started);
    bench.pass(Duration::from_secs(61));
    assert_eq!(bench.heard(), ["destroy"]);
    bench.holder_event("e", finished(Outcome::Signal(9)));
    let status = bench.last_status("a");
    assert_eq!(
        (status.state, status.reason),
        (TaskState::Failed, Some(Reason::ExecutorRegistrationTimeout))
    );
    assert_eq!(bench.ended(), [(1, 9)]);
}

#[test]
fn a_shutdown_is_said_then_forced() {
    let mut bench = running();
    bench.message(MasterToAgent::ShutdownExecutor {
        key: executor_key("e"),
    });
    assert_eq!(bench.heard(), ["1: SHUTDOWN"]);
    bench.give(&custom(), false, vec![given("late", &custom(), 5)], false);
    let late = bench.last_status("late");
    assert_eq!(
        (late.state, late.reason),
        (TaskState::Dropped, Some(Reason::ExecutorTerminated))
    );
    bench.subscribe("e", 2);
    assert_eq!(bench.heard(), ["2: SHUTDOWN", "2: closed"]);
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.heard(), ["destroy"]);
    bench.holder_event("e", finished(Outcome::Exit(1)));
    let status = bench.last_status("a");
    assert_eq!(
        (status.state, status.reason),
        (TaskState::Failed, Some(Reason::ExecutorTerminated))
    );
    assert_eq!(status.message, "Executor exited with status 1");
    assert_eq!(bench.ended(), [(1, 256)]);
    assert_eq!(resource_text::text(&bench.agent.used()), "");
}

#[test]
fn launches_for_runs_that_are_not_there() {
    let mut bench = Bench::live();
    bench.give(&custom(), false, vec![given("a", &custom(), 1)], false);
    assert_eq!(
        bench.last_status("a").reason,
        Some(Reason::ExecutorTerminated)
    );
    assert!(bench.ended().is_empty() && bench.heard().is_empty());
    let big = FrameworkExecutor {
        resources: resource_text::parse("cpus:9").expect("valid"),
        ..custom()
    };
    bench.give(&big, true, vec![given("b", &big, 2)], false);
    assert!(
        bench
            .last_status("b")
            .message
            .contains("The executor asks for cpus:9")
    );
    assert_eq!(bench.ended(), [(1, -1)], "the master counts it");
    bench.give(&custom(), true, vec![given("c", &custom(), 3)], false);
    let next = executor("e", ExecutorKind::Custom, 4);
    bench.give(&next, true, vec![given("d", &next, 4)], false);
    assert!(bench.last_status("d").message.contains("Another run"));
    assert_eq!(bench.ended(), [(1, -1), (4, -1)]);
}

#[test]
fn kills_reach_the_executor_or_end_what_it_does_not_have() {
    let mut bench = running();
    let kill = |task: &str, grace_ms| MasterToAgent::Kill {
        key: key(task),
        grace_ms,
    };
    bench.message(kill("a", None));
    assert_eq!(bench.heard(), ["1: KILL a None"]);
    bench.call("e", ExecutorCall::Lost { stream: 1 });
    bench.give(&custom(), false, vec![given("b", &custom(), 2)], false);
    bench.message(kill("a", Some(500)));
    assert!(bench.heard().is_empty(), "nobody listens");
    let mut again = subscription(2);
    if let ExecutorCall::Subscribe { tasks, .. } = &mut again {
        tasks.push(TaskId::new("a"));
    }
    bench.call("e", again);
    assert_eq!(
        bench.heard(),
        ["2: SUBSCRIBED", "2: LAUNCH b", "2: KILL a Some(500)"]
    );
    let other = executor("x", ExecutorKind::Custom, 7);
    bench.give(&other, true, vec![given("c", &other, 7)], false);
    bench.message(kill("c", None));
    assert_eq!(
        bench.last_status("c").reason,
        Some(Reason::TaskKilledDuringLaunch)
    );
    let phase = bench.agent.executor(&other.key).expect("known").phase;
    assert!(
        matches!(phase, ExecutorPhase::Terminating { .. }),
        "it never had a task"
    );
}
