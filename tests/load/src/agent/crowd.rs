//! A thousand tasks at once on one agent: how fast they start, whether one is lost, what each costs in memory.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use nesos_sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Arguments;
use super::container::{Place, SLEEP};
use crate::daemon::{Cluster, Process};
use crate::framework::Framework;
use crate::table::Row;

/// Measures as many tasks as are asked for.
pub(super) async fn run(programs: &Path, arguments: &Arguments) -> Result<Vec<Row>> {
    let count = arguments.tasks;
    let bare = bare(programs, count)?;
    let cluster = Cluster::start(programs).await?;
    let resources = "cpus:2000;mem:200000;disk:1000;ports:[31000-32000]";
    let agent = cluster.start_agent(resources, &arguments.agent_flag)?;
    let mut framework = Framework::subscribe(cluster.address, "crowd", false).await?;
    let offer = loop {
        let mut event = framework.next().await?;
        if event["type"] == "OFFERS" {
            break event["offers"]["offers"][0].take();
        }
    };
    let before = agent.resident()?;
    let free = available()?;
    let used = agent.processor()?;
    let begin = Instant::now();
    accept(&mut framework, &offer, count, arguments.length).await?;
    let mut told = Told::default();
    while told.running.len() < count {
        told.hear(&mut framework).await?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let used = agent.processor()? - used;
    let grown = (agent.resident()? - before) * 1e3 / count as f64;
    let taken = (free - available()?) / count as f64;
    let beside = helpers(&agent)?;
    ensure!(
        beside.len() == count + 1,
        "{} processes for {count} tasks' helpers and their fork server",
        beside.len()
    );
    let helper = beside.iter().sum::<f64>() / count as f64;
    while told.finished.len() < count {
        told.hear(&mut framework).await?;
    }
    let what = |what: &str| format!("{count} tasks at once: {what}");
    Ok(vec![
        Row::new(what("launched per second"), count as f64 / seconds, "/s")
            .at_least(1000.0)
            .mesos("33/s"),
        Row::new(what("lost"), (count - told.finished.len()) as f64, "").target(0.0),
        Row::new(
            what("agentd's processor time for each"),
            used * 1e3 / count as f64,
            "ms",
        ),
        Row::new(
            what("private memory of a helper, the fork server's share with it"),
            helper,
            "kB",
        ),
        Row::new(what("agentd's memory for each"), grown, "kB"),
        Row::new(what("memory beside each"), helper + grown, "kB").target(150.0),
        Row::new(what("less memory available for each"), taken, "kB"),
        Row::new(
            what("the same of bare processes in namespaces and cgroups"),
            bare,
            "kB",
        ),
    ])
}

async fn accept(framework: &mut Framework, offer: &Value, count: usize, length: u32) -> Result<()> {
    let scalar = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let task = |number: usize| {
        json!({
            "name": "t", "task_id": {"value": format!("crowd-{number}")}, "agent_id": offer["agent_id"],
            "resources": [scalar("cpus", 1.0), scalar("mem", 32.0)],
            "command": {"shell": false, "value": SLEEP, "arguments": ["sleep", length.to_string()]},
        })
    };
    let tasks: Vec<Value> = (0..count).map(task).collect();
    let accept = json!({
        "offer_ids": [offer["id"]],
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": tasks}}],
        "filters": {"refuse_seconds": 3600.0},
    });
    framework.call("ACCEPT", accept).await
}

/// What was heard of the tasks.
#[derive(Debug, Default)]
struct Told {
    running: BTreeSet<String>,
    finished: BTreeSet<String>,
}

impl Told {
    async fn hear(&mut self, framework: &mut Framework) -> Result<()> {
        let event = framework.next().await?;
        let status = &event["update"]["status"];
        let Some(state) = status["state"].as_str() else {
            return Ok(());
        };
        let task = status["task_id"]["value"].as_str().context("no task")?;
        match state {
            "TASK_STARTING" => {}
            "TASK_RUNNING" => drop(self.running.insert(task.to_owned())),
            "TASK_FINISHED" => drop(self.finished.insert(task.to_owned())),
            _ => bail!("a task did not run: {status}"),
        }
        framework.acknowledge(status).await
    }
}

/// What the machine has less, kB, for each of `count` processes that run the tasks' program in the tasks' namespaces and cgroups and
/// that nobody holds.
fn bare(programs: &Path, count: usize) -> Result<f64> {
    let place = Place::new(programs)?;
    let before = available()?;
    let started = (0..count).map(|number| place.begin(number));
    let started = started.collect::<Result<Vec<_>>>()?;
    let taken = (before - available()?) / count as f64;
    for (bare, group) in started {
        bare.pidfd.send(Signal::SIGKILL)?;
        bare.pidfd.wait()?;
        group.map_or(Ok(()), |group| fs::remove_dir(group.path()))?;
    }
    Ok(taken)
}

/// What the kernel says that programs may still have, kB: what the tasks themselves and the kernel take is told by it, too, and what
/// others do meanwhile.
fn available() -> Result<f64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let mut lines = text.lines();
    let kib = lines.find_map(|line| line.strip_prefix("MemAvailable:")?.trim().split(' ').next());
    Ok(kib.context("no MemAvailable")?.parse::<f64>()? * 1.024)
}

/// Private memory of each helper of this agent, and of the server that made them, kB.
fn helpers(agent: &Process) -> Result<Vec<f64>> {
    let parent = agent.id();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let private = |pid: &str| {
        let path = format!("/proc/{pid}/smaps_rollup");
        // Boards' kernels do not tell what is shared: there it is counted as often as it is shared.
        let (text, wanted) = match fs::read_to_string(&path) {
            Ok(text) => (text, "Private_"),
            Err(_) => (
                fs::read_to_string(format!("/proc/{pid}/status"))?,
                "RssAnon",
            ),
        };
        let lines = text.lines().filter(|line| line.starts_with(wanted));
        let sizes = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        Ok(sizes.sum::<f64>() * 1.024)
    };
    children.split_whitespace().map(private).collect()
}
