//! Tests of board configuration: the repository's own files, and what is said about bad ones.
#![allow(clippy::unwrap_used)]

use super::*;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("board-configs")
}

/// The message for a board file `own` over the real base.
fn refusal(own: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for name in [
        "_base.toml",
        "kernel/common.fragment",
        "boot/cluster-example.toml",
    ] {
        write(name, &std::fs::read(repository().join(name)).unwrap());
    }
    write("bad.toml", own.as_bytes());
    load(folder.path(), "bad").unwrap_err().to_string()
}

/// Everything a board file must say, so that a test adds only its mistake.
const LEAST: &str =
    "description = 'x'\n[kernel]\nconsole = 'c'\n[qemu]\nmachine = 'virt'\nmemory_mib = 64\n";

#[test]
fn every_board_of_the_repository_loads() {
    let names = boards(&repository()).unwrap();
    assert!(
        names.iter().any(|name| name == "qemu-virt") && names.iter().any(|name| name == "rpi3"),
        "{names:?}"
    );
    for name in names {
        let board = load(&repository(), &name).unwrap();
        let command_line = board.command_line(Slot::B);
        assert!(
            command_line.contains("root=PARTUUID=534f454e-03 "),
            "{name}"
        );
        assert!(command_line.contains("init=/sbin/init"), "{name}");
    }
}

#[test]
fn unknown_boards_are_answered_with_the_known_ones() {
    let error = load(&repository(), "pdp11").unwrap_err().to_string();
    assert!(
        error.contains("no board pdp11") && error.contains("qemu-virt"),
        "{error}"
    );
}

/// What must be said about a mistake.
fn assert_refused(own: &str, expected: &[&str]) {
    let message = refusal(own);
    for part in expected {
        assert!(
            message.contains(part),
            "{own}\ngave {message:?}\nwithout {part:?}"
        );
    }
}

#[test]
fn unknown_missing_and_wrong_keys_are_named() {
    assert_refused("description = 3\n", &["bad.toml", "description", "string"]);
    assert_refused("[kernel\n", &["bad.toml"]);
    assert_refused(
        &format!("colour = 'red'\n{LEAST}"),
        &["bad.toml", "unknown key `colour`", "expected"],
    );
    assert_refused(
        &LEAST.replace("console", "konsole"),
        &["bad.toml", "kernel.konsole", "console"],
    );
    assert_refused(
        &LEAST.replace("memory_mib = 64\n", ""),
        &["bad.toml", "memory_mib"],
    );
    assert_refused(
        &format!("{LEAST}[disk]\nsize_mib = 'big'\n"),
        &["bad.toml", "u32"],
    );
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    let with = |lines: &str| format!("{LEAST}{lines}\n");
    assert_refused(
        &with("[disk]\nsize_mib = 60"),
        &["disk.size_mib", "expected more than"],
    );
    assert_refused(
        &with("[disk]\nboot_mib = 8"),
        &["disk.boot_mib", "at least 34"],
    );
    assert_refused(
        &with("[disk]\nslot_mib = 4000000000"),
        &["disk.slot_mib", "at most"],
    );
    assert_refused(
        &with("[disk]\ndata_template_mib = 1"),
        &["disk.data_template_mib", "8 to 256"],
    );
    assert_refused(
        &with("[root]\nfolders = ['tmp:9']"),
        &["root.folders", "tmp:9", "octal"],
    );
    assert_refused(
        &with("[root]\napplets = ['a/b']"),
        &["root.applets", "bare name"],
    );
}

#[test]
fn what_a_board_refers_to_must_exist() {
    let with = |lines: &str| format!("{LEAST}{lines}\n");
    let kernel = |line: &str| LEAST.replace("[kernel]", &format!("[kernel]\n{line}"));
    assert_refused(&kernel("fragments = ['vax']"), &["kernel.fragments", "vax"]);
    assert_refused(
        &kernel("targets = ['vmlinuz.efi']"),
        &["kernel.targets", "Image"],
    );
    assert_refused(
        &with("[boot]\n'a' = 'kernel/zImage'"),
        &["boot.\"a\"", "kernel.targets"],
    );
    assert_refused(
        &with("[boot]\n'../a' = 'kernel/Image'"),
        &["boot.\"../a\"", "plain path"],
    );
    assert_refused(
        &with("[boot]\n'a' = 'boot/no'"),
        &["boot.\"a\"", "expected a file"],
    );
    assert_refused(
        &with("[boot]\n'a' = '/etc/shadow'"),
        &["expected kernel/<file>"],
    );
    assert_refused(
        &with("[boot]\n'a' = 'debian/u-boot-rpi'"),
        &["boot.\"a\"", "debian/<package>/<path>"],
    );
    assert_refused(
        &with("[slot]\n'a/b' = 'kernel/Image'"),
        &["slot.\"a/b\"", "without a folder"],
    );
    assert_refused(
        &with("[loader]\nuboot = 'yes'"),
        &["loader.uboot", "no, firmware or slot"],
    );
    assert_refused(
        &with("[loader]\nuboot = 'slot'"),
        &["loader.uboot", "Image.gz"],
    );
    assert_refused(
        &with("[slot]\n'vmlinuz.efi' = 'kernel/vmlinuz.efi'\n[loader]\nefi = 'x.dtb'"),
        &["loader.efi", "x.dtb"],
    );
}
