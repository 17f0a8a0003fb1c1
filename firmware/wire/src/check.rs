//! Checks of a running task: what is looked at, how often, and what was seen.
//!
//! Not the public `CheckInfo` and `HealthCheck`: the master's daemon has taken these out of their protobuf and found them
//! good. Called by the cores and the agent's shell. Times are milliseconds.

use alloc::{boxed::Box, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::task::Command;

/// What is checked of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Checks {
    /// Tells whether it is healthy; too many failures kill it.
    pub health: Option<HealthCheck>,
    /// Only told to its framework.
    pub check: Option<Check>,
}

/// Something that is looked at again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub probe: Probe,
    /// From the start of the task to the first look.
    pub delay_ms: u64,
    /// From the end of one look to the next.
    pub interval_ms: u64,
    /// How long one look may take; zero: for ever.
    pub timeout_ms: u64,
}

/// A check that decides over its task's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is looked at, and when.
    pub check: Check,
    /// The failure with which the task is killed, if all before it in a row were failures.
    pub consecutive_failures: u32,
    /// From the start of the task: until then failures before the first success do not count.
    pub grace_ms: u64,
}

/// How a task is looked at, from inside its namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// A command, with the task's environment below its own.
    Command(Box<Command>),
    /// GET of a page of this machine.
    Http(HttpProbe),
    /// A connection to a port of this machine.
    Tcp {
        /// Which.
        port: u16,
        /// At `::1` instead of 127.0.0.1.
        is_ipv6: bool,
    },
}

/// A page to be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpProbe {
    /// Over TLS, whoever's certificate that is.
    pub is_https: bool,
    /// Where.
    pub port: u16,
    /// Begins with a slash, or is empty.
    pub path: String,
    /// At `::1` instead of 127.0.0.1.
    pub is_ipv6: bool,
    /// What a healthy task answers; empty: 200 to 399.
    pub statuses: Vec<u32>,
}

/// What a check has found; nothing inside: nothing yet, or no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckStatus {
    /// The command's exit code.
    Command(Option<i32>),
    /// The status code.
    Http(Option<u32>),
    /// Whether somebody took the connection.
    Tcp(Option<bool>),
}

impl Probe {
    /// The status before anything was found.
    pub fn nothing(&self) -> CheckStatus {
        match self {
            Self::Command(_) => CheckStatus::Command(None),
            Self::Http(_) => CheckStatus::Http(None),
            Self::Tcp { .. } => CheckStatus::Tcp(None),
        }
    }

    /// Whether a task of which this was found is healthy.
    pub fn is_good(&self, found: CheckStatus) -> bool {
        match (self, found) {
            (Self::Command(_), CheckStatus::Command(code)) => code == Some(0),
            (Self::Http(http), CheckStatus::Http(Some(code))) => {
                if http.statuses.is_empty() {
                    (200..400).contains(&code)
                } else {
                    http.statuses.contains(&code)
                }
            }
            (Self::Tcp { .. }, CheckStatus::Tcp(succeeded)) => succeeded == Some(true),
            _ => false,
        }
    }
}
