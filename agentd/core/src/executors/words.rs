//! What executors say to the agent and hear from it: the executor API without its encoding.

use nesos_wire::framework_executor::FrameworkExecutor;
use nesos_wire::task::{TaskSpec, TaskStatus};
use nesos_wire::{ContainerId, TaskId, Uuid};

/// What a custom executor says, or what becomes of its stream.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecutorCall {
    /// It is there, and its events are to go out on this stream.
    Subscribe {
        /// Number of the stream, never used before in this process.
        stream: u64,
        /// Tasks of which no update of it was acknowledged.
        tasks: Vec<TaskId>,
        /// Updates that were not acknowledged.
        updates: Vec<(TaskId, TaskStatus)>,
    },
    /// Something became of a task. The status has a uuid; source, ids and container are filled in by the agent.
    Update {
        /// Which.
        task: TaskId,
        /// What.
        status: Box<TaskStatus>,
    },
    /// For its scheduler.
    Message {
        /// Content, unopened.
        data: Vec<u8>,
    },
    /// A stream has ended.
    Lost {
        /// Which.
        stream: u64,
    },
}

/// What a custom executor hears.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // The names are Mesos's; executor.proto documents them.
pub enum ExecutorEvent {
    Subscribed {
        executor: Box<FrameworkExecutor>,
        container: ContainerId,
    },
    Launch {
        task: Box<TaskSpec>,
    },
    LaunchGroup {
        tasks: Vec<TaskSpec>,
    },
    Kill {
        task: TaskId,
        /// If the framework has said one with the kill.
        grace_ms: Option<u32>,
    },
    Acknowledged {
        task: TaskId,
        uuid: Uuid,
    },
    Message {
        data: Vec<u8>,
    },
    Shutdown,
    Heartbeat,
}

impl ExecutorEvent {
    /// Whether it says that something is on disk.
    pub(crate) fn waits_for_disk(&self) -> bool {
        matches!(
            self,
            Self::Subscribed { .. }
                | Self::Launch { .. }
                | Self::LaunchGroup { .. }
                | Self::Acknowledged { .. }
        )
    }
}
