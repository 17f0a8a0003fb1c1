//! The image that is flashed boots through each of its boot loaders, and they count tries as `nesos_base::slots` says.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use nesos_base::slots::{Slot, State, Trial};
use nesos_qemu_tests::{Disk, Firmware, Machine};

/// A machine that has come up as it should, with these words on its command line.
#[track_caller]
fn assert_sound(machine: &Machine, words: &[&str]) {
    let mut shell = machine.shell();
    let mut ask = |text: &str| shell.run(text).0;
    assert_words(&ask("cat /proc/cmdline"), words);
    assert_eq!(ask("cat /proc/sys/kernel/tainted"), "0", "a tainted kernel");
    let controllers = ask("cat /sys/fs/cgroup/cgroup.controllers");
    for controller in ["cpuset", "cpu", "io", "memory", "pids"] {
        let has = controllers.split(' ').any(|one| one == controller);
        assert!(has, "{controller} is not among {controllers:?}");
    }
    let root = ask("grep ' / ' /proc/mounts");
    assert!(
        root.contains(" / squashfs ro"),
        "the root is not read-only: {root}"
    );
    assert_ne!(shell.run("touch /x").1, 0, "the root could be written");
    let console = machine.console();
    for word in [" FAIL ", "Kernel panic", "Oops"] {
        assert!(!console.contains(word), "{word}: {console}");
    }
}

#[track_caller]
fn assert_words(command_line: &str, words: &[&str]) {
    for word in words {
        let has = command_line.split(' ').any(|one| one == *word);
        assert!(has, "{word} is not in {command_line:?}");
    }
}

/// The boot records as U-Boot leaves them to the kernel: init has rules of its own for them.
fn left_by_u_boot(disk: &Disk, machine: &Machine) -> [Option<State>; 2] {
    machine.wait("Starting kernel", 1);
    disk.boot_partition().states().unwrap()
}

/// systemd-boot's entries as it leaves them to the kernel.
fn left_by_systemd_boot(disk: &Disk, machine: &Machine) -> Vec<String> {
    machine.wait(" devices ", 1);
    disk.boot_partition().list("loader/entries").unwrap()
}

#[track_caller]
fn assert_boots(disk: &Disk, firmware: Firmware, words: &[&str]) {
    assert_words(&disk.boot(firmware).command_line(), words);
}

fn trial(tries: u8) -> State {
    let trial = Some(Trial {
        slot: Slot::B,
        tries,
    });
    State {
        trial,
        ..State::FRESH
    }
}

#[test]
fn qemu_virt_boots_without_a_boot_loader() {
    let disk = Disk::new("qemu-virt");
    let machine = disk.boot(Firmware::Kernel);
    assert_sound(&machine, &["root=PARTUUID=534f454e-02"]);
    assert!(
        !machine
            .shell()
            .run("cat /proc/cmdline")
            .0
            .contains("nesos.boot")
    );
}

#[test]
fn qemu_virt_boots_under_u_boot() {
    let disk = Disk::new("qemu-virt");
    let words = [
        "root=PARTUUID=534f454e-02",
        "nesos.slot=a",
        "nesos.boot=uboot",
    ];
    assert_sound(&disk.boot(Firmware::UBoot), &words);
    assert_eq!(
        disk.boot_partition().states().unwrap(),
        [Some(State::FRESH); 2]
    );
}

#[test]
fn qemu_virt_boots_under_edk2() {
    let disk = Disk::new("qemu-virt");
    let words = [
        "root=PARTUUID=534f454e-02",
        "nesos.slot=a",
        "nesos.boot=efi",
    ];
    assert_sound(&disk.boot(Firmware::Edk2), &words);
}

#[test]
fn the_raspberry_pis_card_boots_without_its_boot_loader() {
    let disk = Disk::new("rpi3");
    assert_sound(&disk.boot(Firmware::Kernel), &["root=PARTUUID=534f454e-02"]);
}

#[test]
fn the_raspberry_pis_card_boots_under_its_u_boot() {
    let disk = Disk::new("rpi3");
    let words = [
        "root=PARTUUID=534f454e-02",
        "nesos.slot=a",
        "nesos.boot=uboot",
    ];
    assert_sound(&disk.boot(Firmware::UBoot), &words);
    disk.fill_b();
    disk.boot_partition()
        .set_states([Some(trial(1)); 2])
        .unwrap();
    let words = ["root=PARTUUID=534f454e-03", "nesos.slot=b", "nesos.trial=1"];
    let machine = disk.boot(Firmware::UBoot);
    assert_eq!(left_by_u_boot(&disk, &machine), [Some(trial(0)); 2]);
    assert_words(&machine.command_line(), &words);
    drop(machine);
    disk.boot_partition()
        .set_states([Some(trial(0)); 2])
        .unwrap();
    assert_boots(
        &disk,
        Firmware::UBoot,
        &["nesos.slot=a", "nesos.fallback=b"],
    );
}

#[test]
fn u_boot_tries_a_good_slot_once() {
    let disk = Disk::new("qemu-virt");
    disk.fill_b();
    let files = disk.boot_partition();
    files.set_states([Some(trial(1)); 2]).unwrap();
    let machine = disk.boot(Firmware::UBoot);
    assert_eq!(left_by_u_boot(&disk, &machine), [Some(trial(0)); 2]);
    let words = ["root=PARTUUID=534f454e-03", "nesos.slot=b", "nesos.trial=1"];
    assert_sound(&machine, &words);
    drop(machine);
    files.set_states([Some(trial(0)); 2]).unwrap();
    let machine = disk.boot(Firmware::UBoot);
    assert_eq!(left_by_u_boot(&disk, &machine), [Some(trial(0)); 2]);
    let words = [
        "root=PARTUUID=534f454e-02",
        "nesos.slot=a",
        "nesos.fallback=b",
    ];
    assert_words(&machine.command_line(), &words);
    drop(machine);
    let committed = State::committed(Slot::B);
    files.set_states([Some(committed); 2]).unwrap();
    let command_line = disk.boot(Firmware::UBoot).command_line();
    assert_words(&command_line, &["nesos.slot=b"]);
    assert!(!command_line.contains("nesos.trial") && !command_line.contains("nesos.fallback"));
}

#[test]
fn u_boot_takes_the_other_slot_where_one_cannot_be_loaded() {
    let disk = Disk::new("qemu-virt");
    disk.fill_b();
    let files = disk.boot_partition();
    let kernel = files.read("slot-b/Image.gz").unwrap();
    let environment = files.read("slot-b/boot.env").unwrap();
    let mut flipped = kernel.clone();
    flipped[1_000_000..1_000_100].fill(0);
    let words = ["nesos.slot=a", "nesos.boot=uboot", "nesos.fallback=b"];
    for damaged in [&flipped[..], &kernel[..2_000_000], &[0; 4096], b""] {
        files.write("slot-b/Image.gz", damaged).unwrap();
        files.set_states([Some(trial(1)); 2]).unwrap();
        let machine = disk.boot(Firmware::UBoot);
        assert_eq!(left_by_u_boot(&disk, &machine), [Some(trial(0)); 2]);
        assert_words(&machine.command_line(), &words);
    }
    files.remove("slot-b/Image.gz").unwrap();
    files.set_states([Some(trial(1)); 2]).unwrap();
    assert_boots(&disk, Firmware::UBoot, &words);
    files.write("slot-b/Image.gz", &kernel).unwrap();
    files.write("slot-b/boot.env", &[0xff; 600]).unwrap();
    files.set_states([Some(trial(1)); 2]).unwrap();
    assert_boots(&disk, Firmware::UBoot, &words);
    // The committed slot is no better off.
    files.write("slot-b/boot.env", &environment).unwrap();
    files.remove("slot-a/boot.env").unwrap();
    files.set_states([Some(State::FRESH); 2]).unwrap();
    assert_boots(
        &disk,
        Firmware::UBoot,
        &["nesos.slot=b", "nesos.fallback=a"],
    );
    // Neither starts: a sentence, and it tries again.
    files.remove("slot-b/boot.env").unwrap();
    let machine = disk.boot(Firmware::UBoot);
    machine.wait("does not start either", 2);
}

#[test]
fn u_boot_reads_past_torn_records() {
    let disk = Disk::new("qemu-virt");
    disk.fill_b();
    let files = disk.boot_partition();
    let b = Some(State::committed(Slot::B));
    files.set_states([None, b]).unwrap();
    assert_boots(&disk, Firmware::UBoot, &["nesos.slot=b"]);
    files.set_states([b, None]).unwrap();
    assert_boots(&disk, Firmware::UBoot, &["nesos.slot=b"]);
    // A trial whose first record was torn while it was written.
    files.set_states([None, Some(trial(1))]).unwrap();
    let machine = disk.boot(Firmware::UBoot);
    assert_eq!(left_by_u_boot(&disk, &machine), [Some(trial(0)); 2]);
    assert_words(&machine.command_line(), &["nesos.slot=b", "nesos.trial=1"]);
    drop(machine);
    // Neither can be read: the mark decides.
    for (marked, started) in [
        ("a", "nesos.slot=a"),
        ("b", "nesos.slot=b"),
        ("", "nesos.slot=a"),
    ] {
        for slot in ["a", "b"] {
            let mark = format!("slot-{slot}/committed");
            drop(files.remove(&mark));
            if slot == marked {
                files.write(&mark, b"").unwrap();
            }
        }
        files.set_states([None, None]).unwrap();
        assert_boots(&disk, Firmware::UBoot, &[started]);
    }
}

#[test]
fn systemd_boot_tries_a_good_slot_once() {
    let disk = Disk::new("qemu-virt");
    disk.fill_b();
    let files = disk.boot_partition();
    let counted = ["nesos-a.conf", "nesos-b+0-1.conf"];
    disk.write_entry_b("nesos-b+1.conf", 2);
    let machine = disk.boot(Firmware::Edk2);
    assert_eq!(left_by_systemd_boot(&disk, &machine), counted);
    let words = [
        "root=PARTUUID=534f454e-03",
        "nesos.slot=b",
        "nesos.boot=efi",
    ];
    assert_sound(&machine, &words);
    drop(machine);
    for name in files.list("loader/entries").unwrap() {
        if name != "nesos-a.conf" {
            files.remove(&format!("loader/entries/{name}")).unwrap();
        }
    }
    disk.write_entry_b("nesos-b+0-1.conf", 2);
    let machine = disk.boot(Firmware::Edk2);
    assert_eq!(left_by_systemd_boot(&disk, &machine), counted);
    assert_words(&machine.command_line(), &["nesos.slot=a"]);
    drop(machine);
    drop(files.remove("loader/entries/nesos-b+0-1.conf"));
    disk.write_entry_b("nesos-b.conf", 2);
    assert_boots(&disk, Firmware::Edk2, &["nesos.slot=b"]);
}

#[test]
fn systemd_boot_takes_the_other_slot_where_one_cannot_be_loaded() {
    // A kernel that systemd-boot cannot start leads through the firmware's own choices to its shell, and there to startup.nsh.
    let disk = Disk::new("qemu-virt").without_network();
    disk.fill_b();
    let files = disk.boot_partition();
    let kernel = files.read("slot-b/vmlinuz.efi").unwrap();
    let mut flipped = kernel.clone();
    flipped[1_000_000..1_000_100].fill(0);
    for damaged in [&flipped[..], &kernel[..2_000_000], &[0; 4096], b""] {
        files.write("slot-b/vmlinuz.efi", damaged).unwrap();
        disk.write_entry_b("nesos-b+1.conf", 2);
        assert_boots(&disk, Firmware::Edk2, &["nesos.slot=a"]);
        drop(files.remove("loader/entries/nesos-b+0-1.conf"));
        drop(files.remove("loader/entries/nesos-b+1.conf"));
    }
    files.remove("slot-b/vmlinuz.efi").unwrap();
    disk.write_entry_b("nesos-b+1.conf", 2);
    assert_boots(&disk, Firmware::Edk2, &["nesos.slot=a"]);
}
