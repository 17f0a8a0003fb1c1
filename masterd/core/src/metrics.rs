//! Counters of a master since it started, for `/metrics/snapshot`.
//!
//! Not gauges (the daemon counts what the accessors of `Master` show) and not the names (the daemon knows Mesos's).
//! Invariant: counters never fall.

use std::collections::BTreeMap;

use nesos_wire::operation::OperationState;
use nesos_wire::task::{Reason, Source, TaskState};

/// Counters.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs)] // Each name is the tail of Mesos's metric `master/<name>`.
pub struct Metrics {
    pub messages_register_framework: u64,
    pub messages_reregister_framework: u64,
    pub messages_unregister_framework: u64,
    pub messages_deactivate_framework: u64,
    pub messages_launch_tasks: u64,
    pub messages_decline_offers: u64,
    pub messages_revive_offers: u64,
    pub messages_suppress_offers: u64,
    pub messages_kill_task: u64,
    pub messages_reconcile_tasks: u64,
    pub messages_resource_request: u64,
    pub messages_framework_to_executor: u64,
    pub messages_executor_to_framework: u64,
    pub messages_exited_executor: u64,
    pub valid_framework_to_executor_messages: u64,
    pub invalid_framework_to_executor_messages: u64,
    pub valid_executor_to_framework_messages: u64,
    pub invalid_executor_to_framework_messages: u64,
    pub messages_register_slave: u64,
    pub messages_reregister_slave: u64,
    pub messages_unregister_slave: u64,
    pub messages_status_update: u64,
    pub messages_status_update_acknowledgement: u64,
    pub valid_status_updates: u64,
    pub invalid_status_updates: u64,
    pub valid_status_update_acknowledgements: u64,
    pub invalid_status_update_acknowledgements: u64,
    pub slave_registrations: u64,
    pub slave_reregistrations: u64,
    pub slave_removals: u64,
    pub slave_unreachable_scheduled: u64,
    pub slave_unreachable_completed: u64,
    pub slave_unreachable_canceled: u64,
    /// Of `slave_removals`: `slave_removals/reason_unhealthy`.
    pub removed_as_unreachable: u64,
    /// Of `slave_removals`: `slave_removals/reason_unregistered`.
    pub removed_by_goodbye: u64,
    pub tasks_launched: u64,
    pub offers_sent: u64,
    pub offers_rescinded: u64,
    pub inverse_offers_sent: u64,
    pub inverse_offers_rescinded: u64,
    pub allocation_runs: u64,
    pub messages_operation_status_update: u64,
    pub messages_operation_status_update_acknowledgement: u64,
    pub messages_reconcile_operations: u64,
    pub valid_operation_status_update_acknowledgements: u64,
    pub invalid_operation_status_update_acknowledgements: u64,
    /// Operations by the state they ended in: `master/operations/<state>`.
    pub operations: BTreeMap<u8, u64>,
    /// Terminal statuses by state, source and reason: `master/task_<state>/source_<source>/reason_<reason>`.
    pub terminal: BTreeMap<(TaskState, Source, Option<Reason>), u64>,
}

impl Metrics {
    /// How many tasks ended in `state` (`master/tasks_<state>`).
    pub fn ended(&self, state: TaskState) -> u64 {
        self.terminal
            .iter()
            .filter(|((s, _, _), _)| *s == state)
            .map(|(_, count)| count)
            .sum()
    }

    /// How many operations ended in `state`.
    pub fn ended_operations(&self, state: OperationState) -> u64 {
        self.operations.get(&(state as u8)).copied().unwrap_or(0)
    }

    pub(crate) fn count_operation(&mut self, state: OperationState) {
        *self.operations.entry(state as u8).or_default() += 1;
    }

    pub(crate) fn count_end(&mut self, state: TaskState, source: Source, reason: Option<Reason>) {
        *self.terminal.entry((state, source, reason)).or_default() += 1;
    }
}
