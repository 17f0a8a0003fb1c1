//! What a task is left with, beside its user's rights: part of the helper's spec.
//!
//! Written by agentd's isolators, carried out between clone and exec of the task. The default takes nothing.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// Rights of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// Capabilities that it can ever have, bit n for number n of linux/capability.h; none: all.
    pub bounding: Option<u64>,
    /// Capabilities that it has even if it is not root; none: what its user has.
    pub effective: Option<u64>,
    /// No program gives it more than it has.
    pub no_new_privileges: bool,
    /// It runs behind the filter of system calls.
    pub is_filtered: bool,
    /// Limits as of setrlimit.
    pub limits: Vec<ResourceLimit>,
    /// The host's ids that stand for its own, in a user namespace of its own; none: ids mean what they mean on the host.
    pub ids: Option<IdRange>,
}

/// Ids of users and groups of the host, which are 0, 1, 2 and so on in a user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// That of root inside.
    pub first: u32,
    /// How many there are.
    pub count: u32,
}

/// One limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimit {
    /// Linux's number of it.
    pub resource: u8,
    /// In force.
    pub soft: u64,
    /// How far the task may raise it.
    pub hard: u64,
}
