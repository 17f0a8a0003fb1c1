//! One task on this agent: its phase, its stream, and what an exit means.
//!
//! Called by the other modules of the agent. Invariant: a task is `Ended` exactly when its newest status is terminal, or
//! when it is silent (its framework is gone and nobody wants statuses).

use nesos_base::time::Instant;
use nesos_wire::ContainerId;
use nesos_wire::executor::Outcome;
use nesos_wire::message::TaskReport;
use nesos_wire::task::{Reason, Source, TaskSpec, TaskState};

use crate::event::{Finish, Limitation};
use crate::executors::Ties;
use crate::probing::Probing;
use crate::stream::Stream;
use crate::timed::Due;

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its sandbox is made, its files are fetched, its helper is started.
    Launching,
    /// The helper is there, the process not yet.
    Starting,
    /// The process runs.
    Running,
    /// Killed before its helper was there; waiting for the launch to be given up.
    Aborting {
        /// When to insist.
        destroy_at: Instant,
    },
    /// SIGTERM is on its way; waiting for the exit.
    Killing {
        /// When to stop waiting for the helper and kill everything.
        destroy_at: Instant,
    },
    /// Nothing of it runs; the stream may still hold statuses.
    Ended,
}

impl Phase {
    /// Whether the task holds resources.
    pub fn is_active(self) -> bool {
        self != Self::Ended
    }

    pub(crate) fn destroy_at(self) -> Option<Instant> {
        match self {
            Self::Aborting { destroy_at } | Self::Killing { destroy_at } => Some(destroy_at),
            Self::Launching | Self::Starting | Self::Running | Self::Ended => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) spec: TaskSpec,
    /// `None`: the launch was refused, there never was one.
    pub(crate) container: Option<ContainerId>,
    pub(crate) phase: Phase,
    pub(crate) stream: Stream,
    /// Its `Launched` record is on disk (or on the way there): its statuses are checkpointed.
    pub(crate) is_stored: bool,
    /// Its framework is gone: no statuses.
    pub(crate) is_silent: bool,
    /// The board has rebooted since it was launched.
    pub(crate) has_rebooted: bool,
    /// A kill was asked for, with this grace period in milliseconds.
    pub(crate) kill_grace_ms: Option<u32>,
    pub(crate) ties: Ties,
    /// Why the agent ends it: its last status. An agentd that dies meanwhile tells of a signal instead.
    pub(crate) verdict: Option<Draft>,
    /// What each of its statuses says beside what the core knows: see [`nesos_wire::task::TaskStatus::extra`].
    pub(crate) extra: Vec<u8>,
    /// Its checks, once it runs, if it is checked here.
    pub(crate) probing: Option<Box<Probing>>,
}

/// What a task wants at its times: its container destroyed.
pub(crate) const DESTROYED: usize = 0;
/// Looked at.
pub(crate) const LOOKED_AT: usize = 1;
/// The head of its stream sent, which is on disk.
pub(crate) const STORED_SENT: usize = 2;
/// The head of its stream sent, which is not checkpointed.
pub(crate) const UNSTORED_SENT: usize = 3;
/// How many kinds that are.
pub(crate) const WISHES: usize = 4;

impl Due<WISHES> for Task {
    fn due(&self) -> [Option<Instant>; WISHES] {
        let look = self.probing.as_ref().and_then(|probing| probing.deadline());
        let send = self.stream.deadline();
        let mut due = [None; WISHES];
        due[DESTROYED] = self.phase.destroy_at();
        due[LOOKED_AT] = look.filter(|_| self.phase == Phase::Running);
        due[STORED_SENT] = send.filter(|_| self.is_stored);
        due[UNSTORED_SENT] = send.filter(|_| !self.is_stored);
        due
    }
}

/// A status before it gets a uuid and a time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Draft {
    pub(crate) state: TaskState,
    pub(crate) source: Source,
    pub(crate) reason: Option<Reason>,
    pub(crate) message: String,
}

impl Draft {
    pub(crate) fn executor(state: TaskState, message: impl Into<String>) -> Self {
        Self {
            state,
            source: Source::Executor,
            reason: None,
            message: message.into(),
        }
    }

    pub(crate) fn agent(state: TaskState, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            state,
            source: Source::Agent,
            reason: Some(reason),
            message: message.into(),
        }
    }
}

impl Task {
    pub(crate) fn new(spec: TaskSpec, container: Option<ContainerId>) -> Self {
        Self {
            spec,
            phase: if container.is_some() {
                Phase::Launching
            } else {
                Phase::Ended
            },
            container,
            stream: Stream::default(),
            is_stored: true,
            is_silent: false,
            has_rebooted: false,
            kill_grace_ms: None,
            ties: Ties::default(),
            verdict: None,
            extra: Vec::new(),
            probing: None,
        }
    }

    /// Newest state for accounting.
    pub(crate) fn latest(&self) -> TaskState {
        self.stream.latest()
    }

    /// Its container as statuses name it: inside a pod's as `OUTER.INNER`.
    pub(crate) fn shown_container(&self) -> Option<ContainerId> {
        let own = self.container.as_ref()?;
        Some(match &self.ties.parent {
            Some(outer) => ContainerId::new(format!("{outer}.{own}")),
            None => own.clone(),
        })
    }

    pub(crate) fn report(&self) -> TaskReport {
        TaskReport {
            spec: self.spec.clone(),
            latest: self.latest(),
            status: self.stream.reported().cloned(),
        }
    }

    /// `aware` for a partition-aware framework, LOST for others.
    pub(crate) fn lost_or(&self, aware: TaskState) -> TaskState {
        if self.spec.partition_aware {
            aware
        } else {
            TaskState::Lost
        }
    }

    /// The terminal status for this end of the container.
    pub(crate) fn draft_finish(&self, finish: &Finish) -> Draft {
        if let Some(verdict) = &self.verdict {
            return verdict.clone();
        }
        if let (Phase::Aborting { .. }, _) | (_, Outcome::NotStarted(_)) =
            (self.phase, &finish.record.outcome)
        {
            return self.draft_not_started(finish);
        }
        if let Some(limitation) = finish.limitation {
            return limitation_draft(limitation);
        }
        let message = outcome_text("Command", &finish.record.outcome);
        let was_killed = self.kill_grace_ms.is_some() || finish.record.kill_requested;
        let state = match finish.record.outcome {
            _ if was_killed => TaskState::Killed,
            Outcome::Exit(0) => TaskState::Finished,
            _ => TaskState::Failed,
        };
        Draft::executor(state, message)
    }

    fn draft_not_started(&self, finish: &Finish) -> Draft {
        match &finish.record.outcome {
            Outcome::NotStarted(why) if self.kill_grace_ms.is_none() => Draft::agent(
                TaskState::Failed,
                Reason::ContainerLaunchFailed,
                why.clone(),
            ),
            _ => self.draft_killed_during_launch(),
        }
    }

    pub(crate) fn draft_killed_during_launch(&self) -> Draft {
        Draft::agent(
            TaskState::Killed,
            Reason::TaskKilledDuringLaunch,
            "The task was killed before it was started",
        )
    }

    /// The terminal status for a container of which nothing is left.
    pub(crate) fn draft_vanished(&self) -> Draft {
        if let Some(verdict) = &self.verdict {
            return verdict.clone();
        }
        match self.phase {
            Phase::Aborting { .. } => self.draft_killed_during_launch(),
            Phase::Killing { .. } => Draft::agent(
                TaskState::Killed,
                Reason::ExecutorTerminated,
                "The task ended after its kill, its exit status is not known",
            ),
            Phase::Launching => Draft::agent(
                self.lost_or(TaskState::Dropped),
                Reason::AgentRestarted,
                "The agent restarted before the task was started",
            ),
            _ if self.has_rebooted => Draft::agent(
                self.lost_or(TaskState::Gone),
                Reason::AgentRestarted,
                "The board restarted",
            ),
            _ => Draft::agent(
                TaskState::Failed,
                Reason::ExecutorTerminated,
                "The executor ended without an exit record",
            ),
        }
    }
}

/// The end of a container that wanted more than it may have.
pub(crate) fn limitation_draft(limitation: Limitation) -> Draft {
    let (reason, message) = limitation_status(limitation);
    Draft::agent(TaskState::Failed, reason, message)
}

/// What is told of a container that a limit has ended: the reason, and a sentence.
pub fn limitation_status(limitation: Limitation) -> (Reason, String) {
    match limitation {
        Limitation::Memory { limit, peak } => (
            Reason::ContainerLimitationMemory,
            memory_message(limit, peak),
        ),
        Limitation::Disk { limit, used } => {
            (Reason::ContainerLimitationDisk, disk_message(limit, used))
        }
    }
}

/// Mesos's words for how a process ended.
pub(crate) fn outcome_text(what: &str, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exit(status) => format!("{what} exited with status {status}"),
        Outcome::Signal(signal) => format!("{what} terminated by signal {}", signal_name(*signal)),
        Outcome::NotStarted(why) => why.clone(),
    }
}

fn memory_message(limit: u64, peak: u64) -> String {
    const MB: u64 = 1024 * 1024;
    let used = if peak == 0 {
        String::new()
    } else {
        format!(" Maximum Used: {}MB", peak.div_ceil(MB))
    };
    format!("Memory limit exceeded: Requested: {}MB{used}", limit / MB)
}

fn disk_message(limit: u64, used: u64) -> String {
    const MB: u64 = 1024 * 1024;
    let limit = limit / MB;
    match used {
        0 => {
            format!("Disk usage exceeds quota ({limit}MB): its paths are too long to be looked at")
        }
        used => format!(
            "Disk usage ({}MB) exceeds quota ({limit}MB)",
            used.div_ceil(MB)
        ),
    }
}

/// Name of a Linux signal; the number for one without a name.
fn signal_name(signal: u8) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    match usize::from(signal)
        .checked_sub(1)
        .and_then(|index| NAMES.get(index))
    {
        Some(name) => format!("SIG{name}"),
        None => signal.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_their_names() {
        assert_eq!(signal_name(9), "SIGKILL");
        assert_eq!(signal_name(15), "SIGTERM");
        assert_eq!(signal_name(31), "SIGSYS");
        assert_eq!(signal_name(0), "0");
        assert_eq!(signal_name(34), "34");
    }

    #[test]
    fn memory_is_told_in_megabytes() {
        assert_eq!(
            memory_message(32 << 20, (31 << 20) + 1),
            "Memory limit exceeded: Requested: 32MB Maximum Used: 32MB"
        );
        assert_eq!(
            memory_message(32 << 20, 0),
            "Memory limit exceeded: Requested: 32MB"
        );
    }

    #[test]
    fn so_is_the_disk() {
        let limitation = Limitation::Disk {
            limit: 64 << 20,
            used: (64 << 20) + 1,
        };
        let draft = limitation_draft(limitation);
        assert_eq!(draft.reason, Some(Reason::ContainerLimitationDisk));
        assert_eq!(draft.message, "Disk usage (65MB) exceeds quota (64MB)");
        assert!(disk_message(64 << 20, 0).contains("too long"));
    }
}
