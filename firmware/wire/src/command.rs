//! What is replicated: the commands whose ordered application makes the registry.
//!
//! A command is proposed by the leading master's core, made durable, then applied. Applying reads nothing but the
//! registry and the command, so every master reaches the same registry. Append-only; old bytes decode for ever.

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};

use arcstr::ArcStr;
use serde::{Deserialize, Serialize};

use crate::builtin::{InstanceRecord, JobRecord, ServiceRecord};
use crate::id::{AgentId, FrameworkId, NodeId, TaskId};
use crate::maintenance::{MachineId, Window};
use crate::masters::MasterRecord;
use crate::resource::Scalar;
use crate::version::{FIRST, Version};

/// One change of the registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// A master process starts to lead: its start count prefixes task attempts.
    MasterStarted {
        /// One more than the last one's.
        start: u32,
    },
    /// A node is admitted, or an admitted one came with other facts.
    AdmitAgent(Arc<AgentRecord>),
    /// The agent stopped answering.
    MarkUnreachable {
        /// Which.
        agent: AgentId,
        /// Since when, seconds since 1970.
        since: f64,
    },
    /// The agent is back.
    MarkReachable {
        /// Which.
        agent: AgentId,
    },
    /// The agent said goodbye or was removed by an operator.
    RemoveAgent {
        /// Which.
        agent: AgentId,
    },
    /// A framework subscribed for the first time or with other facts.
    PutFramework(FrameworkRecord),
    /// A framework ended.
    RemoveFramework {
        /// Which.
        framework: FrameworkId,
    },
    /// An operator decided how the agent is to be kept.
    SetUpkeep {
        /// Which.
        agent: AgentId,
        /// From now on.
        upkeep: Upkeep,
    },
    /// An operator says that the agent will never come back: it is forgotten, its id is refused.
    MarkGone {
        /// Which.
        agent: AgentId,
        /// Since when, seconds since 1970.
        since: f64,
    },
    /// An operator set the quota of these roles, all at once.
    SetQuotas(Vec<QuotaRecord>),
    /// An operator set the weights of these roles, all at once.
    SetWeights(Vec<WeightRecord>),
    /// An operator replaced the maintenance schedule.
    SetSchedule {
        /// The whole of it.
        windows: Vec<Window>,
    },
    /// An operator takes scheduled machines down.
    StartMaintenance {
        /// Which.
        machines: Vec<MachineId>,
    },
    /// An operator is done with these machines: they are up and no longer scheduled.
    StopMaintenance {
        /// Which.
        machines: Vec<MachineId>,
    },
    /// A master is to take part, or comes with another name or address.
    PutMaster(MasterRecord),
    /// A master takes part no more.
    RemoveMaster {
        /// Its number.
        number: u64,
    },
    /// A service is to be kept, or its deployment is over.
    PutService(ServiceRecord),
    /// A service is to be kept no more.
    RemoveService {
        /// Its path.
        id: String,
    },
    /// A built-in scheduler starts a task.
    PutInstance(InstanceRecord),
    /// A built-in scheduler's task has ended.
    RemoveInstance {
        /// Which.
        task: TaskId,
    },
    /// A job is new, changed, or has got on.
    PutJob(JobRecord),
    /// A job is to be kept no more.
    RemoveJob {
        /// Its name.
        name: String,
    },
    /// A master speaks another wire version than was known of it, later or earlier.
    PutMasterVersion {
        /// Its number.
        number: u64,
        /// The newest that it speaks.
        version: Version,
    },
}

impl Command {
    /// The first wire version whose masters can read it. None is proposed that a member of the group cannot read, so whoever
    /// adds one says here since when there is one. All of these came before version 1 was released.
    pub fn since(&self) -> Version {
        match self {
            Self::MasterStarted { .. }
            | Self::AdmitAgent(_)
            | Self::MarkUnreachable { .. }
            | Self::MarkReachable { .. }
            | Self::RemoveAgent { .. }
            | Self::PutFramework(_)
            | Self::RemoveFramework { .. }
            | Self::SetUpkeep { .. }
            | Self::MarkGone { .. }
            | Self::SetQuotas(_)
            | Self::SetWeights(_)
            | Self::SetSchedule { .. }
            | Self::StartMaintenance { .. }
            | Self::StopMaintenance { .. }
            | Self::PutMaster(_)
            | Self::RemoveMaster { .. }
            | Self::PutService(_)
            | Self::RemoveService { .. }
            | Self::PutInstance(_)
            | Self::RemoveInstance { .. }
            | Self::PutJob(_)
            | Self::RemoveJob { .. }
            | Self::PutMasterVersion { .. } => FIRST,
        }
    }
}

/// The quota of a top-level role. One without any amount above zero and without limits is none: it is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QuotaRecord {
    /// Whose.
    pub role: String,
    /// Amounts held back for the role until it has them.
    pub guarantees: BTreeMap<String, Scalar>,
    /// Amounts that the role never exceeds.
    pub limits: BTreeMap<String, Scalar>,
}

impl QuotaRecord {
    /// Whether it says nothing.
    pub fn is_default(&self) -> bool {
        self.limits.is_empty() && self.guarantees.values().all(|amount| amount.0 <= 0)
    }
}

/// How much a role counts next to its siblings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightRecord {
    /// Whose; its full path.
    pub role: String,
    /// Above zero; a role without a weight has 1.
    pub weight: f64,
}

/// An admitted agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// Its id for ever.
    pub agent: AgentId,
    /// The board.
    pub node: NodeId,
    /// Its name.
    pub hostname: ArcStr,
    /// Address of its HTTP server.
    pub ip: ArcStr,
    /// Port of its HTTP server.
    pub port: u16,
    /// Unreachable since, seconds since 1970.
    pub unreachable_since: Option<f64>,
    /// What operators decided about it.
    pub upkeep: Upkeep,
}

/// What operators decided about an agent.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Upkeep {
    /// Nothing is offered from it.
    pub deactivated: bool,
    /// It is being emptied, or was.
    pub drain: Option<Drain>,
}

/// The emptying of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drain {
    /// Nothing runs there any more.
    pub is_drained: bool,
    /// Its tasks' grace periods are cut to this, nanoseconds.
    pub max_grace_ns: Option<u64>,
    /// Once it is empty it is gone for ever.
    pub mark_gone: bool,
    /// Since when, seconds since 1970.
    pub since: f64,
}

impl Upkeep {
    /// Whether tasks are being killed there.
    pub fn is_draining(&self) -> bool {
        self.drain.is_some_and(|drain| !drain.is_drained)
    }

    /// Whether that is over.
    pub fn is_drained(&self) -> bool {
        self.drain.is_some_and(|drain| drain.is_drained)
    }
}

/// A registered framework.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrameworkRecord {
    /// Its id.
    pub framework: FrameworkId,
    /// Protobuf of the public `FrameworkInfo`, for whoever shows it.
    #[serde(with = "serde_bytes")]
    pub info: Vec<u8>,
    /// What the core goes by.
    pub facts: FrameworkFacts,
}

/// The part of `FrameworkInfo` that the master's core acts on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrameworkFacts {
    /// Display name.
    pub name: String,
    /// User its tasks run as.
    pub user: String,
    /// Roles it subscribes to; exactly one without MULTI_ROLE.
    pub roles: Vec<String>,
    /// Its authenticated or claimed principal.
    pub principal: Option<String>,
    /// How long it may be away before its tasks are killed, seconds.
    pub failover_timeout: f64,
    /// Its tasks survive the loss of an agent's link.
    pub checkpoint: bool,
    /// Names of its capabilities, e.g. `PARTITION_AWARE`, sorted.
    pub capabilities: Vec<String>,
}

impl FrameworkFacts {
    /// Whether the framework declared this capability.
    pub fn is_capable(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|have| have == capability)
    }
}
