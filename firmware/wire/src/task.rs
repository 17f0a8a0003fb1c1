//! Tasks as master and agent speak of them: what to run, and what became of it.
//!
//! Not the public `TaskInfo`: its protobuf bytes travel unopened in [`TaskSpec::info`] so that a master that has just
//! taken over can show them. Called by the cores and the executor helper.

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::check::{CheckStatus, Checks};
use crate::framework_executor::ExecutorKind;
use crate::id::{AgentId, Attempt, ContainerId, ExecutorId, TaskKey, Uuid};
use crate::resource::{Ranges, Resources, Scalar};

/// A task's state; the discriminants are Mesos's `TaskState` numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // The names are Mesos's; mesos.proto documents them.
pub enum TaskState {
    Starting = 0,
    Running = 1,
    Finished = 2,
    Failed = 3,
    Killed = 4,
    Lost = 5,
    Staging = 6,
    Error = 7,
    Killing = 8,
    Dropped = 9,
    Unreachable = 10,
    Gone = 11,
    GoneByOperator = 12,
    Unknown = 13,
}

impl TaskState {
    /// Whether the task can never run again. UNREACHABLE and UNKNOWN are not terminal.
    pub fn is_terminal(self) -> bool {
        use TaskState::*;
        matches!(
            self,
            Finished | Failed | Killed | Lost | Error | Dropped | Gone | GoneByOperator
        )
    }
}

/// Who made a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Source {
    Master,
    Agent,
    Executor,
}

/// Why a status has its state (the `REASON_*` names of Mesos without the prefix).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Reason {
    CommandExecutorFailed,
    ContainerLaunchFailed,
    ContainerLimitation,
    ContainerLimitationDisk,
    ContainerLimitationMemory,
    ExecutorTerminated,
    FrameworkRemoved,
    InvalidOffers,
    Reconciliation,
    AgentDisconnected,
    AgentRemoved,
    AgentReregistered,
    AgentRestarted,
    AgentUnknown,
    TaskInvalid,
    TaskKilledDuringLaunch,
    TaskUnauthorized,
    TaskUnknown,
    ResourcesUnknown,
    AgentRemovedByOperator,
    AgentDraining,
    TaskGroupInvalid,
    TaskGroupUnauthorized,
    ExecutorRegistrationTimeout,
    ExecutorReregistrationTimeout,
    ExecutorUnregistered,
    ContainerPreempted,
    ContainerUpdateFailed,
    GcError,
    IoSwitchboardExited,
    MaxCompletionTimeReached,
    TaskCheckStatusUpdated,
    TaskHealthCheckStatusUpdated,
    InvalidFrameworkId,
    MasterDisconnected,
}

/// One status of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// The state.
    pub state: TaskState,
    /// Who made it.
    pub source: Source,
    /// Why, if there is more to say than the state.
    pub reason: Option<Reason>,
    /// A sentence for people; may be empty.
    pub message: String,
    /// Seconds since 1970, by the maker's clock.
    pub timestamp: f64,
    /// Present if the framework must acknowledge it.
    pub uuid: Option<Uuid>,
    /// Where the task runs or was meant to run.
    pub agent: Option<AgentId>,
    /// Whose executor reports.
    pub executor: Option<ExecutorId>,
    /// The container, from RUNNING on; `OUTER.INNER` for one inside another.
    pub container: Option<ContainerId>,
    /// Result of the latest health check.
    pub healthy: Option<bool>,
    /// Result of the latest check, of a task that the agent itself checks.
    pub check: Option<CheckStatus>,
    /// The executor's own bytes.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    /// For UNREACHABLE: since when, seconds since 1970.
    pub unreachable_time: Option<f64>,
    /// Protobuf of a public `TaskStatus` with what no core reads and frameworks do: labels, check status, container status
    /// and limitation. Its other fields are not looked at. Empty: there is none of it.
    #[serde(with = "serde_bytes")]
    pub extra: Vec<u8>,
}

/// A file to be brought into the sandbox before the task starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uri {
    /// `file:///…`, `/…` or `http://…`.
    pub value: String,
    /// Make it executable (no extraction then).
    pub executable: bool,
    /// Unpack known archive formats.
    pub extract: bool,
    /// Keep it for later tasks.
    pub cache: bool,
    /// Name in the sandbox; default: the last path segment.
    pub output_file: Option<String>,
}

/// What a command task runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Command {
    /// `/bin/sh -c value` if true, else exec of `value` with `arguments` (argv, first is argv[0]).
    pub shell: bool,
    /// The shell text, or the program.
    pub value: String,
    /// argv when not a shell.
    pub arguments: Vec<String>,
    /// Environment of the task, in the framework's order; later wins.
    pub environment: Vec<(String, String)>,
    /// What to fetch first.
    pub uris: Vec<Uri>,
    /// User to run as; default: the agent's.
    pub user: Option<String>,
}

/// What the master tells an agent to run; checkpointed by the agent, reported back in `Hello`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Framework and task id.
    pub key: TaskKey,
    /// Which launch of this id.
    pub attempt: Attempt,
    /// The task's display name.
    pub name: String,
    /// The executor's id; a command task's is its task id.
    pub executor: ExecutorId,
    /// What kind of executor that is.
    pub kind: ExecutorKind,
    /// Role the resources were offered to.
    pub role: String,
    /// What it was given.
    pub resources: Resources,
    /// Limits above the request (`cpus`, `mem`); `None` inside means infinite.
    pub limits: BTreeMap<String, Option<Scalar>>,
    /// What to run.
    pub command: Command,
    /// SIGTERM to SIGKILL, milliseconds. Mesos's default is 3000.
    pub kill_grace_ms: u32,
    /// The framework wants TASK_UNREACHABLE, TASK_GONE… instead of TASK_LOST.
    pub partition_aware: bool,
    /// The framework wants TASK_KILLING.
    pub task_killing: bool,
    /// The framework asked for checkpointing. For whoever shows it: every task is checkpointed and outlives agentd.
    pub checkpoint: bool,
    /// How the agent is to check it.
    pub checks: Option<Box<Checks>>,
    /// Protobuf of the public `TaskInfo`, for whoever shows it.
    #[serde(with = "serde_bytes")]
    pub info: Vec<u8>,
    /// Protobuf of the public `FrameworkInfo` (with id), so that a new master knows the framework before it returns.
    #[serde(with = "serde_bytes")]
    pub framework_info: Vec<u8>,
}

/// A named property of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// The name.
    pub name: String,
    /// The value.
    pub value: AttributeValue,
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum AttributeValue {
    Scalar(Scalar),
    Ranges(Ranges),
    Text(String),
}
