//! What the built-in schedulers of services and jobs keep in the registry.
//!
//! Definitions are JSON and opaque here: the master's shell reads them. Append-only; old bytes decode for ever.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, TaskId};

/// A service: what is to run, and what was to run before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Its path, `/a/b`.
    pub id: String,
    /// Its definitions, oldest first; the last one holds.
    pub versions: Vec<ServiceVersion>,
    /// The deployment under way; none: all is as the last definition wants it.
    pub deployment: Option<String>,
}

/// A definition of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceVersion {
    /// When it was given, milliseconds since 1970; also its name.
    pub version: u64,
    /// When something else than the number of instances changed last, milliseconds since 1970: instances that are older are
    /// replaced.
    pub changed: u64,
    /// JSON, with its defaults filled in.
    #[serde(with = "serde_bytes")]
    pub definition: Vec<u8>,
}

/// A task that a built-in scheduler has started and that has not ended as far as it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// Its id, never used again.
    pub task: TaskId,
    /// For whom.
    pub owner: Owner,
    /// Where.
    pub agent: AgentId,
    /// The agent's host name.
    pub host: String,
    /// Its host ports, in the order of the definition.
    pub ports: Vec<u16>,
    /// When it was launched, milliseconds since 1970.
    pub staged: u64,
}

/// For whom a task runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Owner {
    /// A service's instance.
    Service {
        /// The service's path.
        id: String,
        /// [`ServiceVersion::changed`] of the definition that it was made by.
        version: u64,
    },
    /// A run of a job.
    Job {
        /// The job's name.
        name: String,
        /// Which attempt of this run, from 0.
        attempt: u32,
    },
}

/// A job: when what is to run, and how that went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its name.
    pub name: String,
    /// JSON, with its defaults filled in.
    #[serde(with = "serde_bytes")]
    pub definition: Vec<u8>,
    /// How far it is.
    pub progress: JobProgress,
}

/// How a job went so far. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobProgress {
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
    /// When it is to start next; none: only if asked to.
    pub due: Option<u64>,
    /// How often it is to start by itself from now on; none: for ever.
    pub remaining: Option<u64>,
    /// Of several parents those that have succeeded since it was started by them last.
    pub parents_done: Vec<String>,
    /// Its runs that have not ended.
    pub runs: Vec<JobRun>,
}

/// A run of a job that has not ended. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRun {
    /// Its task's id, never used again.
    pub task: TaskId,
    /// When it was due.
    pub due: u64,
    /// Which attempt it is, from 0.
    pub attempt: u32,
    /// The schedule wanted it, not a parent or a person.
    pub is_scheduled: bool,
    /// Arguments beside those of the definition.
    pub arguments: Option<String>,
    /// When a place was found for it; none: not yet.
    pub placed: Option<u64>,
}
