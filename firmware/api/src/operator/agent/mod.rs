//! The operator API of the agent, `POST /api/v1`.
//!
//! Used by agentd and operators' tools. Invariant: names and numbers are those of `mesos/v1/agent/agent.proto`.

mod call;
mod response;

pub use call::*;
pub use response::*;
