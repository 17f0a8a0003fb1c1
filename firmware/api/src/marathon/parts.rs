//! What definitions of apps are made of: containers, networks, ports, checks and the rest.
//!
//! Each with its defaults and rules; what spans several of them is in `read`. Invariant: what Nesos cannot run is refused with a
//! sentence, never left out in silence.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use super::fields::{Node, Object};

/// Longest time in seconds: some thirty years, which still are nanoseconds in 64 bits.
pub(super) const MAX_SECONDS: u64 = 1_000_000_000;

/// Texts in a list: field, operator, and for most a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Constraint(pub Vec<String>);

/// Something to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetch {
    /// From where.
    pub uri: String,
    /// Whether archives are unpacked.
    pub extract: bool,
    /// Whether it is made a program.
    pub executable: bool,
    /// Whether the agent keeps it for others.
    pub cache: bool,
    /// Under which name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_path: Option<String>,
}

/// A network of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Its name, on networks of containers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which kind.
    pub mode: NetworkMode,
}

/// A kind of network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum NetworkMode {
    /// The host's.
    #[serde(rename = "host")]
    Host,
    /// One by name.
    #[serde(rename = "container")]
    Container,
    /// The agent's own.
    #[serde(rename = "container/bridge")]
    Bridge,
}

/// What is spoken at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Protocol {
    /// TCP
    #[serde(rename = "tcp")]
    Tcp,
    /// UDP
    #[serde(rename = "udp")]
    Udp,
    /// Both
    #[serde(rename = "udp,tcp")]
    Both,
}

impl Protocol {
    /// `tcp`, `udp`, or both.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Tcp => &["tcp"],
            Self::Udp => &["udp"],
            Self::Both => &["udp", "tcp"],
        }
    }

    fn read(object: &Object<'_>) -> Self {
        match object.word("protocol", &["tcp", "udp", "udp,tcp", "tcp,udp"]) {
            None | Some("tcp") => Self::Tcp,
            Some("udp") => Self::Udp,
            Some(_) => Self::Both,
        }
    }
}

/// A port on the host's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortDefinition {
    /// The service port; 0: not chosen yet.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For people and their tools.
    pub labels: BTreeMap<String, String>,
}

/// A port on another network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// In the container; 0: the same as on the host.
    pub container_port: u16,
    /// On the host; 0: any; none: no port there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// The service port; 0: not chosen yet.
    pub service_port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For people and their tools.
    pub labels: BTreeMap<String, String>,
}

/// How many run while they are replaced, each a share of `instances`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeStrategy {
    /// Healthy ones, at least.
    pub minimum_health_capacity: f64,
    /// Beyond `instances`, at most.
    pub maximum_over_capacity: f64,
}

/// What becomes of instances on agents that are not heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// They are waited for.
    Disabled,
    /// Seconds each.
    After {
        /// Until another one is started.
        inactive: u64,
        /// Until it is given up.
        expunge: u64,
    },
}

impl Serialize for Unreachable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Disabled => serializer.serialize_str("disabled"),
            Self::After { inactive, expunge } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("inactiveAfterSeconds", inactive)?;
                map.serialize_entry("expungeAfterSeconds", expunge)?;
                map.end()
            }
        }
    }
}

/// Operators of constraints, and whether they have a value: never, perhaps, always.
const OPERATORS: &[(&str, [bool; 2])] = &[
    ("UNIQUE", [true, false]),
    ("CLUSTER", [true, true]),
    ("GROUP_BY", [true, true]),
    ("LIKE", [false, true]),
    ("UNLIKE", [false, true]),
    ("MAX_PER", [false, true]),
    ("IS", [false, true]),
];

impl Constraint {
    pub(super) fn read(node: Node<'_>) -> Option<Self> {
        let words: Vec<String> = node.items().iter().filter_map(word).collect();
        let (field, operator, value) = match words.as_slice() {
            [field, operator] => (field, operator, None),
            [field, operator, value] => (field, operator, Some(value)),
            _ => {
                node.fault("must have a field, an operator, and perhaps a value");
                return None;
            }
        };
        let Some((_, [without, with])) = OPERATORS.iter().find(|(name, _)| name == operator) else {
            let names: Vec<_> = OPERATORS.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            node.fault(format!(
                "the operator must be one of {names}, it is {operator}"
            ));
            return None;
        };
        if field.is_empty() {
            node.fault("the field must not be empty");
        }
        match value {
            None if !without => node.fault(format!("{operator} needs a value")),
            Some(_) if !with => node.fault(format!("{operator} has no value")),
            Some(value)
                if matches!(operator.as_str(), "GROUP_BY" | "MAX_PER")
                    && !value.parse::<u32>().is_ok_and(|number| number > 0) =>
            {
                node.fault(format!("the value of {operator} must be a number above 0"));
            }
            _ => {}
        }
        Some(Self(words))
    }
}

/// Clients write numbers as such.
fn word(node: &Node<'_>) -> Option<String> {
    match node.value.as_u64() {
        Some(number) => Some(number.to_string()),
        None => node.text(),
    }
}

impl Fetch {
    pub(super) fn read(node: Node<'_>) -> Option<Self> {
        let object = node.object()?;
        Some(Self {
            uri: object.needed_text("uri")?,
            extract: object.flag("extract").unwrap_or(true),
            executable: object.flag("executable").unwrap_or(false),
            cache: object.flag("cache").unwrap_or(false),
            dest_path: object.text("destPath"),
        })
    }

    pub(super) fn of(uri: String) -> Self {
        Self {
            uri,
            extract: true,
            executable: false,
            cache: false,
            dest_path: None,
        }
    }
}

impl Network {
    pub(super) fn of(mode: NetworkMode) -> Self {
        Self { name: None, mode }
    }

    pub(super) fn read(node: Node<'_>) -> Option<Self> {
        let object = node.object()?;
        let mode = match object.word("mode", &["host", "container", "container/bridge"]) {
            Some("host") => NetworkMode::Host,
            Some("container/bridge") => NetworkMode::Bridge,
            _ => NetworkMode::Container,
        };
        let name = object.text("name").filter(|name| !name.is_empty());
        match (mode, &name) {
            (NetworkMode::Container, None) => object.fault("name", "must name a network"),
            (NetworkMode::Host | NetworkMode::Bridge, Some(_)) => {
                object.fault("name", "is for networks of mode container only");
            }
            _ => {}
        }
        Some(Self { name, mode })
    }
}

impl PortDefinition {
    pub(super) fn of(port: u16, name: Option<&str>) -> Self {
        Self {
            port,
            protocol: Protocol::Tcp,
            name: name.map(str::to_owned),
            labels: BTreeMap::new(),
        }
    }

    pub(super) fn read(node: Node<'_>) -> Option<Self> {
        let object = node.object()?;
        Some(Self {
            port: object.port("port").unwrap_or(0),
            protocol: Protocol::read(&object),
            name: port_name(&object),
            labels: object.map("labels").unwrap_or_default(),
        })
    }
}

fn port_name(object: &Object<'_>) -> Option<String> {
    let name = object.text("name")?;
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || !name.bytes().all(is_name) {
        let rule = "must fully match regular expression '^[a-z0-9-]+$'";
        object.fault("name", rule);
    }
    Some(name)
}

impl PortMapping {
    pub(super) fn read(node: Node<'_>) -> Option<Self> {
        let object = node.object()?;
        if object
            .list("networkNames", |node| node.text())
            .is_some_and(|names| names.len() > 1)
        {
            object.fault("networkNames", "an instance is in one network only");
        }
        Some(Self {
            container_port: object.port("containerPort").unwrap_or(0),
            host_port: object.port("hostPort"),
            service_port: object.port("servicePort").unwrap_or(0),
            protocol: Protocol::read(&object),
            name: port_name(&object),
            labels: object.map("labels").unwrap_or_default(),
        })
    }
}

impl UpgradeStrategy {
    pub(super) fn read(object: Option<Object<'_>>) -> Self {
        let share = |name: &str| {
            let number = object
                .as_ref()
                .map(|object| object.number(name, 0.0..=1.0, 1.0));
            number.unwrap_or(1.0)
        };
        Self {
            minimum_health_capacity: share("minimumHealthCapacity"),
            maximum_over_capacity: share("maximumOverCapacity"),
        }
    }
}

impl Unreachable {
    pub(super) fn read(node: Option<Node<'_>>) -> Self {
        let at_once = Self::After {
            inactive: 0,
            expunge: 0,
        };
        let Some(node) = node else {
            return at_once;
        };
        if node.value.as_str() == Some("disabled") {
            return Self::Disabled;
        }
        let Some(object) = node.object() else {
            return at_once;
        };
        let seconds = |name: &str| object.whole(name, 0..=MAX_SECONDS).unwrap_or(0);
        let (inactive, expunge) = (
            seconds("inactiveAfterSeconds"),
            seconds("expungeAfterSeconds"),
        );
        if expunge < inactive {
            let sentence = "must not be less than inactiveAfterSeconds";
            object.fault("expungeAfterSeconds", sentence);
        }
        Self::After { inactive, expunge }
    }
}
