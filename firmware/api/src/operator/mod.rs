//! The operator API of the master ([`master`]) and of the agent ([`agent`]): `Call`, `Response` and `Event`.
//!
//! Used by masterd, agentd and operators' tools. What both share is in [`common`], measured use in [`statistics`].
//! Invariant: field names and numbers are those of `mesos/v1/{master,agent}/*.proto`.

pub mod agent;
pub mod common;
pub mod master;
pub mod statistics;
