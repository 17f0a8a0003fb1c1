//! What the scheduler of jobs goes by, what it wants done, and what it refuses.
//!
//! Data only. Made by the shell from JSON definitions and carried out by it. Invariant: every bound has a name and a reason.

use std::collections::BTreeSet;

use nesos_wire::builtin::JobRecord;
use nesos_wire::{AgentId, TaskId};

use super::Schedule;
use crate::builtin::Need;

/// Most jobs: the registry is in each master's memory, and a cluster of boards has a few dozen.
pub const MAX_JOBS: usize = 1000;
/// Longest name, bytes: it stands in task ids, which have 255 with two times and two numbers.
pub const MAX_NAME: usize = 180;
/// Largest definition, bytes: each start and each end writes it to an SD card.
pub const MAX_DEFINITION: usize = 64 * 1024;
/// Most runs of one job at once, waiting ones included: they stand in its record.
pub const MAX_RUNS: usize = 32;
/// Longest arguments of a run that somebody asked for, bytes: they stand in its record, too.
pub const MAX_ARGUMENTS: usize = 4096;
/// Ends of runs that are remembered of each job, in memory only.
pub const MAX_ENDS: usize = 10;
/// Durations of successful runs that statistics are made of, of each job, in memory only.
pub const MAX_DURATIONS: usize = 64;
/// Runs are this late at most, milliseconds, unless the definition says otherwise: Chronos's default.
pub const EPSILON_MS: u64 = 60_000;

/// What the scheduler goes by; the shell takes it out of the definition.
#[derive(Debug, Clone, PartialEq)]
pub struct JobFacts {
    /// What starts it.
    pub trigger: Trigger,
    /// How often a failed run is tried again.
    pub retries: u32,
    /// Neither its schedule nor its parents start it.
    pub disabled: bool,
    /// A run may begin while another one goes on.
    pub concurrent: bool,
    /// Its children are started after a failure, too.
    pub soft_error: bool,
    /// How late a scheduled start may be, milliseconds.
    pub epsilon_ms: u64,
    /// A run that takes longer is killed and has failed, milliseconds.
    pub longest_ms: Option<u64>,
    /// What it needs of an agent.
    pub need: Need,
    /// What it counts on from: as in Chronos whoever changes a job says so, and nothing means from the beginning.
    pub past: Past,
}

/// What starts a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// The time.
    Schedule(Schedule),
    /// The success of all of these jobs.
    Parents(BTreeSet<String>),
}

/// How a job went before it was defined anew. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Past {
    /// Runs that succeeded.
    pub successes: u64,
    /// Runs that failed for good.
    pub errors: u64,
    /// Of these, since the last success.
    pub errors_since_success: u64,
    /// End of the last successful run.
    pub last_success: Option<u64>,
    /// End of the last run that failed for good.
    pub last_error: Option<u64>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// In a word.
    pub kind: OutcomeKind,
    /// Where it ran.
    pub agent: Option<AgentId>,
    /// In a sentence.
    pub message: String,
}

/// How a run ended, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeKind {
    /// It succeeded.
    Finished,
    /// It failed, or could not be started: it is tried again.
    Failed,
    /// It went with its agent, or was taken from it: it is tried again.
    Lost,
    /// Somebody wanted it to end: neither a success nor an error.
    Killed,
}

/// What is to be done. Records come before starts: what is not written yet is not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobWish {
    /// This is to be kept.
    Put(JobRecord),
    /// This is to be kept no more.
    Remove {
        /// The job's name.
        name: String,
    },
    /// A place is to be found for a run. It is wanted until it is [`JobWish::Forget`]; when there is one,
    /// [`Jobs::started`](super::Jobs::started) is to be called before anything else is heard of it.
    Start {
        /// The job's name.
        name: String,
        /// The run's id.
        task: TaskId,
        /// Which attempt it is, from 0.
        attempt: u32,
        /// Arguments beside those of the definition.
        arguments: Option<String>,
    },
    /// A run that has a place is to end; its end is to be told.
    Kill {
        /// The run's id.
        task: TaskId,
    },
    /// A run is wanted no more that had no place yet; nothing more is to be told of it. If it was launched meanwhile, it is
    /// to be killed.
    Forget {
        /// The run's id.
        task: TaskId,
    },
}

/// Why something cannot be done to a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The sentences say it.
pub enum JobError {
    #[error("job {0:?} not found")]
    Unknown(String),
    #[error(
        "name: expected 1 to {MAX_NAME} letters, digits, spaces, '_', '-', '.' or '#', not {0:?}"
    )]
    Name(String),
    #[error("there are {MAX_JOBS} jobs, and no more may be")]
    TooMany,
    #[error("the definition has {0} bytes, at most {MAX_DEFINITION} are allowed")]
    Large(usize),
    #[error("parents: expected at least one")]
    NoParents,
    #[error("parents: there is no job {0:?}")]
    NoParent(String),
    #[error("parents: {parent:?} is started by {name:?} itself: nothing would ever start them")]
    Circle { name: String, parent: String },
    #[error(
        "job {name:?} starts {child:?}: it goes first, or is given other parents or a schedule"
    )]
    Child { name: String, child: String },
    #[error("arguments: they have {0} bytes, at most {MAX_ARGUMENTS} are allowed")]
    Arguments(usize),
    #[error("job {name:?} has no task {task:?} that goes on or is remembered")]
    NoTask { name: String, task: String },
    #[error("job {0:?} has {MAX_RUNS} runs that go on or wait, and no more may")]
    TooManyRuns(String),
}

/// The run that is to be kept in a job's memory when it has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The run's id.
    pub task: TaskId,
    /// Which attempt it was, from 0.
    pub attempt: u32,
    /// When a place was found for it, milliseconds since 1970.
    pub started: u64,
    /// When it ended, milliseconds since 1970.
    pub ended: u64,
    /// How.
    pub outcome: Outcome,
    /// What it said it had worked on, in whatever it counts; none: nothing.
    pub elements: Option<u64>,
}
