//! The Raspberry Pi's image under QEMU's machine: it gets as far as init and its daemons.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;

use nesos_cluster_tests::Running;
use nesos_qemu_tests::BOOT;

#[test]
fn the_raspberry_pi_image_boots_to_init() {
    let image = nesos_image::artifacts("rpi3").unwrap_or_else(|error| panic!("{error}"));
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("card.img");
    std::fs::copy(&image.image, &disk).unwrap();
    // QEMU's card reader wants a size that is a power of two.
    let size = std::fs::metadata(&disk).unwrap().len().next_power_of_two();
    std::fs::File::options()
        .write(true)
        .open(&disk)
        .unwrap()
        .set_len(size)
        .unwrap();
    let mut command = Command::new("qemu-system-aarch64");
    command.args([
        "-M",
        &image.manifest.qemu.machine,
        "-display",
        "none",
        "-monitor",
        "none",
        // The first is the PL011, which on this board belongs to Bluetooth; the console is the second.
        "-serial",
        "null",
        "-serial",
        "stdio",
    ]);
    let command_line = [
        image.manifest.command_line.as_str(),
        image.manifest.qemu.append.as_deref().unwrap_or_default(),
    ]
    .join(" ");
    command
        .arg("-kernel")
        .arg(&image.kernel)
        .args(["-append", &command_line]);
    if let Some(tree) = &image.device_tree {
        command.arg("-dtb").arg(tree);
    }
    command.args([
        "-drive",
        &format!("if=sd,format=raw,file={}", disk.display()),
    ]);
    let mut board = Running::start(command, "qemu raspi3b");
    board.wait_for("mounts", BOOT);
    board.wait_for("ready", BOOT);
    assert!(
        !board.stdout().contains("Kernel panic"),
        "{}",
        board.stdout()
    );
}
