//! The scheduler API: `Call` (what a framework posts) and `Event` (what its stream carries).
//!
//! Nested types have one joined name: `Call.Accept` is [`CallAccept`]. Used by masterd and by tests that play a framework.
//! Invariant: field names and numbers are those of `mesos/v1/scheduler/scheduler.proto`.

mod call;
mod event;

pub use call::*;
pub use event::*;
