//! The short, plain form of the fuzz target `agreed`: damaged logs and backups, and noise, none of which may panic.
#![allow(clippy::unwrap_used)]

#[path = "common/agreed.rs"]
mod agreed;

use agreed::agreed;
use masterd_core::Registry;
use masterd_core::consensus::{Store, segment};
use masterd_core::registry::backup;
use nesos_wire::command::Command;
use nesos_wire::masters::MasterRecord;
use raft_proto::eraftpb::{Entry, HardState};

/// Numbers that look random and are the same every time.
fn noise(seed: u64) -> impl Iterator<Item = u64> {
    let next = |x: &u64| {
        Some(
            x.wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695),
        )
    };
    std::iter::successors(Some(seed), next).map(|x| x >> 24)
}

/// Records of a log, with their heads.
fn stored() -> Vec<Vec<u8>> {
    let stores = (2..6).map(|index| Store {
        entries: vec![Entry {
            index,
            term: 1,
            data: vec![7; index as usize].into(),
            ..Entry::default()
        }],
        hard_state: Some(HardState {
            term: 1,
            vote: 1,
            commit: index - 1,
        }),
        ..Store::default()
    });
    let records = stores.enumerate();
    records
        .map(|(number, store)| segment::record(number as u64, &store).unwrap())
        .collect()
}

fn registry() -> Registry {
    let mut registry = Registry::default();
    for number in 1..4 {
        registry.apply(&Command::PutMaster(MasterRecord {
            number,
            name: "m".into(),
            address: "10.0.0.1:5050".into(),
            is_to_vote: true,
        }));
    }
    registry
}

#[test]
fn no_bytes_make_it_panic() {
    let whole = [segment::head(1, 0).to_vec(), stored().concat()].concat();
    // Contents, which get their heads anew.
    let bare = stored().into_iter().flat_map(|record| {
        let length = u32::from_le_bytes(*record.first_chunk().unwrap());
        let content = record[16..16 + length as usize].to_vec();
        [vec![length as u8], content].concat()
    });
    let bare: Vec<u8> = bare.collect();
    let kept = backup::write(&registry());
    let rows = kept[16..].to_vec();
    for (number, sample) in [whole, bare, kept, rows].into_iter().enumerate() {
        agreed(&sample);
        for (turn, place) in noise(number as u64).take(500).enumerate() {
            let mut damaged = sample.clone();
            let at = place as usize % damaged.len();
            damaged[at] ^= 1 << (turn % 8);
            agreed(&damaged);
            damaged[at] = (place >> 8) as u8;
            agreed(&damaged[..at]);
            damaged.splice(at..at, sample.iter().copied().skip(at / 2).take(turn % 40));
            agreed(&damaged);
        }
    }
}
