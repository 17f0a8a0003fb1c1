//! What the agent costs: one container from its start until it is reaped, a thousand tasks at once, an idle agent.
//!
//! Called by `main`. Invariant: what is compared is measured in turn in the same run, so that the ratio holds on a machine on
//! which others work.

mod container;
mod crowd;
mod crun;
mod idle;
mod network;

use std::path::Path;

use anyhow::Result;

use crate::table::{self, Row};

/// Flags of the subject.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Number of containers of each kind
    #[arg(long, default_value_t = 200)]
    containers: usize,
    /// Number of tasks at once; 0: none
    #[arg(long, default_value_t = 1000)]
    tasks: usize,
    /// Seconds to watch an idle agent; 0: not at all
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// Seconds that each of the tasks at once runs: all are there at once if they start within this time
    #[arg(long, default_value_t = 15)]
    length: u32,
    /// Another flag of agentd, repeatable
    #[arg(long, allow_hyphen_values = true)]
    agent_flag: Vec<String>,
}

/// Measures all of it.
pub(crate) async fn run(programs: &Path, arguments: &Arguments) -> Result<()> {
    let mut rows: Vec<Row> = container::run(programs, arguments.containers)?;
    rows.extend(network::run(programs, arguments.containers)?);
    if arguments.tasks > 0 {
        rows.extend(crowd::run(programs, arguments).await?);
    }
    if arguments.idle > 0 {
        rows.extend(idle::run(programs, arguments).await?);
    }
    table::print(&rows);
    Ok(())
}
