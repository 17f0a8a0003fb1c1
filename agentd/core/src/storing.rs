//! When the disk refuses a checkpoint: what fails, what waits, and what goes on.
//!
//! Called by `agent`. Invariants: a status is never sent before its record is on disk; a launch whose record cannot be
//! written fails with a sentence; kills, pings and files do not depend on the disk.

use nesos_wire::message::AgentToMaster;

use crate::agent::{Agent, Blocked};
use crate::checkpoint::Record;
use crate::event::{Level, Ready, STORE_RETRY};

impl Agent {
    /// Nothing of `ready` was done. Launches in it fail; the rest is offered again, statuses only after their records.
    pub(crate) fn not_stored(&mut self, ready: Ready, reason: String) {
        let newer = std::mem::take(&mut self.out);
        self.note(
            Level::Warn,
            format!("the checkpoint cannot be written: {reason}"),
        );
        let retry_at = self.moment.now + STORE_RETRY;
        self.store_blocked = Some(Blocked {
            retry_at,
            reason: reason.clone(),
        });
        for (mut part, is_returned) in [(ready, true), (newer, false)] {
            part.send.retain(|message| !self.unsend(message));
            // A link may have come and gone since the returned part was made.
            if !is_returned || self.link.is_connected() {
                self.out.send.append(&mut part.send);
            }
            self.out.persist.append(&mut part.persist);
            self.out.actions.append(&mut part.actions);
            self.out.notes.append(&mut part.notes);
        }
        let launched = self.out.persist.iter().filter_map(|record| match record {
            Record::Launched { spec, .. } | Record::Given { spec, .. } => Some(spec.key.clone()),
            _ => None,
        });
        let launched: Vec<_> = launched.collect();
        let executors = self.out.persist.iter().filter_map(|record| match record {
            Record::ExecutorLaunched { executor, .. } => Some(executor.key.clone()),
            _ => None,
        });
        let executors: Vec<_> = executors.collect();
        for key in launched {
            self.fail_unstored(&key, &reason);
        }
        for key in executors {
            self.fail_unstored_executor(&key, &reason);
        }
    }

    /// Takes back an update of a stored task; whether `message` was one.
    fn unsend(&mut self, message: &AgentToMaster) -> bool {
        let update = match message {
            AgentToMaster::Update(update) => update,
            AgentToMaster::OperationUpdate(report) => {
                return self.operations.unsend(&report.spec.uuid);
            }
            _ => return false,
        };
        match self.tasks.get_mut(&update.key) {
            Some(task) if task.is_stored => {
                task.stream.pause();
                true
            }
            Some(_) => false,
            // Forgotten in the same `Ready` (a shutdown): what is not on disk must not have been said.
            None => update.status.uuid.is_some(),
        }
    }

    pub(crate) fn is_store_resting(&self) -> bool {
        self.store_blocked
            .as_ref()
            .is_some_and(|blocked| self.moment.now < blocked.retry_at)
    }
}
