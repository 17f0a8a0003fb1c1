//! The master's `/state` and the endpoints that show parts of it: masters, agents, frameworks, roles.
//!
//! See the module above. Called by masterd. Invariant: times are seconds since 1970 as floating point numbers.

use super::{Attributes, Executor, Offer, Resources};
use crate::scheduler::OfferConstraints;
use crate::v1;
use serde::Serialize;
use std::collections::BTreeMap;

/// Answer of the master's `/state`, without the lists that grow with the cluster: `slaves`, `recovered_slaves`,
/// `frameworks` and `completed_frameworks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct State {
    /// Numbers and dots only: clients parse it.
    pub version: String,
    /// Commit the binary was built from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_sha: Option<String>,
    /// When the binary was built, as text.
    pub build_date: String,
    /// When the binary was built.
    pub build_time: f64,
    /// Who built it.
    pub build_user: String,
    /// When this master started.
    pub start_time: f64,
    /// When this master was elected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elected_time: Option<f64>,
    /// Master id.
    pub id: String,
    /// `master@ip:port`
    pub pid: String,
    /// Host name.
    pub hostname: String,
    /// Names, such as `AGENT_UPDATE`.
    pub capabilities: Vec<&'static str>,
    /// How many agents are active.
    pub activated_slaves: u64,
    /// How many agents are not.
    pub deactivated_slaves: u64,
    /// How many agents are unreachable.
    pub unreachable_slaves: u64,
    /// Region and zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<v1::DomainInfo>,
    /// `master@ip:port` of the leader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// The leader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader_info: Option<LeaderInfo>,
    /// Name of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Where logs are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_dir: Option<String>,
    /// Flags by name, as text.
    pub flags: BTreeMap<String, String>,
    /// Always empty.
    pub orphan_tasks: [(); 0],
    /// Always empty.
    pub unregistered_frameworks: [(); 0],
}

/// The leading master.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LeaderInfo {
    /// Master id.
    pub id: String,
    /// `master@ip:port`
    pub pid: String,
    /// Port of the HTTP API.
    pub port: u16,
    /// Host name.
    pub hostname: String,
    /// Region and zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<v1::DomainInfo>,
}

/// A registered agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Slave {
    /// Agent id.
    pub id: String,
    /// Host name.
    pub hostname: String,
    /// Port of the agent's HTTP.
    pub port: u16,
    /// Attributes.
    pub attributes: Attributes,
    /// Region and zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<v1::DomainInfo>,
    /// `slave(1)@ip:port`
    pub pid: String,
    /// When it registered.
    pub registered_time: f64,
    /// When it last came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reregistered_time: Option<f64>,
    /// All it has.
    pub resources: Resources,
    /// What tasks and executors hold.
    pub used_resources: Resources,
    /// What is offered now.
    pub offered_resources: Resources,
    /// Reservations by role.
    pub reserved_resources: BTreeMap<String, Resources>,
    /// What is not reserved.
    pub unreserved_resources: Resources,
    /// Whether it gets offers.
    pub active: bool,
    /// Whether an operator deactivated it.
    pub deactivated: bool,
    /// Version of the agent.
    pub version: String,
    /// Names, such as `MULTI_ROLE`.
    pub capabilities: Vec<&'static str>,
    /// Draining, if under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_info: Option<v1::DrainInfo>,
    /// When draining began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_drain_start_time_seconds: Option<f64>,
}

/// An agent as `/slaves` shows it: with every detail of its resources.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FullSlave {
    /// What `/state` shows.
    #[serde(flatten)]
    pub slave: Slave,
    /// Reservations by role.
    pub reserved_resources_full: BTreeMap<String, Vec<v1::Resource>>,
    /// What is not reserved.
    pub unreserved_resources_full: Vec<v1::Resource>,
    /// What tasks and executors hold.
    pub used_resources_full: Vec<v1::Resource>,
    /// What is offered now.
    pub offered_resources_full: Vec<v1::Resource>,
}

/// An agent that the master knows but has not seen since it started.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RecoveredSlave {
    /// Agent id.
    pub id: String,
    /// Host name.
    pub hostname: String,
    /// Port of the agent's HTTP.
    pub port: u16,
    /// Attributes.
    pub attributes: Attributes,
    /// Region and zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<v1::DomainInfo>,
}

/// Answer of `/slaves`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Slaves {
    /// Registered agents.
    pub slaves: Vec<FullSlave>,
    /// Agents that have not come back since the master started.
    pub recovered_slaves: Vec<RecoveredSlave>,
    /// Agents that stopped answering. Nesos's own key: Mesos only counts them.
    pub unreachable_slaves: Vec<RecoveredSlave>,
}

/// A framework, without its lists of tasks: `tasks`, `unreachable_tasks` and `completed_tasks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Framework {
    /// Framework id.
    pub id: String,
    /// Name.
    pub name: String,
    /// What its tasks and executors hold.
    pub used_resources: Resources,
    /// What is offered to it.
    pub offered_resources: Resources,
    /// Names, such as `PARTITION_AWARE`; see [`super::capability_names`].
    pub capabilities: Vec<&'static str>,
    /// Host name of the scheduler, "" if unset.
    pub hostname: String,
    /// Page of the scheduler, "" if unset.
    pub webui_url: String,
    /// Whether it gets offers.
    pub active: bool,
    /// Whether its stream is open.
    pub connected: bool,
    /// Whether it is known from agents only.
    pub recovered: bool,
    /// User of its tasks.
    pub user: String,
    /// Seconds that it may be away.
    pub failover_timeout: f64,
    /// Whether its tasks outlive the agent's restart.
    pub checkpoint: bool,
    /// When it subscribed first.
    pub registered_time: f64,
    /// When it ended, 0 if it has not.
    pub unregistered_time: f64,
    /// Principal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Used and offered together.
    pub resources: Resources,
    /// When it last subscribed, if not once only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reregistered_time: Option<f64>,
    /// Its role, without `MULTI_ROLE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Its roles, with `MULTI_ROLE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Outstanding offers.
    pub offers: Vec<Offer>,
    /// Executors.
    pub executors: Vec<Executor>,
    /// Labels: an array here, not an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<v1::Label>>,
    /// Constraints that filter its offers.
    pub offer_constraints: OfferConstraints,
}

impl From<&v1::FrameworkInfo> for Framework {
    /// Fills in what the framework said of itself; the rest is the caller's.
    fn from(info: &v1::FrameworkInfo) -> Self {
        let multi_role = info.has_capability(v1::FrameworkInfoCapabilityType::MultiRole);
        Self {
            id: info
                .id
                .as_ref()
                .map(|id| id.value.clone())
                .unwrap_or_default(),
            name: info.name.clone(),
            capabilities: super::capability_names(info),
            hostname: info.hostname.clone().unwrap_or_default(),
            webui_url: info.webui_url.clone().unwrap_or_default(),
            user: info.user.clone(),
            failover_timeout: info.failover_timeout(),
            checkpoint: info.checkpoint(),
            principal: info.principal.clone(),
            role: (!multi_role).then(|| info.role.clone().unwrap_or_else(|| "*".to_owned())),
            roles: multi_role.then(|| info.roles.clone()),
            labels: info.labels.as_ref().map(|labels| labels.labels.clone()),
            ..Self::default()
        }
    }
}

/// Answer of `/frameworks`, without `frameworks` and `completed_frameworks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Frameworks {
    /// Always empty.
    pub unregistered_frameworks: [(); 0],
}

/// Answer of `/roles`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Roles {
    /// The roles known.
    pub roles: Vec<Role>,
}

/// A role.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Role {
    /// Name.
    pub name: String,
    /// Weight, 1 unless set.
    pub weight: f64,
    /// Quota; all maps empty if none.
    pub quota: RoleQuota,
    /// Allocated and offered together.
    pub resources: BTreeMap<String, f64>,
    /// What tasks and executors of the role hold.
    pub allocated: BTreeMap<String, f64>,
    /// What is offered to frameworks of the role.
    pub offered: BTreeMap<String, f64>,
    /// What is reserved for the role.
    pub reserved: BTreeMap<String, f64>,
    /// Ids of its frameworks.
    pub frameworks: Vec<String>,
}

/// A role's quota.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RoleQuota {
    /// Name of the role.
    pub role: String,
    /// Guaranteed amounts.
    pub guarantee: BTreeMap<String, f64>,
    /// Limits.
    pub limit: BTreeMap<String, f64>,
    /// What counts against it.
    pub consumed: BTreeMap<String, f64>,
}

/// Answer of `/version`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Version {
    /// When the binary was built, as text.
    pub build_date: String,
    /// When the binary was built, in seconds since 1970.
    pub build_time: f64,
    /// Who built it.
    pub build_user: String,
    /// Commit the binary was built from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_sha: Option<String>,
    /// Numbers and dots only: clients parse it.
    pub version: String,
}

/// Answer of `/flags`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Flags {
    /// Flags by name, as text.
    pub flags: BTreeMap<String, String>,
}
