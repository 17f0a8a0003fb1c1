//! A program on somebody else's client that says where it is line by line, and goes on when it is told to.
//!
//! Called by the tests. Invariant: it ends with its test.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use nesos_cluster_tests::DevCluster;

use crate::{chronos, pymesos};

/// A script of the folder `pymesos` or `chronos` that runs.
#[derive(Debug)]
pub struct Script {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Script {
    /// Starts it as a scheduler of this cluster.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(name: &str, cluster: &DevCluster) -> Self {
        Self::start_at(name, &cluster.master, &[])
    }

    /// The same with any master, `host:port`, and more arguments.
    ///
    /// # Panics
    /// As [`Script::start`].
    #[must_use]
    pub fn start_at(name: &str, master: &str, arguments: &[&str]) -> Self {
        let python = pymesos().unwrap_or_else(|error| panic!("{error}"));
        Self::run(&python, &format!("pymesos/{name}"), master, arguments)
    }

    /// A script of the folder `chronos` that operates this cluster's jobs.
    ///
    /// # Panics
    /// As [`Script::start`].
    #[must_use]
    pub fn start_chronos(name: &str, cluster: &DevCluster, arguments: &[&str]) -> Self {
        let python = chronos().unwrap_or_else(|error| panic!("{error}"));
        let name = format!("chronos/{name}");
        Self::run(&python, &name, &cluster.master, arguments)
    }

    fn run(python: &Path, name: &str, master: &str, arguments: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/");
        let process = Command::new(python)
            .args([&format!("{script}{name}"), master])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut process = process.unwrap_or_else(|error| panic!("{name}: {error}"));
        let Some(stdout) = process.stdout.take() else {
            panic!("{name} has no output");
        };
        let lines = BufReader::new(stdout).lines();
        Self { process, lines }
    }

    /// Waits for its next line.
    ///
    /// # Panics
    /// It is another one; the script has a deadline of its own, after which it says so and ends.
    pub fn expect(&mut self, cluster: &DevCluster, line: &str) {
        assert_eq!(self.line().as_deref(), Some(line), "{}", cluster.logs());
    }

    /// Waits for its next line; there is none once it has ended.
    pub fn line(&mut self) -> Option<String> {
        self.lines.next().and_then(Result::ok)
    }

    /// Tells it to go on.
    ///
    /// # Panics
    /// It has ended.
    pub fn go_on(&mut self) {
        let stdin = self.process.stdin.as_mut();
        let told = stdin.map(|stdin| stdin.write_all(b"\n"));
        assert!(matches!(told, Some(Ok(()))), "{told:?}");
    }

    /// Whether it ended well.
    pub fn succeeds(&mut self) -> bool {
        self.process.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // Both fail if it has ended, and so it should have.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
