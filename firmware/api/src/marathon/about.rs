//! What clients are shown of this scheduler itself: `/v2/info`.
//!
//! Data only. Invariant: each key is one that Marathon has.

use std::collections::BTreeMap;

use serde::Serialize;

/// Who this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Info {
    /// What it speaks like.
    pub name: &'static str,
    /// In which version.
    pub version: &'static str,
    /// How it was built.
    pub buildref: String,
    /// Its framework.
    #[serde(rename = "frameworkId")]
    pub framework_id: String,
    /// Who leads.
    pub leader: String,
    /// Whether anybody leads.
    pub elected: bool,
    /// How it was started.
    pub marathon_config: MarathonConfig,
    /// Where its ports are.
    pub http_config: HttpConfig,
    /// Empty: the registry is its own.
    pub zookeeper_config: BTreeMap<(), ()>,
}

/// How the scheduler was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MarathonConfig {
    /// Where the master is.
    pub master: String,
    /// The framework's name.
    pub framework_name: &'static str,
    /// Its host.
    pub hostname: String,
    /// In which role it takes offers.
    pub mesos_role: &'static str,
    /// Agents keep its tasks.
    pub checkpoint: bool,
    /// Whether others take over.
    pub ha: bool,
    /// First service port that is chosen.
    pub local_port_min: u16,
    /// The last one.
    pub local_port_max: u16,
    /// What to switch on: nothing.
    pub features: [(); 0],
}

/// Ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpConfig {
    /// Of HTTP.
    pub http_port: u16,
    /// Of HTTPS: the same.
    pub https_port: u16,
}
