//! A board loses its power, or its agentd, at whatever point of a task's life: the task comes to one end that its framework
//! hears of with the right reason, and nothing of it is left.
//!
//! The same with helpers, tasks and masters killed, as processes: `tests/cluster/tests/kill_matrix.rs`; thousands of runs in virtual
//! time: `tests/sim/tests/kill_matrix.rs`. `NESOS_KILL_ROUNDS=n`: that many rounds; 10 are one for each cell.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, VecDeque};

use nesos_cluster_tests::eventually;
use nesos_cluster_tests::scheduler::{Scheduler, task};
use nesos_qemu_tests::{BOOT, VmCluster};
use serde_json::{Value, json};

/// Rounds if nothing else is asked for: three losses of power, an end of agentd.
const ROUNDS: usize = 4;
/// From one round's cell to the next one's: every cell comes, and the first ones differ in both.
const STRIDE: usize = 7;
/// Tasks' board, which is killed; the other has the master.
const BOARD: &str = "board-2";
/// Where board-1 serves a file that does not come to its end.
const PORT: u16 = 8000;
/// Ends two seconds after it was asked to: long enough to be killed on the way.
const STUBBORN: &str = "trap 'sleep 2; exit 0' TERM; while :; do sleep 0.1; done";
const METRICS: &str = "http://127.0.0.1:5051/metrics/snapshot";
/// What a board has of containers: helpers, cgroups, run directories, mounts.
const LEFT: &str = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -o 'nesos-executo[r] /[^ ]*'; pidof sleep; ls -d /sys/fs/cgroup/nesos/*/ 2>/dev/null | grep -v executors; \
                    ls /run/nesos/agentd 2>/dev/null | grep -v sock; grep -e overlay -e agentd /proc/mounts";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    /// The power is cut: QEMU is killed, and started again.
    Board,
    /// The child of PID 1, which starts it again.
    Agentd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hour {
    Fetching,
    Starting,
    Running,
    Killing,
    /// It has ended, and its framework has not said that it knows.
    Unacknowledged,
}

fn cells() -> Vec<(Victim, Hour)> {
    use Hour::{Fetching, Killing, Running, Starting, Unacknowledged};
    let hours = [Running, Unacknowledged, Fetching, Starting, Killing];
    let of = |victim| hours.map(|hour| (victim, hour));
    [of(Victim::Board), of(Victim::Agentd)].concat()
}

#[test]
fn whatever_dies_every_task_comes_to_one_end() {
    let cells = cells();
    let given = std::env::var("NESOS_KILL_ROUNDS").ok();
    let rounds = given.map_or(ROUNDS, |text| text.parse().expect("a number"));
    let mut stage = Stage::new();
    for number in 0..rounds {
        let (victim, hour) = cells[number * STRIDE % cells.len()];
        stage.round(&format!("{hour:?}-{victim:?}-{number}"), victim, hour);
    }
}

struct Stage {
    cluster: VmCluster,
    scheduler: Scheduler,
    agent: Value,
    /// What the agent has heard to be acknowledged, and whether it was an end: it may not be said again.
    settled: BTreeMap<String, bool>,
    /// Came while something else was waited for.
    aside: VecDeque<Value>,
}

impl Stage {
    fn new() -> Self {
        let cluster = VmCluster::start(2);
        let capabilities = ["PARTITION_AWARE", "TASK_KILLING_STATE"];
        let capabilities = capabilities.map(|capability| json!({ "type": capability }));
        let members =
            json!({"failover_timeout": 600.0, "checkpoint": true, "capabilities": capabilities});
        let scheduler = Scheduler::subscribe(cluster.master(), members);
        let agent = cluster.active_node(BOARD)["agent"].clone();
        Self {
            cluster,
            scheduler,
            agent,
            settled: BTreeMap::new(),
            aside: VecDeque::new(),
        }
    }

    fn round(&mut self, id: &str, victim: Victim, hour: Hour) {
        eprintln!("... {id}");
        let begin = std::time::Instant::now();
        self.launch(id, hour);
        let heard = self.wait_for(id, hour);
        self.strike(victim);
        let node = self.cluster.active_node(BOARD);
        assert_eq!(node["agent"], self.agent, "the same identity");
        let end = match (victim, hour) {
            // Its end was stored before anybody heard of it.
            (_, Hour::Unacknowledged) => {
                let end = self.end_of(id);
                assert_eq!(end["uuid"], heard["uuid"], "{heard}, then {end}");
                assert_eq!(end["state"], "TASK_FAILED", "{end}");
                end
            }
            (Victim::Board, _) => {
                let end = self.end_of(id);
                assert!(lost_with_the_power(hour, &end), "{end}");
                end
            }
            (Victim::Agentd, Hour::Fetching) => {
                let end = self.end_of(id);
                assert_eq!(end["reason"], "REASON_AGENT_RESTARTED", "{end}");
                end
            }
            (Victim::Agentd, _) => {
                self.kill(id);
                let end = self.end_of(id);
                assert_eq!(end["state"], "TASK_KILLED", "{end}");
                end
            }
        };
        self.settle(id, &end);
        let mut shell = self.cluster.shell(BOARD);
        eventually(&format!("{id} has left nothing"), BOOT, || {
            shell.run(LEFT).0.is_empty().then_some(())
        });
        eprintln!(
            "    {} {} after {:.1} s",
            end["state"],
            end["reason"],
            begin.elapsed().as_secs_f64()
        );
    }

    fn launch(&mut self, id: &str, hour: Hour) {
        // An offer of the time before the board's end may have been rescinded.
        self.catch_up(id, &Value::Null);
        let offer = self.scheduler.standing_offer();
        let command = match hour {
            Hour::Killing => STUBBORN,
            Hour::Unacknowledged => "exit 3",
            _ => "exec sleep 1000",
        };
        let mut described = task(&offer, id, 0.1, command);
        if hour == Hour::Fetching {
            let place = self.board_1();
            described["command"]["uris"] =
                json!([{"value": format!("http://{place}:{PORT}/file")}]);
        }
        if hour == Hour::Starting {
            // Whoever looks for it from outside comes too late: agentd stands still as soon as the helper is there.
            let wait = "((until ls -d /run/nesos/agentd/*/ > /dev/null 2>&1; do :; done; kill -STOP $(pidof agentd); \
                        echo > /run/stopped) > /dev/null 2>&1 &)";
            self.cluster.shell(BOARD).run(wait);
        }
        self.scheduler.launch(&[&offer], json!([described]));
    }

    /// Starts the server of the file, and says where it is. It answers when it was asked, not before: who hears an answer without
    /// having asked hangs up.
    fn board_1(&self) -> String {
        let serve = format!(
            "kill $(pidof nc) 2>/dev/null; rm -f /run/asked; \
             (until test -s /run/asked; do :; done; printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 1000\\r\\n\\r\\nsome'; sleep 1000) | nc -l -p {PORT} > /run/asked & \
             until netstat -ltn | grep -q :{PORT}; do :; done; \
             ip -4 addr show eth0 | sed -n 's/.*inet \\([0-9.]*\\).*/\\1/p'"
        );
        let (said, _) = self.cluster.shell("board-1").run(&serve);
        said.lines().last().expect("an address").trim().to_owned()
    }

    /// Waits until the task is where it is to be; the status that says so, if one does.
    fn wait_for(&mut self, id: &str, hour: Hour) -> Value {
        let file = format!("/data/agentd/slaves/*/frameworks/*/executors/{id}/runs/latest/file");
        match hour {
            Hour::Fetching => self.on_board(&format!("test -s {file}")),
            Hour::Starting => self.on_board("rm /run/stopped 2>/dev/null"),
            Hour::Running => return self.status_of(id, "TASK_RUNNING"),
            Hour::Killing => {
                self.status_of(id, "TASK_RUNNING");
                self.kill(id);
                return self.status_of(id, "TASK_KILLING");
            }
            Hour::Unacknowledged => loop {
                let status = self.next_of(id);
                if is_terminal(&status) {
                    return status;
                }
                self.settle(id, &status);
            },
        }
        Value::Null
    }

    fn strike(&mut self, victim: Victim) {
        match victim {
            Victim::Board => {
                // Only of ends it is synchronised that they were acknowledged; a launch waits for no disk.
                self.settled.retain(|_, is_end| *is_end);
                self.cluster.vm(&["kill", BOARD]);
                let from = self.cluster.console(BOARD).len();
                self.cluster.vm(&["start", BOARD]);
                // The master does not know yet that the board was away: its own word counts.
                self.cluster.wait_console(BOARD, from, "ready");
                self.on_board(&format!(
                    "wget -q -O - {METRICS} | grep -q 'slave/registered\":1'"
                ));
            }
            Victim::Agentd => {
                let (before, code) = self
                    .cluster
                    .shell(BOARD)
                    .run("p=$(pidof agentd); kill -9 $p; echo $p");
                assert_eq!(code, 0, "agentd was killed");
                self.on_board(&format!("pidof agentd | grep -v '^{before}$'"));
            }
        }
    }

    /// Waits until a command on the tasks' board succeeds.
    fn on_board(&self, command: &str) {
        let mut shell = self.cluster.shell(BOARD);
        eventually(command, BOOT, || (shell.run(command).1 == 0).then_some(()));
    }

    /// Statuses of this task up to one of this state, each settled.
    fn status_of(&mut self, id: &str, state: &str) -> Value {
        loop {
            let status = self.next_of(id);
            self.settle(id, &status);
            if status["state"] == state {
                return status;
            }
            assert!(!is_terminal(&status), "{state} was expected: {status}");
        }
    }

    /// The end of a task; what comes before it is settled.
    fn end_of(&mut self, id: &str) -> Value {
        loop {
            let status = self.next_of(id);
            if is_terminal(&status) {
                return status;
            }
            self.settle(id, &status);
        }
    }

    fn next_of(&mut self, id: &str) -> Value {
        loop {
            let status = self.aside.pop_front();
            let status = status.unwrap_or_else(|| self.scheduler.status());
            let uuid = status["uuid"].to_string();
            assert!(
                !self.settled.contains_key(&uuid),
                "said again after it was acknowledged: {status}"
            );
            if status["task_id"]["value"] == id && status["state"] != "TASK_UNREACHABLE" {
                return status;
            }
            self.scheduler.acknowledge(&status);
        }
    }

    /// Acknowledges a status. That the agent has heard it follows from the answer to what it was asked later; what it had said
    /// again before comes before the master's answer to what that is asked after it.
    fn settle(&mut self, id: &str, status: &Value) {
        self.scheduler.acknowledge(status);
        if status["uuid"].is_null() {
            return;
        }
        // Also an answer that there is nothing to read comes from the agent, in order.
        let _ = self.cluster.nesos.run(&["logs", id]);
        self.catch_up(id, &status["uuid"]);
        let uuid = status["uuid"].to_string();
        self.settled.insert(uuid, is_terminal(status));
    }

    /// Hears all that the master has said until now; copies of this status are not kept.
    fn catch_up(&mut self, id: &str, uuid: &Value) {
        let known =
            json!({"tasks": [{"task_id": {"value": id}, "agent_id": {"value": self.agent}}]});
        self.scheduler.call("RECONCILE", known);
        loop {
            let next = self.scheduler.status();
            let is_of = next["task_id"]["value"] == id && next["uuid"].is_null();
            let is_answer = is_of && next["reason"] == "REASON_RECONCILIATION";
            if is_answer && next["message"] != MISSING {
                break;
            }
            if next["uuid"].is_null() || next["uuid"] != *uuid {
                self.aside.push_back(next);
            }
        }
    }

    fn kill(&self, id: &str) {
        let member = json!({"task_id": {"value": id}, "agent_id": {"value": self.agent},
            "kill_policy": {"grace_period": {"nanoseconds": 10_000_000_000_u64}}});
        self.scheduler.call("KILL", member);
    }
}

/// What the master says by itself of a task that its agent lacks.
const MISSING: &str = "Task is unknown to the agent";

/// What the agent says of a process that went with the power; or the master, where the agent had stored nothing yet.
fn lost_with_the_power(hour: Hour, end: &Value) -> bool {
    let is = |state: &str, reason: &str| end["state"] == state && end["reason"] == reason;
    let by_agent = match hour {
        Hour::Fetching => is("TASK_DROPPED", "REASON_AGENT_RESTARTED"),
        // Whether it ran depends on the moment.
        Hour::Starting => {
            is("TASK_DROPPED", "REASON_AGENT_RESTARTED")
                || is("TASK_GONE", "REASON_AGENT_RESTARTED")
        }
        // Its kill may not have been stored.
        Hour::Killing => {
            is("TASK_KILLED", "REASON_EXECUTOR_TERMINATED")
                || is("TASK_GONE", "REASON_AGENT_RESTARTED")
        }
        Hour::Running | Hour::Unacknowledged => is("TASK_GONE", "REASON_AGENT_RESTARTED"),
    };
    by_agent
        || is("TASK_DROPPED", "REASON_RECONCILIATION")
        || is("TASK_GONE", "REASON_RECONCILIATION")
}

fn is_terminal(status: &Value) -> bool {
    let going_on = [
        "TASK_STAGING",
        "TASK_STARTING",
        "TASK_RUNNING",
        "TASK_KILLING",
        "TASK_UNREACHABLE",
    ];
    !going_on.iter().any(|state| status["state"] == *state)
}
