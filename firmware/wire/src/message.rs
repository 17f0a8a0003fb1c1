//! The agent link: every message between an agent and the leading master.
//!
//! The agent dials, both sides send [frames](crate::frame). `Hello` is the first message and holds the agent's whole
//! truth, so registering, re-registering and reconciling are one thing. Append-only enums; see the crate header.

use alloc::{boxed::Box, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::domain::Domain;
use crate::framework_executor::FrameworkExecutor;
use crate::id::{
    AgentId, Attempt, ExecutorId, ExecutorKey, FrameworkId, MasterId, NodeId, TaskKey, Uuid,
};
use crate::operation::{OperationReport, OperationSpec};
use crate::resource::Resources;
use crate::task::{Attribute, TaskSpec, TaskState, TaskStatus};
use crate::version::Version;

/// Most bytes one [`FileChunk`] carries: one HTTP answer of the master holds a few of them in memory.
pub const MAX_FILE_CHUNK: usize = 64 * 1024;

/// What an agent says to the master.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AgentToMaster {
    /// First message of a link.
    Hello(Hello),
    /// The head of a task's update stream; sent again until acknowledged.
    Update(TaskUpdate),
    /// Answer to `Ping`.
    Pong {
        /// The ping's number.
        sequence: u64,
    },
    /// Answer to `ReadFile`.
    FileData {
        /// The request's number.
        request: u64,
        /// Bytes, or why not.
        result: Result<FileChunk, FileError>,
    },
    /// From an executor to its framework's scheduler.
    FrameworkMessage {
        /// Receiver.
        framework: FrameworkId,
        /// Sender.
        executor: ExecutorId,
        /// Content, unopened.
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// The agent ends for good: its tasks are gone, the board may be forgotten.
    Goodbye,
    /// An operation has ended; sent again until acknowledged.
    OperationUpdate(OperationReport),
    /// An executor that a framework brought has ended, and its tasks with it (their updates come on their own). Sent once:
    /// the next `Hello` shows it missing.
    ExecutorEnded {
        /// Which.
        key: ExecutorKey,
        /// Which run of it.
        attempt: Attempt,
        /// As `waitpid` gives it; -1 if it is not known.
        status: i32,
    },
    /// First and only message of a connection that the master has asked for.
    CallBack {
        /// As it was asked with.
        token: Uuid,
    },
    /// What it lends has changed since it said so last; in a [`Hello`] it is among its resources.
    Lent {
        /// All of it, revocable.
        resources: Resources,
    },
}

/// Who the agent is, what it has and what runs on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Wire version the agent speaks.
    pub version: Version,
    /// The board; must equal the certificate's name when the link is authenticated.
    pub node: NodeId,
    /// The agent id it was given before, from its checkpoint.
    pub agent: Option<AgentId>,
    /// Changes at each boot of the board (kernel boot id).
    pub boot_id: String,
    /// Name under which tasks can be reached.
    pub hostname: String,
    /// IP address of the agent's HTTP server; empty: the link's source address.
    pub ip: String,
    /// Port of the agent's HTTP server.
    pub port: u16,
    /// Software version, e.g. `0.1.0`.
    pub software: String,
    /// All it has, with the reservations and volumes that operations have made.
    pub resources: Resources,
    /// Its properties.
    pub attributes: Vec<Attribute>,
    /// Where it stands, if that is configured.
    pub domain: Option<Domain>,
    /// Every task it knows: staging, running, and ended but unacknowledged.
    pub tasks: Vec<TaskReport>,
    /// Every operation whose end is not acknowledged; what they did is in `resources` already.
    pub operations: Vec<OperationReport>,
    /// Every executor of a framework that has not ended; it holds its resources even without a task.
    pub executors: Vec<FrameworkExecutor>,
}

/// One task in a [`Hello`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// What was launched.
    pub spec: TaskSpec,
    /// Newest state the agent knows; resources of a terminal one are free.
    pub latest: TaskState,
    /// The newest status the master has already been sent, if any.
    pub status: Option<TaskStatus>,
}

/// A status on its way to the framework.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskUpdate {
    /// Whose.
    pub key: TaskKey,
    /// Head of the stream; its uuid is what the framework acknowledges.
    pub status: TaskStatus,
    /// Newest state the agent knows (≥ the status's): what accounting goes by.
    pub latest: TaskState,
}

/// Part of a file of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChunk {
    /// Where the bytes begin.
    pub offset: u64,
    /// At most [`MAX_FILE_CHUNK`]; empty at the end of the file.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    /// Length of the whole file now.
    pub size: u64,
    /// Differs from that of other files of the sandbox, whatever they are called meanwhile.
    pub identity: u64,
    /// Whether the task has ended, so that the file will not grow.
    pub ended: bool,
}

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum FileError {
    /// No such task on this agent.
    #[error("no such task on this agent")]
    UnknownTask,
    /// No such file in the task's sandbox.
    #[error("no such file in the sandbox")]
    NotFound,
    /// The path leaves the sandbox or is not a regular file.
    #[error("the path is not a regular file inside the sandbox")]
    Forbidden,
    /// The disk said no.
    #[error("cannot read the file: {0}")]
    Io(String),
}

/// What the master says to an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MasterToAgent {
    /// Answer to `Hello`: registered.
    Welcome(Welcome),
    /// Answer to `Hello`: not registered, and why. The link is closed after it.
    Refused {
        /// A sentence for the board's console.
        reason: String,
    },
    /// Answer to `Hello`: another master leads.
    Redirect {
        /// `host:port` of the leader.
        leader: String,
    },
    /// Are you there? An agent that hears nothing for `Welcome::silence_limit_ms` dials again.
    Ping {
        /// To be sent back.
        sequence: u64,
    },
    /// Run these. Idempotent by (task, attempt).
    Launch {
        /// In the order of the framework's ACCEPT.
        tasks: Vec<TaskSpec>,
    },
    /// End a task: SIGTERM, then SIGKILL after the grace period.
    Kill {
        /// Which.
        key: TaskKey,
        /// Overrides the spec's grace period; can only shorten a kill under way. Milliseconds.
        grace_ms: Option<u32>,
    },
    /// The framework has seen the update with this uuid.
    Acknowledge {
        /// Whose update.
        key: TaskKey,
        /// Which.
        uuid: Uuid,
    },
    /// The framework is gone: kill its tasks, send no more of its updates.
    ShutdownFramework {
        /// Which.
        framework: FrameworkId,
    },
    /// From a scheduler to an executor.
    FrameworkMessage {
        /// Sender.
        framework: FrameworkId,
        /// Receiver.
        executor: ExecutorId,
        /// Content, unopened.
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// Read a file of a task's sandbox.
    ReadFile {
        /// Number of the answer.
        request: u64,
        /// Whose sandbox.
        key: TaskKey,
        /// Relative to the sandbox: `stdout`, `stderr`, `out/result.txt`.
        path: String,
        /// First byte; beyond the end yields no bytes.
        offset: u64,
        /// At most this many bytes, capped at [`MAX_FILE_CHUNK`].
        length: u32,
    },
    /// Convert resources. Idempotent by uuid; answered by `OperationUpdate`.
    Apply(OperationSpec),
    /// The end of an operation has been seen.
    AcknowledgeOperation {
        /// The status's.
        uuid: Uuid,
    },
    /// Run these with an executor that the framework brought. Idempotent by (task, attempt).
    LaunchExecutor {
        /// The executor.
        executor: Box<FrameworkExecutor>,
        /// It is to be started. If not, it is meant to live already: if no run with its attempt does, the tasks are dropped
        /// (reason EXECUTOR_TERMINATED) instead of starting it with resources that nobody has counted.
        start: bool,
        /// In the order of the framework's ACCEPT; at least one.
        tasks: Vec<TaskSpec>,
        /// They are a task group: delivered together or not at all, and killed together until then.
        group: bool,
    },
    /// Ask an executor to end its tasks and itself; after its grace period it is killed.
    ShutdownExecutor {
        /// Which.
        key: ExecutorKey,
    },
    /// Dial once more and begin with [`AgentToMaster::CallBack`]: on that connection the agent then serves its operator API, to
    /// people whose right to it the master has checked.
    CallBack {
        /// To be said.
        token: Uuid,
    },
    /// Where masters are that may lead when this one does not; said after a `Welcome`, and when it changes.
    Masters {
        /// `host:port` of each, this one's included; at most [`MAX_MASTERS`](crate::masters::MAX_MASTERS).
        addresses: Vec<String>,
    },
}

/// The master's answer to a [`Hello`] it accepts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The agent's id, to be checkpointed.
    pub agent: AgentId,
    /// The master's.
    pub master: MasterId,
    /// Name of the cluster.
    pub cluster: String,
    /// Dial again when nothing was heard for this long. Milliseconds.
    pub silence_limit_ms: u32,
    /// Tasks of frameworks that have ended: to be killed without updates.
    pub kill: Vec<TaskKey>,
    /// The master's clock, seconds since 1970: a board without a battery may follow it.
    pub time: f64,
}
