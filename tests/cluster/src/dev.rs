//! A cluster of processes on loopback, made by `nesos dev up --restart`.
//!
//! Called by the tests. Invariant: when it is dropped, all of its processes have ended.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Nesos, Running, eventually};

/// Daemons need a few seconds on a machine that compiles beside.
const UP: Duration = Duration::from_secs(60);
/// Tasks get 3 s of grace, then everything is killed.
const DOWN: Duration = Duration::from_secs(30);

/// A running cluster.
#[derive(Debug)]
pub struct DevCluster {
    /// The command, pointed at this cluster.
    pub nesos: Nesos,
    /// `127.0.0.1:port` of the master.
    pub master: String,
    /// Name and `127.0.0.1:port` of each master.
    pub masters: Vec<(String, String)>,
    home: TempDir,
    process: Option<Running>,
}

impl DevCluster {
    /// One master and `agents` agents; `more` are further arguments of `nesos dev up`.
    ///
    /// # Panics
    /// It does not come up.
    #[must_use]
    pub fn start(agents: u32, more: &[&str]) -> Self {
        let home = tempfile::Builder::new()
            .prefix("nesos-test-")
            .tempdir()
            .expect("a folder");
        let nesos = Nesos::new(home.path());
        let work_dir = home.path().join("work").display().to_string();
        let count = agents.to_string();
        let mut arguments = vec![
            "--output",
            "json",
            "dev",
            "up",
            "--restart",
            "--agents",
            &count,
            "--work-dir",
            &work_dir,
        ];
        arguments.extend(more);
        let mut process = nesos.start(&arguments);
        process.wait_for("\"event\":\"ready\"", UP);
        let ready = events(&process)
            .into_iter()
            .find(|event| event["event"] == "ready")
            .expect("a ready event");
        let others = ready["other_masters"].as_array().into_iter().flatten();
        let masters = std::iter::once(&ready["master"])
            .chain(others)
            .map(|master| {
                let text = |key: &str| master[key].as_str().expect("a name and a URL").to_owned();
                let address = text("url").trim_start_matches("http://").to_owned();
                (text("name"), address)
            });
        let masters: Vec<(String, String)> = masters.collect();
        let master = masters[0].1.clone();
        Self {
            nesos: nesos.with_master(&master),
            master,
            masters,
            home,
            process: Some(process),
        }
    }

    /// Folder of state and logs.
    #[must_use]
    pub fn work_dir(&self) -> PathBuf {
        self.home.path().join("work")
    }

    /// Everything that the daemons have logged, for messages.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut all = String::new();
        for entry in std::fs::read_dir(self.work_dir())
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "log")
            {
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                all.push_str(&format!("--- {}\n{text}", entry.path().display()));
            }
        }
        all
    }

    /// Process id of the daemon `name` (`master`, `agent-1`).
    ///
    /// # Panics
    /// There is no such daemon.
    #[must_use]
    pub fn pid(&self, name: &str) -> Pid {
        let events = events(self.process());
        let newest = events
            .iter()
            .rev()
            .find_map(|event| match event["event"].as_str()? {
                "ready" => pid_in_ready(event, name),
                "started" if event["name"] == name => event["pid"].as_i64(),
                _ => None,
            });
        let pid = newest.unwrap_or_else(|| panic!("no daemon is called {name}"));
        Pid::from_raw(i32::try_from(pid).expect("a process id"))
    }

    /// Kills the daemon `name` with SIGKILL and waits until it was started again.
    ///
    /// # Panics
    /// It is not started again.
    pub fn kill_and_wait_restart(&self, name: &str) {
        let old = self.pid(name);
        kill(old, Signal::SIGKILL).expect("kill");
        eventually(&format!("{name} is started again"), UP, || {
            (self.pid(name) != old).then_some(())
        });
    }

    /// Stops the cluster as Ctrl-C does.
    ///
    /// # Panics
    /// It does not stop, or not well.
    pub fn stop(mut self) {
        let process = self.process.take().expect("running");
        process.signal(Signal::SIGINT);
        let ended = process.wait(DOWN);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }

    fn process(&self) -> &Running {
        self.process.as_ref().expect("running")
    }
}

impl Drop for DevCluster {
    fn drop(&mut self) {
        let Some(process) = self.process.take() else {
            return;
        };
        if std::thread::panicking() {
            eprintln!("{}{}", process.stderr(), self.logs());
        }
        process.signal(Signal::SIGTERM);
        // A second panic would hide the first.
        if !std::thread::panicking() {
            let _ = process.wait(DOWN);
            return;
        }
        let pid = process.id();
        let begin = tokio::time::Instant::now();
        while begin.elapsed() < DOWN
            && std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|s| !s.contains(") Z "))
        {
            std::thread::park_timeout(Duration::from_millis(25));
        }
    }
}

fn pid_in_ready(event: &Value, name: &str) -> Option<i64> {
    let agents = event["agents"].as_array().into_iter().flatten();
    let others = event["other_masters"].as_array().into_iter().flatten();
    agents
        .chain(others)
        .chain([&event["master"]])
        .find(|program| program["name"] == name)?["pid"]
        .as_i64()
}

fn events(process: &Running) -> Vec<Value> {
    process
        .stdout()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}
