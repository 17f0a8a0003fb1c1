//! Updates of the board's image: the board's updater does them (`nesos-update`, part of `init`), this feeds it.
//!
//! Called by the HTTP server. Not here: what a bundle is and whether it may be installed, which the updater decides. Invariants: one
//! update at a time; no more of a bundle is in memory than one range.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue, RANGE};
use nesos_sys::machine;
use nesos_sys::signal::{self, Signal};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::fetcher::client::Client;

/// A slow card takes a minute for a whole slot.
const INSTALL_LIMIT: Duration = Duration::from_secs(900);
/// Most bytes of a bundle that are asked for at once: the updater's bound.
pub(crate) const RANGE_MAX: u64 = 1 << 20;
/// Characters of the updater's complaint that are passed on.
const MAX_COMPLAINT: usize = 400;
/// What `init` says of the last update.
const REPORT: &str = "/run/nesos/update";
const RELEASE: &str = "/etc/os-release";
/// How long an answer may take to its reader before the board restarts.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// Why there was no update, or nothing is known of one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpdateError {
    #[error("this agent runs on no board of its own: there is no {0}")]
    NoBoard(PathBuf),
    #[error("an update is being installed already")]
    Busy,
    #[error("run {program}: {source}")]
    Run {
        program: PathBuf,
        source: std::io::Error,
    },
    #[error("{0}")]
    Refused(String),
    #[error("the bundle: {0}")]
    Source(String),
    #[error("it takes longer than {} s", INSTALL_LIMIT.as_secs())]
    Late,
}

/// Where a bundle comes from.
pub(crate) enum Source {
    /// The body of a request, which passes once.
    Body(Box<Passing>),
    /// A board that runs what it holds.
    Peer { client: Client, url: String },
}

/// A body, as far as it has passed.
pub(crate) struct Passing {
    body: Incoming,
    position: u64,
    left: Bytes,
}

impl Passing {
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            body,
            position: 0,
            left: Bytes::new(),
        }
    }

    /// The next bytes, at most `most` of them.
    async fn next(&mut self, most: u64) -> Result<Bytes, UpdateError> {
        while self.left.is_empty() {
            let frame = self.body.frame().await;
            let frame = frame.ok_or_else(|| {
                let sentence = format!("it ends after {} bytes", self.position);
                UpdateError::Source(sentence)
            })?;
            let frame = frame.map_err(|error| UpdateError::Source(error.to_string()))?;
            self.left = frame.into_data().unwrap_or_default();
        }
        let count = self
            .left
            .len()
            .min(usize::try_from(most).unwrap_or(usize::MAX));
        self.position += count as u64;
        Ok(self.left.split_to(count))
    }
}

impl Source {
    /// Gives the updater the `length` bytes from `at`.
    async fn feed(
        &mut self,
        at: u64,
        length: u64,
        to: &mut (impl AsyncWriteExt + Unpin),
    ) -> Result<(), UpdateError> {
        let broken = |error: std::io::Error| UpdateError::Source(error.to_string());
        match self {
            Self::Peer { client, url } => {
                let bytes = ask(client, url, at, length).await?;
                to.write_all(&bytes).await.map_err(broken)
            }
            Self::Body(passing) => {
                if passing.position > at {
                    let sentence = "a part of it came damaged, and it passes only once";
                    return Err(UpdateError::Source(sentence.to_owned()));
                }
                while passing.position < at {
                    passing.next(at - passing.position).await?;
                }
                let end = at + length;
                while passing.position < end {
                    let bytes = passing.next(end - passing.position).await?;
                    to.write_all(&bytes).await.map_err(broken)?;
                }
                Ok(())
            }
        }
    }
}

async fn ask(client: &Client, url: &str, at: u64, length: u64) -> Result<Vec<u8>, UpdateError> {
    let mut headers = HeaderMap::new();
    let range = format!("bytes={at}-{}", at + length.saturating_sub(1));
    if let Ok(value) = HeaderValue::try_from(range) {
        headers.insert(RANGE, value);
    }
    let failed = |why: String| UpdateError::Source(format!("{url}: {why}"));
    let answer = client.get(url, &headers).await.map_err(failed)?;
    let status = answer.status();
    let most = usize::try_from(length).unwrap_or(0);
    let bytes = client.read(answer.into_body(), most.max(MAX_COMPLAINT));
    let bytes = bytes.await.map_err(failed)?;
    match status.is_success() && bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err(failed(format!(
            "{status} with {} of {length} bytes",
            bytes.len()
        ))),
    }
}

/// The board's updater.
#[derive(Debug)]
pub(crate) struct Updater {
    program: PathBuf,
    turn: tokio::sync::Mutex<()>,
}

impl Updater {
    pub(crate) fn new(program: PathBuf) -> Self {
        Self {
            program,
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// What runs here, what the slots hold, and what became of the last update.
    pub(crate) async fn status(&self) -> Result<BTreeMap<String, String>, UpdateError> {
        let said = self.run(&["--status"]).await?;
        let said = String::from_utf8_lossy(&said);
        let mut status = pairs(&said);
        let release = std::fs::read_to_string(RELEASE).unwrap_or_default();
        for (key, value) in pairs(&release) {
            let name = match key.as_str() {
                "VERSION_ID" => "version",
                "BUILD_ID" => "build_id",
                _ => continue,
            };
            status.insert(name.to_owned(), value);
        }
        if let Some(boot_id) = machine::boot_id() {
            status.insert("boot_id".to_owned(), boot_id);
        }
        // There is none before the first update since the board started.
        if let Ok(report) = std::fs::read_to_string(REPORT) {
            let text = report.trim().replace('\n', ": ");
            status.insert("last_update".to_owned(), text);
        }
        Ok(status)
    }

    /// Bytes of the bundle that this board runs.
    pub(crate) async fn read(&self, at: u64, length: u64) -> Result<Bytes, UpdateError> {
        let (at, length) = (at.to_string(), length.min(RANGE_MAX).to_string());
        Ok(self.run(&["--read", &at, &length]).await?.into())
    }

    /// Installs what `source` has; returns the slot.
    pub(crate) async fn install(&self, mut source: Source) -> Result<String, UpdateError> {
        let _turn = self.turn.try_lock().map_err(|_| UpdateError::Busy)?;
        let mut child = self.spawn(&["--feed"], Stdio::piped())?;
        match tokio::time::timeout(INSTALL_LIMIT, talk(&mut child, &mut source)).await {
            Ok(Ok(slot)) => {
                // It has said all; how it ends adds nothing.
                let _ = child.wait().await;
                Ok(slot)
            }
            Ok(Err(None)) => Err(self.complaint(child).await),
            Ok(Err(Some(error))) => Err(error),
            Err(_) => Err(UpdateError::Late),
        }
    }

    /// What it printed; an error is what it complained of.
    async fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, UpdateError> {
        let child = self.spawn(arguments, Stdio::null())?;
        let output = child.wait_with_output().await;
        let output = output.map_err(|source| self.failed(source))?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(refused(&output.stderr)),
        }
    }

    async fn complaint(&self, mut child: Child) -> UpdateError {
        // It may wait for bytes that will not come.
        drop(child.stdin.take());
        match child.wait_with_output().await {
            Ok(output) => refused(&output.stderr),
            Err(source) => self.failed(source),
        }
    }

    fn spawn(&self, arguments: &[&str], input: Stdio) -> Result<Child, UpdateError> {
        if !self.program.exists() {
            return Err(UpdateError::NoBoard(self.program.clone()));
        }
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command.spawn().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> UpdateError {
        UpdateError::Run {
            program: self.program.clone(),
            source,
        }
    }
}

/// Restarts the board in order, when whoever asked has had time to read the answer.
pub(crate) async fn restart_board() {
    if std::os::unix::process::parent_id() != 1 {
        tracing::warn!("this agentd was not started by a board's init: restart the board by hand");
        return;
    }
    tokio::time::sleep(RESTART_PAUSE).await;
    // PID 1 of a board takes SIGINT as Ctrl-Alt-Del.
    if let Err(errno) = signal::send(1, Signal::SIGINT) {
        tracing::warn!("the board cannot be restarted: {errno}");
    }
}

/// Gives what is asked for, until it is installed; `None`: the updater has stopped asking and says why elsewhere.
async fn talk(child: &mut Child, source: &mut Source) -> Result<String, Option<UpdateError>> {
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(None);
    };
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["need", at, length] => {
                let (Ok(at), Ok(length)) = (at.parse(), length.parse()) else {
                    return Err(None);
                };
                // What it does not take, it complains of.
                source.feed(at, length, &mut input).await.map_err(Some)?;
            }
            ["installed", slot] => return Ok(slot.to_owned()),
            _ => tracing::debug!("update: {line}"),
        }
    }
    Err(None)
}

fn refused(said: &[u8]) -> UpdateError {
    let said = String::from_utf8_lossy(said);
    let said = said.trim().trim_start_matches("nesos-update: ");
    UpdateError::Refused(said.chars().take(MAX_COMPLAINT).collect())
}

/// `key=value` lines.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn updater(folder: &tempfile::TempDir, script: &str) -> Updater {
        let program = folder.path().join("nesos-update");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Updater::new(program)
    }

    #[tokio::test]
    async fn what_the_updater_says_is_passed_on() {
        let folder = tempfile::tempdir().unwrap();
        let says = updater(&folder, "echo running=a; echo committed=a");
        let status = says.status().await.unwrap();
        assert_eq!(status["running"], "a");
        let refuses = updater(&folder, "echo 'nesos-update: no slots' >&2; exit 1");
        let error = refuses.status().await.unwrap_err();
        assert_eq!(error.to_string(), "no slots");
        let none = Updater::new(folder.path().join("none"));
        let error = none.status().await.unwrap_err().to_string();
        assert!(error.contains("no board of its own"), "{error}");
    }

    #[tokio::test]
    async fn bytes_are_read_within_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let says = updater(&folder, "echo \"$@\"");
        let said = says.read(7, u64::MAX).await.unwrap();
        assert_eq!(&said[..], b"--read 7 1048576\n");
    }
}
