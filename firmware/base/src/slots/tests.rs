//! The boot records and entries, as the builder writes them and as boot loaders leave them.
#![allow(clippy::unwrap_used)]
use super::*;

fn states() -> impl Iterator<Item = State> {
    Slot::ALL.into_iter().flat_map(|committed| {
        let trial = |tries| Trial {
            slot: committed.other(),
            tries,
        };
        [None, Some(trial(0)), Some(trial(1)), Some(trial(3))]
            .map(|trial| State { committed, trial })
    })
}

#[test]
fn a_record_reads_back_as_written() {
    for state in states() {
        assert_eq!(State::decode(&state.encode()), Some(state));
    }
}

#[test]
fn a_record_is_what_u_boot_writes() {
    // `env export -c -s 200` puts the checksum first, pairs by name, zeros behind.
    let sector = State::FRESH.encode();
    assert!(sector[4..].starts_with(b"nesos_slot=a\0nesos_trial=-\0nesos_tries=0\0\0"));
    assert_eq!(sector[..4], crc32fast::hash(&sector[4..]).to_le_bytes());
}

#[test]
fn a_damaged_record_is_none() {
    let sector = State::FRESH.with_trial().encode();
    for at in 0..STATE_BYTES {
        let mut damaged = sector;
        damaged[at] ^= 0x10;
        assert_eq!(State::decode(&damaged), None, "byte {at}");
    }
    assert_eq!(State::decode(&sector[..511]), None);
    assert_eq!(State::decode(&[0; 512]), None);
}

#[test]
fn a_record_that_contradicts_itself_is_none() {
    for text in [
        "nesos_slot=c\0nesos_trial=-\0nesos_tries=0\0",
        "nesos_slot=a\0nesos_trial=a\0nesos_tries=1\0",
        "nesos_slot=a\0nesos_trial=b\0nesos_tries=4\0",
        "nesos_slot=a\0nesos_trial=b\0",
        "nesos_trial=b\0nesos_tries=1\0",
    ] {
        let mut sector = [0; STATE_BYTES];
        sector[4..4 + text.len()].copy_from_slice(text.as_bytes());
        let sum = crc32fast::hash(&sector[4..]);
        sector[..4].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(State::decode(&sector), None, "{text:?}");
    }
}

#[test]
fn one_good_copy_is_enough_and_marks_decide_without_any() {
    let good = State::committed(Slot::B).encode();
    let torn = [0xff; STATE_BYTES];
    let none = |_| false;
    assert_eq!(State::of_copies([&good, &torn], none).committed, Slot::B);
    assert_eq!(State::of_copies([&torn, &good], none).committed, Slot::B);
    assert_eq!(State::of_copies([&torn, &torn], none), State::FRESH);
    let marked = State::of_copies([&torn, &torn], |slot| slot == Slot::B);
    assert_eq!(marked, State::committed(Slot::B));
    // An update that was interrupted while it moved the mark: both work, one has to be named.
    assert_eq!(State::of_copies([&torn, &torn], |_| true), State::FRESH);
}

#[test]
fn whatever_happens_the_committed_slot_is_started_in_the_end() {
    for state in states() {
        let mut now = state;
        let mut started = Slot::A;
        for _ in 0..=TRIES_MAX {
            (started, now) = now.at_boot();
        }
        assert_eq!(started, state.committed, "{state:?}");
        assert_eq!(now.committed, state.committed);
    }
}

#[test]
fn an_orderly_restart_costs_no_try() {
    let (slot, running) = State::FRESH.with_trial().at_boot();
    assert_eq!(slot, Slot::B);
    let again = running.with_try_given_back();
    assert_eq!(again, State::FRESH.with_trial());
    // Given back twice is no more than was there.
    assert_eq!(again.with_try_given_back(), again);
    assert_eq!(State::FRESH.with_try_given_back(), State::FRESH);
}

#[test]
fn names_of_entries_read_back() {
    for name in ["nesos-a.conf", "nesos-b+1.conf", "nesos-b+0-1.conf"] {
        assert_eq!(
            alloc::string::ToString::to_string(&EntryName::parse(name).unwrap()),
            name
        );
    }
    for foreign in [
        "nesos-c.conf",
        "arch.conf",
        "nesos-a",
        "nesos-b+x.conf",
        "nesos-b+1-.conf",
    ] {
        assert_eq!(EntryName::parse(foreign), None, "{foreign}");
    }
}

#[test]
fn an_entry_says_what_systemd_boot_reads() {
    let text = Entry {
        slot: Slot::B,
        generation: 7,
        version: "1.2.0",
        kernel: "/slot-b/vmlinuz.efi",
        device_tree: Some("/slot-b/hi6220-hikey.dtb"),
        options: "ro nesos.slot=b",
    }
    .text();
    assert_eq!(
        text,
        "title Nesos 1.2.0 (slot B)\nsort-key nesos\nversion 7\nlinux /slot-b/vmlinuz.efi\n\
         devicetree /slot-b/hi6220-hikey.dtb\noptions ro nesos.slot=b\n"
    );
    assert_eq!(Entry::generation_of(&text), 7);
    assert_eq!(Entry::generation_of("linux /x\n"), 0);
}

#[test]
fn roots_are_named_by_the_disk_signature() {
    assert_eq!(Slot::B.root_argument(), "root=PARTUUID=534f454e-03");
}
