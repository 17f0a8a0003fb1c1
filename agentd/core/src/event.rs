//! What the shell tells the agent, and what the agent tells the shell.
//!
//! Listing [`Event`] lists everything that can happen to an agent; listing [`Action`] everything it can do.

use nesos_base::time::{Duration, Instant};
use nesos_wire::check::{CheckStatus, Probe};
use nesos_wire::domain::Domain;
use nesos_wire::executor::ExitRecord;
use nesos_wire::message::{AgentToMaster, FileChunk, FileError, MasterToAgent};
use nesos_wire::resource::Resources;
use nesos_wire::task::{Attribute, TaskSpec};
use nesos_wire::version::Version;
use nesos_wire::{ContainerId, ExecutorKey, NodeId, TaskKey, Uuid};

use crate::checkpoint::Record;
use crate::executors::{ExecutorCall, ExecutorEvent, ExecutorTimes};
use crate::operations::VolumePlace;
use crate::probing::ProbeKind;
use crate::slack::{Rules, Sample};

/// Both clocks, read by the shell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Monotonic: what deadlines are compared with.
    pub now: Instant,
    /// Wall clock, seconds since 1970: only for the timestamps of statuses.
    pub unix: f64,
}

/// Randomness for ids and back-off, drawn once per process by the shell; a simulator passes a fixed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 16]);

/// What an agent is, known at its start.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The board.
    pub node: NodeId,
    /// The wire version that it speaks: `version::CURRENT`, but in tests of upgrades.
    pub version: Version,
    /// Kernel boot id.
    pub boot_id: String,
    /// Name under which tasks can be reached.
    pub hostname: String,
    /// Address of the HTTP server; empty: the link's source address.
    pub ip: String,
    /// Port of the HTTP server.
    pub port: u16,
    /// Software version.
    pub software: String,
    /// All the agent has to offer.
    pub resources: Resources,
    /// Its properties.
    pub attributes: Vec<Attribute>,
    /// Where it stands, if that is configured.
    pub domain: Option<Domain>,
    /// How long executors may take.
    pub executors: ExecutorTimes,
}

/// Why there is no link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No master found, connection refused or broken: tried again soon.
    #[error("{0}")]
    Failed(String),
    /// The master will not have this board (join token, certificate): tried again slowly.
    #[error("{0}")]
    Refused(String),
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time passed.
    Tick,
    /// The dial with this number succeeded: the link is up.
    LinkUp {
        /// Number from [`Action::Dial`].
        link: u64,
    },
    /// The dial failed or the link broke.
    LinkDown {
        /// Number from [`Action::Dial`].
        link: u64,
        /// Why.
        error: LinkError,
    },
    /// The master says.
    Message {
        /// On which link.
        link: u64,
        /// What.
        message: MasterToAgent,
    },
    /// Something became of a container.
    Container {
        /// Which.
        container: ContainerId,
        /// What.
        event: ContainerEvent,
    },
    /// Answer to [`Action::Probe`].
    Probed {
        /// In which container was looked.
        container: ContainerId,
        /// For which check.
        kind: ProbeKind,
        /// What was found, or why nothing: too late, or not to be done.
        result: Result<CheckStatus, String>,
    },
    /// A custom executor says, or its stream has ended.
    Executor {
        /// Which.
        key: ExecutorKey,
        /// What.
        call: ExecutorCall,
    },
    /// Answer to [`Action::ReadFile`].
    FileRead {
        /// Link the request came over.
        link: u64,
        /// Its number.
        request: u64,
        /// Bytes, or why not.
        result: Result<FileChunk, FileError>,
    },
    /// All containers were looked at, for what can be lent and who suffers from it.
    Measured {
        /// What to do with it.
        rules: Rules,
        /// What was seen.
        sample: Box<Sample>,
    },
    /// `persist` of this `Ready` could not be made durable, so nothing of it was done.
    NotStored {
        /// The whole of it.
        ready: Box<Ready>,
        /// Operation, path and errno in words.
        reason: String,
    },
    /// Kill all tasks, say goodbye, stop.
    Shutdown,
}

/// What became of a container. After [`Action::Launch`] or [`Action::Adopt`] of a container exactly one of
/// `LaunchFailed`, `Finished`, `Vanished` is reported last.
#[derive(Debug, Clone, PartialEq)]
pub enum ContainerEvent {
    /// It has a network of its own; comes before `Started`.
    Networked {
        /// Protobuf of a public `TaskStatus` with nothing but what its container status says of that.
        status: Vec<u8>,
    },
    /// The helper has been started.
    Started,
    /// The task's process runs.
    Running,
    /// It never ran: sandbox, fetch or spawn failed.
    LaunchFailed {
        /// Operation, path and errno in words.
        message: String,
    },
    /// It is gone, and this is how.
    Finished(Finish),
    /// Nothing is left of it, not even an exit record.
    Vanished,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Finish {
    /// The helper's record.
    pub record: ExitRecord,
    /// A limit it ran into, if that is why.
    pub limitation: Option<Limitation>,
}

/// A limit that ended a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limitation {
    /// The kernel killed it for memory.
    Memory {
        /// The limit, bytes.
        limit: u64,
        /// Most it ever used, bytes; zero if unknown.
        peak: u64,
    },
    /// It was ended for what it has written.
    Disk {
        /// The limit, bytes.
        limit: u64,
        /// What it used, bytes; zero if unknown.
        used: u64,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Find the master and connect; answered by `LinkUp` or `LinkDown` with the same number.
    Dial {
        /// Number of the link to be.
        link: u64,
        /// `host:port` if the last master named the leader.
        leader: Option<String>,
    },
    /// Close this link. No `LinkDown` is expected.
    HangUp {
        /// Which.
        link: u64,
    },
    /// Make the sandbox, fetch, start the helper.
    Launch {
        /// The new container.
        container: ContainerId,
        /// The executor's around it, for a task of a pod.
        parent: Option<ContainerId>,
        /// What to run: a task, or if its kind is custom the executor of this name.
        spec: Box<TaskSpec>,
    },
    /// What the container may use has changed.
    Resize {
        /// Which.
        container: ContainerId,
        /// As if it were launched with it.
        spec: Box<TaskSpec>,
    },
    /// Say something on an executor's stream.
    TellExecutor {
        /// Number from [`ExecutorCall::Subscribe`].
        stream: u64,
        /// What.
        event: ExecutorEvent,
    },
    /// End an executor's stream after what was said. No [`ExecutorCall::Lost`] is expected.
    CloseExecutor {
        /// Which.
        stream: u64,
    },
    /// After a restart: find what became of a container that was launched before.
    Adopt {
        /// Which.
        container: ContainerId,
        /// The board has rebooted since: only an exit record can be left.
        rebooted: bool,
    },
    /// SIGTERM now, SIGKILL after the grace period.
    Kill {
        /// Which.
        container: ContainerId,
        /// Milliseconds.
        grace_ms: u32,
    },
    /// SIGKILL to everything now, or give up the launch under way.
    Destroy {
        /// Which.
        container: ContainerId,
    },
    /// Look at a task from inside; answered by [`Event::Probed`] within the time given, unless the container ends.
    Probe {
        /// Where.
        container: ContainerId,
        /// For which check.
        kind: ProbeKind,
        /// How.
        probe: Box<Probe>,
        /// Milliseconds; zero: no limit.
        timeout_ms: u64,
    },
    /// The task's record is gone; its sandbox may be collected when it is old.
    Release {
        /// Which.
        container: ContainerId,
        /// Whose it was.
        key: TaskKey,
    },
    /// Make the directory of a persistent volume; one that is there stays as it is.
    CreateVolume {
        /// Which.
        place: VolumePlace,
    },
    /// Delete a persistent volume with its data.
    RemoveVolume {
        /// Which.
        place: VolumePlace,
    },
    /// Read a piece of a sandbox; answered by [`Event::FileRead`].
    ReadFile {
        /// Link the request came over.
        link: u64,
        /// Its number.
        request: u64,
        /// Whose sandbox.
        key: TaskKey,
        /// The container if the task is still known; else the newest run on disk.
        container: Option<ContainerId>,
        /// Relative to the sandbox.
        path: String,
        /// First byte.
        offset: u64,
        /// At most this many.
        length: u32,
    },
    /// Dial the master once more, and serve it the operator API there.
    CallBack {
        /// What to begin with.
        token: Uuid,
    },
    /// The master's wall clock, seconds since 1970, for a board that has no clock of its own.
    MasterTime {
        /// Seconds since 1970.
        unix: f64,
    },
    /// All tasks are gone and the goodbye is sent: the process may end.
    Stop,
}

/// How loud a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A state change.
    Info,
    /// Somebody should look.
    Warn,
}

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How loud.
    pub level: Level,
    /// A sentence.
    pub text: String,
}

/// Everything the shell has to do now, in this order: persist, send, actions; then wait.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ready {
    /// To be made durable before anything below is done; see [`Record::must_sync`].
    pub persist: Vec<Record>,
    /// To be started.
    pub actions: Vec<Action>,
    /// To be sent on the link that is up.
    pub send: Vec<AgentToMaster>,
    /// To be logged.
    pub notes: Vec<Note>,
    /// When to come back with [`Event::Tick`] at the latest.
    pub deadline: Option<Instant>,
}

impl Ready {
    /// Whether there is nothing to do but wait.
    pub fn is_idle(&self) -> bool {
        self.persist.is_empty()
            && self.actions.is_empty()
            && self.send.is_empty()
            && self.notes.is_empty()
    }
}

/// How long a failed checkpoint write rests before it is tried again: a full disk does not empty faster.
pub(crate) const STORE_RETRY: Duration = Duration::from_secs(5);
/// How long a shutdown waits for tasks to end beyond their grace periods.
pub(crate) const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);
