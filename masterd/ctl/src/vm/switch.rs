//! The boards' Ethernet switch: a QEMU process without a machine.
//!
//! One unix socket per board, joined by hub ports, and slirp with `restrict=on`: DHCP for the boards and one forwarded
//! port, no way out. Called by `up` and `down`. Invariant: no interface of this machine is involved.

use std::process::Command;

use super::state::{self, Cluster};
use super::{VmError, board};
use crate::locate;

/// QEMU of the boards' architecture; the switch needs none in particular.
pub(super) const QEMU: &str = "qemu-system-aarch64";

/// Starts the switch of `cluster` and notes that a cluster runs.
pub(super) fn start(cluster: &Cluster) -> Result<(), VmError> {
    let mut command = Command::new(QEMU);
    command.args([
        "-name",
        "nesos-switch",
        "-M",
        "none",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-daemonize",
    ]);
    command.arg("-pidfile").arg(cluster.folder.join("pid"));
    let target = cluster
        .boards
        .first()
        .map(state::Board::address)
        .unwrap_or_default();
    let forward = format!(
        "user,id=world,restrict=on,hostfwd=tcp:127.0.0.1:{}-{target}:5050",
        cluster.port
    );
    command.args([
        "-netdev",
        &forward,
        "-netdev",
        "hubport,id=hub-world,hubid=0,netdev=world",
    ]);
    for board in &cluster.boards {
        let (id, path) = (
            format!("port{}", board.number),
            board::option(&cluster.port_socket(board)),
        );
        command.args([
            "-netdev",
            &format!("stream,id={id},server=on,addr.type=unix,addr.path={path}"),
        ]);
        command.args([
            "-netdev",
            &format!("hubport,id=hub-{id},hubid=0,netdev={id}"),
        ]);
    }
    board::launch(&mut command, "the switch")?;
    let pid = state::remember(&cluster.folder)?;
    locate::write_note("vm", &cluster.master(), pid)?.keep();
    Ok(())
}

/// Ends the switch.
pub(super) async fn stop(cluster: &Cluster) -> Result<(), VmError> {
    let Some(pid) = cluster.switch_pid() else {
        return Ok(());
    };
    board::end_process(pid, "the switch").await?;
    locate::remove_note("vm", pid);
    Ok(())
}
