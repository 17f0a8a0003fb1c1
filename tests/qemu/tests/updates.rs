//! Updates of one board, from a bundle on its card: good ones stay, and whatever is wrong with one, the board runs in the end.
//!
//! `NESOS_POWER_ROUNDS=n`: so many losses of power. QEMU's killed process leaves behind what it had taken: a sector is whole or not
//! there, and what the board has not flushed may be there all the same.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use nesos_base::bundle::key::SigningKey;
use nesos_base::slots::{Slot, State};
use nesos_qemu_tests::{Disk, Firmware, Machine, Update};

/// Where a test puts a bundle: as a person does who has the card in a reader.
const BUNDLE: &str = "update.nub";
const BOARD: &str = "qemu-virt";
/// Losses of power in each run of the test.
const ROUNDS: u32 = 4;
/// An update takes so long on a quiet machine, from the first byte to the commit.
const WHOLE_MS: u64 = 20_000;

fn disk_with(bundle: &[u8]) -> Disk {
    let disk = Disk::new(BOARD);
    disk.boot_partition().write(BUNDLE, bundle).unwrap();
    disk
}

/// What the updater on the board says, and its exit code.
fn install(machine: &Machine) -> (String, i32) {
    machine.shell().run(&format!("nesos-update /boot/{BUNDLE}"))
}

fn restart(machine: &Machine) {
    let line = "restart (Ctrl-Alt-Del or SIGINT)";
    let before = machine.console().matches(line).count();
    let mut shell = machine.shell();
    shell.say("kill -INT 1");
    // What has not been read when the console's reader goes is lost.
    machine.wait(line, before + 1);
}

fn status(machine: &Machine, key: &str) -> String {
    let (text, code) = machine.shell().run("nesos-update --status");
    assert_eq!(code, 0, "{text}");
    let value = |line: &str| Some(line.strip_prefix(key)?.strip_prefix('=')?.to_owned());
    text.lines()
        .find_map(value)
        .unwrap_or_else(|| panic!("{key} is not in {text}"))
}

/// Installs on a running board, restarts it, and waits until it is up again, which is in the old slot if the update was bad.
#[track_caller]
fn try_it(machine: &Machine, boots: usize) {
    let (said, code) = install(machine);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("installed in slot B"), "{said}");
    restart(machine);
    machine.wait(" ready ", boots);
}

#[track_caller]
fn assert_came_back(machine: &Machine, reason: &str) {
    machine.wait("the update in slot B failed, this is slot A again", 1);
    let console = machine.console();
    assert!(console.contains(reason), "{reason:?} is not in {console}");
    let text = machine.shell().run("cat /boot/last-update.txt").0;
    assert!(text.contains(reason), "{text}");
    assert_eq!(status(machine, "running"), "a");
    assert_eq!(status(machine, "committed"), "a");
    assert_eq!(status(machine, "trial"), "-");
}

fn good_update(firmware: Firmware) {
    let disk = disk_with(&Update::of(BOARD).signed());
    let machine = disk.boot(firmware);
    machine.wait(" ready ", 1);
    try_it(&machine, 2);
    machine.wait("slot B has proven itself and stays", 1);
    assert_eq!(status(&machine, "running"), "b");
    assert_eq!(status(&machine, "committed"), "b");
    assert_eq!(status(&machine, "on_trial"), "false");
    assert!(status(&machine, "slot_b").ends_with("another-build"));
    // It stays without power as well, and without a word about a trial.
    drop(machine);
    let machine = disk.boot(firmware);
    let line = machine.command_line();
    assert!(
        line.contains("nesos.slot=b") && !line.contains("nesos.trial"),
        "{line}"
    );
    assert!(
        !machine.console().contains("on trial"),
        "{}",
        machine.console()
    );
}

#[test]
fn a_good_update_stays_under_u_boot() {
    good_update(Firmware::UBoot);
}

#[test]
fn a_good_update_stays_under_edk2() {
    good_update(Firmware::Edk2);
}

#[test]
fn an_orderly_restart_does_not_end_a_trial() {
    // Without an agent that joins there is no verdict for 40 s.
    let update = Update::of(BOARD).with_root_file("/usr/bin/agentd", b"#!/bin/sh\nsleep 1000\n");
    let disk = disk_with(&update.signed());
    let machine = disk.boot(Firmware::UBoot);
    machine.wait(" ready ", 1);
    try_it(&machine, 2);
    machine.wait("B, on trial", 1);
    restart(&machine);
    machine.wait("B, on trial", 2);
    // Nobody restarts it any more.
    machine.wait(" ready ", 4);
    assert_came_back(&machine, "agentd has joined no master");
}

#[test]
fn a_daemon_that_dies_again_and_again_is_not_kept() {
    let update = Update::of(BOARD).with_root_file("/usr/bin/agentd", b"#!/bin/sh\nexit 3\n");
    let disk = disk_with(&update.signed());
    let machine = disk.boot(Firmware::UBoot);
    machine.wait(" ready ", 1);
    try_it(&machine, 3);
    assert_came_back(&machine, "daemons ended 3 times");
}

#[test]
fn kernels_and_inits_that_do_not_come_up_are_left() {
    for firmware in [Firmware::UBoot, Firmware::Edk2] {
        // PID 1 ends, so the kernel panics.
        let update = Update::of(BOARD).with_option("init=/bin/false");
        let disk = disk_with(&update.signed());
        let machine = disk.boot(firmware);
        machine.wait(" ready ", 1);
        try_it(&machine, 2);
        assert_came_back(&machine, "it did not come up");
        // The next update is none the worse for it.
        let files = disk.boot_partition();
        drop(machine);
        files.write(BUNDLE, &Update::of(BOARD).signed()).unwrap();
        let machine = disk.boot(firmware);
        machine.wait(" ready ", 1);
        try_it(&machine, 2);
        machine.wait("slot B has proven itself and stays", 1);
    }
}

#[test]
fn a_kernel_that_hangs_is_left_at_the_next_power_cut() {
    // PID 1 waits for the console for ever. Nothing on this machine can arm the watchdog before PID 1 does; a person pulls the plug.
    let update = Update::of(BOARD).with_option("init=/bin/cat");
    let disk = disk_with(&update.signed());
    let machine = disk.boot(Firmware::UBoot);
    machine.wait(" ready ", 1);
    let (said, code) = install(&machine);
    assert_eq!(code, 0, "{said}");
    restart(&machine);
    machine.wait("nesos: slot b nesos.trial=1", 1);
    drop(machine);
    let machine = disk.boot(Firmware::UBoot);
    machine.wait(" ready ", 1);
    assert_came_back(&machine, "it did not come up");
}

#[test]
fn a_slot_that_is_damaged_after_the_update_is_not_started() {
    let disk = disk_with(&Update::of(BOARD).signed());
    let machine = disk.boot(Firmware::UBoot);
    machine.wait(" ready ", 1);
    let (said, code) = install(&machine);
    assert_eq!(code, 0, "{said}");
    machine.shell().run("sync");
    drop(machine);
    let files = disk.boot_partition();
    let mut kernel = files.read("slot-b/Image.gz").unwrap();
    kernel[500_000..500_512].fill(0);
    files.write("slot-b/Image.gz", &kernel).unwrap();
    let machine = disk.boot(Firmware::UBoot);
    machine.wait(" ready ", 1);
    assert_came_back(&machine, "it did not come up");
}

#[test]
fn what_is_not_ours_is_refused_with_a_sentence_and_touches_nothing() {
    let good = Update::of(BOARD);
    let foreign = good.signed_with(&SigningKey([1; 32]));
    let whole = good.signed();
    let disk = disk_with(&foreign);
    let machine = disk.boot(Firmware::UBoot);
    let (said, code) = install(&machine);
    assert_eq!(code, 1);
    assert!(
        said.contains("not signed with the key of this board's image"),
        "{said}"
    );
    drop(machine);
    let cut = &whole[..whole.len() / 2];
    let mut damaged = whole.clone();
    let last = damaged.len() - 100;
    damaged[last] ^= 1;
    for (bundle, sentence) in [
        (cut, "truncated"),
        (&damaged, "1 chunks of the bundle are damaged"),
        (&whole[..7], "truncated"),
        (b"PK\x03\x04 and more bytes", "does not begin with NESOSUB1"),
    ] {
        disk.boot_partition().write(BUNDLE, bundle).unwrap();
        let machine = disk.boot(Firmware::UBoot);
        let (said, code) = install(&machine);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(sentence), "{sentence:?} is not in {said:?}");
        assert_eq!(status(&machine, "trial"), "-");
        drop(machine);
        assert_eq!(
            disk.boot_partition().states().unwrap(),
            [Some(State::FRESH); 2]
        );
    }
    // A second attempt with the whole bundle finishes what the first began.
    disk.boot_partition().write(BUNDLE, &whole).unwrap();
    let machine = disk.boot(Firmware::UBoot);
    machine.wait(" ready ", 1);
    try_it(&machine, 2);
    machine.wait("slot B has proven itself and stays", 1);
    drop(machine);
    let states = disk.boot_partition().states().unwrap();
    assert_eq!(states, [Some(State::committed(Slot::B)); 2]);
}

#[test]
fn a_board_without_a_boot_loader_says_that_it_cannot_be_updated() {
    let disk = disk_with(&Update::of(BOARD).signed());
    let machine = disk.boot(Firmware::Kernel);
    let (said, code) = install(&machine);
    assert_eq!(code, 1);
    assert!(
        said.contains("without a boot loader that knows slots"),
        "{said}"
    );
}

#[test]
fn a_board_that_loses_power_during_an_update_comes_back() {
    let given = std::env::var("NESOS_POWER_ROUNDS").ok();
    let rounds = given.map_or(ROUNDS, |text| text.parse().expect("a number"));
    let disk = disk_with(&Update::of(BOARD).signed());
    let mut seed = std::process::id();
    let mut came_back = [0_u32; 2];
    for round in 1..=rounds {
        let machine = disk.boot(Firmware::UBoot);
        machine.wait(" ready ", 1);
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let after = Duration::from_millis(u64::from(seed >> 8) % WHOLE_MS);
        let mut shell = machine.shell();
        shell.say(&format!("nesos-update /boot/{BUNDLE} && kill -INT 1"));
        machine.runs_for(after);
        drop(machine);
        let machine = disk.boot(Firmware::UBoot);
        machine.wait(" ready ", 1);
        let running = status(&machine, "running");
        eprintln!("round {round}: power lost after {after:?}, slot {running} came up");
        came_back[usize::from(running == "b")] += 1;
        assert!(
            !machine.console().contains(" FAIL "),
            "{}",
            machine.console()
        );
    }
    println!(
        "{rounds} losses of power: A came up {} times, B {}",
        came_back[0], came_back[1]
    );
    // Whatever is left of it all, an update goes through.
    let machine = disk.boot(Firmware::UBoot);
    machine.wait(" ready ", 1);
    machine.until("the board is not on trial", || {
        status(&machine, "on_trial") == "false"
    });
    let (said, code) = install(&machine);
    assert_eq!(code, 0, "{said}");
    restart(&machine);
    machine.wait("has proven itself and stays", 1);
}
