//! What the built-in schedulers want done, and what they tell whoever listens.
//!
//! Made by `builtin`, carried out by the shell, in order.

use nesos_wire::builtin::Owner;
use nesos_wire::command::Command;
use nesos_wire::resource::Resources;
use nesos_wire::task::TaskState;
use nesos_wire::{AgentId, OfferId, TaskId};

use crate::call::Call;

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    /// Subscribe the framework [`FRAMEWORK`](super::FRAMEWORK), if it is not.
    Subscribe,
    /// Keep this, by [`Event::Keep`](crate::Event::Keep): before whatever is wished for after it.
    Keep(Command),
    /// Make this call as the framework.
    Call(Call),
    /// Accept the offer with these launches.
    Launch {
        /// Which.
        offer: OfferId,
        /// At least one.
        launches: Vec<Launch>,
    },
}

/// A task to be launched.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// Its id.
    pub task: TaskId,
    /// For whom.
    pub owner: Owner,
    /// What to run: the JSON that was given.
    pub definition: Vec<u8>,
    /// Name of the definition: its version; for jobs 0.
    pub version: u64,
    /// Where.
    pub agent: AgentId,
    /// The agent's host name.
    pub host: String,
    /// What it gets.
    pub resources: Resources,
    /// Its host ports, in the order of the definition.
    pub ports: Vec<u16>,
    /// Arguments of this run instead of the definition's.
    pub arguments: Option<String>,
}

/// Something to tell whoever listens.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// News of a service's task.
    Status {
        /// Its service.
        service: String,
        /// Which definition it is of.
        version: u64,
        /// The task.
        task: TaskId,
        /// Where.
        agent: AgentId,
        /// The agent's host name.
        host: String,
        /// Its host ports.
        ports: Vec<u16>,
        /// Its state.
        state: TaskState,
        /// The status's sentence.
        message: String,
    },
    /// The health checks of a service's task have another opinion.
    Health {
        /// Its service.
        service: String,
        /// Which definition it is of.
        version: u64,
        /// The task.
        task: TaskId,
        /// The opinion.
        is_alive: bool,
    },
    /// A deployment has begun.
    Begun(Deployment),
    /// A deployment is over.
    Ended {
        /// As it was.
        deployment: Deployment,
        /// All is as it was wanted.
        is_success: bool,
    },
}

/// Changes of services on their way.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// When it was asked for, milliseconds since 1970.
    pub version: u64,
    /// What happens to which services.
    pub actions: Vec<(String, Action)>,
}

/// What a deployment does to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is new.
    Start,
    /// Instances are added or taken away.
    Scale,
    /// Instances are replaced.
    Restart,
    /// It is no longer wanted.
    Stop,
}
