//! Operators' orders that change more than one task or framework, and who carries each out.
//!
//! Not the HTTP calls: the daemon has parsed them. Called by `Master::step`. Invariant: each order gets one answer, and
//! what it changes for longer than this process lives is proposed before that.

use nesos_wire::AgentId;
use nesos_wire::command::{QuotaRecord, WeightRecord};
use nesos_wire::maintenance::{MachineId, Window};

use crate::event::RequestId;
use crate::master::Master;
use crate::operation::change::Change;

/// What an operator wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Kill all tasks of an agent and offer nothing from it.
    Drain {
        /// Which.
        agent: AgentId,
        /// No task gets a longer grace period, nanoseconds.
        max_grace_ns: Option<u64>,
        /// Once it is empty, give it up for ever.
        mark_gone: bool,
    },
    /// Offer nothing from an agent; its tasks run on.
    Deactivate(AgentId),
    /// Offer from it again.
    Reactivate(AgentId),
    /// Give an agent up for ever.
    MarkGone(AgentId),
    /// Set the quota of roles, all at once; an empty one takes it away. `bool`: even if it cannot be kept now.
    UpdateQuota(Vec<QuotaRecord>, bool),
    /// As the one before, for a role that has none: Mesos's older call, with an answer of its own if it cannot be kept.
    SetQuota(QuotaRecord, bool),
    /// Take the quota of a role away that has one.
    RemoveQuota(String),
    /// Set the weights of roles, all at once.
    UpdateWeights(Vec<WeightRecord>),
    /// Reserve resources, make volumes and so on.
    Change(Box<ChangeOrder>),
    /// Replace the maintenance schedule.
    SetSchedule(Vec<Window>),
    /// Take scheduled machines down.
    StartMaintenance(Vec<MachineId>),
    /// Bring machines up that are down, and take them out of the schedule.
    StopMaintenance(Vec<MachineId>),
}

/// An operator's operation on free resources of an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeOrder {
    /// Whose resources.
    pub agent: AgentId,
    /// Who asks, if that is known.
    pub principal: Option<String>,
    /// What.
    pub change: Change,
    /// Protobuf of the public `Offer.Operation`, for whoever shows it.
    pub info: Vec<u8>,
}

impl Master {
    pub(crate) fn order(&mut self, request: RequestId, order: Order) {
        let answer = match order {
            Order::Drain {
                agent,
                max_grace_ns,
                mark_gone,
            } => self.drain(&agent, max_grace_ns, mark_gone),
            Order::Deactivate(agent) => self.deactivate(&agent),
            Order::Reactivate(agent) => self.reactivate(&agent),
            Order::MarkGone(agent) => self.give_up(&agent),
            Order::UpdateQuota(quotas, force) => self.update_quota(quotas, force),
            Order::SetQuota(quota, force) => self.set_quota(quota, force),
            Order::RemoveQuota(role) => self.remove_quota(role),
            Order::UpdateWeights(weights) => self.update_weights(weights),
            Order::Change(change) => self.change(*change),
            Order::SetSchedule(windows) => self.set_schedule(windows),
            Order::StartMaintenance(machines) => self.start_maintenance(machines),
            Order::StopMaintenance(machines) => self.stop_maintenance(machines),
        };
        self.answer(request, answer);
    }
}
