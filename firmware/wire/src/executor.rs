//! Between agentd and the executor helper that holds one task: over the helper's unix socket, and in its run directory.
//!
//! The helper outlives agentd: whoever connects to the socket first gets the task's present condition, and the exit
//! record stays in the run directory for an agentd that was away. Socket messages are [frames](crate::frame).

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::file_system::FileSystem;
use crate::rights::Rights;

/// What the helper is told to run: a frame on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorSpec {
    /// Program and its argv (`/bin/sh`, `sh`, `-c`, text for a shell command).
    pub program: String,
    /// argv, first is argv[0].
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// Working directory and place of `stdout` and `stderr`; absolute.
    pub sandbox: String,
    /// User to run as; none: the helper's own.
    pub user: Option<TaskUser>,
    /// `cgroup.procs` of the task's cgroup, absolute; none: no cgroup.
    pub cgroup_procs: Option<String>,
    /// The helper is PID 1 of a new PID namespace and must mount a `/proc` of its own and reap.
    pub pid_namespace: bool,
    /// The task takes its cgroup for the root of all: it sees no other.
    pub cgroup_namespace: bool,
    /// The helper takes a mount table of its own and makes this the task's files. A PID namespace needs it.
    pub file_system: Option<FileSystem>,
    /// The host name of the UTS namespace that the helper was started in; none: as it is.
    pub hostname: Option<String>,
    /// What the task is left with.
    pub rights: Rights,
    /// SIGTERM to SIGKILL when no other grace period is given, milliseconds.
    pub kill_grace_ms: u32,
    /// How much of its output is kept; none: all of it.
    pub output: Option<OutputLimits>,
    /// Rows and columns of the window of the terminal that it is on; none: it is on no terminal.
    pub terminal: Option<(u16, u16)>,
}

/// How much is kept of what a task writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputLimits {
    /// Most bytes of a file of its standard output.
    pub stdout_bytes: u64,
    /// Most bytes of a file of its standard error.
    pub stderr_bytes: u64,
    /// Files of each: the one that is written to, and older ones.
    pub files: u32,
}

/// A user in the kernel's terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskUser {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups, the primary one first.
    pub groups: Vec<u32>,
}

/// agentd to helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToExecutor {
    /// SIGTERM now, SIGKILL to all after the grace period. Again: may only shorten it.
    Kill {
        /// Milliseconds.
        grace_ms: u32,
    },
    /// Run a command beside the task, as a session that ends with this connection. With the first bytes of the frame come
    /// four descriptors: a file that holds a [`BesideSpec`] as a frame, and the command's standard input, output and error.
    Beside {
        /// The standard input is a terminal that the command is to control.
        terminal: bool,
    },
    /// A signal to what this connection runs beside the task.
    Signal {
        /// Its number.
        number: u8,
    },
    /// A signal to the task's first process and its group.
    SignalTask {
        /// Its number.
        number: u8,
    },
    /// The near end of the task's terminal is wanted: answered by [`FromExecutor::Terminal`].
    Terminal {
        /// What it writes is wanted, too.
        listen: bool,
    },
}

/// A command that runs where a task runs: in its namespaces and cgroup, with its user and environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BesideSpec {
    /// Program, as in [`ExecutorSpec`].
    pub program: String,
    /// argv, first is argv[0].
    pub arguments: Vec<String>,
    /// On top of the task's.
    pub environment: Vec<(String, String)>,
    /// User to run as; none: the task's.
    pub user: Option<TaskUser>,
    /// Working directory inside the sandbox; empty: where the task began.
    pub directory: String,
}

/// Helper to agentd, sent on connecting and on each change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromExecutor {
    /// The task's process runs.
    Running {
        /// Its process id, in the helper's own PID namespace.
        pid: u32,
    },
    /// It has ended; the exit record is written before this is sent.
    Exited(ExitRecord),
    /// What was to run beside the task runs.
    BesideRuns,
    /// It has ended, or was never started.
    BesideEnded(Outcome),
    /// With the first bytes come two descriptors at most: the near end of the task's terminal, and a pipe with what the task
    /// writes from now on. None: it is on no terminal.
    Terminal,
}

/// How a task ended: file `exit` of the run directory (a frame with a checksum behind it).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// What happened.
    pub outcome: Outcome,
    /// Whether a kill had been asked for before.
    pub kill_requested: bool,
    /// Wall clock, milliseconds since 1970.
    pub at_ms: u64,
}

/// What happened to the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It called exit.
    Exit(u8),
    /// A signal ended it.
    Signal(u8),
    /// It never started, and why (operation and errno in words).
    NotStarted(String),
}
