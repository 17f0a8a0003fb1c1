//! When which machines are to be maintained.
//!
//! A machine is a host name and an address, which need not belong to an agent. Part of the replicated commands. Invariant:
//! host names are compared without regard to case.

use alloc::{string::String, vec::Vec};
use core::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// What a machine is known by. Empty texts are absent ones; an agent is on the machine whose both texts are its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct MachineId {
    /// Its name.
    pub hostname: String,
    /// Its address.
    pub ip: String,
}

impl Ord for MachineId {
    fn cmp(&self, other: &Self) -> Ordering {
        let own = self.hostname.bytes().map(|byte| byte.to_ascii_lowercase());
        let others = other.hostname.bytes().map(|byte| byte.to_ascii_lowercase());
        own.cmp(others).then_with(|| self.ip.cmp(&other.ip))
    }
}

impl PartialOrd for MachineId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for MachineId {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for MachineId {}

/// When something will not be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unavailability {
    /// From then on, nanoseconds since 1970.
    pub start_ns: i64,
    /// For so long, nanoseconds; none: for ever.
    pub duration_ns: Option<i64>,
}

/// Machines that are maintained together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Which.
    pub machines: Vec<MachineId>,
    /// When.
    pub unavailability: Unavailability,
}
