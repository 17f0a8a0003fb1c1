//! Tasks, their statuses, executors and offers as the legacy endpoints show them.
//!
//! See the module above. Called by masterd and agentd. Invariant: `executor_id` is "" for a command task.

use super::Resources;
use crate::v1;
use serde::Serialize;
use std::collections::BTreeMap;

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Task {
    /// Task id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Framework id.
    pub framework_id: String,
    /// Executor id, "" for a command task.
    pub executor_id: String,
    /// Agent id.
    pub slave_id: String,
    /// `TASK_...`
    pub state: v1::TaskState,
    /// What it holds.
    pub resources: Resources,
    /// Limits by resource, if any was asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, f64>,
    /// The role its resources are allocated to.
    pub role: String,
    /// Updates so far, oldest first.
    pub statuses: Vec<TaskStatus>,
    /// The user it runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Labels: an array here, not an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<v1::Label>>,
    /// Service discovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery: Option<v1::DiscoveryInfo>,
    /// Container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<v1::ContainerInfo>,
    /// Health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check: Option<v1::HealthCheck>,
}

/// One update of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskStatus {
    /// `TASK_...`
    pub state: v1::TaskState,
    /// Seconds since 1970.
    pub timestamp: f64,
    /// Labels: an array here, not an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<v1::Label>>,
    /// Container, with its addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_status: Option<ContainerStatus>,
    /// Result of the health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
}

/// The container of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContainerStatus {
    /// Container id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<v1::ContainerID>,
    /// Networks; mesos-dns reads `ip_addresses` in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub network_infos: Vec<NetworkInfo>,
    /// Control groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_info: Option<v1::CgroupInfo>,
}

/// A network of a container.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetworkInfo {
    /// Groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Labels: an array here, not an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<v1::Label>>,
    /// Addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip_addresses: Vec<v1::NetworkInfoIPAddress>,
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Port mappings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<v1::NetworkInfoPortMapping>,
}

/// An executor, in a framework's list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Executor {
    /// Executor id.
    pub executor_id: String,
    /// Name, "" if unset.
    pub name: String,
    /// Framework id.
    pub framework_id: String,
    /// Its command.
    pub command: Command,
    /// What it holds.
    pub resources: Resources,
    /// The role its resources are allocated to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Labels: an array here, not an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<v1::Label>>,
    /// `DEFAULT` or `CUSTOM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<v1::ExecutorInfoType>,
    /// Agent id.
    pub slave_id: String,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Command {
    /// Whether `value` is for a shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<bool>,
    /// Command line or program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Arguments.
    pub argv: Vec<String>,
    /// Environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<v1::Environment>,
    /// What to fetch.
    pub uris: Vec<CommandUri>,
}

/// Something to fetch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CommandUri {
    /// The URI.
    pub value: String,
    /// Whether to make it executable.
    pub executable: bool,
}

/// An outstanding offer, in a framework's list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Offer {
    /// Offer id.
    pub id: String,
    /// Framework id.
    pub framework_id: String,
    /// The role it is allocated to.
    pub allocation_info: v1::ResourceAllocationInfo,
    /// Agent id.
    pub slave_id: String,
    /// What is offered.
    pub resources: Resources,
}

/// Answer of `/tasks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Tasks {
    /// The tasks selected, by first status, newest first unless `order=asc`.
    pub tasks: Vec<Task>,
}

fn labels(labels: Option<&v1::Labels>) -> Option<Vec<v1::Label>> {
    labels.map(|labels| labels.labels.clone())
}

/// The role of the first resource, "" if there is none: tasks and executors do not mix roles.
fn role(resources: &[v1::Resource]) -> String {
    let first = resources
        .first()
        .and_then(|resource| resource.allocation_info.as_ref());
    first
        .and_then(|allocation| allocation.role.clone())
        .unwrap_or_default()
}

impl From<&v1::Task> for Task {
    fn from(task: &v1::Task) -> Self {
        Self {
            id: task.task_id.value.clone(),
            name: task.name.clone(),
            framework_id: task.framework_id.value.clone(),
            executor_id: task
                .executor_id
                .as_ref()
                .map(|id| id.value.clone())
                .unwrap_or_default(),
            slave_id: task.agent_id.value.clone(),
            state: task.state,
            resources: task.resources.iter().collect(),
            limits: task
                .limits
                .iter()
                .map(|(name, limit)| (name.clone(), limit.value))
                .collect(),
            role: role(&task.resources),
            statuses: task.statuses.iter().map(TaskStatus::from).collect(),
            user: task.user.clone(),
            labels: labels(task.labels.as_ref()),
            discovery: task.discovery.as_deref().cloned(),
            container: task.container.as_deref().cloned(),
            health_check: task.health_check.as_deref().cloned(),
        }
    }
}

impl From<&v1::TaskStatus> for TaskStatus {
    fn from(status: &v1::TaskStatus) -> Self {
        Self {
            state: status.state,
            timestamp: status.timestamp.unwrap_or(0.0),
            labels: labels(status.labels.as_ref()),
            container_status: status
                .container_status
                .as_deref()
                .map(ContainerStatus::from),
            healthy: status.healthy,
        }
    }
}

impl From<&v1::ContainerStatus> for ContainerStatus {
    fn from(status: &v1::ContainerStatus) -> Self {
        Self {
            container_id: status.container_id.clone(),
            network_infos: status.network_infos.iter().map(NetworkInfo::from).collect(),
            cgroup_info: status.cgroup_info.clone(),
        }
    }
}

impl From<&v1::NetworkInfo> for NetworkInfo {
    fn from(info: &v1::NetworkInfo) -> Self {
        Self {
            groups: info.groups.clone(),
            labels: labels(info.labels.as_ref()),
            ip_addresses: info.ip_addresses.clone(),
            name: info.name.clone(),
            port_mappings: info.port_mappings.clone(),
        }
    }
}

impl From<&v1::CommandInfo> for Command {
    fn from(command: &v1::CommandInfo) -> Self {
        let uri = |uri: &v1::CommandInfoURI| CommandUri {
            value: uri.value.clone(),
            executable: uri.executable.unwrap_or(false),
        };
        Self {
            shell: command.shell,
            value: command.value.clone(),
            argv: command.arguments.clone(),
            environment: command.environment.clone(),
            uris: command.uris.iter().map(uri).collect(),
        }
    }
}

impl Executor {
    /// An executor on an agent.
    #[must_use]
    pub fn new(info: &v1::ExecutorInfo, slave_id: &str) -> Self {
        Self {
            executor_id: info.executor_id.value.clone(),
            name: info.name.clone().unwrap_or_default(),
            framework_id: info
                .framework_id
                .as_ref()
                .map(|id| id.value.clone())
                .unwrap_or_default(),
            command: Command::from(info.command.as_ref().unwrap_or(&v1::CommandInfo::default())),
            resources: info.resources.iter().collect(),
            role: (!info.resources.is_empty()).then(|| role(&info.resources)),
            labels: labels(info.labels.as_ref()),
            r#type: info.r#type,
            slave_id: slave_id.to_owned(),
        }
    }
}

impl From<&v1::Offer> for Offer {
    fn from(offer: &v1::Offer) -> Self {
        Self {
            id: offer.id.value.clone(),
            framework_id: offer.framework_id.value.clone(),
            allocation_info: offer.allocation_info.clone().unwrap_or_default(),
            slave_id: offer.agent_id.value.clone(),
            resources: offer.resources.iter().collect(),
        }
    }
}
