//! A machine's account of its disks, made up in a folder, and what is chosen and refused.
#![allow(clippy::unwrap_used)]
use super::*;
use std::os::unix::fs::symlink;

/// A fake `/sys/block` whose entries are links into `/sys/devices`, as in life.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("sys/block")).unwrap();
        fs::create_dir_all(folder.path().join("proc/self")).unwrap();
        let machine = Self(folder);
        machine.mounts("");
        machine
    }

    fn mounts(&self, text: &str) {
        fs::write(self.0.path().join("proc/self/mountinfo"), text).unwrap();
    }

    fn swaps(&self, text: &str) {
        let text = format!("Filename Type Size Used Priority\n{text}");
        fs::write(self.0.path().join("proc/swaps"), text).unwrap();
    }

    fn folder(&self, place: &str, name: &str) -> PathBuf {
        self.0.path().join("sys/devices").join(place).join(name)
    }

    fn disk(&self, place: &str, name: &str, files: &[(&str, &str)], parts: &[(&str, &str)]) {
        let folder = self.folder(place, name);
        fs::create_dir_all(folder.join("device")).unwrap();
        for (file, text) in files {
            fs::write(folder.join(file), format!("{text}\n")).unwrap();
        }
        for (part, dev) in parts {
            fs::create_dir_all(folder.join(part).join("holders")).unwrap();
            fs::write(folder.join(part).join("partition"), "1\n").unwrap();
            fs::write(folder.join(part).join("dev"), format!("{dev}\n")).unwrap();
        }
        symlink(&folder, self.0.path().join("sys/block").join(name)).unwrap();
    }

    fn usual() -> Self {
        let machine = Self::new();
        let ssd = [
            ("size", "976773168"),
            ("removable", "0"),
            ("ro", "0"),
            ("dev", "8:0"),
            ("device/model", "860 EVO"),
        ];
        machine.disk(
            "pci0/ata1",
            "sda",
            &ssd,
            &[("sda1", "8:1"), ("sda2", "8:2")],
        );
        let reader = [
            ("size", "62333952"),
            ("removable", "1"),
            ("ro", "0"),
            ("dev", "8:16"),
            ("device/vendor", "Generic"),
            ("device/model", "STORAGE"),
        ];
        machine.disk("pci0/usb1/1-1", "sdb", &reader, &[("sdb1", "8:17")]);
        machine.mounts("22 1 8:2 / / rw shared:1 - ext4 /dev/sda2 rw\n23 22 8:1 / /boot/efi rw - vfat /dev/sda1 rw\n");
        machine
    }

    fn disks(&self) -> Vec<Disk> {
        disks(self.0.path()).unwrap()
    }
}

fn refused(disks: &[Disk], path: &str, force: bool) -> String {
    choose(disks, Some(Path::new(path)), force, 1 << 27)
        .unwrap_err()
        .to_string()
}

#[test]
fn the_only_card_is_chosen_and_the_system_is_refused() {
    let disks = Machine::usual().disks();
    let choice = choose(&disks, None, false, 1 << 27).unwrap();
    assert_eq!(
        choice.disk.describe(),
        "/dev/sdb (Generic STORAGE, 31.9 GB)"
    );
    assert_eq!((choice.disk.bus, choice.forced), (Bus::Usb, vec![]));
    let text = refused(&disks, "/dev/sda", false);
    assert!(
        text.starts_with(
            "/dev/sda (860 EVO, 500.1 GB) is not written to: this system is on it (/)"
        ),
        "{text}"
    );
    for part in [
        "(/boot/efi)",
        "it is built in",
        "more than the 256.0 GB",
        "--force",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let forced = choose(&disks, Some(Path::new("/dev/sda")), true, 1 << 27).unwrap();
    assert_eq!(forced.forced.len(), 4);
    // Insisting without a name insists on nothing.
    assert_eq!(
        choose(&disks, None, true, 1 << 27).unwrap().disk.path,
        Path::new("/dev/sdb")
    );
}

#[test]
fn a_partition_or_a_stranger_is_no_disk() {
    let disks = Machine::usual().disks();
    let text = refused(&disks, "/dev/sdb1", true);
    assert_eq!(
        text,
        "/dev/sdb1 is a partition; an image is a whole disk's: name /dev/sdb"
    );
    assert_eq!(
        refused(&disks, "/dev/null", true),
        "/dev/null is not a disk of this machine"
    );
}

#[test]
fn what_is_mounted_is_refused_by_number_or_by_name() {
    let machine = Machine::usual();
    for line in [
        "30 22 8:17 / /media/my\\040card rw - vfat /dev/sdb1 rw\n",
        "30 22 0:44 / /media/my\\040card rw - btrfs /dev/sdb1 rw\n",
    ] {
        machine.mounts(line);
        let disks = machine.disks();
        let text = refused(&disks, "/dev/sdb", false);
        assert!(
            text.contains("/dev/sdb1 of it is mounted at /media/my card: unmount it first"),
            "{text}"
        );
        assert!(choose(&disks, Some(Path::new("/dev/sdb")), true, 1).is_ok());
        let none = choose(&disks, None, false, 1).unwrap_err().to_string();
        assert!(
            none.contains("no card or stick was found that may be written (/dev/sdb"),
            "{none}"
        );
    }
}

#[test]
fn what_is_made_of_a_disk_keeps_it_in_use() {
    let machine = Machine::usual();
    let usb = machine.folder("pci0/usb1/1-1", "sdb");
    fs::create_dir_all(usb.join("sdb1/holders/dm-0")).unwrap();
    let mapped = machine.folder("virtual", "dm-0");
    fs::create_dir_all(&mapped).unwrap();
    fs::write(mapped.join("dev"), "253:0\n").unwrap();
    symlink(&mapped, machine.0.path().join("sys/block/dm-0")).unwrap();
    machine.mounts("30 22 253:0 / /mnt rw - ext4 /dev/mapper/secret rw\n");
    let text = refused(&machine.disks(), "/dev/sdb", false);
    assert!(
        text.contains("/dev/dm-0 of it is mounted at /mnt"),
        "{text}"
    );
    machine.mounts("");
    machine.swaps("/dev/sdb1 partition 1 0 -2\n");
    let text = refused(&machine.disks(), "/dev/sdb", false);
    assert!(
        text.contains("this system is on it (swap on /dev/sdb1)"),
        "{text}"
    );
}

#[test]
fn what_cannot_work_is_refused_even_if_forced() {
    let machine = Machine::usual();
    let sd = [
        ("size", "0"),
        ("removable", "1"),
        ("ro", "0"),
        ("dev", "179:0"),
        ("device/type", "SD"),
        ("device/name", "SC16G"),
    ];
    machine.disk("platform/mmc", "mmcblk0", &sd, &[]);
    let text = refused(&machine.disks(), "/dev/mmcblk0", true);
    assert!(text.ends_with("no card is in it"), "{text}");
    let card = machine.folder("platform/mmc", "mmcblk0");
    fs::write(card.join("size"), "2048\n").unwrap();
    fs::write(card.join("ro"), "1\n").unwrap();
    let text = refused(&machine.disks(), "/dev/mmcblk0", true);
    assert!(
        text.contains("it has 1.0 MB, and the image needs 134.2 MB; it is write-protected"),
        "{text}"
    );
    fs::write(card.join("size"), "31116288\n").unwrap();
    fs::write(card.join("ro"), "0\n").unwrap();
    let text = choose(&machine.disks(), None, false, 1)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("name one of /dev/mmcblk0 (SC16G, 15.9 GB), /dev/sdb"),
        "{text}"
    );
}

#[test]
fn built_in_memory_and_made_up_disks_are_not_cards() {
    let machine = Machine::new();
    let emmc = [
        ("size", "15269888"),
        ("removable", "0"),
        ("ro", "0"),
        ("dev", "179:0"),
        ("device/type", "MMC"),
    ];
    machine.disk("platform/mmc", "mmcblk0", &emmc, &[]);
    let virtual_disk = machine.folder("virtual", "loop0");
    fs::create_dir_all(&virtual_disk).unwrap();
    symlink(&virtual_disk, machine.0.path().join("sys/block/loop0")).unwrap();
    let disks = machine.disks();
    assert_eq!(disks.len(), 1);
    assert!(refused(&disks, "/dev/mmcblk0", false).contains("it is built in"));
    let text = choose(&disks, None, false, 1).unwrap_err().to_string();
    assert_eq!(
        text,
        "no card or stick was found; name one: `nesos flash IMAGE DISK`"
    );
}
