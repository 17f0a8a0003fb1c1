//! Services: what operators want to be running, and how far that is.
//!
//! Not the tasks themselves (`builtin` holds these) and not what their definitions say (the shell has read them into
//! [`ServiceFacts`]). Called by `builtin`. Invariants: a service's last version is what holds; versions only grow; what operators are told is in
//! a record that was proposed before.

use std::collections::{BTreeMap, BTreeSet};

use nesos_base::time::Duration;
use nesos_wire::builtin::{ServiceRecord, ServiceVersion};

use crate::builtin::need::Need;

pub(in crate::builtin) mod delay;
pub(in crate::builtin) mod plan;

pub use delay::Backoff;
use delay::Delay;

/// Most services: each is some kilobytes in memory and on disk.
pub const MAX_SERVICES: usize = 1000;
/// Longest path, bytes: with a number behind it, it is a task's id.
pub const MAX_SERVICE_ID: usize = 200;
/// Largest definition, bytes; each change of a service writes all that are remembered.
pub const MAX_DEFINITION: usize = 32 * 1024;
/// Definitions that are remembered of a service, to go back to.
pub const MAX_VERSIONS: usize = 10;
/// Most instances of a service.
pub const MAX_INSTANCES: u32 = 10_000;

/// What the scheduler goes by; the shell takes it out of a definition.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServiceFacts {
    /// How many instances there are to be.
    pub instances: u32,
    /// What each needs.
    pub need: Need,
    /// Services that must be ready before this one is started.
    pub depends_on: BTreeSet<String>,
    /// It has health checks: an instance is ready when they found it healthy.
    pub is_checked: bool,
    /// Share of the instances that stay ready while others are replaced, 0 to 1.
    pub min_healthy: f64,
    /// Share of the instances that may be there in excess meanwhile, 0 to 1.
    pub max_over: f64,
    /// How long to wait after failures.
    pub backoff: Backoff,
    /// Of too many, the oldest go first; else the youngest.
    pub kills_oldest: bool,
    /// SIGTERM to SIGKILL, milliseconds.
    pub kill_grace_ms: Option<u32>,
    /// How long an instance may be unreachable before another one takes its place; none: for ever.
    pub inactive_after: Option<Duration>,
    /// How long it may be before it is forgotten; none: for ever.
    pub expunge_after: Option<Duration>,
}

/// Why an operator's wish about a service is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// 404.
    #[error("App '{0}' does not exist")]
    NotFound(String),
    /// 409.
    #[error("An app with id [{0}] already exists.")]
    Exists(String),
    /// 409; the second is the deployment's id.
    #[error(
        "App is locked by one or more deployments. Override with the option '?force=true'. View details at '/v2/deployments/{1}'."
    )]
    Locked(String, String),
    /// 404.
    #[error("DeploymentPlan {0} does not exist")]
    NoDeployment(String),
    /// 422.
    #[error("{0}")]
    Invalid(String),
}

/// A service.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// What rests in the registry.
    pub record: ServiceRecord,
    /// What its last definition says.
    pub facts: ServiceFacts,
    /// Its last instance that failed.
    pub last_failure: Option<Failure>,
    /// Instances that wait for an offer.
    pub waiting: u32,
    /// Since when they do, milliseconds since 1970.
    pub waiting_since: u64,
    pub(in crate::builtin) delay: Delay,
    /// All of it is ready, and so what depends on it may start.
    pub(in crate::builtin) is_whole: bool,
    /// Offers that were looked at in vain since something began to wait.
    pub unused_offers: u64,
}

/// How an instance failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Its task.
    pub task: String,
    /// Where.
    pub host: String,
    /// Its agent's id.
    pub agent: String,
    /// In which state it ended, as Mesos writes it without `TASK_`.
    pub state: nesos_wire::task::TaskState,
    /// The status's sentence.
    pub message: String,
    /// When, milliseconds since 1970.
    pub at: u64,
    /// Version of its definition.
    pub version: u64,
}

impl Service {
    pub(in crate::builtin) fn new(record: ServiceRecord, facts: ServiceFacts) -> Self {
        Self {
            record,
            facts,
            last_failure: None,
            waiting: 0,
            waiting_since: 0,
            delay: Delay::default(),
            is_whole: false,
            unused_offers: 0,
        }
    }

    /// The definition that holds.
    pub fn current(&self) -> Option<&ServiceVersion> {
        self.record.versions.last()
    }

    /// Version of the definition that holds.
    pub fn version(&self) -> u64 {
        self.current().map_or(0, |current| current.version)
    }

    /// Since which version instances are as they are to be.
    pub fn changed(&self) -> u64 {
        self.current().map_or(0, |current| current.changed)
    }

    /// Takes in a new definition.
    pub(in crate::builtin) fn redefine(&mut self, version: ServiceVersion, facts: ServiceFacts) {
        let is_other = self.changed() != version.changed;
        self.record.versions.push(version);
        let too_many = self.record.versions.len().saturating_sub(MAX_VERSIONS);
        self.record.versions.drain(..too_many);
        self.facts = facts;
        if is_other {
            self.delay = Delay::default();
            // What waits would be started by the new definition anyway.
        }
    }
}

/// Whether a service is this one, or stands below this path.
pub(in crate::builtin) fn is_within(id: &str, path: &str) -> bool {
    let below = id.strip_prefix(path.trim_end_matches('/'));
    below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// Whether a service would wait for itself. `services` are all with the paths that each waits for, new definitions included.
pub(in crate::builtin) fn is_circular(
    of: &str,
    services: &BTreeMap<&str, &BTreeSet<String>>,
) -> bool {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut open = vec![of];
    while let Some(next) = open.pop() {
        for path in services.get(next).copied().into_iter().flatten() {
            for needed in services.keys().filter(|id| is_within(id, path)) {
                if *needed == of {
                    return true;
                }
                if seen.insert(needed) {
                    open.push(needed);
                }
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found() {
        let set = |names: &[&str]| -> BTreeSet<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let waits = [
            ("/a", set(&["/b"])),
            ("/b", set(&["/c"])),
            ("/c", set(&["/d", "/b"])),
            ("/d", set(&[])),
            ("/e", set(&["/a"])),
            ("/g/one", set(&["/h"])),
            ("/h/two", set(&["/g"])),
        ];
        let all = waits.iter().map(|(id, waits)| (*id, waits)).collect();
        let circles = waits.iter().map(|(id, _)| (*id, is_circular(id, &all)));
        let circles = circles.filter(|(_, is_circle)| *is_circle);
        let circles: Vec<&str> = circles.map(|(id, _)| id).collect();
        assert_eq!(circles, ["/b", "/c", "/g/one", "/h/two"]);
    }
}
