//! `nesos run`: a Mesos v1 framework with one task, attached to this terminal.
//!
//! Three things happen at once: [`scheduler`] plays the framework, [`attach`] copies the output, [`fit`] watches whether
//! waiting makes sense. Called by `main`. Invariant: when `run` returns, the task has ended, or the person was told that
//! it goes on; the framework is torn down in every case but a lost master.

mod attach;
mod ending;
mod fit;
mod job;
mod scheduler;
mod stream;

use std::cell::RefCell;
use std::io;

use serde_json::json;
use tokio::sync::watch;

use crate::args::{Output, RunArgs};
use crate::failure::{REFUSED, UNREACHABLE, USAGE};
use crate::http::{Client, HttpError};
use crate::output::Progress;
use ending::Ending;
use scheduler::Scheduler;

/// Why there is no exit code of a task.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The command line holds what cannot be a task.
    #[error("{0}")]
    Job(String),
    /// No node can ever run it.
    #[error("{0}")]
    NeverFits(String),
    /// Asking the master.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The master ended the framework.
    #[error("the master ended this run: {0}")]
    Ended(String),
    /// The master is away for too long.
    #[error(
        "{source}; gave up after {seconds} s. Task {task} may still run: `nesos ps`, `nesos logs {task}`"
    )]
    MasterAway {
        /// The task's id.
        task: String,
        /// How long it was tried.
        seconds: u64,
        /// The last error.
        source: HttpError,
    },
    /// The task's output cannot be written here.
    #[error("write the task's output: {source}")]
    Output {
        /// What went wrong.
        source: io::Error,
    },
    /// Signals of this process.
    #[error("listen for Ctrl-C: {0}")]
    Signals(#[source] io::Error),
}

impl RunError {
    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Job(_) => USAGE,
            Self::Http(error) => error.exit_code(),
            Self::MasterAway { .. } => UNREACHABLE,
            Self::NeverFits(_) | Self::Ended(_) | Self::Output { .. } | Self::Signals(_) => REFUSED,
        }
    }
}

/// Where the run is; what [`attach`] and [`fit`] go by.
#[derive(Debug, Clone, PartialEq, Default)]
struct Stage {
    /// Framework and task whose sandbox to read, once an agent has the task.
    sandbox: Option<(String, String)>,
    /// The task has ended (or never will begin); its files grow no more.
    ended: bool,
}

impl Stage {
    /// Still waiting for an offer.
    fn is_waiting(&self) -> bool {
        self.sandbox.is_none() && !self.ended
    }
}

/// Runs the command and ends with its exit code.
pub(crate) async fn run(client: &Client, args: &RunArgs, output: Output) -> Result<u8, RunError> {
    let job = job::Job::new(args)?;
    let (stage, watched) = watch::channel(Stage::default());
    let progress = RefCell::new(Progress::new());
    let mut scheduler = Scheduler::new(client, &job, &stage, &progress);
    let result = {
        let ending = scheduler.play();
        let output = attach::copy(client, watched.clone(), &progress);
        let sense = fit::watch(client, &job, watched, &progress);
        tokio::try_join!(ending, output, sense).map(|(ending, (), ())| ending)
    };
    scheduler.tear_down().await;
    progress.borrow_mut().clear();
    let ending = result?;
    let code = ending.exit_code();
    report(&job.task_id, &ending, output, code);
    Ok(code)
}

fn report(task: &str, ending: &Ending, output: Output, code: u8) {
    if output == Output::Json {
        // Standard output belongs to the task.
        let value = json!({"task": task, "node": ending.node, "state": ending.state, "exit_code": code, "message": ending.message});
        eprintln!("{value}");
    } else if let Some(text) = ending.explanation() {
        eprintln!("nesos: {}", crate::output::printable_lines(&text));
    }
}
