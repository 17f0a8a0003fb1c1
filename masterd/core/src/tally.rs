//! What each framework has said and heard since this master knows it: the counters behind `master/frameworks/*`.
//!
//! Not the names' beginnings (the daemon knows Mesos's). Called wherever a framework is heard, told or ended. Invariants:
//! counters never fall, and nothing is kept of a framework that has ended, nor of a principal without frameworks.

use std::collections::BTreeMap;

use nesos_wire::FrameworkId;
use nesos_wire::task::{Reason, Source, TaskState};

use crate::call::{Call, Operation};
use crate::master::Master;
use crate::operation::change::Change;
use crate::outgoing::FrameworkEvent;

/// Counters, each with a name of a fixed list.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts<const N: usize> {
    names: &'static [&'static str; N],
    values: [u64; N],
}

/// Scheduler calls, as Mesos names them in metrics.
static CALLS: [&str; 17] = [
    "subscribe",
    "teardown",
    "accept",
    "decline",
    "accept_inverse_offers",
    "decline_inverse_offers",
    "revive",
    "kill",
    "shutdown",
    "acknowledge",
    "acknowledge_operation_status",
    "reconcile",
    "reconcile_operations",
    "message",
    "request",
    "suppress",
    "update_framework",
];

static EVENTS: [&str; 11] = [
    "subscribed",
    "offers",
    "inverse_offers",
    "rescind",
    "rescind_inverse_offer",
    "update",
    "update_operation_status",
    "message",
    "failure",
    "error",
    "heartbeat",
];

static OPERATIONS: [&str; 9] = [
    "launch",
    "launch_group",
    "reserve",
    "unreserve",
    "create",
    "destroy",
    "grow_volume",
    "shrink_volume",
    // CREATE_DISK, DESTROY_DISK and what else there is no implementation of.
    "unknown",
];

static OFFERS: [&str; 4] = ["sent", "accepted", "declined", "rescinded"];

static ENDS: [&str; 8] = [
    "task_finished",
    "task_failed",
    "task_killed",
    "task_error",
    "task_lost",
    "task_dropped",
    "task_gone",
    "task_gone_by_operator",
];

/// The counters of one framework.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    /// Calls that were carried out.
    pub calls: Counts<17>,
    /// Events that were sent.
    pub events: Counts<11>,
    /// Operations of its ACCEPTs.
    pub operations: Counts<9>,
    /// What became of offers.
    pub offers: Counts<4>,
    /// Tasks that ended.
    pub ends: Counts<8>,
}

impl<const N: usize> Counts<N> {
    fn new(names: &'static [&'static str; N]) -> Self {
        Self {
            names,
            values: [0; N],
        }
    }

    fn add(&mut self, name: &str, count: u64) {
        let at = self.names.iter().position(|known| *known == name);
        if let Some(value) = at.and_then(|at| self.values.get_mut(at)) {
            *value += count;
        }
    }

    /// Names and counters.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.names.iter().copied().zip(self.values)
    }

    /// All together.
    pub fn sum(&self) -> u64 {
        self.values.iter().sum()
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            calls: Counts::new(&CALLS),
            events: Counts::new(&EVENTS),
            operations: Counts::new(&OPERATIONS),
            offers: Counts::new(&OFFERS),
            ends: Counts::new(&ENDS),
        }
    }
}

impl Master {
    /// A framework's counters; none if it has not been heard or told of yet.
    pub fn tally(&self, framework: &FrameworkId) -> Option<&Tally> {
        self.tallies.get(framework)
    }

    /// How many calls the frameworks of each principal have made, as long as there is one of it.
    pub fn calls_by_principal(&self) -> &BTreeMap<String, u64> {
        &self.calls_by_principal
    }

    /// A call is carried out.
    pub(crate) fn note_call(&mut self, framework: &FrameworkId, call: &'static str) {
        self.note(framework, |tally| tally.calls.add(call, 1));
        let known = self.frameworks.get(framework);
        if let Some(principal) = known.and_then(|known| known.facts.principal.as_ref()) {
            match self.calls_by_principal.get_mut(principal) {
                Some(calls) => *calls += 1,
                None => {
                    self.calls_by_principal.insert(principal.clone(), 1);
                }
            }
        }
    }

    /// Something is done with this many offers: one of [`OFFERS`].
    pub(crate) fn note_offers(&mut self, framework: &FrameworkId, what: &'static str, count: u64) {
        self.note(framework, |tally| tally.offers.add(what, count));
    }

    pub(crate) fn note_operations(&mut self, framework: &FrameworkId, operations: &[Operation]) {
        self.note(framework, |tally| {
            for operation in operations {
                tally.operations.add(operation.name(), 1);
            }
        });
    }

    pub(crate) fn note_event(&mut self, framework: &FrameworkId, event: &FrameworkEvent) {
        self.note(framework, |tally| tally.events.add(event.name(), 1));
    }

    /// A task has ended, in one of the states of [`ENDS`].
    pub(crate) fn note_end(
        &mut self,
        framework: &FrameworkId,
        state: TaskState,
        source: Source,
        reason: Option<Reason>,
    ) {
        self.metrics.count_end(state, source, reason);
        self.note(framework, |tally| tally.ends.add(end_name(state), 1));
    }

    /// A framework has ended.
    pub(crate) fn forget_tally(&mut self, framework: &FrameworkId) {
        self.tallies.remove(framework);
        let frameworks = &self.frameworks;
        self.calls_by_principal.retain(|principal, _| {
            let mut own = frameworks
                .values()
                .filter_map(|known| known.facts.principal.as_ref());
            own.any(|known| known == principal)
        });
    }

    fn note(&mut self, framework: &FrameworkId, change: impl FnOnce(&mut Tally)) {
        if let Some(tally) = self.tallies.get_mut(framework) {
            change(tally);
        } else if self.frameworks.contains_key(framework) {
            let mut tally = Tally::default();
            change(&mut tally);
            self.tallies.insert(framework.clone(), tally);
        }
    }
}

impl Call {
    /// One of [`CALLS`].
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Accept { .. } => "accept",
            Self::Decline { .. } => "decline",
            Self::AnswerInverseOffers { accepts: true, .. } => "accept_inverse_offers",
            Self::AnswerInverseOffers { .. } => "decline_inverse_offers",
            Self::Revive { .. } => "revive",
            Self::Suppress { .. } => "suppress",
            Self::Acknowledge { .. } => "acknowledge",
            Self::Kill { .. } => "kill",
            Self::Reconcile { .. } => "reconcile",
            Self::AcknowledgeOperation { .. } => "acknowledge_operation_status",
            Self::ReconcileOperations(_) => "reconcile_operations",
            Self::Request => "request",
            Self::UpdateFramework(_) => "update_framework",
            Self::Teardown => "teardown",
            Self::Message { .. } => "message",
            Self::ShutDownExecutor { .. } => "shutdown",
        }
    }
}

impl Operation {
    /// One of [`OPERATIONS`].
    fn name(&self) -> &'static str {
        match self {
            Self::Launch(_) => "launch",
            Self::LaunchGroup { .. } => "launch_group",
            Self::Convert(request) => match request.change {
                Change::Reserve { .. } => "reserve",
                Change::Unreserve(_) => "unreserve",
                Change::Create(_) => "create",
                Change::Destroy(_) => "destroy",
                Change::Grow { .. } => "grow_volume",
                Change::Shrink { .. } => "shrink_volume",
            },
            Self::Unsupported { .. } => "unknown",
        }
    }
}

impl FrameworkEvent {
    /// One of [`EVENTS`].
    fn name(&self) -> &'static str {
        match self {
            Self::Subscribed { .. } => "subscribed",
            Self::Heartbeat => "heartbeat",
            Self::Offers(_) => "offers",
            Self::InverseOffers(_) => "inverse_offers",
            Self::RescindInverseOffer(_) => "rescind_inverse_offer",
            Self::Rescind(_) => "rescind",
            Self::Update { .. } => "update",
            Self::Operation(_) => "update_operation_status",
            Self::Message { .. } => "message",
            Self::Failure { .. } => "failure",
            Self::Error(_) => "error",
        }
    }
}

/// One of [`ENDS`]; nothing else ends a task.
fn end_name(state: TaskState) -> &'static str {
    match state {
        TaskState::Finished => "task_finished",
        TaskState::Failed => "task_failed",
        TaskState::Killed => "task_killed",
        TaskState::Error => "task_error",
        TaskState::Lost => "task_lost",
        TaskState::Dropped => "task_dropped",
        TaskState::Gone => "task_gone",
        TaskState::GoneByOperator => "task_gone_by_operator",
        _ => "",
    }
}
