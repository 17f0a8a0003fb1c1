//! The agent as a pure state machine: task life cycle, status-update streams, admission, fetch plans, master link.
//!
//! No clock, socket, file, thread or randomness. The shell (`agentd`, or the simulator) calls [`Agent::step`] with
//! events, then obeys [`Agent::ready`]: make `persist` durable, then `send`, then do `actions`, and come back at
//! `deadline`. If `persist` fails, nothing else of that `Ready` may be done; it goes back as [`Event::NotStored`].
//! Invariants are listed in [`Agent::check`].
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod admission;
mod agent;
mod check;
pub mod checkpoint;
pub mod command;
mod container;
mod conversation;
mod event;
mod executors;
pub mod fetch;
mod held;
mod history;
pub mod image;
mod kill;
mod lending;
mod link;
pub mod network;
mod operations;
mod probing;
mod reconfiguration;
mod recovery;
mod repeat;
mod rng;
pub mod slack;
mod storing;
mod stream;
mod task;
mod timed;
pub mod user_ids;

pub use agent::{Agent, TaskView};
pub use event::{
    Action, Config, ContainerEvent, Event, Finish, Level, Limitation, LinkError, Moment, Note,
    Ready, Seed,
};
pub use executors::{
    ExecutorCall, ExecutorEvent, ExecutorPhase, ExecutorTimes, ExecutorView, HEARTBEAT,
    MAX_EXECUTORS, MAX_SEEN,
};
pub use history::{
    Completed, Counters, MAX_COMPLETED, MAX_COMPLETED_BYTES, MAX_COMPLETED_EXECUTORS,
};
pub use link::{GREETING_TIMEOUT, LinkView};
pub use operations::{MAX_OPERATIONS, VolumePlace, volume_places};
pub use probing::{ProbeKind, timed_out};
pub use reconfiguration::{Configuration, Reconfiguration, may_follow};
pub use repeat::{RETRY_FIRST, RETRY_LAST};
pub use task::{Phase, limitation_status};

/// Most tasks an agent holds, ended but unacknowledged ones included: a `Hello` must fit into one frame, and no board
/// this is for runs more.
pub const MAX_TASKS: usize = 1024;
/// Most bytes that the specs of all tasks may have together: a `Hello` must fit into one frame with room to spare.
pub const MAX_SPEC_BYTES: usize = nesos_wire::frame::MAX_FRAME * 3 / 4;
/// Most statuses that wait in one task's stream. A command task makes five at most; the bound is for what comes later.
pub const MAX_UPDATES: usize = 64;
/// How many ended tasks are remembered, so that a repeated launch of one of them is recognised.
pub const MAX_FINISHED: usize = 256;

#[cfg(test)]
mod tests;
