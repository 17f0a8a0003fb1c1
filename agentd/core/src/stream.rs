//! One task's stream of statuses on its way to the framework (Mesos: `task_status_update_manager.cpp`).
//!
//! Only the head is in flight; it is sent again until its uuid is acknowledged. Called by `task` and `agent`.
//! Invariants: statuses leave in the order they were made; nothing is sent while paused; a terminal status is the last.

use std::collections::VecDeque;

use nesos_base::time::{Duration, Instant};
use nesos_wire::Uuid;
use nesos_wire::task::{TaskState, TaskStatus};

/// First repetition of an unacknowledged status (Mesos: `STATUS_UPDATE_RETRY_INTERVAL_MIN`).
pub const RETRY_FIRST: Duration = Duration::from_secs(10);
/// Longest interval between repetitions (Mesos: `STATUS_UPDATE_RETRY_INTERVAL_MAX`).
pub const RETRY_LAST: Duration = Duration::from_secs(600);

/// What an acknowledgement did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// Not the head's uuid: a duplicate, or nonsense.
    Ignored,
    /// The head left.
    Advanced,
    /// The head left and was terminal: the task's record may go.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Flight {
    retry_at: Instant,
    interval: Duration,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Stream {
    /// Unacknowledged, oldest first.
    pending: VecDeque<TaskStatus>,
    /// The newest acknowledged one.
    acknowledged: Option<TaskStatus>,
    /// The head's present flight; `None`: to be sent as soon as the link allows.
    flight: Option<Flight>,
    /// The head has been sent at least once by this process.
    head_was_sent: bool,
}

impl Stream {
    /// Appends a status. Returns whether it was taken: nothing follows a terminal one.
    pub(crate) fn push(&mut self, status: TaskStatus) -> bool {
        if self.latest().is_terminal() || self.pending.len() >= crate::MAX_UPDATES {
            return false;
        }
        self.pending.push_back(status);
        true
    }

    /// Newest state ever pushed; STAGING before the first.
    pub(crate) fn latest(&self) -> TaskState {
        self.newest()
            .map_or(TaskState::Staging, |status| status.state)
    }

    pub(crate) fn newest(&self) -> Option<&TaskStatus> {
        self.pending.back().or(self.acknowledged.as_ref())
    }

    /// Newest status that the master may already have.
    pub(crate) fn reported(&self) -> Option<&TaskStatus> {
        if self.head_was_sent {
            self.pending.front()
        } else {
            self.acknowledged.as_ref()
        }
    }

    pub(crate) fn acknowledge(&mut self, uuid: Uuid) -> Acknowledged {
        if self.pending.front().and_then(|head| head.uuid) != Some(uuid) {
            return Acknowledged::Ignored;
        }
        self.acknowledged = self.pending.pop_front();
        self.flight = None;
        self.head_was_sent = false;
        match &self.acknowledged {
            Some(status) if status.state.is_terminal() => Acknowledged::Closed,
            _ => Acknowledged::Advanced,
        }
    }

    /// The head if it is due, arming its next repetition.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<&TaskStatus> {
        let head = self.pending.front()?;
        let interval = match self.flight {
            Some(flight) if now < flight.retry_at => return None,
            Some(flight) => (flight.interval * 2).min(RETRY_LAST),
            None => RETRY_FIRST,
        };
        self.flight = Some(Flight {
            retry_at: now + interval,
            interval,
        });
        self.head_was_sent = true;
        Some(head)
    }

    /// When the head wants to be sent; `None` without a head. May lie in the past.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pending.front()?;
        Some(self.flight.map_or(Instant::MIN, |flight| flight.retry_at))
    }

    /// The link is down, or what was handed out was not sent: the head is sent again first thing.
    pub(crate) fn pause(&mut self) {
        self.flight = None;
    }

    pub(crate) fn pending(&self) -> impl ExactSizeIterator<Item = &TaskStatus> {
        self.pending.iter()
    }

    pub(crate) fn acknowledged(&self) -> Option<&TaskStatus> {
        self.acknowledged.as_ref()
    }
}
