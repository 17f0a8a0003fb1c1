//! The processes of a development cluster, and the orphans that they leave.
//!
//! This process is a subreaper: executors of a killed agent become its children, so that none can get lost. Called by
//! `nesos dev up`. Invariant: [`Children::stop_all`] returns only when no child is left.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::DevError;
use super::plan::Program;

/// How long agents may take to kill their tasks (3 s of grace each) and say goodbye.
const AGENT_LIMIT: Duration = Duration::from_secs(10);
/// How long the master may take to close its registry.
const MASTER_LIMIT: Duration = Duration::from_secs(5);
/// How long leftovers may take to disappear after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// Pause between looks.
const POLL: Duration = Duration::from_millis(20);
/// Bytes of a log that an error message shows.
const TAIL: u64 = 2000;

/// The running daemons by name.
#[derive(Debug)]
pub(super) struct Children {
    running: BTreeMap<String, (Program, Child)>,
}

impl Children {
    /// None yet; orphans come to this process from now on.
    pub(super) fn new() -> Result<Self, DevError> {
        nix::sys::prctl::set_child_subreaper(true).map_err(|errno| DevError::System {
            operation: "become a subreaper".to_owned(),
            source: errno.into(),
        })?;
        Ok(Self {
            running: BTreeMap::new(),
        })
    }

    /// Starts a daemon; its output goes to its log.
    pub(super) fn start(&mut self, program: &Program) -> Result<(), DevError> {
        let open = || -> std::io::Result<(File, File)> {
            let log = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&program.log)?;
            Ok((log.try_clone()?, log))
        };
        let (out, err) = open().map_err(|source| DevError::File {
            operation: "open",
            path: program.log.clone(),
            source,
        })?;
        let mut command = Command::new(&program.file);
        // A person's NESOS_MASTER means the CLI, not these daemons.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"NESOS_"))
        {
            command.env_remove(name);
        }
        // Its own process group: a terminal's Ctrl-C is for this process, which stops the daemons in order.
        command
            .args(&program.flags)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0);
        let child = command.spawn().map_err(|source| DevError::System {
            operation: format!("start {}", program.file.display()),
            source,
        })?;
        self.running
            .insert(program.name.clone(), (program.clone(), child));
        Ok(())
    }

    /// One daemon that has ended since the last look.
    pub(super) fn ended(&mut self) -> Option<(Program, ExitStatus)> {
        let found = self.running.iter_mut().find_map(|(name, (_, child))| {
            let status = child.try_wait().ok().flatten()?;
            Some((name.clone(), status))
        });
        let (name, status) = found?;
        let (program, _) = self.running.remove(&name)?;
        Some((program, status))
    }

    /// Process id of a running daemon.
    pub(super) fn pid(&self, name: &str) -> Option<u32> {
        self.running.get(name)?.1.id()
    }

    /// Buries adopted executors that have ended.
    pub(super) fn collect_orphans(&self) {
        for pid in self.orphans() {
            // Any error means that it is not ours to bury.
            let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        }
    }

    /// Agents first, so that they kill their tasks and say goodbye; then the master; then whatever is left.
    pub(super) async fn stop_all(&mut self) {
        self.signal(Signal::SIGUSR1, |name| name != "master");
        self.wait_gone(AGENT_LIMIT, |name| name != "master").await;
        self.signal(Signal::SIGTERM, |name| name == "master");
        self.wait_gone(MASTER_LIMIT, |_| true).await;
        self.signal(Signal::SIGKILL, |_| true);
        self.wait_gone(KILL_LIMIT, |_| true).await;
        let begin = Instant::now();
        while begin.elapsed() < KILL_LIMIT {
            let orphans = self.orphans();
            if orphans.is_empty() {
                return;
            }
            for pid in orphans {
                let _ = kill(pid, Signal::SIGKILL);
                let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn signal(&self, signal: Signal, which: impl Fn(&str) -> bool) {
        for (name, (_, child)) in &self.running {
            if let Some(pid) = child
                .id()
                .filter(|_| which(name))
                .and_then(|pid| i32::try_from(pid).ok())
            {
                // It may have ended this moment.
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
    }

    async fn wait_gone(&mut self, limit: Duration, which: impl Fn(&str) -> bool) {
        let begin = Instant::now();
        loop {
            while self.ended().is_some() {}
            if begin.elapsed() > limit || !self.running.keys().any(|name| which(name)) {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Children of this process that are not daemons of the plan.
    fn orphans(&self) -> Vec<Pid> {
        let own = std::process::id();
        let daemons: Vec<u32> = self
            .running
            .values()
            .filter_map(|(_, child)| child.id())
            .collect();
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        let pids = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| !daemons.contains(pid) && parent(*pid) == Some(own))
            .filter_map(|pid| Some(Pid::from_raw(i32::try_from(pid).ok()?)))
            .collect()
    }
}

/// The last lines of a log.
pub(super) fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read()
        .map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned())
        .unwrap_or_default()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
