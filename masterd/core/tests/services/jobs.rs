//! Jobs with a real master and boards: they run when they are due, and what is counted survives a master.

use masterd_core::builtin::jobs::{EPSILON_MS, JobFacts, Past, Schedule, Trigger};
use masterd_core::builtin::{Need, ServiceFacts};
use nesos_wire::task::TaskState;

use crate::world::{World, facts};

/// A job of a tenth of a cpu that starts as the text says.
fn job(world: &World, schedule: &str) -> JobFacts {
    let ServiceFacts { need, .. } = facts(1);
    JobFacts {
        trigger: Trigger::Schedule(Schedule::parse(schedule, "", world.moment().wall).unwrap()),
        retries: 1,
        disabled: false,
        concurrent: false,
        soft_error: false,
        epsilon_ms: EPSILON_MS,
        longest_ms: None,
        need: Need {
            ports: Vec::new(),
            ..need
        },
        past: Past::default(),
    }
}

/// Ends what runs; how much that was.
fn end_all(world: &mut World, state: TaskState) -> usize {
    let running = world.running();
    for (board, key) in &running {
        world.turn(*board, key, state);
    }
    running.len()
}

#[test]
fn a_job_runs_as_often_as_it_is_to_and_its_ends_are_counted() {
    let mut world = World::new(2);
    let twice = job(&world, "R2//PT5S");
    world.put_job("backup", twice);
    let mut ends = 0;
    for _ in 0..60 {
        ends += end_all(&mut world, TaskState::Finished);
        world.pass(1);
    }
    assert_eq!(ends, 2);
    let progress = &world.registry.jobs().next().unwrap().progress;
    assert_eq!((progress.successes, progress.errors), (2, 0));
    assert_eq!(world.registry.instances().count(), 0);
}

#[test]
fn a_failed_run_is_tried_again_and_then_is_an_error() {
    let mut world = World::new(1);
    let once = job(&world, "R1//PT5S");
    world.put_job("backup", once);
    let mut ends = 0;
    for _ in 0..120 {
        ends += end_all(&mut world, TaskState::Failed);
        world.pass(1);
    }
    assert_eq!(ends, 2);
    let progress = &world.registry.jobs().next().unwrap().progress;
    assert_eq!((progress.successes, progress.errors), (0, 1));
}

#[test]
fn a_run_goes_on_under_another_master_and_counts_there() {
    let mut world = World::new(1);
    let once = job(&world, "R1//PT5S");
    world.put_job("backup", once);
    world.pass(1);
    let before = world.running();
    assert_eq!(before.len(), 1);
    world.crash_master();
    world.connect(0);
    world.pass(30);
    assert_eq!(world.running(), before);
    end_all(&mut world, TaskState::Finished);
    world.pass(1);
    let progress = &world.registry.jobs().next().unwrap().progress;
    assert_eq!(progress.successes, 1);
}

#[test]
fn a_run_that_is_lost_with_its_board_is_tried_again_elsewhere() {
    let mut world = World::new(2);
    let once = job(&world, "R1//PT5S");
    world.put_job("backup", once);
    world.pass(1);
    let (board, key) = world.running().remove(0);
    world.disconnect(board);
    world.pass(300);
    let elsewhere = world.boards[1 - board].tasks.keys().next().unwrap().clone();
    assert_ne!(elsewhere, key);
    world.connect(board);
    world.pass(10);
    let running: Vec<_> = world.running().into_iter().map(|(_, key)| key).collect();
    assert_eq!(running, [elsewhere], "what comes back is ended");
}
