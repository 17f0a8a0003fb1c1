//! The operator API of the master, `POST /api/v1`.
//!
//! Used by masterd and operators' tools. Invariant: names and numbers are those of `mesos/v1/master/master.proto`.

mod call;
mod response;

pub use call::*;
pub use response::*;
