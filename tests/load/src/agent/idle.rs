//! An agent that has joined and has nothing to do: its memory, and how often it wakes up.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::Arguments;
use crate::daemon::Cluster;
use crate::framework::Connection;
use crate::table::Row;

/// How long it settles before it is watched.
const SETTLE: Duration = Duration::from_secs(10);
/// Pause between two looks whether it has joined.
const LOOK: Duration = Duration::from_millis(50);

/// Watches one for so long as is asked for.
pub(super) async fn run(programs: &Path, arguments: &Arguments) -> Result<Vec<Row>> {
    let watched = Duration::from_secs(arguments.idle);
    let cluster = Cluster::start(programs).await?;
    let agent = cluster.start_agent("cpus:4;mem:1024", &arguments.agent_flag)?;
    let mut connection = Connection::new(cluster.address).await?;
    loop {
        let state = connection.get("/metrics/snapshot").await?;
        let state: serde_json::Value = serde_json::from_slice(&state)?;
        if state["master/slaves_active"].as_f64() == Some(1.0) {
            break;
        }
        sleep(LOOK).await;
    }
    sleep(SETTLE).await;
    let before = switches(agent.id())?;
    sleep(watched).await;
    let woken = (switches(agent.id())? - before) / watched.as_secs_f64();
    Ok(vec![
        Row::new(
            "agentd, idle, joined over TLS: resident",
            agent.resident()?,
            "MB",
        )
        .target(2.5),
        Row::new(
            "agentd, idle, joined over TLS: wake-ups per second",
            woken,
            "",
        )
        .target(0.5),
    ])
}

/// Context switches of all threads of a process until now.
fn switches(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("status"))?;
        let counts = text
            .lines()
            .filter_map(|line| line.split_once("ctxt_switches:"));
        for (_, count) in counts {
            sum += count.trim().parse::<f64>().context("a count")?;
        }
    }
    Ok(sum)
}
