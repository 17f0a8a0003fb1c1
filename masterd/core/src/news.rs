//! What happened to tasks, agents and frameworks, for operators who watch.
//!
//! Names only: whoever shows a piece of news looks the rest up in the `Master`, which may know even newer things by then.
//! Called by the modules that change the state. Invariant: nothing is noted while nobody watches.

use nesos_wire::task::TaskStatus;
use nesos_wire::{AgentId, FrameworkId, TaskKey};

use crate::master::Master;

/// A change that operators can watch.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// A task was launched, or came with its agent.
    TaskAdded(TaskKey),
    /// A task went to another state.
    TaskUpdated {
        /// Which.
        key: TaskKey,
        /// The status that says so, without `data`.
        status: TaskStatus,
    },
    /// An agent registered, or came back after it was unreachable.
    AgentAdded(AgentId),
    /// An agent said goodbye, or became unreachable.
    AgentRemoved(AgentId),
    /// A framework this master did not know.
    FrameworkAdded(FrameworkId),
    /// A framework subscribed anew.
    FrameworkUpdated(FrameworkId),
    /// A framework has ended; it is among the completed ones.
    FrameworkRemoved(FrameworkId),
}

impl Master {
    /// From now on changes are noted in [`Ready::news`](crate::Ready::news), or no longer.
    pub fn watch(&mut self, is_watched: bool) {
        self.is_watched = is_watched;
    }

    pub(crate) fn tell(&mut self, news: impl FnOnce() -> News) {
        if self.is_watched {
            self.out.news.push(news());
        }
    }

    pub(crate) fn tell_update(&mut self, key: &TaskKey, status: &TaskStatus) {
        self.tell(|| News::TaskUpdated {
            key: key.clone(),
            status: TaskStatus {
                data: Vec::new(),
                ..status.clone()
            },
        });
    }
}
