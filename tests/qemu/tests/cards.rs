//! What a board makes of its card: another board's, a damaged one, one that is to begin anew, one that Imager has written to.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use nesos_qemu_tests::VmCluster;

/// So large that the data partition has a copy of its superblock.
const DISK: [&str; 2] = ["--disk", "512"];

fn data_start(cluster: &VmCluster, board: &str) -> u64 {
    let disk = cluster.board(board).join("disk.img");
    nesos_image::read_table(&disk).unwrap().data.start
}

/// Writes over the beginning of a board's data partition, from its byte `at`.
fn damage(cluster: &VmCluster, board: &str, at: u64, bytes: &[u8]) {
    let disk = cluster.board(board).join("disk.img");
    let file = OpenOptions::new().write(true).open(disk).unwrap();
    file.write_all_at(bytes, data_start(cluster, board) + at)
        .unwrap();
}

#[test]
fn a_damaged_data_partition_is_restored_or_made_anew() {
    let cluster = VmCluster::start_with(2, &DISK);
    let (_, code) = cluster
        .shell("board-2")
        .run("echo kept > /data/mine && sync");
    assert_eq!(code, 0);

    cluster.vm(&["kill", "board-2"]);
    let from = cluster.console("board-2").len();
    damage(&cluster, "board-2", 1024, &[0; 1024]);
    cluster.vm(&["start", "board-2"]);
    cluster.wait_console("board-2", from, "was restored from its copy");
    cluster.wait_console("board-2", from, "ready");
    let (text, code) = cluster.shell("board-2").run("cat /data/mine");
    assert_eq!((text.trim(), code), ("kept", 0));
    let _ = cluster.active_node("board-2");

    cluster.vm(&["kill", "board-2"]);
    let from = cluster.console("board-2").len();
    // Group descriptors, of which every mount reads the checksums.
    damage(&cluster, "board-2", 4096, &[0x5a; 4096]);
    damage(&cluster, "board-2", 128 << 20, &[0x5a; 8192]);
    cluster.vm(&["start", "board-2"]);
    cluster.wait_console(
        "board-2",
        from,
        "WAS DAMAGED BEYOND REPAIR AND WAS MADE ANEW",
    );
    cluster.wait_console("board-2", from, "ready");
    let (_, code) = cluster.shell("board-2").run("test -e /data/mine");
    assert_eq!(code, 1);
    let (_, code) = cluster
        .shell("board-2")
        .run("grep -q ' /data ext4 ' /proc/mounts");
    assert_eq!(code, 0);
}

#[test]
fn another_boards_card_is_noticed_and_its_data_set_aside() {
    let cluster = VmCluster::start(3);
    let card = |board: &str| cluster.board(board).join("disk.img");
    let (id, _) = cluster.shell("board-3").run("cat /data/.board");
    cluster.vm(&["kill", "board-2"]);
    cluster.vm(&["kill", "board-3"]);
    std::fs::copy(card("board-3"), card("board-2")).unwrap();
    let from = cluster.console("board-2").len();
    cluster.vm(&["start", "board-2"]);
    cluster.vm(&["start", "board-3"]);
    cluster.wait_console("board-2", from, "THIS CARD WAS USED IN ANOTHER BOARD");
    cluster.wait_console("board-2", from, "ready");
    let console = cluster.console("board-2");
    assert!(console[from..].contains(id.trim()), "{id}: {console}");
    let aside = format!("test -d /data/of-{}/agentd", id.trim());
    assert_eq!(cluster.shell("board-2").run(&aside).1, 0);
    let agents = |board: &str| cluster.shell(board).run("cat /data/.board").0;
    assert_ne!(agents("board-2"), agents("board-3"));
}

#[test]
fn files_on_the_boot_partition_reset_the_data_and_name_the_board() {
    let cluster = VmCluster::start(2);
    let disk = cluster.board("board-2").join("disk.img");
    let (_, code) = cluster
        .shell("board-2")
        .run("echo gone > /data/mine && sync");
    assert_eq!(code, 0);
    cluster.vm(&["kill", "board-2"]);
    let files = nesos_image::BootPartition::new(&disk);
    files.write("factory-reset", b"").unwrap();
    let preseed = b"[system]\nhostname = \"imager\"\n[wlan]\nssid = \"garden\"\n";
    files.write("rpi-preseed.toml", preseed).unwrap();
    let from = cluster.console("board-2").len();
    cluster.vm(&["start", "board-2"]);
    cluster.wait_console("board-2", from, "FACTORY RESET");
    cluster.wait_console("board-2", from, "ready");
    let console = cluster.console("board-2")[from..].to_owned();
    assert!(
        console.contains("rpi-preseed.toml: host name imager"),
        "{console}"
    );
    // cluster.toml takes precedence.
    assert!(console.contains("ready      vm-board-2"), "{console}");
    let shell = |command: &str| cluster.shell("board-2").run(command).1;
    assert_eq!(shell("test -e /data/mine"), 1);
    assert_eq!(shell("test -e /boot/factory-reset"), 1);
    assert_eq!(shell("grep -q ' /boot vfat ro' /proc/mounts"), 0);
    let _ = cluster.active_node("board-2");
}

#[test]
fn the_clock_goes_on_where_an_orderly_ending_left_it() {
    let cluster = VmCluster::start(2);
    let (_, code) = cluster.shell("board-2").run("date -s 2031-05-01");
    assert_eq!(code, 0);
    let from = cluster.console("board-2").len();
    let _ = cluster.shell("board-2").run("kill -INT 1");
    cluster.wait_console("board-2", from, "done: restart");
    cluster.wait_console("board-2", from, "ready");
    let console = cluster.console("board-2")[from..].to_owned();
    assert!(console.contains("as saved"), "{console}");
    let (year, _) = cluster.shell("board-2").run("date +%Y");
    assert_eq!(year.trim(), "2031");
}
