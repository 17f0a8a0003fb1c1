//! The agent's `/state`, `/containers` and `/monitor/statistics`.
//!
//! See the module above. Called by agentd. Invariant: times are seconds since 1970 as floating point numbers.

use super::{Attributes, Resources, Task};
use crate::v1;
use serde::Serialize;
use std::collections::BTreeMap;

/// Answer of the agent's `/state`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AgentState {
    /// Numbers and dots only: clients parse it.
    pub version: String,
    /// When the binary was built, as text.
    pub build_date: String,
    /// When the binary was built.
    pub build_time: f64,
    /// Who built it.
    pub build_user: String,
    /// When this agent started.
    pub start_time: f64,
    /// Agent id, "" before the first registration.
    pub id: String,
    /// `slave(1)@ip:port`
    pub pid: String,
    /// Host name.
    pub hostname: String,
    /// Names, such as `MULTI_ROLE`.
    pub capabilities: Vec<&'static str>,
    /// All it has.
    pub resources: Resources,
    /// Reservations by role.
    pub reserved_resources: BTreeMap<String, Resources>,
    /// What is not reserved.
    pub unreserved_resources: Resources,
    /// Reservations by role, with every detail.
    pub reserved_resources_full: BTreeMap<String, Vec<v1::Resource>>,
    /// What is not reserved, with every detail.
    pub unreserved_resources_full: Vec<v1::Resource>,
    /// What of the reservations is in use.
    pub reserved_resources_allocated: BTreeMap<String, Resources>,
    /// What of the unreserved resources is in use.
    pub unreserved_resources_allocated: Resources,
    /// Always empty.
    pub resource_providers: [(); 0],
    /// Attributes.
    pub attributes: Attributes,
    /// Region and zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<v1::DomainInfo>,
    /// The master's host, if the agent is registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master_hostname: Option<String>,
    /// Flags by name, as text.
    pub flags: BTreeMap<String, String>,
    /// Frameworks that have tasks here.
    pub frameworks: Vec<AgentFramework>,
    /// Frameworks that had.
    pub completed_frameworks: Vec<AgentFramework>,
}

/// A framework, as far as an agent knows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AgentFramework {
    /// Framework id.
    pub id: String,
    /// Name.
    pub name: String,
    /// User of its tasks.
    pub user: String,
    /// Seconds.
    pub failover_timeout: f64,
    /// Whether its tasks outlive an agent's restart.
    pub checkpoint: bool,
    /// Host name of the scheduler, "" if unset.
    pub hostname: String,
    /// Principal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Its role, of frameworks without MULTI_ROLE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Its roles, of frameworks with MULTI_ROLE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Executors that run, or whose last updates are not acknowledged.
    pub executors: Vec<AgentExecutor>,
    /// Executors that are over.
    pub completed_executors: Vec<AgentExecutor>,
}

/// An executor on its agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AgentExecutor {
    /// Executor id.
    pub id: String,
    /// Name, "" if unset.
    pub name: String,
    /// Its task's id for a command task.
    pub source: String,
    /// Container id.
    pub container: String,
    /// Absolute path of its sandbox.
    pub directory: String,
    /// What it and its tasks hold.
    pub resources: Resources,
    /// The role its resources are allocated to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// `DEFAULT` or `CUSTOM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<v1::ExecutorInfoType>,
    /// Labels: an array here, not an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<v1::Label>>,
    /// Tasks that it has been given and that have not ended.
    pub tasks: Vec<Task>,
    /// Tasks that wait for it.
    pub queued_tasks: Vec<Task>,
    /// Tasks that have ended.
    pub completed_tasks: Vec<Task>,
}

/// One element of `/monitor/statistics`, and with its last two fields of `/containers`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Container {
    /// Framework id.
    pub framework_id: String,
    /// Executor id.
    pub executor_id: String,
    /// Executor's name.
    pub executor_name: String,
    /// Executor's source.
    pub source: String,
    /// What it uses; left out where it is not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statistics: Option<crate::operator::statistics::ResourceStatistics>,
    /// Container id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// Process and addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<v1::ContainerStatus>,
}

impl From<&v1::FrameworkInfo> for AgentFramework {
    /// What a master shows of it, as far as an agent shows it.
    fn from(info: &v1::FrameworkInfo) -> Self {
        let shown = super::Framework::from(info);
        Self {
            id: shown.id,
            name: shown.name,
            user: shown.user,
            failover_timeout: shown.failover_timeout,
            checkpoint: shown.checkpoint,
            hostname: shown.hostname,
            principal: shown.principal,
            role: shown.role,
            roles: shown.roles,
            ..Self::default()
        }
    }
}
