//! Executors that frameworks bring with their tasks: one process (or pod) on an agent that holds any number of tasks of
//! one framework, and lives until it ends or is told to.
//!
//! Not the helper that holds a command task ([`crate::executor`]), which no framework sees. Called by the cores; checkpointed
//! by the agent, reported back in `Hello`. Invariant: of one [`ExecutorKey`] at most one run lives on an agent, and its
//! attempt tells it from the runs before it, so that late news of one that has ended harms no later one.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::id::{Attempt, ExecutorKey};
use crate::resource::Resources;
use crate::task::Command;

/// What holds a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub enum ExecutorKind {
    /// None that its framework sees: the task is a command.
    #[default]
    Command,
    /// A program of the framework that speaks the executor API.
    Custom,
    /// The agent's own: runs the commands of task groups side by side.
    Default,
}

/// An executor as the master tells an agent of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrameworkExecutor {
    /// Framework and executor id.
    pub key: ExecutorKey,
    /// Which run of this id: the attempt of the first task that was launched with it.
    pub attempt: Attempt,
    /// Custom or default; never command.
    pub kind: ExecutorKind,
    /// The display name; may be empty.
    pub name: String,
    /// The framework's word about where it comes from; may be empty.
    pub source: String,
    /// Role the resources were offered to.
    pub role: String,
    /// What it holds from its first task on until it ends, beside what its tasks hold; may be nothing.
    pub resources: Resources,
    /// What to start; of a default executor only the environment and the user count.
    pub command: Command,
    /// From SHUTDOWN to SIGKILL, milliseconds; `None`: as the agent is configured (Mesos's default is 5000).
    pub shutdown_grace_ms: Option<u32>,
    /// The framework asked for checkpointing.
    pub checkpoint: bool,
    /// The framework wants TASK_GONE, TASK_DROPPED… instead of TASK_LOST.
    pub partition_aware: bool,
    /// Protobuf of the public `ExecutorInfo`, with the framework's id, for SUBSCRIBED and for whoever shows it.
    #[serde(with = "serde_bytes")]
    pub info: Vec<u8>,
    /// Protobuf of the public `FrameworkInfo` (with id), for SUBSCRIBED and for a new master.
    #[serde(with = "serde_bytes")]
    pub framework_info: Vec<u8>,
}
