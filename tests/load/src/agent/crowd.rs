//! A thousand tasks at once on one agent: how fast they start, whether one is lost, what each costs in memory.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::daemon::{Cluster, Process};
use crate::framework::Framework;
use crate::table::Row;

/// How long each task runs, seconds: all are there at once if they start within this time.
const LENGTH: &str = "15";

/// Measures `count` tasks.
pub(super) async fn run(programs: &Path, count: usize) -> Result<Vec<Row>> {
    let cluster = Cluster::start(programs).await?;
    let agent = cluster.start_agent("cpus:2000;mem:200000;disk:1000;ports:[31000-32000]")?;
    let mut framework = Framework::subscribe(cluster.address, "crowd", false).await?;
    let offer = loop {
        let mut event = framework.next().await?;
        if event["type"] == "OFFERS" {
            break event["offers"]["offers"][0].take();
        }
    };
    let before = agent.resident()?;
    let used = agent.processor()?;
    let begin = Instant::now();
    accept(&mut framework, &offer, count).await?;
    let mut told = Told::default();
    while told.running.len() < count {
        told.hear(&mut framework).await?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let used = agent.processor()? - used;
    let grown = (agent.resident()? - before) * 1e3 / count as f64;
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
    ])
}

async fn accept(framework: &mut Framework, offer: &Value, count: usize) -> Result<()> {
    let scalar = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let task = |number: usize| {
        json!({
            "name": "t", "task_id": {"value": format!("crowd-{number}")}, "agent_id": offer["agent_id"],
            "resources": [scalar("cpus", 1.0), scalar("mem", 32.0)],
            "command": {"shell": false, "value": "/bin/sleep", "arguments": ["sleep", LENGTH]},
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

/// Private memory of each helper of this agent, and of the server that made them, kB.
fn helpers(agent: &Process) -> Result<Vec<f64>> {
    let parent = agent.id();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let private = |pid: &str| {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).context(path)?;
        let lines = text.lines().filter(|line| line.starts_with("Private_"));
        let sizes = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        Ok(sizes.sum::<f64>() * 1.024)
    };
    children.split_whitespace().map(private).collect()
}
