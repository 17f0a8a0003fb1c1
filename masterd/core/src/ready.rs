//! What a master wants done: the output of `Master::ready`.
//!
//! Obeyed by the shell in the order of the fields: persist, send, answer, close, arm the timer. Invariant: nothing in a
//! Ready may be seen outside before its commands, and those of all earlier Readys, are durable.

use nesos_base::time::Instant;
use nesos_wire::command::Command;
use nesos_wire::message::{FileChunk, FileError, MasterToAgent};

use crate::event::{LinkId, RequestId, StreamId};
use crate::news::News;
use crate::outgoing::FrameworkEvent;

/// One batch of work for the shell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ready {
    /// To be made durable, in order, in one transaction, before anything below happens.
    pub commands: Vec<Command>,
    /// Messages in order. A link that is gone meanwhile: drop them.
    pub to_agents: Vec<(LinkId, MasterToAgent)>,
    /// Events in order. A stream that is gone meanwhile: drop them.
    pub to_frameworks: Vec<(StreamId, FrameworkEvent)>,
    /// Answers to operators.
    pub answers: Vec<(RequestId, Answer)>,
    /// What operators who watch are told; empty while [`Master::watch`](crate::Master::watch) is off.
    pub news: Vec<News>,
    /// Links to close after their messages were sent. No `AgentClosed` is needed for them; one does no harm.
    pub close_links: Vec<LinkId>,
    /// Streams to end after their events were sent. No `StreamClosed` is needed for them; one does no harm.
    pub close_streams: Vec<StreamId>,
    /// When `Event::Tick` is due at the latest. `None`: only other events can change anything.
    pub deadline: Option<Instant>,
}

impl Ready {
    /// Whether there is nothing to do but to wait for the deadline.
    pub fn is_idle(&self) -> bool {
        self.commands.is_empty()
            && self.to_agents.is_empty()
            && self.to_frameworks.is_empty()
            && self.answers.is_empty()
            && self.news.is_empty()
            && self.close_links.is_empty()
            && self.close_streams.is_empty()
    }
}

/// What an operator's question came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done (or under way: a kill takes its time).
    Done,
    /// There is no such framework or task; a sentence.
    NotFound(String),
    /// It is not allowed or makes no sense; a sentence.
    Invalid(String),
    /// There is not enough for it; a sentence.
    Conflict(String),
    /// It cannot be answered now, e.g. because the agent is not connected; a sentence.
    Unavailable(String),
    /// The agent's answer to `ReadFile`.
    File(Result<FileChunk, FileError>),
}
