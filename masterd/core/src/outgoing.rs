//! What a framework is told: the events of its stream, before they become JSON or protobuf.
//!
//! Made by the core, encoded by the daemon. Nothing here is retried by the master: updates with a uuid are retried by
//! the agent until acknowledged.

use std::sync::Arc;

use arcstr::ArcStr;
use nesos_wire::domain::Domain;
use nesos_wire::maintenance::Unavailability;
use nesos_wire::operation::OperationStatus;
use nesos_wire::resource::Resources;
use nesos_wire::task::{Attribute, TaskStatus};
use nesos_wire::{AgentId, ExecutorId, FrameworkId, OfferId, TaskKey};

use crate::allocator::{Handle, Holder};

/// Seconds between heartbeats on a stream (Mesos's fixed value).
pub const HEARTBEAT_SECONDS: u64 = 15;

/// One event of a framework's stream.
#[derive(Debug, Clone, PartialEq)]
pub enum FrameworkEvent {
    /// First event of an accepted subscription; the daemon adds `master_info`.
    Subscribed {
        /// The framework's id, new or confirmed.
        framework: FrameworkId,
        /// Seconds between heartbeats.
        heartbeat_interval_seconds: f64,
    },
    /// The stream lives.
    Heartbeat,
    /// New offers.
    Offers(Vec<Offer>),
    /// Agents that will be maintained: please leave.
    InverseOffers(Vec<InverseOffer>),
    /// An inverse offer is no longer valid.
    RescindInverseOffer(OfferId),
    /// An offer is no longer valid.
    Rescind(OfferId),
    /// News of a task; `status.uuid` present: to be acknowledged.
    Update {
        /// Which.
        key: TaskKey,
        /// Its status.
        status: TaskStatus,
    },
    /// News of an operation that the framework gave an id; `status.uuid` present: to be acknowledged.
    Operation(OperationUpdate),
    /// From an executor.
    Message {
        /// Where it runs.
        agent: AgentId,
        /// Which.
        executor: ExecutorId,
        /// Content, unopened.
        data: Vec<u8>,
    },
    /// An agent was lost, or an executor on it has ended.
    Failure {
        /// Which.
        agent: AgentId,
        /// The executor, if it was that.
        executor: Option<EndedExecutor>,
    },
    /// The subscription is over; the stream is closed after this.
    Error(String),
}

/// An executor that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedExecutor {
    /// Which.
    pub executor: ExecutorId,
    /// As `waitpid` gives it; -1 if it is not known.
    pub status: i32,
}

/// What a framework is told of one of its operations.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationUpdate {
    /// The framework's name for it.
    pub id: String,
    /// Where.
    pub agent: Option<AgentId>,
    /// What became of it.
    pub status: OperationStatus,
    /// What it made; empty unless it has finished.
    pub converted: Resources,
}

/// One offer: everything free on one agent, for one role of one framework.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// `<master>-O<n>`.
    pub id: OfferId,
    /// To whom.
    pub framework: FrameworkId,
    /// For which of its roles.
    pub role: String,
    /// Where the allocator keeps the books of it.
    pub handle: Handle,
    /// Where.
    pub agent: AgentId,
    /// The agent's host name.
    pub hostname: ArcStr,
    /// The agent's HTTP address.
    pub ip: ArcStr,
    /// The agent's HTTP port.
    pub port: u16,
    /// What.
    pub resources: Resources,
    /// The agent's properties.
    pub attributes: Arc<[Attribute]>,
    /// Where the agent stands.
    pub domain: Option<Domain>,
    /// The framework's executors on this agent.
    pub executors: Vec<ExecutorId>,
    /// When the agent will not be there, if its machine is scheduled for maintenance.
    pub unavailability: Option<Unavailability>,
    /// The framework has MULTI_ROLE: `allocation_info` is shown. Otherwise it is stripped.
    pub multi_role: bool,
}

impl Offer {
    /// Whose its resources are in the allocator's books.
    pub(crate) fn holder(&self) -> Holder<'_> {
        Holder {
            framework: &self.framework,
            role: &self.role,
            agent: &self.agent,
            handle: self.handle,
        }
    }
}

/// One inverse offer: the framework is asked to do without all that it has on one agent for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct InverseOffer {
    /// `<master>-O<n>`, numbered together with offers.
    pub id: OfferId,
    /// To whom.
    pub framework: FrameworkId,
    /// Where.
    pub agent: AgentId,
    /// The agent's host name.
    pub hostname: ArcStr,
    /// The agent's HTTP address.
    pub ip: ArcStr,
    /// The agent's HTTP port.
    pub port: u16,
    /// When the agent will not be there.
    pub unavailability: Unavailability,
}
