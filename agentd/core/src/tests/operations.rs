//! Operations: applied once, kept over restarts, told until acknowledged, refused when they do not fit.

use super::*;
use nesos_wire::Uuid;
use nesos_wire::operation::{OperationKind, OperationReport, OperationSpec, OperationState};
use nesos_wire::resource::{Disk, Entry, Reservation, Resources, Scalar, Terms, Value, Volume};

use crate::{Phase, RETRY_FIRST, VolumePlace};

fn reserved() -> Terms {
    Terms {
        reservations: vec![Reservation::dynamic("db/a", None)],
        ..Terms::default()
    }
}

fn mem(amount: i64, terms: Terms) -> Resources {
    let value = Value::Scalar(Scalar(amount * 1000));
    [Entry::new("mem", terms, value)].into_iter().collect()
}

fn volume() -> Terms {
    let volume = Volume {
        id: "v".into(),
        principal: None,
        container_path: "data".into(),
        is_read_only: false,
    };
    Terms {
        disk: Some(Disk {
            source: None,
            volume: Some(volume),
        }),
        ..reserved()
    }
}

fn order(number: u8, from: Resources, to: Resources) -> MasterToAgent {
    MasterToAgent::Apply(OperationSpec {
        uuid: Uuid([number; 16]),
        framework: Some(FrameworkId::new("f")),
        id: Some("op".into()),
        kind: OperationKind::Reserve,
        consumed: from,
        converted: to,
        info: Vec::new(),
    })
}

fn told(bench: &Bench) -> Vec<OperationReport> {
    let told = bench.sent.iter().filter_map(|message| match message {
        AgentToMaster::OperationUpdate(report) => Some(report.clone()),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_reservation_is_made_once_kept_and_told_until_acknowledged() {
    let mut bench = Bench::live();
    let reserve = order(1, mem(100, Terms::default()), mem(100, reserved()));
    bench.message(reserve.clone());
    bench.message(reserve.clone());
    let total = resource_text::text(&bench.agent.resources());
    assert_eq!(total, "cpus:4;mem:156;mem(db/a, dynamic):100");
    assert_eq!(told(&bench).len(), 1);
    assert_eq!(told(&bench)[0].status.state, OperationState::Finished);
    bench.pass(RETRY_FIRST);
    assert_eq!(told(&bench).len(), 2);
    bench.restart(config());
    assert_eq!(resource_text::text(&bench.agent.resources()), total);
    bench.connect();
    let hello = bench.hello();
    assert_eq!(resource_text::text(&hello.resources), total);
    assert_eq!(hello.operations.len(), 1);
    assert!(told(&bench).is_empty(), "the greeting has told it");
    bench.pass(RETRY_FIRST);
    assert_eq!(told(&bench).len(), 1);
    let uuid = told(&bench)[0].status.uuid.expect("to be acknowledged");
    bench.message(MasterToAgent::AcknowledgeOperation { uuid });
    bench.restart(config());
    assert_eq!(bench.agent.operations().count(), 0);
    assert_eq!(resource_text::text(&bench.agent.resources()), total);
    bench.sent.clear();
    bench.connect();
    bench.message(reserve);
    assert!(told(&bench).is_empty(), "it is over");
}

#[test]
fn what_is_in_use_or_absent_is_not_converted_and_the_master_hears_the_truth() {
    let mut bench = Bench::live();
    for task in ["a", "b", "c", "d"] {
        bench.run(task);
    }
    bench.sent.clear();
    bench.message(order(1, mem(200, Terms::default()), mem(200, reserved())));
    let report = bench.hello().operations.pop().expect("an answer");
    assert_eq!(report.status.state, OperationState::Failed);
    assert!(
        report.status.message.contains("the agent has"),
        "{}",
        report.status.message
    );
    assert_eq!(
        resource_text::text(&bench.hello().resources),
        "cpus:4;mem:256"
    );
}

#[test]
fn work_that_crossed_a_greeting_is_not_taken() {
    let mut bench = Bench::live();
    let too_much = order(1, mem(999, Terms::default()), mem(999, reserved()));
    bench.message(too_much);
    assert_eq!(bench.hello().operations.len(), 1, "the truth is told anew");
    let reserve = order(2, mem(100, Terms::default()), mem(100, reserved()));
    bench.message(reserve.clone());
    bench.message(MasterToAgent::Launch {
        tasks: vec![spec("late", 1)],
    });
    assert_eq!(bench.agent.operations().count(), 1);
    assert_eq!(bench.agent.tasks().count(), 0);
    bench.message(MasterToAgent::Welcome(welcome()));
    bench.message(reserve);
    assert_eq!(bench.agent.operations().count(), 2);
}

#[test]
fn volumes_come_and_go_with_their_operations() {
    let mut bench = Bench::live();
    bench.message(order(1, mem(64, Terms::default()), mem(64, reserved())));
    bench.message(order(2, mem(64, reserved()), mem(64, volume())));
    let place = VolumePlace {
        root: None,
        is_whole_disk: false,
        role: "db/a".into(),
        id: "v".into(),
    };
    assert_eq!(place.relative(), "volumes/roles/db a/v");
    let create = Action::CreateVolume {
        place: place.clone(),
    };
    assert!(bench.actions.contains(&create));
    bench.message(order(3, mem(64, volume()), mem(64, reserved())));
    assert!(bench.actions.contains(&Action::RemoveVolume { place }));
}

#[test]
fn an_end_waits_for_the_disk() {
    let mut bench = Bench::live();
    bench.disk_is_full = true;
    bench.message(order(1, mem(100, Terms::default()), mem(100, reserved())));
    bench.pass(Duration::from_secs(30));
    assert!(told(&bench).is_empty(), "an unwritten end is not told");
    bench.disk_is_full = false;
    bench.pass(Duration::from_secs(6));
    assert_eq!(told(&bench).len(), 1);
}

#[test]
fn smaller_resources_do_not_lose_what_was_made() {
    let mut bench = Bench::live();
    bench.message(order(1, mem(200, Terms::default()), mem(200, volume())));
    let mut config = config();
    config.resources = resource_text::parse("cpus:1;mem:64").expect("valid");
    let records = bench.disk.clone();
    let mut agent = Agent::recover(config, Seed([1; 16]), records, moment(bench.now));
    let total = resource_text::text(&agent.resources());
    assert_eq!(total, "cpus:1;mem(db/a, dynamic)[volume v at data]:200");
    let notes = agent.ready().notes;
    assert!(
        notes
            .iter()
            .any(|note| note.text.contains("less than what was reserved"))
    );
}

#[test]
fn a_shared_volume_is_for_many_tasks_and_goes_when_none_has_it() {
    let shared = Terms {
        is_shared: true,
        ..volume()
    };
    let mut bench = Bench::live();
    bench.message(order(1, mem(64, Terms::default()), mem(64, shared.clone())));
    let with_volume = |task: &str| {
        let mut spec = spec(task, 1);
        spec.resources.add(&mem(64, shared.clone()));
        spec
    };
    bench.message(MasterToAgent::Launch {
        tasks: vec![with_volume("a"), with_volume("b")],
    });
    bench.launch(with_volume("c"));
    let phases: Vec<_> = bench.agent.tasks().map(|view| view.phase).collect();
    assert_eq!(phases, [Phase::Launching; 3]);
    bench.message(order(2, mem(64, shared.clone()), mem(64, reserved())));
    let answers = bench.hello().operations;
    let refused = answers
        .iter()
        .find(|report| report.spec.uuid == Uuid([2; 16]));
    let refused = refused.expect("an answer");
    assert_eq!(refused.status.state, OperationState::Failed);
}
