//! `cargo xtask bench SUBJECT`: builds what is measured in release mode, measures it, prints a table with the targets.
//!
//! The measuring itself is in `tests/load` for masterd as a whole and in an example of `masterd-core` for the allocator. Called by `main`. Invariant: nothing is measured that
//! was not built from the sources as they are.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{cross, guest_bench};

/// Flags of the subcommand.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    subject: Subject,
}

/// What can be measured.
#[derive(Debug, clap::Subcommand)]
enum Subject {
    /// The allocator's rounds alone, in the shapes of Mesos's own benchmarks
    Allocator,
    /// From ACCEPT to TASK_RUNNING with one real agentd
    Launch,
    /// What a container, a crowd of tasks and an idle agent cost; needs root
    Agent {
        /// On an emulated board instead, with the boards' own programs (the image has to be built)
        #[arg(long)]
        guest: bool,
        /// Tasks at once on the board: as many as its memory holds
        #[arg(long, default_value_t = 300, requires = "guest")]
        tasks: u32,
        /// Memory of the board, MiB
        #[arg(long, default_value_t = 512, requires = "guest")]
        memory: u32,
    },
    /// 10,000 agents with 100,000 tasks after a master's restart
    Failover,
    /// Three masters: durable writes, killed leaders, hand-overs, idleness; etcd's beside them
    Masters,
    /// `/state` with 20,000 tasks while scheduling goes on
    State,
    /// masterd's memory: idle, 1,000 and 10,000 agents
    Memory,
}

/// Runs the subcommand.
///
/// # Errors
/// A build or a measurement fails; a target that is missed is only shown.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    match arguments.subject {
        Subject::Allocator => allocator(root),
        Subject::Launch => load(root, "launch"),
        Subject::Agent {
            guest: true,
            tasks,
            memory,
        } => guest_bench::run(root, tasks, memory),
        Subject::Agent { guest: false, .. } => load(root, "agent"),
        Subject::Failover => load(root, "failover"),
        Subject::Masters => load(root, "masters"),
        Subject::State => load(root, "state"),
        Subject::Memory => load(root, "memory"),
    }
}

/// masterd is linked statically, as on boards: a dynamic one holds what it touches of the C library, which all programs of a
/// host share.
const STATIC: [&str; 3] = [
    "-Ctarget-feature=+crt-static",
    "-Crelocation-model=static",
    "-Cstrip=symbols",
];

/// Runs the allocator's benchmark, which needs no daemon.
fn allocator(root: &Path) -> Result<()> {
    let example = ["--package", "masterd-core", "--example", "bench_allocator"];
    let mut run = Command::new("cargo");
    run_command(
        run.current_dir(root)
            .args(["run", "--quiet", "--release"])
            .args(example),
    )
}

/// Runs the load driver against real daemons.
fn load(root: &Path, subject: &str) -> Result<()> {
    let packages = ["agentd", "nesos-load"];
    let mut build = Command::new("cargo");
    build.current_dir(root).args(["build", "--release"]);
    run_command(build.args(packages.iter().flat_map(|package| ["-p", package])))?;
    // As on boards, because half of what a task's start costs is its helper's start, and that depends on the C library.
    let helper = "nesos-executor";
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let built = cross::build_for(&target, root, &root.join("target/cross"), &[helper])?;
    let mut build = Command::new("cargo");
    build.current_dir(root).args(["rustc", "--release"]);
    run_command(
        build
            .args(["-p", "masterd", "--bin", "masterd", "--"])
            .args(STATIC),
    )?;
    let programs = root.join("target/release");
    fs::copy(&built[helper], programs.join(helper)).context("copying the helper")?;
    let mut driver = Command::new(programs.join("nesos-load"));
    run_command(driver.arg("--programs").arg(&programs).arg(subject))
}

fn run_command(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("starting {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
