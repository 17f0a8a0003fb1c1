//! `cargo xtask`: what the repository does to itself: build for boards, make images, measure, test.
//!
//! Not part of the product. Called by people and by `scripts/*`. Invariant: each subcommand runs on its own, makes what it needs
//! first, and says in a sentence what is missing from the machine.

mod bench;
mod cross;
mod guest;
mod guest_bench;
mod image;
mod libraries;
mod report;
mod reproduce;
mod sizes;
mod test;
mod tidy;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Build, measure and test Nesos")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Compile the boards' programs (aarch64, static) into target/cross
    Build,
    /// Make the images of boards into out/<board>
    Image(image::Arguments),
    /// Print the sizes of what was built, next to the promises
    Sizes(sizes::Arguments),
    /// Measure speed and memory, next to the targets and to Mesos's published figures
    Bench(bench::Arguments),
    /// Run every check and test; the last line is `N passed, N failed`
    Test(test::Arguments),
    /// Check the rules of the code base that the compiler does not know
    Tidy,
    /// Compile the programs of the next wire version into target/debug/next, for tests of upgrades
    Next,
    /// Run the whole-cluster simulation over many seeds
    Sim {
        /// Number of seeds
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// The first of them
        #[arg(long, default_value_t = 0)]
        from: u64,
    },
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let root = root()?;
    match Arguments::parse().command {
        Task::Build => cross::build(&root).map(|_| ()),
        Task::Image(arguments) => image::run(&root, &arguments),
        Task::Sizes(arguments) => sizes::run(&root, &arguments),
        Task::Bench(arguments) => bench::run(&root, &arguments),
        Task::Test(arguments) => test::run(&root, &arguments),
        Task::Tidy => tidy::run(&root),
        Task::Next => test::next(&root),
        Task::Sim { seeds, from } => test::simulate(&root, seeds, from),
    }
}

/// The workspace: two folders above this crate, where cargo runs it from or else where it was compiled.
fn root() -> Result<PathBuf> {
    let crate_folder = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    crate_folder
        .ancestors()
        .nth(2)
        .map(Path::to_owned)
        .context("xtask is not inside the workspace")
}
