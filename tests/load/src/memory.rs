//! What masterd holds in memory: idle, and with a thousand and ten thousand agents.

use std::path::Path;

use anyhow::Result;

use crate::daemon::Cluster;
use crate::failover;
use crate::table::{self, Row};

/// Measures three masters.
pub(crate) async fn run(programs: &Path) -> Result<()> {
    let idle = Cluster::start(programs).await?.master()?.resident()?;
    let mut rows = vec![Row::new("masterd resident, idle", idle, "MB").target(6.0)];
    for (agents, target) in [(1000, 16.0), (10_000, 64.0)] {
        eprintln!("... {agents} agents with {} tasks", agents * 10);
        let loaded = failover::load(programs, agents, 10).await?;
        let resident = loaded.cluster.master()?.resident()?;
        let what = format!("masterd resident, {agents} agents + {} tasks", agents * 10);
        rows.push(Row::new(what, resident, "MB").target(target));
    }
    table::print(&rows);
    Ok(())
}
