//! How many tasks three masters place per second on a thousand stand-in agents.
//!
//! Called by the parent module. A placement is a task out of an ACCEPT that has come to its framework as TASK_RUNNING, which the
//! framework acknowledges at once. The agents' links are behind TLS, frameworks speak JSON.
//!
//! What is durable: masters write nothing for a launch, for tasks are the agents' truth, and a new leader learns them from their
//! `Hello`s; an ACCEPT is taken only by a master that leads. A real agent has a task in its checkpoint before it says TASK_RUNNING.
//! The stand-ins have no disk, since a thousand agents' disks are not one: this measures what the masters can carry.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet, LocalSet};
use tokio::time::Instant;

use super::client::Service;
use super::group::Group;
use crate::agents::Fleet;
use crate::daemon::own_processor;
use crate::framework::Framework;
use crate::table::Row;

const AGENTS: usize = 1000;
/// Agents that dial at a time. Few: how they come is not what is measured here, and their handshakes take as much of the machine as the
/// masters' do.
const DIALS: usize = 16;
/// Tasks that one ACCEPT launches: all are on one agent, as offers are.
const PER_ACCEPT: usize = 20;
/// What each needs: two hundred fill an agent.
const CPUS: f64 = 0.05;
const MEM: f64 = 6.0;
/// Tasks that are placed: half of what there is room for.
const TASKS: usize = 100 * AGENTS;
/// Frameworks that place them.
const FRAMEWORKS: usize = 10;
/// Tasks of one framework that are under way at a time: masterd cuts one that is 2048 events behind.
const UNDER_WAY: usize = 400;
/// What is promised, per second.
const PROMISE: f64 = 20_000.0;

/// The rows.
pub(super) async fn run(programs: &Path) -> Result<Vec<Row>> {
    let mut group = Group::start(programs).await?;
    group.grow()?;
    let leader = group.leader()?;
    let mut fleet = Fleet::new(leader, group.key(), "board", AGENTS)?;
    (fleet.is_lasting, fleet.dials) = (true, DIALS);
    let mut online = fleet.register().await?;
    let mut frameworks = Vec::new();
    for number in 0..FRAMEWORKS {
        let framework = Framework::subscribe(leader, &format!("role-{number}"), false).await?;
        let calls = Calls::to(leader, &framework).await?;
        frameworks.push((framework, calls));
    }
    group.settle()?;
    let (before, own) = (group.leaders_doings()?, own_processor()?);
    let begin = Instant::now();
    place_all(frameworks).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let (after, own) = (group.leaders_doings()?, own_processor()? - own);
    let alive = online.alive();
    ensure!(alive == AGENTS, "only {alive} of {AGENTS} links live");
    let name = format!("placements per second, three masters, {AGENTS} agents");
    let each = |seconds: f64| seconds / TASKS as f64 * 1e6;
    Ok(vec![
        Row::new(name, TASKS as f64 / seconds, "/s").at_least(PROMISE),
        Row::new(
            "  the leader's processor time for each",
            each(after.processor - before.processor),
            "us",
        ),
        Row::new("  the stand-ins' processor time for each", each(own), "us"),
        Row::new(
            "  bytes written by the leader meanwhile",
            after.written - before.written,
            "B",
        ),
    ])
}

/// What all frameworks have done together.
#[derive(Default)]
struct Progress {
    placed: Cell<usize>,
    running: Cell<usize>,
    all_run: Notify,
}

/// Has all frameworks place tasks until all run.
async fn place_all(frameworks: Vec<(Framework, Calls)>) -> Result<()> {
    let progress = Rc::new(Progress::default());
    let place_all = async {
        let mut placing = JoinSet::new();
        for (framework, calls) in frameworks {
            placing.spawn_local(place(framework, calls, Rc::clone(&progress)));
        }
        tokio::select! {
            () = progress.all_run.notified() => Ok(()),
            Some(ended) = placing.join_next() => ended?.context("a framework ended"),
        }
    };
    LocalSet::new().run_until(place_all).await
}

/// Places tasks on what is offered. Ends only with an error.
async fn place(mut framework: Framework, mut calls: Calls, all: Rc<Progress>) -> Result<()> {
    let mut offers: VecDeque<Value> = VecDeque::new();
    let mut under_way = 0;
    loop {
        for mut event in framework.some().await? {
            if let Some(Value::Array(new)) = event["offers"].get_mut("offers").map(Value::take) {
                offers.extend(new.into_iter().filter(has_room));
            }
            let status = &event["update"]["status"];
            if let Some(state) = status["state"].as_str() {
                ensure!(state == "TASK_RUNNING", "a task did not run: {status}");
                under_way -= 1;
                all.running.set(all.running.get() + 1);
                calls.acknowledge(status)?;
            }
        }
        while all.placed.get() < TASKS
            && under_way + PER_ACCEPT <= UNDER_WAY
            && let Some(offer) = offers.pop_front()
        {
            calls.accept(&offer, all.placed.get())?;
            under_way += PER_ACCEPT;
            all.placed.set(all.placed.get() + PER_ACCEPT);
        }
        calls.flush().await?;
        if all.running.get() == TASKS {
            all.all_run.notify_one();
        }
    }
}

/// Whether an offer is enough for one ACCEPT. Others are kept, so that they are not made again.
fn has_room(offer: &Value) -> bool {
    let resources = offer["resources"].as_array();
    let has = |name: &str, needed: f64| {
        let mut of_name = resources.into_iter().flatten();
        let found = of_name.find(|resource| resource["name"] == name);
        found.and_then(|resource| resource["scalar"]["value"].as_f64()) >= Some(needed)
    };
    has("cpus", CPUS * PER_ACCEPT as f64) && has("mem", MEM * PER_ACCEPT as f64)
}

/// Calls on a connection of their own, one behind the other without waiting for answers, as Mesos's own library for schedulers
/// makes them.
struct Calls {
    head: String,
    framework: String,
    waiting: String,
    writer: OwnedWriteHalf,
    answers: JoinHandle<Result<()>>,
}

impl Calls {
    async fn to(address: SocketAddr, framework: &Framework) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let answers = tokio::spawn(async move {
            let mut lines = BufReader::new(reader).lines();
            while let Some(line) = lines.next_line().await? {
                let is_bad = line.starts_with("HTTP/1.1 ") && !line.starts_with("HTTP/1.1 202 ");
                ensure!(!is_bad, "a call was refused: {line}");
            }
            Ok(())
        });
        Ok(Self {
            head: format!(
                "POST /api/v1/scheduler HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nAccept: application/json\r\nMesos-Stream-Id: {}\r\n",
                framework.stream
            ),
            framework: framework.id.clone(),
            waiting: String::new(),
            writer,
            answers,
        })
    }

    fn accept(&mut self, offer: &Value, first: usize) -> Result<()> {
        let scalar = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
        let resources = json!([scalar("cpus", CPUS), scalar("mem", MEM)]);
        let tasks = (first..first + PER_ACCEPT).map(|number| {
            json!({
                "name": "worker", "task_id": {"value": format!("task-{number}")}, "agent_id": offer["agent_id"],
                "resources": resources,
                "command": {"value": "exec /usr/bin/worker --shard 7 --listen $PORT0"},
            })
        });
        let tasks: Vec<Value> = tasks.collect();
        let accept = json!({
            "offer_ids": [offer["id"]],
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": tasks}}],
            "filters": {"refuse_seconds": 0.0},
        });
        self.call("ACCEPT", "accept", &accept)
    }

    fn acknowledge(&mut self, status: &Value) -> Result<()> {
        let seen = json!({"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"]});
        self.call("ACKNOWLEDGE", "acknowledge", &seen)
    }

    fn call(&mut self, kind: &str, member: &str, content: &Value) -> Result<()> {
        let id = &self.framework;
        let body = format!(
            r#"{{"type":"{kind}","framework_id":{{"value":"{id}"}},"{member}":{content}}}"#
        );
        let (head, length) = (&self.head, body.len());
        write!(self.waiting, "{head}Content-Length: {length}\r\n\r\n{body}").context("write a call")
    }

    async fn flush(&mut self) -> Result<()> {
        if self.answers.is_finished() {
            (&mut self.answers).await??;
            bail!("the calls' connection was closed");
        }
        self.writer.write_all(self.waiting.as_bytes()).await?;
        self.waiting.clear();
        Ok(())
    }
}
