//! What a member of the group says and wants done. Plain data, made by the parent module and obeyed by the shell.

use bytes::Bytes;
use nesos_wire::version::Version;
use raft::eraftpb::{ConfState, Entry, HardState, Message, Snapshot, SnapshotMetadata};

/// Why something was not proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another member leads, or nobody.
    #[error("this master does not lead; the leader is {leader:?}")]
    NotLeader {
        /// Who does, if that is known.
        leader: Option<u64>,
    },
    /// Too much is under way, a change of members is, or the leadership is being handed over.
    #[error("not now: too much is under way, or the members or the leader are changing")]
    NotNow,
    /// A member could not read it.
    #[error(
        "not yet: it takes wire version {}, and some master speaks no more than {}: upgrade all masters first (nesos master list)", needs.0, speaks.0
    )]
    TooNew {
        /// Since which version it can be read.
        needs: Version,
        /// What all members read.
        speaks: Version,
    },
}

/// Why a member cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log of master {member} makes no sense to raft: {reason}")]
pub struct StartError {
    /// Which member.
    pub member: u64,
    /// raft's words.
    pub reason: String,
}

/// What a member is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// It leads.
    pub leads: bool,
    /// Who leads, as far as it knows.
    pub leader: Option<u64>,
    /// In which term.
    pub term: u64,
}

/// Something that everybody applies, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// What somebody proposed.
    Data {
        /// Its place.
        index: u64,
        /// Whose term it is from; with the index it tells a proposer whether it is its own.
        term: u64,
        /// What was proposed.
        data: Bytes,
    },
    /// The members have changed.
    Members {
        /// The entry's place.
        index: u64,
        /// Who they are now.
        members: ConfState,
        /// What the proposer said with it.
        context: Bytes,
    },
    /// The state machine becomes this one.
    Snapshot {
        /// What it stands for.
        saved: SnapshotMetadata,
        /// The state.
        data: Bytes,
    },
}

/// What is to be done now, in the order of the fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Work {
    /// To other members, at once.
    pub send: Vec<Message>,
    /// To be made durable before [`Consensus::stored`] is called.
    pub store: Store,
    /// To be applied; the snapshot, if there is one, after it is durable.
    pub apply: Vec<Committed>,
}

/// What is to be made durable.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Store {
    /// Takes the place of everything.
    pub snapshot: Option<Snapshot>,
    /// Replace what is in the log from the first one's index on.
    pub entries: Vec<Entry>,
    /// Term, vote and commit.
    pub hard_state: Option<HardState>,
    /// Something of it must not be lost: flush. Otherwise it may be written with the next batch.
    pub must_flush: bool,
}

/// What may be done once the last work is durable.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct After {
    /// To other members.
    pub send: Vec<Message>,
    /// To be applied.
    pub apply: Vec<Committed>,
}
