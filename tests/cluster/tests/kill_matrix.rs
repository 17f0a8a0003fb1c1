//! Whoever is killed at whatever point of a task's life: the task comes to one end that its framework hears of, and nothing
//! of it is left.
//!
//! The same with thousands of runs in virtual time: `tests/sim/tests/kill_matrix.rs`; with a board's real loss of power:
//! `tests/qemu`. `NESOS_KILL_ROUNDS=n`: that many rounds over all cells; 23 are one for each. `NESOS_KILL_SEED=s`: in an order
//! that looks random, and is the same for the same seed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use nesos_cluster_tests::scheduler::{Scheduler, task};
use nesos_cluster_tests::{DevCluster, eventually, http};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// Rounds if nothing else is asked for: some seconds.
const ROUNDS: usize = 8;
/// From one round's cell to the next one's: every cell comes, and neighbours do not come together.
const STRIDE: usize = 7;
const SOON: Duration = Duration::from_secs(60);
/// Ends a quarter of a second after it was asked to: long enough to be killed on the way.
const STUBBORN: &str = "trap 'sleep 0.25; exit 0' TERM; while :; do sleep 0.02; done";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Agent,
    Helper,
    Task,
    Master,
    /// agentd, helpers and tasks at once.
    Board,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hour {
    Fetching,
    Starting,
    Running,
    Killing,
    Unacknowledged,
}

/// All that can be: while files are fetched there is no helper and no process yet.
fn cells() -> Vec<(Victim, Hour)> {
    use Hour::{Fetching, Killing, Running, Starting, Unacknowledged};
    use Victim::{Agent, Board, Helper, Master, Task};
    let mut cells = Vec::new();
    for hour in [Fetching, Starting, Running, Killing, Unacknowledged] {
        for victim in [Agent, Helper, Task, Master, Board] {
            if hour != Fetching || !matches!(victim, Helper | Task) {
                cells.push((victim, hour));
            }
        }
    }
    cells
}

#[test]
fn every_task_comes_to_one_end_and_leaves_nothing() {
    let cells = cells();
    let given = std::env::var("NESOS_KILL_ROUNDS").ok();
    let rounds = given.map_or(ROUNDS, |text| text.parse().expect("a number"));
    let seed = std::env::var("NESOS_KILL_SEED").ok();
    let mut random: Option<u64> = seed.map(|text| text.parse().expect("a number"));
    let mut stage = Stage::new();
    for number in 0..rounds {
        let at = match &mut random {
            Some(state) => {
                *state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695);
                (*state >> 33) as usize
            }
            None => number * STRIDE,
        };
        let (victim, hour) = cells[at % cells.len()];
        stage.round(&format!("{hour:?}-{victim:?}-{number}"), victim, hour);
    }
    stage.cluster.stop();
}

struct Stage {
    cluster: DevCluster,
    scheduler: Scheduler,
    /// Serves a file that does not come until it is let go.
    server: TcpListener,
    /// Ends that were acknowledged: nothing new may be said of these tasks.
    ended: BTreeSet<String>,
}

impl Stage {
    fn new() -> Self {
        let cluster = DevCluster::start(1, &[]);
        let scheduler = Scheduler::subscribe(&cluster.master, members(&Value::Null));
        Self {
            cluster,
            scheduler,
            server: TcpListener::bind("127.0.0.1:0").unwrap(),
            ended: BTreeSet::new(),
        }
    }

    fn round(&mut self, id: &str, victim: Victim, hour: Hour) {
        eprintln!("... {id}");
        let agent = self.launch(id, hour);
        let download = self.wait_for(id, hour);
        self.strike(id, victim);
        drop(download);
        if victim == Victim::Master {
            eventually("masterd listens", SOON, || {
                TcpStream::connect(&self.cluster.master).ok()
            });
            let members = members(&self.scheduler.id);
            self.scheduler = Scheduler::subscribe(&self.cluster.master, members);
        }
        self.bring_to_its_end(id, &agent);
        self.nothing_is_left(id);
    }

    /// Launches the task; on which agent.
    fn launch(&mut self, id: &str, hour: Hour) -> Value {
        let offer = self.scheduler.standing_offer();
        let command = match hour {
            Hour::Killing => STUBBORN,
            _ => "exec sleep 1000",
        };
        let mut described = task(&offer, id, 0.1, command);
        if hour == Hour::Fetching {
            let place = self.server.local_addr().unwrap();
            described["command"]["uris"] = json!([{"value": format!("http://{place}/file")}]);
        }
        self.scheduler.launch(&[&offer], json!([described]));
        offer["agent_id"].clone()
    }

    /// Waits until the task is where it is to be; the download that stands still, if there is one.
    fn wait_for(&mut self, id: &str, hour: Hour) -> Option<TcpStream> {
        match hour {
            Hour::Fetching => {
                let (mut download, _) = self.server.accept().unwrap();
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome";
                download.write_all(head.as_bytes()).unwrap();
                return Some(download);
            }
            Hour::Starting => {
                let runs = self.runs();
                eventually("the task's helper is started", SOON, || {
                    fs::read_dir(&runs).unwrap().next().map(drop)
                });
            }
            Hour::Running => drop(self.status_of(id, "TASK_RUNNING", true)),
            Hour::Killing => {
                let status = self.status_of(id, "TASK_RUNNING", true);
                self.kill(id, &status["agent_id"]);
                self.status_of(id, "TASK_KILLING", true);
            }
            Hour::Unacknowledged => drop(self.status_of(id, "TASK_RUNNING", false)),
        }
        None
    }

    /// Reads statuses up to this one; whether that one is acknowledged too.
    fn status_of(&mut self, id: &str, state: &str, acknowledges: bool) -> Value {
        loop {
            let status = self.scheduler.status();
            let is_it = status["task_id"]["value"] == id && status["state"] == state;
            if !is_it || acknowledges {
                self.scheduler.acknowledge(&status);
            }
            if is_it {
                return status;
            }
        }
    }

    fn strike(&self, id: &str, victim: Victim) {
        match victim {
            Victim::Agent => self.cluster.kill_and_wait_restart("agent-1"),
            Victim::Master => self.cluster.kill_and_wait_restart("master"),
            Victim::Helper => kill_all(&self.helpers()),
            Victim::Task => kill_all(&processes_of(id)),
            Victim::Board => {
                let agent = self.cluster.pid("agent-1");
                // Stopped first, so that it cannot see the others die.
                kill(agent, Signal::SIGSTOP).expect("stop agentd");
                kill_all(&self.helpers());
                kill_all(&processes_of(id));
                self.cluster.kill_and_wait_restart("agent-1");
            }
        }
    }

    /// Asks for the task's end, if it has not come, until it has; every status is acknowledged.
    fn bring_to_its_end(&mut self, id: &str, agent: &Value) {
        eventually("the agent is there", SOON, || {
            let answer = http::request(&self.cluster.master, "GET", "/metrics/snapshot", &[], b"");
            let metrics: Value = serde_json::from_str(&answer.body).ok()?;
            (metrics["master/slaves_active"] == 1.0).then_some(())
        });
        let known = json!({"tasks": [{"task_id": {"value": id}, "agent_id": agent}]});
        self.scheduler.call("RECONCILE", known);
        self.kill(id, agent);
        let mut end = None;
        while end.is_none() {
            let status = self.scheduler.status();
            self.scheduler.acknowledge(&status);
            let of = status["task_id"]["value"].as_str().expect("a task");
            // Without an id it is the master's answer to our question; the agent's own word is still to come, if it knows it.
            let is_answer = status["uuid"].is_null() && !is_unknown(&status);
            let is_end = is_terminal(&status) && !is_answer;
            let is_late = self.ended.contains(of) && !is_terminal(&status);
            assert!(!is_late, "after its end: {status}");
            if of == id && is_end {
                end = Some(status);
            }
        }
        self.ended.insert(id.to_owned());
    }

    fn kill(&self, id: &str, agent: &Value) {
        let member = json!({"task_id": {"value": id}, "agent_id": agent,
            "kill_policy": {"grace_period": {"nanoseconds": 2_000_000_000_u64}}});
        self.scheduler.call("KILL", member);
    }

    fn nothing_is_left(&self, id: &str) {
        eventually(&format!("{id} has left nothing"), SOON, || {
            let is_empty = fs::read_dir(self.runs()).unwrap().next().is_none();
            (processes_of(id).is_empty() && self.helpers().is_empty() && is_empty).then_some(())
        });
    }

    fn runs(&self) -> std::path::PathBuf {
        self.cluster.work_dir().join("agent-1/run")
    }

    /// Process ids of this cluster's helpers.
    fn helpers(&self) -> Vec<Pid> {
        let runs = self.runs().display().to_string();
        processes(|process| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.starts_with("nesos-executor\0") && line.contains(&runs)
        })
    }
}

fn members(id: &Value) -> Value {
    let capabilities = ["PARTITION_AWARE", "TASK_KILLING_STATE"];
    let capabilities = capabilities.map(|capability| json!({ "type": capability }));
    json!({"id": id, "failover_timeout": 600.0, "checkpoint": true, "capabilities": capabilities})
}

fn is_terminal(status: &Value) -> bool {
    let going_on = [
        "TASK_STAGING",
        "TASK_STARTING",
        "TASK_RUNNING",
        "TASK_KILLING",
    ];
    !going_on.iter().any(|state| status["state"] == *state)
}

/// The agent knows nothing of it: no other word will come.
fn is_unknown(status: &Value) -> bool {
    let unknown = [
        "TASK_LOST",
        "TASK_GONE",
        "TASK_DROPPED",
        "TASK_UNKNOWN",
        "TASK_ERROR",
    ];
    unknown.iter().any(|state| status["state"] == *state)
}

fn kill_all(pids: &[Pid]) {
    for pid in pids {
        // It may have ended just now.
        let _ = kill(*pid, Signal::SIGKILL);
    }
}

/// Every process of a task, by what it inherits.
fn processes_of(id: &str) -> Vec<Pid> {
    let variable = format!("MESOS_TASK_ID={id}");
    processes(|process| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        let mut entries = environment.split(|byte| *byte == 0);
        entries.any(|entry| entry == variable.as_bytes())
    })
}

fn processes(is_wanted: impl Fn(&std::path::Path) -> bool) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let wanted = entries.filter(|entry| is_wanted(&entry.path()));
    let names = wanted.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    names.map(Pid::from_raw).collect()
}
