//! A cluster to test against: the one named by `NESOS_TEST_MASTER`, else one of plain processes on loopback.
//!
//! Called by the tests. Invariant: a cluster that was started
//! here is stopped when the value is dropped, its tasks included.

use crate::SetupError;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Names a master (`host:port`) that is up already.
const MASTER_VARIABLE: &str = "NESOS_TEST_MASTER";
/// How long one answer of the master may take; a loaded machine with emulated boards needs seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    /// `host:port` of the master.
    pub master: String,
    process: Option<Child>,
}

impl Cluster {
    /// The named cluster, or a new one with `agents` agents.
    ///
    /// # Errors
    /// The programs do not start or the cluster does not become ready.
    ///
    /// # Panics
    /// The programs are not built.
    pub fn new(agents: u16) -> Result<Self, SetupError> {
        if let Ok(master) = std::env::var(MASTER_VARIABLE) {
            return Ok(Self::at(&master));
        }
        let program = nesos_cluster_tests::binary("nesos");
        let mut process = Command::new(&program)
            .args([
                "--output",
                "json",
                "dev",
                "up",
                "--agents",
                &agents.to_string(),
            ])
            .env_remove("NESOS_MASTER")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| SetupError::Start {
                program: program.display().to_string(),
                source,
                hint: "build it with `cargo build --workspace`",
            })?;
        let stdout = process.stdout.take();
        let mut cluster = Self {
            master: String::new(),
            process: Some(process),
        };
        let mut line = String::new();
        if let Some(stdout) = stdout {
            // `dev up` has its own deadline: this ends with the line or with the process.
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        match (ready["event"].as_str(), ready["master"]["url"].as_str()) {
            (Some("ready"), Some(url)) => {
                cluster.master = url.trim_start_matches("http://").to_owned();
                Ok(cluster)
            }
            _ => Err(SetupError::NotReady(format!("it said {line:?}; see above"))),
        }
    }

    /// A cluster that somebody else started and will stop.
    #[must_use]
    pub fn at(master: &str) -> Self {
        Self {
            master: master.to_owned(),
            process: None,
        }
    }

    /// The JSON that the master answers to `GET path`.
    ///
    /// # Errors
    /// No connection, or no JSON.
    pub fn get(&self, path: &str) -> std::io::Result<serde_json::Value> {
        let mut stream = TcpStream::connect(&self.master)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        // HTTP/1.0: the answer is not chunked and the connection ends with it.
        write!(
            stream,
            "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n",
            self.master
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |parts| parts.1);
        serde_json::from_str(body)
            .map_err(|error| std::io::Error::other(format!("{path}: {error}: {answer:?}")))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        // Not SIGKILL: `dev up` stops its daemons and their tasks.
        if let Ok(id) = i32::try_from(process.id()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let _ = process.wait();
    }
}
