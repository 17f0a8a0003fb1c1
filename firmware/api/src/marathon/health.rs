//! Health checks of definitions of apps.
//!
//! Each with its defaults and rules. Called by `read`. Invariant: whoever is named to look, it is the agent that does.

use serde::Serialize;

use super::fields::Node;
use super::parts::MAX_SECONDS;

/// How an instance's health is judged; by its agent, whatever it is called.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// `HTTP`, `MESOS_TCP`, `COMMAND` and so on.
    pub protocol: &'static str,
    /// Of a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Which of the instance's ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_index: Option<u32>,
    /// This very port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// A line for the shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Line>,
    /// Seconds in which failures do not count.
    pub grace_period_seconds: f64,
    /// Seconds from one look to the next.
    pub interval_seconds: f64,
    /// Seconds for a look.
    pub timeout_seconds: f64,
    /// Failures in a row until the instance is killed; 0: never.
    pub max_consecutive_failures: u32,
    /// Seconds until the first look.
    pub delay_seconds: f64,
    /// Kept for those who say so; answers of 100 to 199 are none, here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_http1xx: Option<bool>,
    /// `IPv4` or `IPv6`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_protocol: Option<&'static str>,
}

/// A line for the shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The line.
    pub value: String,
}

/// Kinds of checks.
const CHECKS: &[&str] = &[
    "HTTP",
    "HTTPS",
    "TCP",
    "COMMAND",
    "MESOS_HTTP",
    "MESOS_HTTPS",
    "MESOS_TCP",
];

impl HealthCheck {
    pub(super) fn read(node: Node<'_>) -> Option<Self> {
        let object = node.object()?;
        let protocol = object.word("protocol", CHECKS).unwrap_or("HTTP");
        let is_command = protocol == "COMMAND";
        let command = object
            .object("command")
            .and_then(|command| command.needed_text("value"));
        if is_command && !object.has("command") {
            object.fault("command", "error.path.missing");
        }
        if !is_command && object.has("command") {
            object.fault(
                "command",
                format!("is for protocol COMMAND only, not for {protocol}"),
            );
        }
        let path = object.text("path").filter(|_| protocol.contains("HTTP"));
        if path.as_ref().is_some_and(|path| !path.starts_with('/')) {
            object.fault("path", "must begin with '/'");
        }
        let port = object
            .whole("port", 1..=65_535)
            .and_then(|port| u16::try_from(port).ok());
        let index = object.whole("portIndex", 0..=u64::from(u16::MAX));
        let index = index.and_then(|index| u32::try_from(index).ok());
        // Marathon's own looks begin at once, those of agents have a delay in Mesos.
        let delay = if matches!(protocol, "HTTP" | "HTTPS" | "TCP") {
            0.0
        } else {
            15.0
        };
        let seconds = |name: &str, default| object.number(name, 0.0..=MAX_SECONDS as f64, default);
        Some(Self {
            protocol,
            path,
            port_index: index
                .or((!is_command && port.is_none()).then_some(0))
                .filter(|_| !is_command),
            port: port.filter(|_| !is_command),
            command: command.map(|value| Line { value }),
            grace_period_seconds: seconds("gracePeriodSeconds", 300.0),
            interval_seconds: seconds("intervalSeconds", 60.0),
            timeout_seconds: seconds("timeoutSeconds", 20.0),
            max_consecutive_failures: object
                .whole("maxConsecutiveFailures", 0..=u64::from(u32::MAX))
                .and_then(|failures| u32::try_from(failures).ok())
                .unwrap_or(3),
            delay_seconds: seconds("delaySeconds", delay),
            ignore_http1xx: object.flag("ignoreHttp1xx"),
            ip_protocol: object.word("ipProtocol", &["IPv4", "IPv6"]),
        })
    }
}
