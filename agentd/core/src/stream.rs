//! One task's stream of statuses on its way to the framework (Mesos: `task_status_update_manager.cpp`).
//!
//! Only the head is in flight; it is sent again until its uuid is acknowledged. Called by `task` and `agent`.
//! Invariants: statuses leave in the order they were made; nothing is sent while paused; a terminal status is the last.

use std::collections::VecDeque;

use nesos_base::time::Instant;
use nesos_wire::Uuid;
use nesos_wire::task::{TaskState, TaskStatus};

use crate::repeat::Repeat;

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

#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Stream {
    /// Unacknowledged, oldest first.
    pending: VecDeque<TaskStatus>,
    /// The newest acknowledged one.
    acknowledged: Option<TaskStatus>,
    /// When the head is sent (again).
    repeat: Repeat,
    /// The head has been sent at least once by this process.
    head_was_sent: bool,
}

impl Stream {
    /// Appends a status. Returns whether it was taken: nothing follows a terminal one.
    pub(crate) fn push(&mut self, status: TaskStatus) -> bool {
        // There is always room for the last one.
        if self.latest().is_terminal() || !(self.has_room() || status.state.is_terminal()) {
            return false;
        }
        self.pending.push_back(status);
        true
    }

    /// Whether one more that is not the last would be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.pending.len() < crate::MAX_UPDATES
    }

    /// Whether it is waiting or was the last to be acknowledged.
    pub(crate) fn knows(&self, uuid: Uuid) -> bool {
        let mut all = self.pending.iter().chain(&self.acknowledged);
        all.any(|status| status.uuid == Some(uuid))
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
        self.repeat.pause();
        self.head_was_sent = false;
        match &self.acknowledged {
            Some(status) if status.state.is_terminal() => Acknowledged::Closed,
            _ => Acknowledged::Advanced,
        }
    }

    /// The head if it is due, arming its next repetition.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<&TaskStatus> {
        let head = self.pending.front()?;
        if !self.repeat.take_due(now) {
            return None;
        }
        self.head_was_sent = true;
        Some(head)
    }

    /// When the head wants to be sent; `None` without a head. May lie in the past.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pending.front()?;
        Some(self.repeat.deadline())
    }

    /// The link is down, or what was handed out was not sent: the head is sent again first thing.
    pub(crate) fn pause(&mut self) {
        self.repeat.pause();
    }

    pub(crate) fn pending(&self) -> impl ExactSizeIterator<Item = &TaskStatus> {
        self.pending.iter()
    }

    pub(crate) fn acknowledged(&self) -> Option<&TaskStatus> {
        self.acknowledged.as_ref()
    }
}
