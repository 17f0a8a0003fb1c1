//! Boards that must not get in, or cannot: the reason stands on their console, and in the master's log.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use nesos_qemu_tests::VmCluster;

/// Gives `board` a fresh disk with this cluster.toml and its power back.
fn boot_with(cluster: &VmCluster, board: &str, cluster_toml: &[u8]) {
    cluster.vm(&["kill", board]);
    let disk = cluster.board(board).join("disk.img");
    let image = nesos_image::artifacts("qemu-virt").expect("the image");
    std::fs::copy(&image.image, &disk).unwrap();
    nesos_image::personalise(&disk, cluster_toml).unwrap();
    std::fs::remove_file(cluster.board(board).join("console.log")).unwrap();
    cluster.vm(&["start", board]);
}

#[test]
fn a_wrong_token_is_refused_with_a_sentence_on_both_sides() {
    let cluster = VmCluster::start(2);
    let good = token_of(&cluster.board("board-2").join("disk.img"), &cluster);
    // The CA's pin is right, the secret is not.
    let (pin, secret) = good.rsplit_once('-').unwrap();
    let wrong = format!("{pin}-{}", secret.chars().rev().collect::<String>());
    let toml = |token: &str| {
        format!("name = 'board-2'\nrole = 'agent'\n[cluster]\nname = 'vm'\ntoken = '{token}'\n")
    };

    let from = cluster.console("board-1").len();
    boot_with(&cluster, "board-2", toml(&wrong).as_bytes());
    cluster.wait_console("board-2", 0, "the join token is wrong");
    cluster.wait_console("board-1", from, "the join token is wrong");
    assert!(
        !cluster.console("board-1").contains(&wrong)
            && !cluster.console("board-2").contains(&wrong),
        "secrets are not logged"
    );

    boot_with(&cluster, "board-2", toml(&good).as_bytes());
    let _ = cluster.active_node("board-2");
}

#[test]
fn a_corrupt_configuration_is_named_and_does_no_harm() {
    let cluster = VmCluster::start(3);
    for (bytes, words) in [
        (&b"name = 'board-3'\nrole = 'boss'\n"[..], "role"),
        (b"name = 'board-3'\n[cluster]\ntokken = 'x'\n", "tokken"),
        (&[0xff, 0xfe, 0x00, 0x01, 0x80], "not text"),
    ] {
        boot_with(&cluster, "board-3", bytes);
        cluster.wait_console("board-3", 0, "cluster.toml");
        cluster.wait_console("board-3", 0, "ready");
        let console = cluster.console("board-3");
        assert!(console.contains(words), "{words}: {console}");
        assert!(!console.contains("panic"), "{console}");
    }
    let ended = cluster
        .nesos
        .run(&["run", "--on", "board-2", "--", "echo unharmed"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "unharmed\n"),
        "{ended:?}"
    );
}

/// The join token that `nesos vm up` wrote onto a board's boot partition.
fn token_of(disk: &Path, cluster: &VmCluster) -> String {
    let (text, code) = cluster.shell("board-2").run("cat /boot/cluster.toml");
    assert_eq!(
        code,
        0,
        "read the board's configuration on {}",
        disk.display()
    );
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("token = "))
        .expect("a token");
    line.trim_matches('"').to_owned()
}
