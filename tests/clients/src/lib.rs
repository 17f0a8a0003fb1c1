//! What the tests with other people's clients share: a cluster to talk to, and the places where those clients are.
//!
//! Not tests themselves (`tests/`). Clients are installed unmodified from PyPI and npm, once, under the user's cache folder.
//! Invariant: nothing that was started here outlives the test.

mod cluster;
mod launch;
mod node;
mod place;
mod python;
mod script;

pub use cluster::Cluster;
pub use launch::{mesos_framework_finishes, pymesos_finishes};
pub use node::mesos_framework;
pub use python::{chronos, marathon, pymesos};
pub use script::Script;

use std::path::PathBuf;
use std::process::{Command, Output};

/// Why a test could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A program could not be started.
    #[error("start {program}: {source}; {hint}")]
    Start {
        /// Which.
        program: String,
        /// What went wrong.
        source: std::io::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// A program failed.
    #[error("{command} ended with {status}; {hint}:\n{output}")]
    Failed {
        /// Program and arguments.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What to do about it.
        hint: &'static str,
        /// What it wrote.
        output: String,
    },
    /// A file or folder.
    #[error("{operation} {path}: {source}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// `nesos dev up` said something unexpected.
    #[error("nesos dev up did not become ready: {0}")]
    NotReady(String),
}

/// Runs a command to its end; its output is part of the error.
fn run(command: &mut Command, hint: &'static str) -> Result<Output, SetupError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| SetupError::Start {
        program,
        source,
        hint,
    })?;
    if output.status.success() {
        return Ok(output);
    }
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    Err(SetupError::Failed {
        command: format!("{command:?}"),
        status: output.status,
        hint,
        output: String::from_utf8_lossy(&text).into_owned(),
    })
}
