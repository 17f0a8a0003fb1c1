//! What can happen to a master: the input of `Master::step`.
//!
//! Not the wire messages themselves (those are `nesos-wire`), but who they came from. Made by the shell and the
//! simulation. Invariant the shell keeps: see [`LinkId`].

use std::collections::BTreeMap;

use nesos_wire::command::{Command, FrameworkFacts};
use nesos_wire::message::{AgentToMaster, Hello};
use nesos_wire::resource::Resources;
use nesos_wire::{AgentId, FrameworkId, TaskKey, Uuid};

use crate::call::Call;
use crate::constraints::Constraints;
use crate::order::Order;

/// One accepted connection of an agent. The shell numbers connections **in the order it accepts them** and never uses a
/// number again: of two links of one agent the greater is the one the agent opened later, and a `Hello` that was
/// overtaken by a newer link's is recognised by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// One subscription of a scheduler: the UUID of its `Mesos-Stream-Id` header, drawn by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub Uuid);

/// A question of an operator that waits for an [`Answer`](crate::Answer). Numbered by the shell, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// First message of an agent link. The shell has compared `hello.node` with the certificate and filled in an empty
    /// `hello.ip` with the link's source address.
    AgentHello {
        /// Where it came in.
        link: LinkId,
        /// The agent's whole truth.
        hello: Box<Hello>,
    },
    /// Any later message of an agent link (a further `Hello` is treated as the first one).
    AgentMessage {
        /// Where it came in.
        link: LinkId,
        /// What the agent said.
        message: AgentToMaster,
    },
    /// The link is gone, whoever closed it.
    AgentClosed {
        /// Which.
        link: LinkId,
    },
    /// A scheduler subscribes; the shell holds the stream open and sends what `Ready::to_frameworks` says.
    Subscribe(Box<Subscribe>),
    /// Any other scheduler call. Ask [`Master::check_call`](crate::Master::check_call) first for the HTTP status: a call
    /// that does not pass it is ignored here.
    Call {
        /// Who calls.
        framework: FrameworkId,
        /// The call's `Mesos-Stream-Id`.
        stream: StreamId,
        /// What it wants.
        call: Call,
    },
    /// The scheduler closed its stream, or the shell did because it could not keep up.
    StreamClosed {
        /// Which.
        stream: StreamId,
    },
    /// An operator ends a framework (`/teardown`). Answer: `Done` or `NotFound`.
    Teardown {
        /// Number of the answer.
        request: RequestId,
        /// Which.
        framework: FrameworkId,
    },
    /// An operator kills a task in its framework's place. Answer: `Done` or `NotFound`.
    KillTask {
        /// Number of the answer.
        request: RequestId,
        /// Which.
        key: TaskKey,
        /// Overrides the task's grace period, milliseconds.
        grace_ms: Option<u32>,
    },
    /// Somebody reads a file of a task's sandbox. Answer: `File`, `NotFound` or `Unavailable`.
    ReadFile {
        /// Number of the answer.
        request: RequestId,
        /// Whose sandbox.
        key: TaskKey,
        /// Relative to the sandbox.
        path: String,
        /// First byte.
        offset: u64,
        /// At most this many bytes.
        length: u32,
    },
    /// An agent is to dial once more, for somebody. Answer: `Done` (it was asked), `NotFound` or `Unavailable`.
    CallBack {
        /// Number of the answer.
        request: RequestId,
        /// Which.
        agent: AgentId,
        /// What its connection is to begin with.
        token: Uuid,
    },
    /// An operator changes something for longer. Answer: `Done`, `NotFound`, `Invalid` or `Conflict`.
    Order {
        /// Number of the answer.
        request: RequestId,
        /// What.
        order: Order,
    },
    /// The built-in schedulers keep something: [`Wish::Keep`](crate::builtin::Wish::Keep).
    Keep(Command),
    /// Time has passed: [`Ready::deadline`](crate::Ready::deadline) was reached. Harmless at any other time.
    Tick,
}

/// A SUBSCRIBE call, taken out of its protobuf.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe {
    /// The new stream.
    pub stream: StreamId,
    /// The id the framework says it has; `None` (or an empty text, which the shell maps to `None`) for a new one.
    pub framework: Option<FrameworkId>,
    /// What the core goes by.
    pub facts: FrameworkFacts,
    /// Protobuf of `FrameworkInfo` with its id set; for a new framework the shell sets
    /// [`Master::next_framework_id`](crate::Master::next_framework_id).
    pub info: Vec<u8>,
    /// Roles that want no offers yet.
    pub suppressed_roles: Vec<String>,
    /// `offer_filters` by role: an offer must hold one of these; an empty list accepts any offer. Roles not named here
    /// go by `Config::min_allocatable`.
    pub min_allocatable: BTreeMap<String, Vec<Resources>>,
    /// From which agents it wants offers.
    pub constraints: Constraints,
}
