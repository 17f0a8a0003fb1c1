//! `nesos-load`: measures masterd and agentd as wholes, from outside, and prints a table with the targets.
//!
//! Not a test: it asserts nothing about time. Called by `cargo xtask bench`. Invariant: what it measures is a release-built
//! daemon that is spoken to only through its port, with the protocols of agents and frameworks.

mod agent;
mod agents;
mod daemon;
mod failover;
mod framework;
mod launch;
mod masters;
mod memory;
mod reader;
mod state;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// As in masterd: thousands of stand-ins in one process are as many blocks of memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(name = "nesos-load", about = "Measure masterd under load")]
struct Arguments {
    /// Folder of masterd, agentd and nesos-executor
    #[arg(long)]
    programs: PathBuf,
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// From ACCEPT to TASK_RUNNING with one real agentd
    Launch {
        /// Number of tasks, one after the other
        #[arg(long, default_value_t = 300)]
        tasks: usize,
    },
    /// What a container, a crowd of tasks and an idle agent cost
    Agent(agent::Arguments),
    /// All agents again, after masterd was killed and started
    Failover(Size),
    /// Three masters: durable writes, idleness, killed leaders, hand-overs, placements
    Masters {
        /// Only this part of it
        #[arg(long)]
        only: Option<masters::Part>,
    },
    /// `/state` for one and for twenty clients while scheduling goes on
    State(Size),
    /// What masterd holds in memory
    Memory {
        #[command(flatten)]
        size: Size,
        /// Seconds to keep each master up, to look at it with other tools
        #[arg(long, default_value_t = 0)]
        hold: u64,
    },
}

/// How many stand-ins.
#[derive(Debug, Clone, Copy, clap::Args)]
struct Size {
    /// Number of agents
    #[arg(long)]
    agents: Option<usize>,
    /// Number of tasks on each agent
    #[arg(long, default_value_t = 10)]
    tasks_per_agent: usize,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nesos-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::parse();
    raise_file_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let programs = arguments.programs.as_path();
    runtime.block_on(async {
        match arguments.subject {
            Subject::Launch { tasks } => launch::run(programs, tasks).await,
            Subject::Agent(arguments) => agent::run(programs, &arguments).await,
            Subject::Failover(size) => failover::run(programs, size).await,
            Subject::Masters { only } => masters::run(programs, only).await,
            Subject::State(size) => state::run(programs, size).await,
            Subject::Memory { size, hold } => {
                memory::run(programs, size, Duration::from_secs(hold)).await
            }
        }
    })
}

/// A connection is a file, here and in the daemons, which inherit the limit.
fn raise_file_limit() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
        .context("raising the number of open files to its hard limit")
}
