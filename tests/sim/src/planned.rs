//! What the world's clock brings: everything that is going to happen, as it is planned.
//!
//! Only the words; `world` carries them out. Invariant: what belongs to a process that may be gone by then has its number.

use agentd_core::ProbeKind;
use masterd_core::{Call, FrameworkEvent, StreamId, Subscribe};
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::{ContainerId, FrameworkId};

use crate::container::Exit;
use crate::fault::Fault;
use crate::net::Frame;
use crate::program::Step;

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Planned {
    /// The master's deadline, if it is still this one.
    MasterTick {
        generation: u64,
    },
    /// The master's shell obeys what has gathered.
    MasterReady {
        generation: u64,
    },
    MasterStart,
    /// The agent's deadline.
    BoardTick {
        board: usize,
        generation: u64,
    },
    BoardStart {
        board: usize,
    },
    /// A dial reaches the master's port.
    Dial {
        board: usize,
        generation: u64,
        link: u64,
    },
    /// The dial's outcome reaches the agent.
    DialFailed {
        board: usize,
        generation: u64,
        link: u64,
    },
    ToMaster {
        conn: usize,
        frame: Frame<AgentToMaster>,
    },
    ToBoard {
        conn: usize,
        frame: Frame<MasterToAgent>,
    },
    /// A container's helper starts, then its process; that ends by itself or because it was told to.
    ContainerStarts {
        container: ContainerId,
    },
    ContainerRuns {
        container: ContainerId,
    },
    ContainerEnds {
        container: ContainerId,
        exit: Exit,
    },
    /// A custom executor's process does something.
    Program {
        container: ContainerId,
        step: Step,
    },
    /// A look at a task ends.
    Probed {
        board: usize,
        generation: u64,
        container: ContainerId,
        kind: ProbeKind,
    },
    /// A SUBSCRIBE reaches the master's port.
    Subscribe {
        scheduler: usize,
        subscribe: Box<Subscribe>,
    },
    /// Any other call.
    Call {
        scheduler: usize,
        framework: FrameworkId,
        stream: StreamId,
        call: Box<Call>,
    },
    /// An event of a stream reaches the scheduler.
    ToScheduler {
        scheduler: usize,
        stream: StreamId,
        event: Box<FrameworkEvent>,
    },
    /// The scheduler notices that its stream is over.
    StreamEnds {
        scheduler: usize,
        stream: StreamId,
    },
    /// The master notices.
    StreamGone {
        stream: StreamId,
        generation: u64,
    },
    /// The scheduler does something of its own accord.
    Think {
        scheduler: usize,
    },
    SchedulerStart {
        scheduler: usize,
    },
    Fault(Fault),
    /// The operator does something.
    Operate,
    /// Somebody erases a board that was given up, so that it can join again.
    BoardWipe {
        board: usize,
    },
    Heal,
    /// An agent looks at all its containers.
    Look {
        board: usize,
        generation: u64,
    },
}
