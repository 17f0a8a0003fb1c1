//! A shared volume in several offers of one ACCEPT, and what of it can be used after it was destroyed.
//!
//! Drives the public interface event by event; scripts have no words for volumes in offers.
#![allow(clippy::unwrap_used)]

mod bench;

use bench::{Bench, config, task};
use masterd_core::{
    Call, Change, Convert, Event, FrameworkEvent, LaunchTask, LinkId, Operation, Ready,
};
use nesos_wire::message::{AgentToMaster, MasterToAgent, TaskUpdate};
use nesos_wire::operation::OperationState;
use nesos_wire::resource::{Disk, Reservation, Resources, Terms, Volume};
use nesos_wire::task::{Source, TaskState, TaskStatus};
use nesos_wire::{AgentId, FrameworkId, OfferId, TaskId, TaskKey, Uuid, resource_text};

/// 10 MB of disk of everybody's, shared.
fn volume() -> Resources {
    let terms = Terms {
        reservations: vec![Reservation::dynamic("r", None)],
        disk: Some(Disk {
            volume: Some(Volume {
                id: "v".to_owned(),
                principal: None,
                container_path: "data".to_owned(),
                is_read_only: false,
            }),
            ..Disk::default()
        }),
        is_shared: true,
        ..Terms::default()
    };
    let disk = resource_text::parse("disk:10").unwrap();
    let entries = disk.entries().iter();
    entries.map(|entry| entry.under(terms.clone())).collect()
}

fn with_volume(text: &str) -> Resources {
    let mut all = resource_text::parse(text).unwrap();
    all.add(&volume());
    all
}

fn accept(bench: &mut Bench, offers: &[OfferId], operations: Vec<Operation>) -> Ready {
    bench.call(
        1,
        Call::Accept {
            offers: offers.to_vec(),
            operations,
            refuse_seconds: Some(0.0),
        },
    )
}

fn offered(ready: &Ready) -> Vec<(OfferId, Resources)> {
    let events = ready.to_frameworks.iter();
    let offers = events.filter_map(|(_, event)| match event {
        FrameworkEvent::Offers(offers) => Some(offers),
        _ => None,
    });
    let offers = offers.flatten();
    offers
        .map(|offer| (offer.id.clone(), offer.resources.clone()))
        .collect()
}

/// A task that ends by itself, so that what it used is free.
fn finish(bench: &mut Bench, id: &str) -> Ready {
    let status = TaskStatus {
        state: TaskState::Finished,
        source: Source::Executor,
        reason: None,
        message: String::new(),
        timestamp: 0.0,
        uuid: Some(Uuid([9; 16])),
        agent: Some(AgentId::new("m-S0")),
        executor: None,
        container: None,
        healthy: None,
        check: None,
        data: Vec::new(),
        unreachable_time: None,
        extra: Vec::new(),
    };
    let key = TaskKey {
        framework: FrameworkId::new("m-0000"),
        task: TaskId::new(id),
    };
    let latest = TaskState::Finished;
    let message = AgentToMaster::Update(TaskUpdate {
        key,
        status,
        latest,
    });
    let link = LinkId(1);
    bench.step(Event::AgentMessage { link, message })
}

/// DESTROY, then a task that wants the volume.
fn destroy_and_use() -> Vec<Operation> {
    let destroy = Operation::Convert(Box::new(Convert {
        id: Some("gone".to_owned()),
        role: None,
        change: Change::Destroy(volume()),
        info: Vec::new(),
        invalid: None,
    }));
    let user = LaunchTask {
        resources: with_volume("cpus:1;mem:32"),
        ..task("t2")
    };
    vec![destroy, Operation::Launch(vec![user])]
}

/// Two offers of one agent, each with the volume.
fn two_offers(bench: &mut Bench) -> Vec<OfferId> {
    bench.hello(1, |hello| hello.resources = with_volume("cpus:2;mem:64"));
    let ready = bench.subscribe_as(1, None, |facts| {
        facts.roles = vec!["r".to_owned()];
        facts.capabilities = vec!["SHARED_RESOURCES".to_owned()];
    });
    let [(first, all)] = offered(&ready).try_into().unwrap();
    assert_eq!(all, with_volume("cpus:2;mem:64"));
    let ready = accept(bench, &[first], vec![Operation::Launch(vec![task("t1")])]);
    let mut offers = offered(&ready);
    offers.extend(offered(&finish(bench, "t1")));
    let volume = volume();
    assert!(
        offers
            .iter()
            .all(|(_, resources)| resources.contains(&volume))
    );
    assert_eq!(offers.len(), 2, "{offers:?}");
    offers.into_iter().map(|(id, _)| id).collect()
}

#[test]
fn one_of_which_the_offers_hold_further_copies_is_not_destroyed() {
    let mut bench = Bench::new(config());
    let offers = two_offers(&mut bench);
    let ready = accept(&mut bench, &offers, destroy_and_use());
    let told = ready
        .to_frameworks
        .iter()
        .find_map(|(_, event)| match event {
            FrameworkEvent::Operation(update) => Some(&update.status),
            _ => None,
        });
    let told = told.unwrap();
    assert_eq!(told.state, OperationState::Error);
    assert!(told.message.contains("further copies"), "{}", told.message);
    // It is still there, so the task has it.
    assert!(
        bench
            .master
            .agents()
            .all(|agent| agent.resources.contains(&volume()))
    );
    let messages = ready.to_agents.iter();
    let launches = messages.filter(|(_, message)| matches!(message, MasterToAgent::Launch { .. }));
    assert_eq!(launches.count(), 1);
}

#[test]
fn one_that_stands_in_one_offer_is_destroyed_and_the_others_are_taken_back() {
    let mut bench = Bench::new(config());
    let offers = two_offers(&mut bench);
    let ready = accept(&mut bench, &offers[..1], destroy_and_use());
    let events = || ready.to_frameworks.iter().map(|(_, event)| event);
    assert!(events().any(|event| *event == FrameworkEvent::Rescind(offers[1].clone())));
    let is_refused = |event: &FrameworkEvent| matches!(event, FrameworkEvent::Update { status, .. } if status.state == TaskState::Error);
    assert!(events().any(is_refused));
    assert!(
        bench
            .master
            .agents()
            .all(|agent| !agent.resources.contains(&volume()))
    );
}
