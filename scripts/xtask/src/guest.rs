//! What an emulated cluster says about itself: memory of each program, memory of the whole board, and times.
//!
//! Boots one master and one agent of the built image with `nesos vm up` and reads /proc through the boards' consoles. Called by
//! `sizes`. Invariant: the cluster is taken down whatever happens, and its folder removed.

use crate::cross::cargo;
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest wait for an answer on a console.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long boards settle before memory is read: PID 1 gives back its boot code after ten seconds.
const SETTLE: Duration = Duration::from_secs(15);
/// Longest wait for a board to leave or to join.
const JOIN_LIMIT: Duration = Duration::from_secs(60);
/// Time between two looks at the nodes: the resolution of the join time.
const POLL: Duration = Duration::from_millis(20);
/// Smallest memory in which a board must join, MiB.
const SMALL_MIB: u32 = 64;

/// One measured value.
#[derive(Debug)]
pub(crate) struct Reading {
    /// What was measured.
    pub(crate) what: String,
    /// Bytes or milliseconds.
    pub(crate) value: u64,
    /// Largest value promised, in the same unit.
    pub(crate) promise: Option<u64>,
}

/// Boots and reads.
///
/// # Errors
/// `nesos` cannot be built, or the boards do not boot or answer.
pub(crate) fn measure(root: &Path) -> Result<Vec<Reading>> {
    ensure!(
        cargo(root, &["build", "--quiet", "--package", "nesos"])
            .status()?
            .success(),
        "building nesos failed"
    );
    let mut readings = Vec::new();
    let cluster = Cluster::up(root, 128)?;
    std::thread::sleep(SETTLE);
    for (board, programs) in [
        ("board-1", &["init", "masterd"][..]),
        ("board-2", &["init", "agentd"]),
    ] {
        let mut console = cluster.console(board)?;
        for program in programs {
            readings.extend(memory(&mut console, board, program)?);
        }
        let text = console.run("cat /proc/meminfo")?;
        let [total, available] = ["MemTotal", "MemAvailable"].map(|key| kilobytes(&text, key));
        let used = total
            .context("no MemTotal")?
            .saturating_sub(available.context("no MemAvailable")?);
        readings.push(Reading {
            what: format!("{board}: memory used, whole board, idle"),
            value: used,
            promise: Some(18 << 20),
        });
    }
    readings.extend(cluster.restart("board-2")?);
    drop(cluster);
    let joined = Cluster::up(root, SMALL_MIB).is_ok();
    readings.push(Reading {
        what: format!("boards join with {SMALL_MIB} MiB (0 = yes)"),
        value: u64::from(!joined),
        promise: Some(0),
    });
    Ok(readings)
}

/// Resident memory of `program`: all of it, and the part that is not the file's own pages.
fn memory(console: &mut Console, board: &str, program: &str) -> Result<Vec<Reading>> {
    let find = format!(
        "for p in /proc/[0-9]*; do [ \"$(cat $p/comm)\" = {program} ] && cat $p/status && break; done"
    );
    let text = console.run(&find)?;
    let promise = match program {
        "masterd" => 6 << 20,
        "agentd" => 5 << 19,
        _ => 1 << 19,
    };
    let reading = |key: &str, what: &str, promise: Option<u64>| -> Result<Reading> {
        let value = kilobytes(&text, key)
            .with_context(|| format!("{program} does not run on {board}: {text}"))?;
        Ok(Reading {
            what: format!("{board}: {program}, {what}"),
            value,
            promise,
        })
    };
    Ok(vec![
        reading("VmRSS", "resident", Some(promise))?,
        reading("RssAnon", "resident, anonymous", None)?,
    ])
}

/// The bytes of a line such as `VmRSS:     208 kB`.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|count| count * 1024)
}

/// A running cluster of two boards.
#[derive(Debug)]
pub(crate) struct Cluster {
    nesos: PathBuf,
    folder: PathBuf,
    master: String,
}

impl Cluster {
    /// Boots them with so much memory each, MiB.
    ///
    /// # Errors
    /// The image is not built, or they do not join.
    pub(crate) fn up(root: &Path, memory: u32) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("nesos-sizes-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        let mut cluster = Self {
            nesos: root.join("target/debug/nesos"),
            folder,
            master: String::new(),
        };
        let memory = memory.to_string();
        let arguments = [
            "up",
            "2",
            "--port",
            "0",
            "--memory",
            &memory,
            "--append",
            "nesos.shell",
            "--output",
            "json",
        ];
        let output = cluster.vm(&arguments).output()?;
        ensure!(
            output.status.success(),
            "nesos vm up: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8_lossy(&output.stdout);
        let event: serde_json::Value =
            serde_json::from_str(text.lines().last().unwrap_or_default())
                .context("`nesos vm up` says no JSON")?;
        let master = event["master"]
            .as_str()
            .context("`nesos vm up` names no master")?;
        cluster.master = master.trim_start_matches("http://").to_owned();
        Ok(cluster)
    }

    /// Cuts the power of `board` and gives it back: how long until PID 1 speaks, and until the board is a member again.
    fn restart(&self, board: &str) -> Result<Vec<Reading>> {
        let until = |state: &str| -> Result<()> {
            let begin = Instant::now();
            while self.state(board)? != state {
                ensure!(
                    begin.elapsed() < JOIN_LIMIT,
                    "{board} does not become {state}"
                );
                std::thread::sleep(POLL);
            }
            Ok(())
        };
        ensure!(
            self.vm(&["kill", board]).output()?.status.success(),
            "nesos vm kill failed"
        );
        until("inactive")?;
        let begin = Instant::now();
        ensure!(
            self.vm(&["start", board]).output()?.status.success(),
            "nesos vm start failed"
        );
        until("active")?;
        let joined = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let spoke = self.first_line(board)?;
        Ok(vec![
            Reading {
                what: format!("{board}: kernel start to PID 1's first line, ms"),
                value: spoke,
                promise: Some(600),
            },
            Reading {
                what: format!("{board}: QEMU start to joined, ms"),
                value: joined,
                promise: Some(1500),
            },
        ])
    }

    fn state(&self, board: &str) -> Result<String> {
        let output = Command::new(&self.nesos)
            .args(["--output", "json", "--master", &self.master, "nodes"])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let nodes = text
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let found = nodes
            .filter(|node| node["name"] == board)
            .find_map(|node| node["state"].as_str().map(str::to_owned));
        Ok(found.unwrap_or_default())
    }

    fn vm(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.nesos);
        command
            .arg("vm")
            .args(arguments)
            .arg("--state-dir")
            .arg(self.folder.join("vm"));
        command
    }

    /// The guest's clock when `init` last printed its first line: `[   0.922] devices ...`.
    fn first_line(&self, board: &str) -> Result<u64> {
        let text = std::fs::read(self.folder.join("vm").join(board).join("console.log"))?;
        let text = String::from_utf8_lossy(&text);
        // The prompt of the shell that the power cut ended may stand before it.
        let (before, _) = text
            .rsplit_once("] devices ")
            .context("no line of init on the console")?;
        let clock = before.rsplit('[').next().unwrap_or_default().trim();
        let seconds: f64 = clock
            .parse()
            .with_context(|| format!("{clock:?} is no time"))?;
        Ok((seconds * 1000.0) as u64)
    }

    /// `nesos`, pointed at this cluster.
    pub(crate) fn nesos(&self) -> Command {
        let mut command = Command::new(&self.nesos);
        command.args(["--master", &self.master]);
        command
    }

    /// The shell on a board's console.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(crate) fn console(&self, board: &str) -> Result<Console> {
        let socket = UnixStream::connect(self.folder.join("vm").join(board).join("console.sock"))?;
        socket.set_read_timeout(Some(ANSWER_LIMIT))?;
        Ok(Console { socket, asked: 0 })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nothing to be done about a cluster that does not end; `nesos vm down` says so itself.
        drop(self.vm(&["down"]).status());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// The shell on a board's serial console.
#[derive(Debug)]
pub(crate) struct Console {
    socket: UnixStream,
    asked: u32,
}

impl Console {
    /// What `command` prints.
    ///
    /// # Errors
    /// The board does not answer within half a minute.
    pub(crate) fn run(&mut self, command: &str) -> Result<String> {
        self.asked += 1;
        let asked = self.asked;
        // Split marks: the echo of the typed line must not look like them.
        writeln!(
            self.socket,
            "echo '<''begin {asked}>'; {command}; echo '<''end {asked}>'"
        )?;
        let (begin, end) = (format!("<begin {asked}>"), format!("<end {asked}>"));
        let (mut seen, mut buffer) = (String::new(), [0; 4096]);
        loop {
            if let Some((_, rest)) = seen.split_once(&begin)
                && let Some((answer, _)) = rest.split_once(&end)
            {
                return Ok(answer.replace('\r', ""));
            }
            let count = self
                .socket
                .read(&mut buffer)
                .with_context(|| format!("no answer to {command:?}; the console said {seen:?}"))?;
            ensure!(count > 0, "the console closed; it said {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }
}
