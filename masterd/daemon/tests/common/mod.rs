//! A real masterd on loopback, a raw HTTP client and an agent that does what a test tells it.
//!
//! Shared by this crate's tests. Invariants: every wait has a deadline, every process ends with its test.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)] // Each test binary uses its own part.

pub mod agent;
pub mod form;
pub mod group;
pub mod http;
pub mod operation;
pub mod quota;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long anything may take: generous, machines are shared.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A running masterd.
#[derive(Debug)]
pub struct Master {
    child: Child,
    pub port: u16,
    /// What it said before it listened.
    pub early: Vec<String>,
    log: mpsc::Receiver<String>,
}

impl Master {
    /// Starts masterd on `work_dir` with further flags; port 0 is a free one.
    pub fn start(work_dir: &Path, port: u16, flags: &[&str]) -> Self {
        let program = env!("CARGO_BIN_EXE_masterd");
        Self::spawn(&mut Command::new(program), work_dir, port, flags)
    }

    /// As `start`, but it can have a disk that is full.
    pub fn start_limitable(work_dir: &Path) -> Self {
        let script = "trap '' XFSZ; exec \"$0\" \"$@\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, env!("CARGO_BIN_EXE_masterd")]);
        Self::spawn(&mut shell, work_dir, 0, &[])
    }

    /// From now on nothing can be written behind this many bytes of a file, as on a disk that is full: `unlimited` makes room.
    pub fn limit_files(&self, bytes: &str) {
        let pid = self.child.id().to_string();
        let limited = Command::new("prlimit")
            .args(["--pid", &pid, &format!("--fsize={bytes}:")])
            .status();
        assert!(limited.unwrap().success());
    }

    fn spawn(command: &mut Command, work_dir: &Path, port: u16, flags: &[&str]) -> Self {
        let mut child = command
            .args(["--ip=127.0.0.1", "--cluster=test", "--hostname=localhost"])
            .args([
                format!("--port={port}"),
                format!("--work_dir={}", work_dir.display()),
            ])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, log) = mpsc::channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| drop(sender.send(line)))
        });
        let mut master = Self {
            child,
            port,
            early: Vec::new(),
            log,
        };
        let line = loop {
            let line = master.wait_log("");
            if line.contains("listens on") {
                break line;
            }
            master.early.push(line);
        };
        master.port = line.rsplit(':').next().unwrap().trim().parse().unwrap();
        master
    }

    /// The next log line that contains `text`.
    pub fn wait_log(&self, text: &str) -> String {
        let end = std::time::Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(std::time::Instant::now());
            let line = self
                .log
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("no log line with '{text}'"));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let status = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(status.success());
        self.child.wait().unwrap().code()
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        // Already dead is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a test's future with a deadline.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(2 * DEADLINE, future)
            .await
            .expect("the test took too long")
    })
}
