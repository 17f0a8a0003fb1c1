//! Task states, statuses and whole tasks from the wire's and the core's form to the public one.
//!
//! Called for UPDATE events and by everything that shows state.

use nesos_api::{tasks, v1};

pub(crate) use nesos_api::tasks::{state, status};

/// A task as the operator API shows it.
pub(crate) fn task(task: &masterd_core::Task) -> v1::Task {
    v1::Task {
        status_update_state: Some(state(task.state)),
        ..tasks::task(&task.open(), &task.agent, task.latest, &task.statuses())
    }
}
