//! Harness for tests that boot the built image: a cluster made by `nesos vm up`, with a shell on each board's console.
//!
//! Panics with a sentence: this is test code. Used by the tests beside it. Invariants: a missing image fails the test with the
//! command that builds it, nothing outlives its test, and no packet leaves for a real network.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod firmware;
mod lab;
mod masters;
mod shell;
mod update;

use std::path::PathBuf;
use std::time::Duration;

use nesos_cluster_tests::{Ended, Nesos, eventually};
use serde_json::Value;
use tempfile::TempDir;

pub use firmware::{Disk, Firmware, Machine};
pub use lab::{Lab, Told};
pub use shell::Shell;
pub use update::Update;

/// Boards boot in a few seconds alone on a core; a loaded machine takes longer.
pub const BOOT: Duration = Duration::from_secs(150);

/// A cluster of emulated boards; board-1 is the master.
#[derive(Debug)]
pub struct VmCluster {
    /// The command, pointed at this cluster.
    pub nesos: Nesos,
    master: String,
    home: TempDir,
}

impl VmCluster {
    /// Boots `boards` boards and waits until all have joined.
    ///
    /// # Panics
    /// The image is not built, or the boards do not join.
    #[must_use]
    pub fn start(boards: u8) -> Self {
        Self::start_with(boards, &[])
    }

    /// The same with more flags of `nesos vm up`.
    ///
    /// # Panics
    /// As [`VmCluster::start`].
    #[must_use]
    pub fn start_with(boards: u8, flags: &[&str]) -> Self {
        let home = tempfile::Builder::new()
            .prefix("nesos-vm-")
            .tempdir()
            .expect("a folder");
        let nesos = Nesos::new(home.path());
        let mut cluster = Self {
            nesos,
            master: String::new(),
            home,
        };
        let count = boards.to_string();
        let timeout = BOOT.as_secs().to_string();
        let fixed = [
            "--output",
            "json",
            "vm",
            "up",
            &count,
            "--port",
            "0",
            "--append",
            "nesos.shell",
            "--timeout",
            &timeout,
        ];
        let limit = BOOT + Duration::from_secs(30);
        let ended = cluster.nesos.run_within(limit, &[&fixed, flags].concat());
        assert_eq!(
            ended.code,
            0,
            "nesos vm up: {}{}",
            ended.stderr,
            cluster.consoles()
        );
        let ready: Value = ended
            .stdout
            .lines()
            .last()
            .and_then(|line| serde_json::from_str(line).ok())
            .expect("a ready event");
        let master = ready["master"]
            .as_str()
            .expect("the master's URL")
            .trim_start_matches("http://")
            .to_owned();
        cluster.nesos = cluster.nesos.clone().with_master(&master);
        cluster.master = master;
        cluster
    }

    /// `host:port` of the forwarded API.
    #[must_use]
    pub fn master(&self) -> &str {
        &self.master
    }

    /// Folder of a board.
    #[must_use]
    pub fn board(&self, name: &str) -> PathBuf {
        self.home.path().join("nesos/vm").join(name)
    }

    /// Everything that a board's console has printed.
    #[must_use]
    pub fn console(&self, name: &str) -> String {
        let bytes = std::fs::read(self.board(name).join("console.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until a board's console has printed `wanted` after its first `from` bytes.
    ///
    /// # Panics
    /// It does not.
    pub fn wait_console(&self, name: &str, from: usize, wanted: &str) {
        eventually(
            &format!("the console of {name} says {wanted:?}"),
            BOOT,
            || {
                self.console(name)
                    .get(from..)
                    .is_some_and(|text| text.contains(wanted))
                    .then_some(())
            },
        );
    }

    /// A shell on a board's console.
    ///
    /// # Panics
    /// The console cannot be reached.
    #[must_use]
    pub fn shell(&self, name: &str) -> Shell {
        Shell::connect(&self.board(name).join("console.sock"), name)
    }

    /// Runs `nesos vm <arguments>`.
    ///
    /// # Panics
    /// It fails.
    pub fn vm(&self, arguments: &[&str]) {
        let mut all = vec!["vm"];
        all.extend(arguments);
        let Ended { code, stderr, .. } = self.nesos.run(&all);
        assert_eq!(code, 0, "nesos vm {}: {stderr}", arguments.join(" "));
    }

    /// The node called `name`, once it is active.
    ///
    /// # Panics
    /// It does not become active.
    #[must_use]
    pub fn active_node(&self, name: &str) -> Value {
        eventually(&format!("{name} is active"), BOOT, || {
            let ended = self.nesos.run(&["--output", "json", "nodes"]);
            let nodes = ended
                .stdout
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            nodes.into_iter().find(|node| {
                node["state"] == "active"
                    && node["name"]
                        .as_str()
                        .is_some_and(|found| found.ends_with(name))
            })
        })
    }

    fn consoles(&self) -> String {
        (1..=16)
            .map(|i| format!("board-{i}"))
            .map(|name| (self.console(&name), name))
            .take_while(|(text, _)| !text.is_empty())
            .map(|(text, name)| format!("\n--- {name}\n{text}"))
            .collect()
    }
}

impl Drop for VmCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.consoles());
        }
        // Not `run`: a second panic would hide the first.
        let _ = self.nesos.command(&["vm", "down"]).output();
    }
}
