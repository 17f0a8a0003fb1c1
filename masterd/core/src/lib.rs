//! The master as a pure state machine: registry, sessions of agents and frameworks, offers, allocator, liveness.
//!
//! Not here: sockets, threads, clocks, files, randomness, protobuf and JSON (the daemon's shell does all of that), and
//! anything about how a task is run (agentd). Called by `masterd`'s shell and by the simulation.
//!
//! The contract: the shell calls [`Master::step`] for every [`Event`], any number of times, then [`Master::ready`]
//! once, persists [`Ready::commands`], and only then sends, answers and closes what the same [`Ready`] says. The state
//! in memory runs ahead of the disk by exactly the commands of Readys not yet persisted; nobody outside can see that,
//! because every effect waits behind the commands that were proposed before it. With Raft (several masters) the same
//! holds: "persisted" becomes "committed", and a master that loses the leadership drops its `Master` and all Readys
//! still waiting.
#![warn(missing_docs)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod accept;
mod agents;
pub mod allocator;
mod brought;
pub mod builtin;
pub mod call;
pub mod check;
mod config;
pub mod consensus;
pub mod constraints;
mod event;
mod executors;
mod frameworks;
mod group;
mod hello_tasks;
mod inverse;
mod kill;
mod launch;
mod lent;
mod liveness;
mod maintenance;
mod master;
mod metrics;
mod news;
mod offers;
mod operation;
mod order;
mod outgoing;
mod quota;
mod ready;
mod recent;
mod reconcile;
pub mod registry;
mod requests;
mod roles;
pub mod schedule;
mod shelf;
mod state;
mod subscription;
mod tally;
mod task;
mod task_check;
mod timers;
mod updates;
mod upkeep;
mod view;
mod weights;

pub use call::{
    Call, CallRefusal, Convert, FrameworkUpdate, LaunchExecutor, LaunchTask, Operation,
    ReconcileOperation, ReconcileTask,
};
pub use config::Config;
pub use event::{Event, LinkId, RequestId, StreamId, Subscribe};
pub use maintenance::{Maintained, Stance};
pub use master::Master;
pub use metrics::Metrics;
pub use news::News;
pub use operation::MAX_OPERATIONS;
pub use operation::change::Change;
pub use order::{ChangeOrder, Order};
pub use outgoing::{
    EndedExecutor, FrameworkEvent, HEARTBEAT_SECONDS, InverseOffer, Offer, OperationUpdate,
};
pub use ready::{Answer, Ready};
pub use registry::Registry;
pub use roles::{Amounts, RoleUsage, amounts};
pub use shelf::{Block, Shelf};
pub use state::{Agent, AgentCondition, Completed, Framework, Kill};
pub use tally::{Counts, Tally};
pub use task::{Common, Patterns, Spec, Task};
pub use view::View;
pub use weights::check_weight;
