//! One group of masters of which some are of the next wire version: they are upgraded and go back one after the other, while
//! messages are lost, members die and are cut off, and those that lead write something new whenever they may.
//!
//! Called as a test. The judge is in the group: whoever is given what it cannot read ends the test, and so does a new thing that
//! is proposed while some member, running or not, was started last as one that cannot read it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use masterd_core::Registry;
use masterd_core::consensus::versions;
use nesos_base::time::Duration;
use nesos_wire::command::Command;
use nesos_wire::masters::MasterRecord;
use nesos_wire::version::{FIRST, Version};

use crate::group::{Group, QUIET, Troubles};
use crate::{heal, ms};

const NEXT: Version = Version(FIRST.0 + 1);
/// Marks what only the next version can read.
const NEW: u64 = 1 << 62;
/// Marks that a member speaks another version.
const SPEAKS: u64 = 1 << 61;
const SEEDS: u64 = 150;
const BAD: Troubles = Troubles {
    lost: 30,
    way_us: 20_000,
    ..QUIET
};

/// Since which version this can be read.
pub(crate) fn since(value: u64) -> Version {
    match value & NEW {
        0 => FIRST,
        _ => NEXT,
    }
}

/// What a run has seen.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    upgrades: u64,
    returns: u64,
    /// New things that were proposed, and those for which it was too early.
    new: u64,
    too_early: u64,
}

fn record(number: u64) -> MasterRecord {
    MasterRecord {
        number,
        name: format!("m{number}"),
        address: String::new(),
        is_to_vote: true,
    }
}

/// The registry's part about masters, as a member has it.
fn registry(group: &Group, number: u64) -> Registry {
    let mut registry = Registry::default();
    for master in group.numbers() {
        registry.apply(&Command::PutMaster(record(master)));
    }
    for value in group
        .state(number)
        .iter()
        .filter(|value| *value & SPEAKS != 0)
    {
        registry.apply(&Command::PutMasterVersion {
            number: value >> 40 & 0xff,
            version: Version((value >> 32 & 0xff) as u16),
        });
    }
    registry
}

fn speaks(group: &Group, number: u64) -> Version {
    group.speaks.get(&number).copied().unwrap_or(FIRST)
}

/// The member that leads and knows all that was agreed on.
fn leader(group: &mut Group) -> Option<u64> {
    let leader = group.leader()?;
    group
        .consensus(leader)?
        .is_up_to_date_leader()
        .then_some(leader)
}

/// Whom `leader` hears, and what they said.
fn said(group: &Group, leader: u64) -> Vec<(MasterRecord, Version)> {
    let numbers = group.numbers().into_iter();
    let is_heard = |other: &u64| group.runs(*other) && !group.cut.contains(&(*other, leader));
    let heard = numbers.filter(is_heard);
    heard
        .map(|other| (record(other), speaks(group, other)))
        .collect()
}

/// What a leader does by itself.
fn correct(group: &mut Group) {
    let Some(leader) = leader(group) else { return };
    let said = said(group, leader);
    let said = said.iter().map(|(master, version)| (master, *version));
    for command in versions::corrections(&registry(group, leader), said) {
        if let Command::PutMasterVersion { number, version } = command {
            let value = SPEAKS | number << 40 | u64::from(version.0) << 32;
            group.propose_of(leader, value);
        }
    }
}

/// A leader of the next version writes something new, if it may.
fn write_new(group: &mut Group, seen: &mut Seen) {
    let Some(leader) = leader(group).filter(|leader| speaks(group, *leader) == NEXT) else {
        return;
    };
    let said = said(group, leader).into_iter().map(|(_, version)| version);
    if versions::speaks(&registry(group, leader), said) < NEXT {
        seen.too_early += 1;
        return;
    }
    for other in group.numbers() {
        assert_eq!(
            speaks(group, other),
            NEXT,
            "member {other} cannot read what is new"
        );
    }
    seen.new += u64::from(group.propose_of(leader, NEW));
}

/// An operator renews a member while all is well, and waits until the group knows.
fn renew(group: &mut Group, number: u64, version: Version) {
    let troubles = group.troubles;
    heal(group);
    group.crash(number, true);
    group.speaks.insert(number, version);
    group.start(number);
    for _ in 0..200 {
        group.run(ms(20));
        correct(group);
        group.run(ms(20));
        let knows = |leader| registry(group, leader).version_of(number) == version;
        if group.leader().is_some_and(knows) {
            group.troubles = troubles;
            return;
        }
    }
    panic!("nobody has taken note of member {number}");
}

fn live(seed: u64) -> Seen {
    let count = [3, 5][seed as usize % 2];
    let mut group = Group::new(count, seed, BAD);
    let mut seen = Seen::default();
    for _ in 0..80 {
        let number = 1 + group.random(count);
        match group.random(10) {
            0 => {
                let notice = group.random(2) == 0;
                group.crash(number, notice);
            }
            1 | 2 if !group.runs(number) => group.start(number),
            3 => {
                let other = 1 + group.random(count);
                group.cut.insert((number, other));
            }
            4 => group.cut.clear(),
            5 | 6 if speaks(&group, number) == FIRST => {
                renew(&mut group, number, NEXT);
                seen.upgrades += 1;
            }
            // There is no way back once something new was written.
            5 if seen.new == 0 => {
                renew(&mut group, number, FIRST);
                seen.returns += 1;
            }
            7 if group.runs(number) => group.save(number),
            _ => drop(group.propose()),
        }
        write_new(&mut group, &mut seen);
        let span: Duration = ms(group.random(200));
        group.run(span);
        correct(&mut group);
        write_new(&mut group, &mut seen);
    }
    for number in group.numbers() {
        if speaks(&group, number) == FIRST {
            renew(&mut group, number, NEXT);
        }
    }
    heal(&mut group);
    correct(&mut group);
    group.run(ms(500));
    let before = seen.new;
    write_new(&mut group, &mut seen);
    assert!(seen.new > before, "all speak the next version");
    heal(&mut group);
    seen
}

#[test]
fn a_group_of_several_versions_writes_what_all_can_read() {
    let mut all = Seen::default();
    for seed in 0..SEEDS {
        let lived = catch_unwind(AssertUnwindSafe(|| live(seed)));
        let seen = lived.unwrap_or_else(|_| panic!("seed {seed}"));
        all.upgrades += seen.upgrades;
        all.returns += seen.returns;
        all.new += seen.new;
        all.too_early += seen.too_early;
    }
    eprintln!("{SEEDS} seeds: {all:?}");
    assert!(
        all.upgrades > 3 * SEEDS && all.returns > SEEDS / 2,
        "{all:?}"
    );
    assert!(all.new > SEEDS && all.too_early > SEEDS, "{all:?}");
}
