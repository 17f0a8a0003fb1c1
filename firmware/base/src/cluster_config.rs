//! `cluster.toml`: what a person writes on the FAT partition (or passes with `--config`) to make a board a node.
//!
//! Raw TOML in, a checked [`ClusterConfig`] out; unknown keys are refused. Read by init, masterd, agentd, the CLI and the
//! image tools; none of them reads the file in another way. Not here: opening the file.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::string::{String, ToString};

use serde::{Deserialize, Serialize};

use crate::token::{ClusterKey, JoinToken, TokenError};
use nesos_wire::domain::Domain;
use nesos_wire::resource_text;

mod host;

pub use host::{Wifi, WifiSecret, is_host_label};
pub(crate) use host::{ssh_key as ssh_key_of, wifi_of};

/// Largest accepted file in bytes: a hundred times what anybody writes.
pub const MAX_FILE: usize = 64 * 1024;

/// Why a cluster.toml is refused. Every variant names the key and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not UTF-8 text: a damaged card, or another file.
    #[error("cluster.toml is not text (byte {0} is not UTF-8)")]
    NotText(usize),
    /// Larger than [`MAX_FILE`].
    #[error("cluster.toml has {0} bytes, at most {MAX_FILE} are allowed")]
    TooLarge(usize),
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("cluster.toml: {0}")]
    Toml(String),
    /// A key or token that cannot be one.
    #[error("cluster.toml: {key}: {reason}")]
    Token {
        /// Which key.
        key: &'static str,
        /// What was expected.
        reason: TokenError,
    },
    /// Any other value that is not what the key takes.
    #[error("cluster.toml: {key}: expected {expected}, found '{found}'")]
    Value {
        /// Which key.
        key: &'static str,
        /// What was expected.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
}

/// What the board is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Agent if it is told how to join a cluster, else both.
    #[default]
    Auto,
    /// Runs masterd only.
    Master,
    /// Runs agentd only.
    Agent,
    /// Runs both.
    Both,
}

/// Who may write through the master's HTTP API. Reading is open to all in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiAccess {
    /// Only from the board itself.
    #[default]
    Local,
    /// From anywhere, without a password: for networks one trusts.
    Open,
    /// From anywhere, with a principal and secret.
    Authenticated,
}

impl ApiAccess {
    /// As it stands in cluster.toml and in `--api_access`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Open => "open",
            Self::Authenticated => "authenticated",
        }
    }
}

/// Where a board that joins a cluster finds a master of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterAt {
    /// Wherever mDNS says; the word `mdns`.
    Mdns,
    /// `host:port`.
    Address(String),
}

impl MasterAt {
    /// As it stands in cluster.toml and in masterd's `--join`.
    pub fn text(&self) -> &str {
        match self {
            Self::Mdns => MDNS,
            Self::Address(address) => address,
        }
    }
}

/// A checked cluster.toml.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClusterConfig {
    /// The node's name; none: made from its identity.
    pub name: Option<String>,
    /// What it is to be.
    pub role: Role,
    /// The cluster's name.
    pub cluster: String,
    /// The CA seed; masters only.
    pub key: Option<ClusterKey>,
    /// Lets the board in.
    pub token: Option<JoinToken>,
    /// `--domain` of both daemons.
    pub domain: Option<String>,
    /// Where a master is; none: agents find one by mDNS, and a master founds the cluster.
    pub master: Option<MasterAt>,
    /// How many masters are to vote; none: people let masters in.
    pub masters: Option<u8>,
    /// `--election_timeout_ms` of masterd.
    pub election_timeout_ms: Option<u16>,
    /// Static address; none: DHCP.
    pub network: Option<StaticNetwork>,
    /// Proxy of what agentd fetches and of tasks, `http://host:port`.
    pub proxy: Option<String>,
    /// What is reached without the proxy, separated by commas.
    pub no_proxy: Option<String>,
    /// Servers that are asked for the time, in this order.
    pub ntp: Vec<String>,
    /// The wireless network to join.
    pub wifi: Option<Wifi>,
    /// Keys that may log in by SSH, as in `authorized_keys`.
    pub ssh_keys: Vec<String>,
    /// Who may write through the API.
    pub api_access: ApiAccess,
    /// `--attributes` of agentd.
    pub attributes: Option<String>,
    /// `--resources` of agentd.
    pub resources: Option<String>,
    /// Isolators beside those of agentd's `--isolation`, separated by commas.
    pub isolation: Option<String>,
    /// Memory that agentd does not offer, MiB; none: what it keeps back by itself.
    pub reserved_memory: Option<u32>,
}

/// A static address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaticNetwork {
    /// The board's address.
    pub address: Ipv4Addr,
    /// Length of the network prefix, 1 to 32.
    pub prefix: u8,
    /// Default route.
    pub gateway: Option<Ipv4Addr>,
    /// Name server.
    pub dns: Option<Ipv4Addr>,
}

/// The word of [`MasterAt::Mdns`].
pub const MDNS: &str = "mdns";

/// What masterd's `--election_timeout_ms` takes.
const ELECTION_MS: core::ops::RangeInclusive<u16> = 50..=60_000;

/// How many masters may be asked to vote: an even number survives no more losses than the odd one below it.
const VOTING: [u8; 4] = [1, 3, 5, 7];

/// Name of a cluster that was not given one.
pub const DEFAULT_CLUSTER: &str = "nesos";

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    name: Option<String>,
    role: Role,
    cluster: RawCluster,
    network: RawNetwork,
    wifi: Option<host::RawWifi>,
    ssh: host::RawSsh,
    api: RawApi,
    agent: RawAgent,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawCluster {
    name: Option<String>,
    key: Option<String>,
    token: Option<String>,
    domain: Option<String>,
    master: Option<String>,
    masters: Option<u64>,
    election_timeout_ms: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawNetwork {
    address: Option<String>,
    gateway: Option<String>,
    dns: Option<String>,
    proxy: Option<String>,
    no_proxy: Option<String>,
    ntp: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawApi {
    access: ApiAccess,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawAgent {
    attributes: Option<String>,
    resources: Option<String>,
    isolation: Option<String>,
    labels: BTreeMap<String, String>,
    reserved_memory: Option<u64>,
}

impl ClusterConfig {
    /// Reads the bytes of a cluster.toml. An empty file is a valid one.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() > MAX_FILE {
            return Err(ConfigError::TooLarge(bytes.len()));
        }
        let text =
            core::str::from_utf8(bytes).map_err(|e| ConfigError::NotText(e.valid_up_to()))?;
        let raw: RawConfig =
            toml::from_str(text).map_err(|e| ConfigError::Toml(redact(text, &e)))?;
        raw.check()
    }
}

impl RawConfig {
    fn check(self) -> Result<ClusterConfig, ConfigError> {
        let key = self
            .cluster
            .key
            .as_deref()
            .map(ClusterKey::parse)
            .transpose();
        let token = self
            .cluster
            .token
            .as_deref()
            .map(JoinToken::parse)
            .transpose();
        self.agent.check()?;
        let attributes = host::attributes(self.agent.attributes, &self.agent.labels)?;
        let proxy = self.network.proxy.as_deref().map(host::proxy).transpose()?;
        let no_proxy = self
            .network
            .no_proxy
            .as_deref()
            .map(host::no_proxy)
            .transpose()?;
        let ntp = host::time_servers(&self.network.ntp)?;
        Ok(ClusterConfig {
            name: self.name.map(|name| label("name", name)).transpose()?,
            role: self.role,
            cluster: self
                .cluster
                .name
                .map_or(Ok(DEFAULT_CLUSTER.into()), |name| {
                    label("cluster.name", name)
                })?,
            key: key.map_err(|reason| ConfigError::Token {
                key: "cluster.key",
                reason,
            })?,
            token: token.map_err(|reason| ConfigError::Token {
                key: "cluster.token",
                reason,
            })?,
            domain: self.cluster.domain.map(domain).transpose()?,
            master: self.cluster.master.map(master_at).transpose()?,
            masters: self.cluster.masters.map(masters).transpose()?,
            election_timeout_ms: self
                .cluster
                .election_timeout_ms
                .map(election_timeout)
                .transpose()?,
            network: self.network.check()?,
            proxy,
            no_proxy,
            ntp,
            wifi: self.wifi.map(host::RawWifi::check).transpose()?,
            ssh_keys: self.ssh.check()?,
            api_access: self.api.access,
            attributes,
            resources: self.agent.resources,
            isolation: self.agent.isolation,
            reserved_memory: self
                .agent
                .reserved_memory
                .map(host::reserved_memory)
                .transpose()?,
        })
    }
}

impl RawAgent {
    fn check(&self) -> Result<(), ConfigError> {
        if let Some(text) = &self.resources {
            resource_text::parse(text).map_err(|_| {
                value(
                    "agent.resources",
                    "name:value;… such as cpus:4;mem:512",
                    text,
                )
            })?;
        }
        if let Some(text) = &self.attributes {
            resource_text::parse_attributes(text)
                .map_err(|_| value("agent.attributes", "name:value;… such as rack:a1", text))?;
        }
        Ok(())
    }
}

fn domain(text: String) -> Result<String, ConfigError> {
    Domain::parse(&text)
        .map_err(|_| value("cluster.domain", "region/zone such as garden/shed", &text))?;
    Ok(text)
}

impl RawNetwork {
    fn check(self) -> Result<Option<StaticNetwork>, ConfigError> {
        let gateway = self
            .gateway
            .map(|text| ipv4("network.gateway", &text))
            .transpose()?;
        let dns = self
            .dns
            .map(|text| ipv4("network.dns", &text))
            .transpose()?;
        let Some(text) = self.address else {
            return match gateway.or(dns) {
                None => Ok(None),
                Some(_) => Err(value(
                    "network.address",
                    "an address when gateway or dns is given",
                    "nothing",
                )),
            };
        };
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            Some((
                address.parse().ok()?,
                prefix.parse().ok().filter(|p| (1..=32).contains(p))?,
            ))
        });
        let (address, prefix) = parsed.ok_or_else(|| {
            value(
                "network.address",
                "an address with its prefix such as 192.168.1.20/24",
                &text,
            )
        })?;
        Ok(Some(StaticNetwork {
            address,
            prefix,
            gateway,
            dns,
        }))
    }
}

/// The parser's message with its line number, without the quoted line: it may hold a secret.
fn redact(text: &str, error: &toml::de::Error) -> String {
    let line = error.to_string();
    let place = line
        .lines()
        .next()
        .filter(|l| l.starts_with("TOML parse error"))
        .unwrap_or_default();
    let place = place.trim_start_matches("TOML parse error").trim();
    let message = error.message().replace('\n', ", ");
    let key = error.span().and_then(|span| key_at(text, span.start));
    match (place, key.filter(|key| !message.contains(key))) {
        ("", _) => message,
        (_, Some(key)) => format!("{place}: {key}: {message}"),
        (_, None) => format!("{place}: {message}"),
    }
}

/// The key of the line that holds byte `at`; nothing that may be part of a value.
fn key_at(text: &str, at: usize) -> Option<&str> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    let (key, _) = text.get(start..)?.lines().next()?.split_once('=')?;
    let key = key.trim();
    let is_key = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
    // The longest key of the file has ten letters.
    ((1..=40).contains(&key.len()) && key.bytes().all(is_key)).then_some(key)
}

/// A name of [`is_host_label`].
fn label(key: &'static str, name: String) -> Result<String, ConfigError> {
    if is_host_label(&name) {
        Ok(name)
    } else {
        Err(value(
            key,
            "1 to 30 letters, digits and inner hyphens",
            &name,
        ))
    }
}

fn election_timeout(ms: u64) -> Result<u16, ConfigError> {
    let found = u16::try_from(ms).ok().filter(|ms| ELECTION_MS.contains(ms));
    found.ok_or_else(|| {
        value(
            "cluster.election_timeout_ms",
            "50 to 60000 milliseconds",
            &ms.to_string(),
        )
    })
}

fn masters(count: u64) -> Result<u8, ConfigError> {
    let found = u8::try_from(count).ok().filter(|n| VOTING.contains(n));
    found.ok_or_else(|| value("cluster.masters", "1, 3, 5 or 7", &count.to_string()))
}

fn master_at(text: String) -> Result<MasterAt, ConfigError> {
    if text == MDNS {
        return Ok(MasterAt::Mdns);
    }
    let valid = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if valid {
        Ok(MasterAt::Address(text))
    } else {
        Err(value(
            "cluster.master",
            "host:port such as 192.168.1.10:5050, or mdns",
            &text,
        ))
    }
}

fn ipv4(key: &'static str, text: &str) -> Result<Ipv4Addr, ConfigError> {
    text.parse()
        .map_err(|_| value(key, "an IPv4 address", text))
}

fn value(key: &'static str, expected: &'static str, found: &str) -> ConfigError {
    // A pasted file must not flood the console.
    ConfigError::Value {
        key,
        expected,
        found: found.chars().take(80).collect(),
    }
}

#[cfg(test)]
mod tests;
