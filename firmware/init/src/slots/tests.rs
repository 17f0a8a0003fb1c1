//! Both boot loaders' records on files in place of disks: whatever is done, a committed slot is started in the end.
#![allow(clippy::unwrap_used)]
use super::*;
use nesos_base::bundle::{Chunk, File, Place};
use nesos_base::slots::{STATE_AT, STATE_BYTES, TRIES};
use std::fs;
use std::path::Path;

fn header() -> Header {
    Header {
        board: "x".into(),
        version: "2".into(),
        build_id: "b".into(),
        build_time: 1,
        command_line: "ro quiet".into(),
        kernel: "vmlinuz.efi".into(),
        device_tree: None,
        files: vec![File {
            place: Place::Root,
            length: 1,
            digest: [0; 32],
        }],
        chunks: vec![Chunk {
            digest: [0; 32],
            length: 1,
        }],
    }
}

/// The disk and boot partition of a fresh image.
fn fresh(loader: Loader, folder: &Path) -> Slots {
    let disk = folder.join("disk");
    let mut bytes = vec![0; 64 * 1024];
    for at in STATE_AT {
        bytes[at as usize..][..STATE_BYTES].copy_from_slice(&State::FRESH.encode());
    }
    fs::write(&disk, bytes).unwrap();
    let boot = folder.join("boot");
    for name in ["slot-a", "slot-b", "loader/entries"] {
        fs::create_dir_all(boot.join(name)).unwrap();
    }
    fs::write(boot.join("slot-a/committed"), "").unwrap();
    fs::write(boot.join("loader/entries/nesos-a.conf"), "version 1\n").unwrap();
    fs::write(boot.join("loader/entries/arch.conf"), "version 99\n").unwrap();
    Slots::new(loader, disk, BootPartition::folder(&boot))
}

/// What the boot loader does at the next start.
fn start(slots: &Slots) -> Slot {
    let (slot, after) = slots.state().unwrap().at_boot();
    match slots.loader {
        Loader::UBoot => uboot::write(&slots.disk, after).unwrap(),
        Loader::Efi => {
            if let Some(trial) = after.trial.filter(|_| slots.state().unwrap() != after) {
                let entries = slots.boot.path("loader/entries");
                let name = |left, done| {
                    let letter = trial.slot.letter();
                    entries.join(match done {
                        0 => format!("nesos-{letter}+{left}.conf"),
                        done => format!("nesos-{letter}+{left}-{done}.conf"),
                    })
                };
                fs::rename(name(TRIES, 0), name(TRIES - 1, 1)).unwrap();
            }
        }
    }
    slot
}

fn both(test: impl Fn(Slots)) {
    for loader in [Loader::UBoot, Loader::Efi] {
        let folder = tempfile::tempdir().unwrap();
        test(fresh(loader, folder.path()));
    }
}

#[test]
fn a_good_update_stays_and_the_next_one_goes_the_other_way() {
    both(|slots| {
        for (from, to) in [(Slot::A, Slot::B), (Slot::B, Slot::A), (Slot::A, Slot::B)] {
            assert_eq!(start(&slots), from);
            slots.settle(from).unwrap();
            slots.begin_trial(from, &header()).unwrap();
            assert_eq!(start(&slots), to);
            slots.commit(to).unwrap();
            assert_eq!(slots.state().unwrap(), State::committed(to));
            assert!(slots.boot.is_marked(to) && !slots.boot.is_marked(from));
        }
    });
}

#[test]
fn a_bad_update_is_started_once() {
    both(|slots| {
        slots.settle(Slot::A).unwrap();
        slots.begin_trial(Slot::A, &header()).unwrap();
        assert_eq!(start(&slots), Slot::B);
        for _ in 0..5 {
            assert_eq!(start(&slots), Slot::A);
        }
        // Another one may follow.
        slots.settle(Slot::A).unwrap();
        assert_eq!(slots.state().unwrap(), State::committed(Slot::A));
        slots.begin_trial(Slot::A, &header()).unwrap();
        assert_eq!(start(&slots), Slot::B);
    });
}

#[test]
fn an_orderly_restart_gives_the_try_back() {
    both(|slots| {
        slots.settle(Slot::A).unwrap();
        slots.begin_trial(Slot::A, &header()).unwrap();
        for _ in 0..4 {
            assert_eq!(start(&slots), Slot::B);
            slots.give_back().unwrap();
        }
        assert_eq!(start(&slots), Slot::B);
        assert_eq!(start(&slots), Slot::A);
        slots.give_back().unwrap();
        assert_eq!(start(&slots), Slot::B, "asked for, though of no use");
    });
}

#[test]
fn without_a_trial_nothing_is_given_back() {
    both(|slots| {
        slots.give_back().unwrap();
        assert_eq!(slots.state().unwrap(), State::FRESH);
    });
}

#[test]
fn the_entry_names_slot_kernel_and_root() {
    let folder = tempfile::tempdir().unwrap();
    let slots = fresh(Loader::Efi, folder.path());
    slots.begin_trial(Slot::A, &header()).unwrap();
    let text = fs::read_to_string(slots.boot.path("loader/entries/nesos-b+1.conf")).unwrap();
    assert!(
        text.contains("\nversion 2\nlinux /slot-b/vmlinuz.efi\n"),
        "{text}"
    );
    let options = "\noptions root=PARTUUID=534f454e-03 ro quiet nesos.slot=b nesos.boot=efi\n";
    assert!(text.contains(options), "{text}");
}

#[test]
fn a_slot_that_runs_because_the_other_does_not_load_is_committed_before_an_update() {
    let folder = tempfile::tempdir().unwrap();
    let slots = fresh(Loader::UBoot, folder.path());
    uboot::write(&slots.disk, State::committed(Slot::B)).unwrap();
    slots.settle(Slot::A).unwrap();
    assert_eq!(slots.state().unwrap(), State::committed(Slot::A));
}

#[test]
fn a_torn_record_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let slots = fresh(Loader::UBoot, folder.path());
    slots.settle(Slot::A).unwrap();
    slots.begin_trial(Slot::A, &header()).unwrap();
    let whole = fs::read(&slots.disk).unwrap();
    let state = slots.state().unwrap();
    for at in STATE_AT {
        let mut torn = whole.clone();
        torn[at as usize..][..STATE_BYTES].fill(0xff);
        fs::write(&slots.disk, torn).unwrap();
        assert_eq!(slots.state().unwrap(), state);
    }
    fs::write(&slots.disk, vec![0xff; whole.len()]).unwrap();
    assert_eq!(slots.state().unwrap(), State::committed(Slot::A));
}
