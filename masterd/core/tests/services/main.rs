//! Services and jobs, with a real master and boards that obey: what operators see, and what is left after everything went wrong.
#![allow(clippy::unwrap_used)]

mod faults;
mod jobs;
mod world;

use std::collections::BTreeSet;

use masterd_core::builtin::{Constraint, FRAMEWORK, Rule, ServiceError, Told};
use nesos_base::time::Duration;
use nesos_wire::task::TaskState;
use nesos_wire::{FrameworkId, TaskId};
use world::{World, facts, is_of};

fn tasks(world: &World, service: &str) -> BTreeSet<TaskId> {
    let running = world.running().into_iter().map(|(_, key)| key.task);
    running.filter(|task| is_of(task, service)).collect()
}

fn ended(world: &World) -> Vec<(String, bool)> {
    let ended = world.told.iter().filter_map(|told| match told {
        Told::Ended {
            deployment,
            is_success,
        } => Some((deployment.id.clone(), *is_success)),
        _ => None,
    });
    ended.collect()
}

#[test]
fn without_services_there_is_no_framework_and_nothing_is_written() {
    let mut world = World::new(1);
    world.pass(100);
    assert_eq!(world.master.frameworks().count(), 0);
    assert!(world.put("/a", facts(1), true));
    assert!(
        world
            .master
            .framework(&FrameworkId::new(FRAMEWORK))
            .is_some()
    );
    world.pass(1);
    let kept = world.registry.clone();
    world.pass(1000);
    assert_eq!(world.registry, kept);
}

#[test]
fn instances_are_spread_and_have_ports_of_their_own() {
    let mut world = World::new(3);
    assert!(world.put("/web/front", facts(6), true));
    let per_board: Vec<usize> = world.boards.iter().map(|board| board.tasks.len()).collect();
    assert_eq!(per_board, [2, 2, 2]);
    assert_eq!(ended(&world), [("d1".to_owned(), true)]);
    let ports = world.builtin.instances_of("/web/front");
    let ports: BTreeSet<_> = ports
        .map(|one| (one.record.agent.clone(), one.record.ports.clone()))
        .collect();
    assert_eq!(ports.len(), 6);
}

#[test]
fn scaling_keeps_what_runs_and_a_change_replaces_it() {
    let mut world = World::new(3);
    assert!(world.put("/web", facts(3), true));
    let first = tasks(&world, "/web");
    assert!(world.put("/web", facts(5), false));
    let more = tasks(&world, "/web");
    assert!(first.is_subset(&more) && more.len() == 5);
    assert!(world.put("/web", facts(2), false));
    assert!(tasks(&world, "/web").is_subset(&more) && tasks(&world, "/web").len() == 2);
    assert!(world.put("/web", facts(2), true));
    assert!(tasks(&world, "/web").is_disjoint(&more) && tasks(&world, "/web").len() == 2);
    let successes = ended(&world).iter().filter(|(_, success)| *success).count();
    assert_eq!(successes, 4);
}

#[test]
fn what_is_new_must_be_ready_before_what_is_old_goes() {
    let mut world = World::new(3);
    assert!(world.put("/web", facts(4), true));
    let old = tasks(&world, "/web");
    world.starts = false;
    assert!(world.put("/web", facts(4), true));
    world.pass(30);
    let all = tasks(&world, "/web");
    assert!(old.is_subset(&all) && all.len() == 8);
    for (board, key) in world.running() {
        if !old.contains(&key.task) {
            world.turn(board, &key, TaskState::Running);
            world.pass(1);
            assert!(tasks(&world, "/web").len() >= 4);
        }
    }
    assert!(tasks(&world, "/web").is_disjoint(&old));
    assert_eq!(ended(&world).len(), 2);
}

#[test]
fn who_has_health_checks_is_ready_when_they_say_so() {
    let mut world = World::new(1);
    let checked = masterd_core::builtin::ServiceFacts {
        is_checked: true,
        ..facts(1)
    };
    assert!(world.put("/web", checked, true));
    world.pass(5);
    assert_eq!(ended(&world), []);
    let (board, key) = world.running().remove(0);
    world.turn_as(board, &key, TaskState::Running, Some(true));
    world.pass(1);
    assert_eq!(ended(&world), [("d1".to_owned(), true)]);
    let alive = |told: &&Told| matches!(told, Told::Health { is_alive: true, .. });
    assert_eq!(world.told.iter().filter(alive).count(), 1);
}

#[test]
fn what_fails_is_started_again_more_and_more_slowly() {
    let mut world = World::new(1);
    assert!(world.put("/web", facts(1), true));
    let mut starts = Vec::new();
    let mut known = BTreeSet::new();
    for second in 0..60 {
        for (board, key) in world.running() {
            if known.insert(key.task.clone()) {
                starts.push(second);
            }
            world.turn(board, &key, TaskState::Failed);
        }
        world.pass(1);
    }
    let gaps: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        gaps.len() < 12 && gaps.windows(2).all(|pair| pair[0] <= pair[1]),
        "{gaps:?}"
    );
    let failure = world
        .builtin
        .service("/web")
        .unwrap()
        .last_failure
        .clone()
        .unwrap();
    assert_eq!(failure.state, TaskState::Failed);
}

#[test]
fn a_lost_board_is_replaced_and_its_tasks_are_killed_when_it_returns() {
    let mut world = World::new(2);
    assert!(world.put("/web", facts(2), true));
    let lost = world.boards[0].tasks.keys().next().unwrap().task.clone();
    world.disconnect(0);
    world.pass(1000);
    assert_eq!(world.boards[1].tasks.len(), 2);
    world.connect(0);
    world.pass(30);
    assert!(!tasks(&world, "/web").contains(&lost));
    assert_eq!(tasks(&world, "/web").len(), 2);
}

#[test]
fn a_new_leader_knows_what_runs_and_goes_on_with_what_was_begun() {
    let mut world = World::new(2);
    assert!(world.put("/web", facts(2), true));
    let before = tasks(&world, "/web");
    world.starts = false;
    assert!(world.put("/web", facts(4), false));
    world.crash_master();
    world.pass(5);
    (0..2).for_each(|board| world.connect(board));
    world.pass(30);
    assert!(before.is_subset(&tasks(&world, "/web")));
    assert_eq!(tasks(&world, "/web").len(), 4, "nothing is started twice");
    for (board, key) in world.running() {
        world.turn(board, &key, TaskState::Running);
    }
    world.pass(60);
    let (id, success) = ended(&world).pop().unwrap();
    assert_eq!((id.as_str(), success), ("d2", true));
    assert_eq!(tasks(&world, "/web").len(), 4);
}

#[test]
fn rules_about_places_are_kept() {
    let mut world = World::new(2);
    let mut unique = facts(3);
    unique.need.constraints.push(Constraint {
        field: "hostname".into(),
        rule: Rule::Unique,
    });
    assert!(world.put("/web", unique, true));
    world.pass(60);
    let per_board: Vec<usize> = world.boards.iter().map(|board| board.tasks.len()).collect();
    assert_eq!(per_board, [1, 1]);
    let waiting = world.builtin.service("/web").unwrap();
    assert!(waiting.waiting == 1 && waiting.unused_offers > 0);
}

#[test]
fn what_is_needed_comes_first_and_circles_are_refused() {
    let mut world = World::new(1);
    world.starts = false;
    assert!(world.put("/db", facts(1), true));
    let mut web = facts(1);
    web.depends_on.insert("/db".into());
    assert!(world.put("/web", web, true));
    world.pass(10);
    assert_eq!(tasks(&world, "/web").len(), 0);
    let (board, key) = world.running().remove(0);
    world.turn(board, &key, TaskState::Running);
    world.pass(1);
    assert_eq!(tasks(&world, "/web").len(), 1);
    let mut db = facts(1);
    db.depends_on.insert("/web".into());
    assert!(!world.put("/db", db, true));
}

#[test]
fn deployments_lock_and_can_be_given_up() {
    let mut world = World::new(1);
    world.starts = false;
    assert!(world.put("/web", facts(1), true));
    let moment = world.moment();
    let locked = world.builtin.restart_service("/web", "x", false, moment);
    assert_eq!(
        locked,
        Err(ServiceError::Locked("/web".into(), "d1".into()))
    );
    world.builtin.give_up_deployment("d1", moment).unwrap();
    world.settle();
    assert_eq!(ended(&world), [("d1".to_owned(), false)]);
    let missing = world.builtin.give_up_deployment("d1", moment);
    assert_eq!(missing, Err(ServiceError::NoDeployment("d1".into())));
    assert!(
        world
            .builtin
            .restart_service("/web", "x", false, moment)
            .is_ok()
    );
}

#[test]
fn what_is_removed_ends_and_is_forgotten() {
    let mut world = World::new(2);
    assert!(world.put("/web", facts(3), true));
    world.remove("/web");
    world.pass(1);
    assert_eq!(world.running(), []);
    assert!(ended(&world).iter().all(|(_, success)| *success) && ended(&world).len() == 2);
    assert_eq!(
        world.registry.instances().count() + world.registry.services().count(),
        0
    );
}

#[test]
fn who_is_killed_by_hand_is_replaced_at_once() {
    let mut world = World::new(1);
    assert!(world.put("/web", facts(1), true));
    let before = tasks(&world, "/web");
    let moment = world.moment();
    let victim: Vec<TaskId> = before.iter().cloned().collect();
    world.builtin.kill_instances(&victim, moment);
    world.settle();
    assert!(tasks(&world, "/web").is_disjoint(&before) && tasks(&world, "/web").len() == 1);
    let service = world.builtin.service("/web").unwrap();
    assert_eq!(world.builtin.delay(service, world.now), None::<Duration>);
}

#[test]
fn what_cannot_be_reached_does_not_hold_a_removal_up() {
    let mut world = World::new(1);
    let waits = masterd_core::builtin::ServiceFacts {
        inactive_after: None,
        expunge_after: None,
        ..facts(1)
    };
    assert!(world.put("/web", waits, true));
    world.disconnect(0);
    world.pass(1000);
    assert_eq!(world.registry.instances().count(), 1, "it is waited for");
    world.remove("/web");
    world.pass(1);
    assert_eq!(world.registry.instances().count(), 0);
    assert_eq!(
        ended(&world),
        [("d1".to_owned(), true), ("d2".to_owned(), true)]
    );
    world.connect(0);
    world.pass(700);
    assert_eq!(world.running(), [], "what comes back is ended");
}

#[test]
fn who_was_found_ill_is_not_started_again_at_once() {
    let mut world = World::new(1);
    let checked = masterd_core::builtin::ServiceFacts {
        is_checked: true,
        ..facts(1)
    };
    assert!(world.put("/web", checked, true));
    let (board, key) = world.running().remove(0);
    // As the agent ends it.
    world.turn_as(board, &key, TaskState::Killed, Some(false));
    world.settle();
    let service = world.builtin.service("/web").unwrap();
    assert_eq!(
        world.builtin.delay(service, world.now),
        Some(Duration::from_secs(1))
    );
    world.pass(2);
    assert_eq!(tasks(&world, "/web").len(), 1);
}

#[test]
fn thousands_are_spread_evenly() {
    let mut world = World::new(100);
    let mut many = facts(3000);
    many.need.ports.clear();
    assert!(world.put("/web", many, true));
    let per_board: BTreeSet<usize> = world.boards.iter().map(|one| one.tasks.len()).collect();
    assert_eq!(per_board, BTreeSet::from([30]));
}
