//! The master's memory of agents, frameworks and tasks, readable by whoever shows it.
//!
//! Plain data: the modules beside this one change it, and only they can (the accessors of `Master` lend it out
//! read-only). Invariants across these structs are spelled out, and checked, in `check`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arcstr::ArcStr;
use nesos_base::time::Instant;
use nesos_wire::command::FrameworkFacts;
use nesos_wire::domain::Domain;
use nesos_wire::framework_executor::FrameworkExecutor;
use nesos_wire::operation::OperationReport;
use nesos_wire::resource::Resources;
use nesos_wire::task::Attribute;
use nesos_wire::{AgentId, ExecutorKey, FrameworkId, NodeId, OfferId, TaskId, TaskKey, Uuid};

use crate::constraints::Constraints;
use crate::event::{LinkId, StreamId};
use crate::shelf::Shelf;
use crate::task::{Patterns, Task};

/// Where an agent stands with this master.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AgentCondition {
    /// Known from the registry, not seen since this master started. Its tasks are unknown.
    Recovered,
    /// Its link is up.
    Connected(LinkId),
    /// Its link is gone; it may return until it becomes unreachable.
    Disconnected,
    /// Gone since this time (seconds since 1970); its tasks are believed to run on.
    Unreachable(f64),
}

/// An admitted agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// Its id for ever.
    pub id: AgentId,
    /// The board.
    pub node: NodeId,
    /// Name under which its tasks can be reached.
    pub hostname: ArcStr,
    /// Address of its HTTP server.
    pub ip: ArcStr,
    /// Port of its HTTP server.
    pub port: u16,
    /// Software version; empty before its first `Hello` to this master.
    pub software: ArcStr,
    /// The boot it is in.
    pub boot_id: ArcStr,
    /// All it has.
    pub resources: Resources,
    /// Its properties.
    pub attributes: Arc<[Attribute]>,
    /// Where it stands, if that is configured.
    pub domain: Option<Domain>,
    /// Where it stands.
    pub condition: AgentCondition,
    /// First `Hello` to this master, seconds since 1970.
    pub registered_time: Option<f64>,
    /// Latest further `Hello`, seconds since 1970.
    pub reregistered_time: Option<f64>,
    /// Its tasks: every one that is in its framework's `tasks`, ended but unacknowledged ones included.
    pub tasks: BTreeSet<TaskKey>,
    /// The executors that frameworks brought, and that have not ended: they hold resources even without a task.
    pub executors: BTreeMap<ExecutorKey, FrameworkExecutor>,
    /// Operations on its resources whose end nobody has acknowledged.
    pub operations: BTreeMap<Uuid, OperationReport>,
    /// Its outstanding offers.
    pub offers: BTreeSet<OfferId>,
    pub(crate) newest_link: Option<LinkId>,
    pub(crate) ping_sequence: u64,
    pub(crate) missed_pings: u32,
    pub(crate) gone_at: Option<Instant>,
}

impl Agent {
    /// Its link, if it is connected.
    pub fn link(&self) -> Option<LinkId> {
        match self.condition {
            AgentCondition::Connected(link) => Some(link),
            _ => None,
        }
    }

    /// Whether its link is up.
    pub fn is_connected(&self) -> bool {
        self.link().is_some()
    }
}

/// A wish to end a task, kept until the task has ended because the message may be lost with a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// Overrides the task's grace period, milliseconds.
    pub grace_ms: Option<u32>,
}

/// A framework.
#[derive(Debug, Clone, PartialEq)]
pub struct Framework {
    /// Its id.
    pub id: FrameworkId,
    /// What the core goes by.
    pub facts: FrameworkFacts,
    /// Protobuf of its `FrameworkInfo`, id included.
    pub info: Vec<u8>,
    /// Its subscription; none: disconnected or not yet back.
    pub stream: Option<StreamId>,
    /// It has not subscribed since this master started.
    pub recovered: bool,
    /// First subscription to this master, seconds since 1970.
    pub registered_time: Option<f64>,
    /// Latest further subscription.
    pub reregistered_time: Option<f64>,
    /// When it lost its stream or ended.
    pub unregistered_time: Option<f64>,
    /// Roles that want no offers.
    pub suppressed: BTreeSet<String>,
    /// From which agents it wants offers.
    pub constraints: Constraints,
    /// Its tasks on agents that are not unreachable, ended but unacknowledged ones included.
    pub tasks: Shelf<TaskId, Task>,
    /// Its tasks on unreachable agents; state UNREACHABLE or LOST.
    pub unreachable: Shelf<TaskId, Task>,
    /// Its ended tasks, numbered, oldest first, at most [`Config::max_completed_tasks`](crate::Config).
    pub completed: Shelf<u64, Task>,
    /// Its outstanding offers.
    pub offers: BTreeSet<OfferId>,
    /// Its outstanding inverse offers.
    pub inverse_offers: BTreeSet<OfferId>,
    /// What its newest tasks are like.
    pub(crate) patterns: Patterns,
    pub(crate) heartbeat_at: Option<Instant>,
    pub(crate) removal_at: Option<Instant>,
}

impl Framework {
    /// Whether it has a stream.
    pub fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// Remembers a task that has ended, but `most` of all such.
    pub(crate) fn complete(&mut self, task: Task, most: usize) {
        let number = self.completed.keys().next_back().map_or(0, |last| last + 1);
        self.completed.insert(number, task);
        if self.completed.len() > most {
            self.completed.pop_first();
        }
    }
}

/// A framework that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Completed {
    /// As it was at its end; all its tasks are in `completed`.
    pub framework: Framework,
}
