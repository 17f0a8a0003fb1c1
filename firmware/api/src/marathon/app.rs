//! An app: what is to run, how often, and how it is looked after.
//!
//! Definitions with all defaults filled in; `read` makes them of what clients send. Used by masterd, which keeps their
//! JSON. Invariants: an [`App`] serialises to keys that Marathon has, and what was serialised reads back as the same app.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

pub use super::container::{Container, Docker, Volume};
use super::fields::{self, Refusal};
pub use super::health::HealthCheck;
use super::id;
pub use super::parts::{
    Constraint, Fetch, Network, NetworkMode, PortDefinition, PortMapping, Protocol, Unreachable,
    UpgradeStrategy,
};

/// The role of resources that are not reserved.
pub const ANY_ROLE: &str = "*";

/// An app's definition. Times are seconds, amounts cores and megabytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// Its path, `/a/b`.
    pub id: String,
    /// Roles whose resources it takes; none given: all that are offered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accepted_resource_roles: Vec<String>,
    /// Program and arguments, instead of `cmd`; of an image's own program the arguments only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// By how much the delay grows with each instance that fails.
    pub backoff_factor: f64,
    /// The first delay after an instance has failed.
    pub backoff_seconds: f64,
    /// A line for the shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<String>,
    /// Where instances may run.
    pub constraints: Vec<Constraint>,
    /// Files and ports of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Cores of an instance.
    pub cpus: f64,
    /// Apps and groups that are to be up first.
    pub dependencies: Vec<String>,
    /// Megabytes of disk of an instance.
    pub disk: f64,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// "": the one and only.
    pub executor: String,
    /// What is fetched before the start.
    pub fetch: Vec<Fetch>,
    /// Accelerators of an instance.
    pub gpus: u32,
    /// How its health is judged; one at most.
    pub health_checks: Vec<HealthCheck>,
    /// How many are to run.
    pub instances: u32,
    /// Which instances go first when there are too many.
    pub kill_selection: KillSelection,
    /// For people and their tools.
    pub labels: BTreeMap<String, String>,
    /// The longest delay after instances have failed.
    pub max_launch_delay_seconds: f64,
    /// Megabytes of memory of an instance.
    pub mem: f64,
    /// Networks of its instances: one.
    pub networks: Vec<Network>,
    /// Ports on the host's network; none on others.
    pub port_definitions: Vec<PortDefinition>,
    /// Service ports, in the order of `port_definitions`.
    pub ports: Vec<u16>,
    /// Whether the host ports are to be the service ports.
    pub require_ports: bool,
    /// For whom resources are taken.
    pub role: String,
    /// Seconds from the request to end to the end by force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_kill_grace_period_seconds: Option<f64>,
    /// What becomes of instances on agents that are not heard of.
    pub unreachable_strategy: Unreachable,
    /// How many run while they are replaced.
    pub upgrade_strategy: UpgradeStrategy,
    /// The account that it runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Which instances go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KillSelection {
    /// Those that were started last.
    YoungestFirst,
    /// Those that were started first.
    OldestFirst,
}

/// What a client wants changed of an app.
#[derive(Debug, Clone, PartialEq)]
pub enum AppUpdate {
    /// These fields, each as a whole.
    Fields(Map<String, Value>),
    /// Everything as it was in this version, milliseconds since 1970.
    Version(u64),
}

/// A port of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstancePort<'a> {
    /// By which others find the app; 0: not chosen yet.
    pub service: u16,
    /// The port on the host: `None`, no port there; `Some(0)`, any.
    pub host: Option<u16>,
    /// The port in the container, on networks other than the host's; 0: the same as on the host.
    pub container: Option<u16>,
    /// Its name.
    pub name: Option<&'a str>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// For people and their tools.
    pub labels: &'a BTreeMap<String, String>,
}

impl App {
    /// Reads a definition whose path is relative to `base`.
    ///
    /// # Errors
    /// No JSON, or fields that are wrong: all of them.
    pub fn from_json(text: &[u8], base: &str) -> Result<Self, Refusal> {
        Self::from_value(&fields::parse(text)?, base)
    }

    /// The same from what was parsed.
    ///
    /// # Errors
    /// Fields that are wrong: all of them.
    pub fn from_value(value: &Value, base: &str) -> Result<Self, Refusal> {
        super::read::app(value, base)
    }

    /// The definition with some fields changed.
    ///
    /// # Errors
    /// Fields that are wrong, then.
    pub fn updated(&self, update: &Map<String, Value>) -> Result<Self, Refusal> {
        let mut fields = self.to_fields();
        let given = |name: &str| update.get(name).is_some_and(|value| !value.is_null());
        for (one, others) in REPLACES {
            if given(one) {
                others.iter().for_each(|other| drop(fields.remove(*other)));
            }
        }
        let given = update.iter().filter(|(_, value)| !value.is_null());
        fields.extend(given.map(|(name, value)| (name.clone(), value.clone())));
        // An app cannot be renamed, so that its path may as well be missing.
        if let Some(named) = update.get("id").and_then(Value::as_str)
            && id::resolve(named, id::parent(&self.id)).as_deref() != Ok(&self.id)
        {
            let told = format!("must be {}, the path that the request names", self.id);
            return Err(Refusal::of("/id", told));
        }
        fields.insert("id".into(), Value::String(self.id.clone()));
        Self::from_value(&Value::Object(fields), "/")
    }

    /// The definition as JSON.
    pub fn to_fields(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            // Texts, finite numbers and maps by texts: there is always such an object.
            _ => Map::new(),
        }
    }

    /// Whether the two differ in something that makes running instances outdated.
    pub fn needs_replacement_by(&self, newer: &Self) -> bool {
        let scaled = Self {
            instances: self.instances,
            ..newer.clone()
        };
        scaled != *self
    }

    /// The network of its instances.
    pub fn network_mode(&self) -> NetworkMode {
        let first = self.networks.first();
        first.map_or(NetworkMode::Host, |network| network.mode)
    }

    /// Its ports, in order.
    pub fn instance_ports(&self) -> Vec<InstancePort<'_>> {
        if self.network_mode() == NetworkMode::Host {
            let port = |port| self.definition_port(port);
            return self.port_definitions.iter().map(port).collect();
        }
        let mappings = self.container.iter().flat_map(|own| &own.port_mappings);
        mappings
            .map(|mapping| InstancePort {
                service: mapping.service_port,
                host: mapping.host_port,
                container: Some(mapping.container_port),
                name: mapping.name.as_deref(),
                protocol: mapping.protocol,
                labels: &mapping.labels,
            })
            .collect()
    }

    fn definition_port<'a>(&self, definition: &'a PortDefinition) -> InstancePort<'a> {
        InstancePort {
            service: definition.port,
            host: Some(if self.require_ports {
                definition.port
            } else {
                0
            }),
            container: None,
            name: definition.name.as_deref(),
            protocol: definition.protocol,
            labels: &definition.labels,
        }
    }

    /// The ports that it needs on a host, in order: 0 is any.
    pub fn host_ports(&self) -> Vec<u16> {
        let ports = self.instance_ports();
        ports.iter().filter_map(|port| port.host).collect()
    }

    /// Its service ports, in order.
    pub fn service_ports(&self) -> Vec<u16> {
        let ports = self.instance_ports();
        ports.iter().map(|port| port.service).collect()
    }
}

/// Fields that say the same in two ways: what a client gives of one takes the place of the others.
const REPLACES: &[(&str, &[&str])] = &[
    ("cmd", &["args"]),
    ("args", &["cmd"]),
    ("ports", &["portDefinitions"]),
    ("portDefinitions", &["ports"]),
    ("uris", &["fetch"]),
];

impl AppUpdate {
    /// Reads what is to be changed.
    ///
    /// # Errors
    /// No JSON, no object, or a version beside other fields.
    pub fn from_json(text: &[u8]) -> Result<Self, Refusal> {
        Self::from_value(fields::parse(text)?)
    }

    /// The same from what was parsed.
    ///
    /// # Errors
    /// As above.
    pub fn from_value(value: Value) -> Result<Self, Refusal> {
        let Value::Object(fields) = value else {
            return Err(Refusal::of("/", "error.expected.jsobject"));
        };
        let version = fields.get("version").filter(|version| !version.is_null());
        let Some(version) = version else {
            return Ok(Self::Fields(fields));
        };
        let others = fields.iter().filter(|(_, value)| !value.is_null());
        if others
            .map(|(name, _)| name.as_str())
            .any(|name| !matches!(name, "version" | "id"))
        {
            let sentence = "The 'version' field may only be combined with the 'id' field.";
            return Err(Refusal::of("/version", sentence));
        }
        let read = version.as_str().and_then(super::time::read);
        let read = read.ok_or_else(|| Refusal::of("/version", "error.expected.timestamp"))?;
        Ok(Self::Version(read))
    }
}
