//! One board's emulator: starting it, cutting its power, pressing its power button.
//!
//! Called by the commands of `vm`. Invariant: a process is signalled only while its start time is the one remembered.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::time::Instant;

use super::monitor::Monitor;
use super::state::{self, Board, Cluster};
use super::switch::QEMU;
use super::{GONE_LIMIT, SHUTDOWN_LIMIT, VmError};
use crate::locate;

/// U-Boot for QEMU, of Debian's package u-boot-qemu.
pub(super) const U_BOOT: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";

/// Pause between looks at a process that is to end.
const POLL: Duration = Duration::from_millis(20);

/// Gives `board` its power.
pub(super) fn start(cluster: &Cluster, board: &Board) -> Result<(), VmError> {
    let folder = cluster.board_folder(board);
    let mut command = Command::new(QEMU);
    command.args([
        "-name",
        &board.name,
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-daemonize",
    ]);
    command.args([
        "-M",
        &cluster.machine,
        "-smp",
        &cluster.cpus.to_string(),
        "-m",
        &cluster.memory.to_string(),
    ]);
    if let Some(cpu) = &cluster.cpu {
        command.args(["-cpu", cpu]);
    }
    command.arg("-pidfile").arg(folder.join("pid"));
    match cluster.u_boot {
        true => command.args(["-bios", U_BOOT]),
        false => command
            .arg("-kernel")
            .arg(&cluster.kernel)
            .args(["-append", &cluster.command_line]),
    };
    // The emulator is killed to cut the power, this machine is not: what the host has cached is as good as written.
    let disk = format!(
        "if=none,id=disk,format=raw,cache=unsafe,file={}",
        option(&cluster.disk(board))
    );
    command.args(["-drive", &disk, "-device", "virtio-blk-pci,drive=disk"]);
    let link = link(cluster);
    let mac = board.mac().map(|byte| format!("{byte:02x}")).join(":");
    command.args([
        "-netdev",
        &link,
        "-device",
        &format!("virtio-net-pci,netdev=link,mac={mac},romfile="),
    ]);
    command.args([
        "-device",
        "virtio-rng-pci",
        "-device",
        "i6300esb",
        "-action",
        "watchdog=reset",
    ]);
    let console = format!(
        "socket,id=console,server=on,wait=off,path={},logfile={},logappend=on",
        option(&cluster.console(board)),
        option(&cluster.console_log(board))
    );
    command.args(["-chardev", &console, "-serial", "chardev:console"]);
    command.args([
        "-qmp",
        &format!(
            "unix:{},server=on,wait=off",
            option(&cluster.monitor(board))
        ),
    ]);
    launch(&mut command, &board.name)?;
    state::remember(&folder)?;
    Ok(())
}

/// QEMU's option for a network interface called `link` that is plugged into the cluster's switch.
pub(super) fn link(cluster: &Cluster) -> String {
    format!(
        "stream,id=link,server=off,addr.type=unix,addr.path={}",
        option(&cluster.switch_socket())
    )
}

/// Runs a QEMU that becomes a daemon by itself: it returns when it listens and all of its files are open.
pub(super) fn launch(command: &mut Command, what: &str) -> Result<(), VmError> {
    let failed = |reason: String| VmError::Qemu {
        what: what.to_owned(),
        reason,
    };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            failed(format!("{QEMU} is not installed (Debian: qemu-system-arm)"))
        }
        _ => failed(error.to_string()),
    })?;
    let mut words = String::new();
    if let Some(stderr) = child.stderr.take() {
        // The daemon closes its end once it is up.
        let lines = BufReader::new(stderr)
            .lines()
            .map_while(Result::ok)
            .take(20);
        words = lines.collect::<Vec<_>>().join("; ");
    }
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    if status.success() {
        Ok(())
    } else {
        Err(failed(if words.is_empty() {
            status.to_string()
        } else {
            words
        }))
    }
}

/// A file name inside a comma-separated option of QEMU.
pub(super) fn option(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Cuts the power of `board`.
pub(super) async fn cut_power(cluster: &Cluster, board: &Board) -> Result<(), VmError> {
    let pid = cluster.pid_of(board).ok_or_else(|| VmError::State {
        node: board.name.clone(),
        state: "off",
    })?;
    end_process(pid, &board.name).await?;
    let _ = fs::remove_file(cluster.board_folder(board).join("run.json"));
    Ok(())
}

/// Presses all power buttons, waits, cuts the power of those that stay on.
pub(super) async fn shut_down_all(cluster: &Cluster) -> Result<(), VmError> {
    for board in &cluster.boards {
        if cluster.pid_of(board).is_some() {
            // A board that does not listen loses its power below.
            let _ = press_power_button(&cluster.monitor(board));
        }
    }
    let begin = Instant::now();
    let running = || {
        cluster
            .boards
            .iter()
            .any(|board| cluster.pid_of(board).is_some())
    };
    while running() && begin.elapsed() < SHUTDOWN_LIMIT {
        tokio::time::sleep(POLL).await;
    }
    for board in &cluster.boards {
        if cluster.pid_of(board).is_some() {
            cut_power(cluster, board).await?;
        }
    }
    Ok(())
}

/// Kills process `pid` and waits until it is gone.
pub(super) async fn end_process(pid: u32, node: &str) -> Result<(), VmError> {
    let stuck = || VmError::Stuck {
        node: node.to_owned(),
        pid,
    };
    let started = locate::start_time(pid);
    let _ = kill(
        Pid::from_raw(i32::try_from(pid).map_err(|_| stuck())?),
        Signal::SIGKILL,
    );
    let begin = Instant::now();
    while started.is_some() && locate::start_time(pid) == started {
        if begin.elapsed() > GONE_LIMIT {
            return Err(stuck());
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

fn press_power_button(monitor: &Path) -> io::Result<()> {
    Monitor::connect(monitor)?.execute("system_powerdown", json!({}))?;
    Ok(())
}
