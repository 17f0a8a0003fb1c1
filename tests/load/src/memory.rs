//! What masterd holds in memory: idle, and with a thousand and ten thousand agents, or with as many as asked for.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::Size;
use crate::daemon::Cluster;
use crate::failover;
use crate::table::{self, Row};

/// What only the start needed is given back after ten seconds; what was freed under load within ten, when masterd does something again.
const SETTLE: Duration = Duration::from_secs(12);
/// What is promised, MB.
const PROMISES: [(usize, f64); 2] = [(1000, 16.0), (10_000, 64.0)];

/// Measures a master for each promise, or one of this size. `hold` is how long each stays up, for other tools to look at.
pub(crate) async fn run(programs: &Path, size: Size, hold: Duration) -> Result<()> {
    let cluster = Cluster::start(programs).await?;
    tokio::time::sleep(SETTLE).await;
    let idle = cluster.master()?.resident()?;
    drop(cluster);
    let mut rows = vec![Row::new("masterd resident, idle", idle, "MB").target(6.0)];
    let asked = size.agents.map(|agents| vec![agents]);
    let sizes = asked.unwrap_or_else(|| PROMISES.map(|(agents, _)| agents).to_vec());
    for agents in sizes {
        let tasks = agents * size.tasks_per_agent;
        eprintln!("... {agents} agents with {tasks} tasks");
        let loaded = failover::load(programs, agents, size.tasks_per_agent).await?;
        tokio::time::sleep(hold.max(SETTLE)).await;
        let resident = loaded.cluster.master()?.resident()?;
        let what = format!("masterd resident, {agents} agents + {tasks} tasks");
        let row = Row::new(what, resident, "MB");
        let promise = PROMISES.iter().find(|(of, _)| *of == agents);
        rows.push(match promise {
            Some((_, promise)) if tasks == agents * 10 => row.target(*promise),
            _ => row,
        });
    }
    table::print(&rows);
    Ok(())
}
