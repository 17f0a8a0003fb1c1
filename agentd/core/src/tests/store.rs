//! A disk that is full, and a log that is replaced by its snapshot.

use super::*;
use nesos_wire::task::Reason;

#[test]
fn a_full_disk_fails_the_launch_and_nothing_else() {
    let mut bench = Bench::live();
    bench.run("old");
    bench.disk_is_full = true;
    bench.launch(spec("new", 1));
    let update = bench.last_update();
    assert_eq!(
        (update.status.state, update.status.reason),
        (TaskState::Failed, Some(Reason::ContainerLaunchFailed))
    );
    assert!(
        update
            .status
            .message
            .starts_with("cannot write the checkpoint: no space left"),
        "{}",
        update.status.message
    );
    assert!(
        !bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::Launch { spec, .. } if spec.key == key("new")))
    );
    bench.message(MasterToAgent::Ping { sequence: 3 });
    assert_eq!(
        bench.sent.last(),
        Some(&AgentToMaster::Pong { sequence: 3 })
    );
    assert_eq!(bench.drain("new"), [TaskState::Failed]);
}

#[test]
fn statuses_wait_for_the_disk() {
    let mut bench = Bench::live();
    bench.run("t");
    let head = bench.last_update();
    bench.disk_is_full = true;
    bench.finish("t", Outcome::Exit(0));
    bench.acknowledge(&head);
    bench.sent.clear();
    bench.pass(Duration::from_secs(60));
    assert!(
        bench.updates().is_empty(),
        "an unwritten status is not sent"
    );
    bench.disk_is_full = false;
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.last_update().status.state, TaskState::Running);
    assert_eq!(bench.drain("t"), [TaskState::Running, TaskState::Finished]);
}

#[test]
fn a_full_disk_does_not_stop_a_kill() {
    let mut bench = Bench::live();
    bench.run("t");
    bench.disk_is_full = true;
    bench.message(MasterToAgent::Kill {
        key: key("t"),
        grace_ms: None,
    });
    assert!(
        bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::Kill { .. }))
    );
}

#[test]
fn a_snapshot_replaces_the_log() {
    let mut bench = Bench::live();
    bench.run("running");
    bench.run("ended");
    let head = bench.last_update();
    bench.acknowledge(&head);
    bench.finish("ended", Outcome::Exit(1));
    bench.run("gone");
    bench.finish("gone", Outcome::Exit(0));
    bench.drain("gone");
    bench.run("killed");
    bench.message(MasterToAgent::Kill {
        key: key("killed"),
        grace_ms: None,
    });
    let snapshot = bench.agent.snapshot();
    let now = moment(bench.now);
    let from_log = Agent::recover(config(), Seed([7; 16]), bench.disk.clone(), now);
    let from_snapshot = Agent::recover(config(), Seed([7; 16]), snapshot.clone(), now);
    assert_eq!(from_log.snapshot(), snapshot);
    assert_eq!(from_snapshot.snapshot(), snapshot);
    assert!(snapshot.len() < bench.disk.len());
}
