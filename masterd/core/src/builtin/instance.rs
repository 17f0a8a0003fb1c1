//! A task of a built-in scheduler, as it is known from its statuses.
//!
//! Not its record, which rests in the registry and which this holds. Called by `builtin` when it launches and hears of tasks.

use nesos_base::time::Instant;
use nesos_wire::builtin::{InstanceRecord, Owner};
use nesos_wire::task::{TaskState, TaskStatus};

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// What rests in the registry.
    pub record: InstanceRecord,
    /// As it was heard last; STAGING before that.
    pub state: TaskState,
    /// When it was first running, milliseconds since 1970.
    pub started: Option<u64>,
    /// What its health checks found.
    pub health: Health,
    /// It has been heard of in this leadership.
    pub(super) is_confirmed: bool,
    /// It is to end; the kill is said again at this time.
    pub(super) kill_again: Option<Instant>,
    /// Since when its agent is unreachable.
    pub(super) unreachable: Option<Instant>,
    /// It was replaced because its agent is unreachable.
    pub(super) is_given_up: bool,
    /// When it was first running, by the clock that does not jump.
    pub(super) running_since: Option<Instant>,
}

/// What the health checks of an instance found. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// The newest finding; none: there was none yet.
    pub is_alive: Option<bool>,
    /// Findings against it since the last one for it.
    pub consecutive_failures: u32,
    /// First finding for it.
    pub first_success: Option<u64>,
    /// Newest finding for it.
    pub last_success: Option<u64>,
    /// Newest finding against it.
    pub last_failure: Option<u64>,
}

impl Instance {
    pub(super) fn new(record: InstanceRecord) -> Self {
        Self {
            record,
            state: TaskState::Staging,
            started: None,
            health: Health::default(),
            is_confirmed: false,
            kill_again: None,
            unreachable: None,
            is_given_up: false,
            running_since: None,
        }
    }

    /// Its service.
    pub fn service(&self) -> Option<&str> {
        match &self.record.owner {
            Owner::Service { id, .. } => Some(id),
            Owner::Job { .. } => None,
        }
    }

    /// Whether it is being killed.
    pub fn is_dying(&self) -> bool {
        self.kill_again.is_some()
    }

    /// Whether it counts as one of those that are to be: it is not being killed, and its agent can be reached or was lost only now.
    pub fn counts(&self) -> bool {
        !self.is_dying() && !self.is_given_up
    }

    /// Whether it does what it is for.
    pub fn is_ready(&self, is_checked: bool) -> bool {
        let is_healthy = !is_checked || self.health.is_alive == Some(true);
        self.state == TaskState::Running && is_healthy && self.unreachable.is_none()
    }

    /// Takes in a status that is not the end. Whether its health was found to be another one.
    pub(super) fn take(&mut self, status: &TaskStatus, now: Instant, wall: u64) -> bool {
        self.is_confirmed = true;
        self.state = status.state;
        if status.state == TaskState::Unreachable {
            self.unreachable.get_or_insert(now);
            return false;
        }
        self.unreachable = None;
        self.is_given_up = false;
        if status.state == TaskState::Running {
            self.started.get_or_insert(wall);
            self.running_since.get_or_insert(now);
        }
        match status.healthy {
            Some(is_alive) => self.health.take(is_alive, wall),
            None => false,
        }
    }
}

impl Health {
    fn take(&mut self, is_alive: bool, wall: u64) -> bool {
        let is_change = self.is_alive != Some(is_alive);
        self.is_alive = Some(is_alive);
        if is_alive {
            self.consecutive_failures = 0;
            self.first_success.get_or_insert(wall);
            self.last_success = Some(wall);
        } else {
            self.consecutive_failures += 1;
            self.last_failure = Some(wall);
        }
        is_change
    }
}
