//! Launch, run, end, kill: what the framework is told.

use super::*;
use crate::{Limitation, Phase};
use nesos_wire::task::Reason;

#[test]
fn a_task_runs_and_every_status_is_checkpointed_before_it_is_sent() {
    let mut bench = Bench::live();
    bench.run("t");
    bench.finish("t", Outcome::Exit(0));
    assert_eq!(bench.updates().len(), 1, "only the head is in flight");
    assert_eq!(bench.last_update().latest, TaskState::Starting);
    let states = bench.drain("t");
    assert_eq!(
        states,
        [TaskState::Starting, TaskState::Running, TaskState::Finished]
    );
    let stored = bench
        .disk
        .iter()
        .filter(|record| matches!(record, Record::Updated { .. }))
        .count();
    assert_eq!(stored, 3);
    assert_eq!(
        bench.agent.tasks().count(),
        0,
        "the acknowledged terminal status frees the record"
    );
    assert!(matches!(bench.actions.last(), Some(Action::Release { .. })));
}

#[test]
fn ends_are_told_in_words() {
    let mut bench = Bench::live();
    let cases = [
        (
            Outcome::Exit(3),
            TaskState::Failed,
            "Command exited with status 3",
            None,
        ),
        (
            Outcome::Signal(9),
            TaskState::Failed,
            "Command terminated by signal SIGKILL",
            None,
        ),
        (
            Outcome::NotStarted("no such file".into()),
            TaskState::Failed,
            "no such file",
            Some(Reason::ContainerLaunchFailed),
        ),
    ];
    for (number, (outcome, state, message, reason)) in cases.into_iter().enumerate() {
        let task = format!("t{number}");
        bench.run(&task);
        bench.finish(&task, outcome);
        let view = bench
            .agent
            .tasks()
            .find(|view| view.spec.key == key(&task))
            .expect("unacknowledged");
        let status = view.status.expect("ended");
        assert_eq!(
            (status.state, status.message.as_str(), status.reason),
            (state, message, reason)
        );
        bench.drain(&task);
    }
}

#[test]
fn memory_is_a_limitation() {
    let mut bench = Bench::live();
    bench.run("t");
    let record = ExitRecord {
        outcome: Outcome::Signal(9),
        kill_requested: false,
        at_ms: 0,
    };
    let limitation = Some(Limitation::Memory {
        limit: 32 << 20,
        peak: 32 << 20,
    });
    bench.container_event("t", ContainerEvent::Finished(Finish { record, limitation }));
    let view = bench.agent.tasks().next().expect("unacknowledged");
    let status = view.status.expect("ended");
    assert_eq!(
        (status.state, status.reason),
        (TaskState::Failed, Some(Reason::ContainerLimitationMemory))
    );
}

#[test]
fn a_fast_task_still_tells_that_it_ran() {
    let mut bench = Bench::live();
    bench.launch(spec("t", 1));
    bench.finish("t", Outcome::Exit(0));
    assert_eq!(
        bench.drain("t"),
        [TaskState::Starting, TaskState::Running, TaskState::Finished]
    );
}

#[test]
fn repeated_and_older_launches_are_ignored() {
    let mut bench = Bench::live();
    bench.launch(spec("t", 5));
    let launches = |bench: &Bench| {
        bench
            .actions
            .iter()
            .filter(|a| matches!(a, Action::Launch { .. }))
            .count()
    };
    for attempt in [5, 4] {
        bench.launch(spec("t", attempt));
        assert_eq!(launches(&bench), 1);
    }
    bench.finish("t", Outcome::Exit(0));
    bench.drain("t");
    bench.launch(spec("t", 5));
    assert_eq!(
        launches(&bench),
        1,
        "an attempt that is over is not run again"
    );
    bench.restart(config());
    bench.connect();
    bench.launch(spec("t", 5));
    assert_eq!(launches(&bench), 0, "nor after a restart");
    bench.launch(spec("t", 6));
    assert_eq!(launches(&bench), 1, "the id may be used again");
}

#[test]
fn a_running_task_is_not_replaced() {
    let mut bench = Bench::live();
    bench.run("t");
    bench.launch(spec("t", 2));
    let update = bench.last_update();
    assert_eq!(
        (update.status.state, update.status.uuid),
        (TaskState::Error, None)
    );
}

#[test]
fn more_than_there_is_is_refused() {
    let mut bench = Bench::live();
    let mut large = spec("large", 1);
    large.resources = resource_text::parse("cpus:4.1").expect("valid");
    bench.launch(large);
    let update = bench.last_update();
    assert_eq!(
        (update.status.state, update.status.reason),
        (TaskState::Dropped, Some(Reason::InvalidOffers))
    );
    assert!(
        !bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::Launch { .. }))
    );
    bench.pass(crate::RETRY_FIRST);
    assert_eq!(
        bench.updates().len(),
        2,
        "the refusal is repeated until acknowledged"
    );
    assert_eq!(bench.drain("large"), [TaskState::Dropped]);
}

#[test]
fn a_hello_always_fits_into_a_frame() {
    let mut bench = Bench::live();
    for number in 0..200 {
        let mut task = spec(&format!("t{number}"), 1);
        task.resources = resource_text::parse("cpus:0.001").expect("valid");
        task.info = vec![0; 100_000];
        bench.launch(task);
    }
    let update = bench.last_update();
    assert_eq!(
        (update.status.state, update.status.uuid),
        (TaskState::Dropped, None)
    );
    bench.reconnect();
    let hello = bench.hello();
    assert!(hello.tasks.len() > 20);
    assert!(nesos_wire::frame::encode(&AgentToMaster::Hello(hello)).is_ok());
}

#[test]
fn resources_are_free_only_when_the_container_is_gone() {
    let mut bench = Bench::live();
    for task in ["a", "b", "c", "d"] {
        bench.run(task);
    }
    bench.message(MasterToAgent::Kill {
        key: key("a"),
        grace_ms: None,
    });
    bench.launch(spec("e", 1));
    assert_eq!(bench.last_update().status.state, TaskState::Dropped);
    bench.finish("a", Outcome::Signal(15));
    bench.launch(spec("f", 1));
    assert!(matches!(bench.actions.last(), Some(Action::Launch { .. })));
}

#[test]
fn a_kill_tells_killing_then_killed_and_passes_the_grace_period_on() {
    let mut bench = Bench::live();
    bench.run("t");
    bench.message(MasterToAgent::Kill {
        key: key("t"),
        grace_ms: Some(700),
    });
    assert!(matches!(
        bench.actions.last(),
        Some(Action::Kill { grace_ms: 700, .. })
    ));
    bench.message(MasterToAgent::Kill {
        key: key("t"),
        grace_ms: Some(100),
    });
    assert!(matches!(
        bench.actions.last(),
        Some(Action::Kill { grace_ms: 100, .. })
    ));
    bench.finish("t", Outcome::Exit(0));
    assert_eq!(
        bench.drain("t"),
        [
            TaskState::Starting,
            TaskState::Running,
            TaskState::Killing,
            TaskState::Killed
        ]
    );
}

#[test]
fn a_helper_that_does_not_answer_is_destroyed() {
    let mut bench = Bench::live();
    bench.run("t");
    bench.message(MasterToAgent::Kill {
        key: key("t"),
        grace_ms: Some(0),
    });
    bench.pass(Duration::from_secs(6));
    assert!(matches!(bench.actions.last(), Some(Action::Destroy { .. })));
}

#[test]
fn a_kill_before_the_start_gives_up_the_launch() {
    let mut bench = Bench::live();
    bench.launch(spec("t", 1));
    bench.message(MasterToAgent::Kill {
        key: key("t"),
        grace_ms: None,
    });
    assert!(matches!(bench.actions.last(), Some(Action::Destroy { .. })));
    assert!(
        bench.updates().is_empty(),
        "not before the container is gone"
    );
    bench.container_event(
        "t",
        ContainerEvent::LaunchFailed {
            message: "given up".into(),
        },
    );
    let update = bench.last_update();
    assert_eq!(
        (update.status.state, update.status.reason),
        (TaskState::Killed, Some(Reason::TaskKilledDuringLaunch))
    );
}

#[test]
fn unknown_tasks_are_lost_or_gone() {
    let mut bench = Bench::live();
    bench.message(MasterToAgent::Kill {
        key: key("x"),
        grace_ms: None,
    });
    let status = bench.last_update().status;
    assert_eq!(
        (status.state, status.reason),
        (TaskState::Lost, Some(Reason::ExecutorTerminated))
    );
    bench.run("kin");
    bench.message(MasterToAgent::Kill {
        key: key("x"),
        grace_ms: None,
    });
    assert_eq!(bench.last_update().status.state, TaskState::Gone);
}

#[test]
fn a_gone_framework_is_silenced() {
    let mut bench = Bench::live();
    bench.run("t");
    bench.sent.clear();
    bench.message(MasterToAgent::ShutdownFramework {
        framework: FrameworkId::new("f"),
    });
    bench.finish("t", Outcome::Signal(15));
    assert!(bench.updates().is_empty());
    assert_eq!(bench.agent.tasks().count(), 0);
}

#[test]
fn a_restarted_agent_adopts_its_tasks() {
    let mut bench = Bench::live();
    bench.run("t");
    let container = bench.container("t");
    bench.restart(config());
    assert!(bench.actions.iter().any(|action| matches!(action, Action::Adopt { container: c, rebooted: false, .. } if *c == container)));
    bench.container_event("t", ContainerEvent::Running);
    bench.connect();
    assert_eq!(bench.hello().tasks.len(), 1);
    assert_eq!(bench.hello().agent, Some(AgentId::new("m-S1")));
    bench.finish("t", Outcome::Exit(0));
    assert_eq!(
        bench.drain("t"),
        [TaskState::Starting, TaskState::Running, TaskState::Finished]
    );
}

#[test]
fn a_kill_survives_the_restart() {
    let mut bench = Bench::live();
    bench.run("t");
    bench.message(MasterToAgent::Kill {
        key: key("t"),
        grace_ms: Some(900),
    });
    bench.restart(config());
    assert!(
        bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::Kill { grace_ms: 900, .. }))
    );
    bench.connect();
    bench.finish("t", Outcome::Exit(0));
    assert_eq!(bench.drain("t").last(), Some(&TaskState::Killed));
}

#[test]
fn a_reboot_loses_tasks_as_the_framework_can_bear() {
    for (partition_aware, state) in [(true, TaskState::Gone), (false, TaskState::Lost)] {
        let mut bench = Bench::live();
        bench.launch(TaskSpec {
            partition_aware,
            ..spec("t", 1)
        });
        bench.container_event("t", ContainerEvent::Started);
        bench.container_event("t", ContainerEvent::Running);
        bench.restart(Config {
            boot_id: "boot-2".into(),
            ..config()
        });
        assert!(
            bench
                .actions
                .iter()
                .any(|action| matches!(action, Action::Adopt { rebooted: true, .. }))
        );
        bench.container_event("t", ContainerEvent::Vanished);
        bench.connect();
        let view = bench.agent.tasks().next().expect("unacknowledged");
        assert_eq!((view.phase, view.latest), (Phase::Ended, state));
        assert_eq!(
            view.status.and_then(|status| status.reason),
            Some(Reason::AgentRestarted)
        );
    }
}

#[test]
fn shutdown_kills_then_says_goodbye() {
    let mut bench = Bench::live();
    bench.run("t");
    bench.event(Event::Shutdown);
    assert!(matches!(bench.actions.last(), Some(Action::Kill { .. })));
    assert!(!bench.sent.contains(&AgentToMaster::Goodbye));
    bench.finish("t", Outcome::Signal(15));
    assert_eq!(bench.sent.last(), Some(&AgentToMaster::Goodbye));
    assert_eq!(bench.actions.last(), Some(&Action::Stop));
    assert_eq!(bench.last_update().status.state, TaskState::Killed);
}
