//! The boards' network: our switch ([`super::fabric`]) as a process, and slirp in a QEMU without a machine as the way in.
//!
//! slirp serves DHCP and forwards a port of 127.0.0.1 to each master; `restrict=on` leaves no way out. Where there are several
//! masters, the API's port is a door ([`super::door`]) in front of those. Called by `up`, `add` and `down`.
//! Invariant: no interface of this machine is involved.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::control::{self, Answer, Errand};
use super::monitor::Monitor;
use super::state::{self, Board, Cluster};
use super::{VmError, board};
use crate::locate;

/// QEMU of the boards' architecture; the way in needs none in particular.
pub(super) const QEMU: &str = "qemu-system-aarch64";
/// How long the switch may take to listen.
const LISTEN_LIMIT: Duration = Duration::from_secs(5);
/// Pause between looks.
const POLL: Duration = Duration::from_millis(10);

/// Starts the network of `cluster` and notes that a cluster runs.
pub(super) async fn start(cluster: &Cluster) -> Result<(), VmError> {
    start_switch(cluster).await?;
    let folder = cluster.uplink_folder();
    let mut command = Command::new(QEMU);
    command.args([
        "-name",
        "nesos-uplink",
        "-M",
        "none",
        "-nodefaults",
        "-no-user-config",
    ]);
    command.args(["-display", "none", "-daemonize"]);
    command.arg("-pidfile").arg(folder.join("pid"));
    let mut world = "user,id=world,restrict=on,ipv6=off".to_owned();
    for (way, address) in cluster.ways() {
        world.push_str(&format!(",hostfwd=tcp:127.0.0.1:{way}-{address}"));
    }
    let link = board::link(cluster);
    command.args([
        "-netdev",
        &world,
        "-netdev",
        "hubport,id=hub-world,hubid=0,netdev=world",
    ]);
    command.args([
        "-netdev",
        &link,
        "-netdev",
        "hubport,id=hub-link,hubid=0,netdev=link",
    ]);
    let monitor = board::option(&cluster.uplink_monitor());
    command.args(["-qmp", &format!("unix:{monitor},server=on,wait=off")]);
    board::launch(&mut command, "the boards' way in")?;
    state::remember(&folder)?;
    Ok(())
}

/// Ends the network.
pub(super) async fn stop(cluster: &Cluster) -> Result<(), VmError> {
    if let Some(pid) = cluster.uplink_pid() {
        board::end_process(pid, "the way in").await?;
    }
    if let Some(pid) = cluster.switch_pid() {
        board::end_process(pid, "the switch").await?;
        locate::remove_note("vm", pid);
    }
    Ok(())
}

/// Opens the way to the master on `board`, if it is one, while the cluster runs.
pub(super) fn open_way(cluster: &Cluster, board: &Board) -> Result<(), VmError> {
    let Some(way) = board.way else { return Ok(()) };
    let address = Cluster::api_of(board);
    let open = || {
        let mut monitor = Monitor::connect(&cluster.uplink_monitor())?;
        monitor.order(&format!("hostfwd_add world tcp:127.0.0.1:{way}-{address}"))?;
        let errand = Errand::Way(way, address.clone());
        match control::ask(&cluster.control_socket(), &errand)? {
            Answer::Done => Ok(()),
            Answer::Refused(reason) => Err(std::io::Error::other(reason)),
            Answer::Lost(_) => Err(std::io::Error::other("it says something else")),
        }
    };
    open().map_err(|source| VmError::Way {
        node: board.name.clone(),
        source,
    })
}

async fn start_switch(cluster: &Cluster) -> Result<(), VmError> {
    let failed = |reason: String| VmError::Qemu {
        what: "the switch".to_owned(),
        reason,
    };
    let path = cluster.folder.join("switch.log");
    let log = File::create(&path).map_err(|source| VmError::File {
        operation: "create",
        path: path.clone(),
        source,
    })?;
    // This very program, even if its file has been replaced meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("nesos");
    command.args(["vm", "switch"]).arg(cluster.switch_socket());
    command.arg("--control").arg(cluster.control_socket());
    let ways = cluster.ways();
    if ways.len() > 1 {
        command.arg(format!("--door={}", cluster.port));
        let ways = ways.iter();
        command.args(ways.map(|(way, address)| format!("--way={way}={address}")));
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    state::remember_pid(&cluster.folder, child.id())?;
    locate::write_note("vm", &cluster.master(), child.id())?.keep();
    let begin = tokio::time::Instant::now();
    while UnixStream::connect(cluster.switch_socket()).is_err() {
        if child.try_wait().ok().flatten().is_some() || begin.elapsed() > LISTEN_LIMIT {
            let words = std::fs::read_to_string(&path).unwrap_or_default();
            return Err(failed(format!("it does not listen: {}", words.trim())));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
