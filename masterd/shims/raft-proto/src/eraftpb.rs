//! The messages. Called by `raft` under this name.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Room for the small fields of a message, in the sizes that raft adds up.
const SMALL_FIELDS: usize = 32;

/// The accessors that raft calls beside the fields: by reference, to change, to replace, to take.
macro_rules! accessors {
    ($message:ident { $($field:ident: $kind:ty, $get:ident, $mutable:ident, $set:ident, $take:ident;)* }) => {
        impl $message {
            $(
                #[allow(missing_docs)]
                pub fn $get(&self) -> &$kind {
                    &self.$field
                }

                #[allow(missing_docs)]
                pub fn $mutable(&mut self) -> &mut $kind {
                    &mut self.$field
                }

                #[allow(missing_docs)]
                pub fn $set(&mut self, value: $kind) {
                    self.$field = value;
                }

                #[allow(missing_docs)]
                pub fn $take(&mut self) -> $kind {
                    std::mem::take(&mut self.$field)
                }
            )*
        }
    };
}

/// The accessors of numbers and enums.
macro_rules! copied {
    ($message:ident { $($field:ident: $kind:ty, $get:ident, $set:ident;)* }) => {
        impl $message {
            $(
                #[allow(missing_docs)]
                pub fn $get(&self) -> $kind {
                    self.$field
                }

                #[allow(missing_docs)]
                pub fn $set(&mut self, value: $kind) {
                    self.$field = value;
                }
            )*
        }
    };
}

/// What raft does with these itself.
macro_rules! written_by_postcard {
    ($($message:ident: $size:expr;)*) => {
        $(
            impl protobuf::Message for $message {
                fn compute_size(&self) -> u32 {
                    let size: fn(&$message) -> usize = $size;
                    u32::try_from(size(self)).unwrap_or(u32::MAX)
                }

                fn write_to_bytes(&self) -> Result<Vec<u8>, protobuf::ProtobufError> {
                    postcard::to_allocvec(self).map_err(protobuf::ProtobufError)
                }

                fn merge_from_bytes(&mut self, bytes: &[u8]) -> Result<(), protobuf::ProtobufError> {
                    *self = read(bytes).map_err(protobuf::ProtobufError)?;
                    Ok(())
                }
            }
        )*
    };
}

fn read<T: Default + DeserializeOwned>(bytes: &[u8]) -> Result<T, postcard::Error> {
    if bytes.is_empty() {
        return Ok(T::default());
    }
    postcard::from_bytes(bytes)
}

/// What an entry of the log is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EntryType {
    /// Data of the state machine.
    #[default]
    EntryNormal,
    /// A [`ConfChange`].
    EntryConfChange,
    /// A [`ConfChangeV2`].
    EntryConfChangeV2,
}

/// One entry of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What `data` is.
    pub entry_type: EntryType,
    /// The leader's term that proposed it.
    pub term: u64,
    /// Its place in the log, from 1.
    pub index: u64,
    /// The content.
    pub data: Bytes,
    /// What the proposer wants to know it by.
    pub context: Bytes,
    /// Not used; raft copies it.
    pub sync_log: bool,
}

/// What a snapshot stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMetadata {
    /// The members at `index`.
    pub conf_state: ConfState,
    /// The last entry that is in it.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
}

/// The state machine at one place of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The state.
    pub data: Bytes,
    /// What it stands for.
    pub metadata: SnapshotMetadata,
}

impl Snapshot {
    /// Whether it stands for nothing.
    pub fn is_empty(&self) -> bool {
        self.metadata.index == 0
    }
}

/// What a message between members is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // raft's own names, which its documentation explains.
pub enum MessageType {
    #[default]
    MsgHup,
    MsgBeat,
    MsgPropose,
    MsgAppend,
    MsgAppendResponse,
    MsgRequestVote,
    MsgRequestVoteResponse,
    MsgSnapshot,
    MsgHeartbeat,
    MsgHeartbeatResponse,
    MsgUnreachable,
    MsgSnapStatus,
    MsgCheckQuorum,
    MsgTransferLeader,
    MsgTimeoutNow,
    MsgReadIndex,
    MsgReadIndexResp,
    MsgRequestPreVote,
    MsgRequestPreVoteResponse,
}

/// What members tell each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // What a field means depends on the type: see raft's documentation.
pub struct Message {
    pub msg_type: MessageType,
    pub to: u64,
    pub from: u64,
    pub term: u64,
    pub log_term: u64,
    pub index: u64,
    pub entries: Vec<Entry>,
    pub commit: u64,
    pub commit_term: u64,
    snapshot: Option<Box<Snapshot>>,
    pub request_snapshot: u64,
    pub reject: bool,
    pub reject_hint: u64,
    pub context: Bytes,
    /// Not used; raft copies it.
    pub deprecated_priority: u64,
    pub priority: i64,
}

impl Message {
    /// The snapshot, or an empty one.
    pub fn get_snapshot(&self) -> &Snapshot {
        static NONE: Snapshot = Snapshot {
            data: Bytes::new(),
            metadata: SnapshotMetadata {
                conf_state: ConfState {
                    voters: Vec::new(),
                    learners: Vec::new(),
                    voters_outgoing: Vec::new(),
                    learners_next: Vec::new(),
                    auto_leave: false,
                },
                index: 0,
                term: 0,
            },
        };
        self.snapshot.as_deref().unwrap_or(&NONE)
    }

    /// Puts a snapshot in.
    pub fn set_snapshot(&mut self, snapshot: Snapshot) {
        self.snapshot = Some(Box::new(snapshot));
    }

    /// Takes it out.
    pub fn take_snapshot(&mut self) -> Snapshot {
        self.snapshot.take().map(|boxed| *boxed).unwrap_or_default()
    }
}

/// What must be on disk before messages go out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardState {
    /// The latest term that was seen.
    pub term: u64,
    /// Whom this member has voted for in it; 0: nobody.
    pub vote: u64,
    /// The last entry that is known to be committed.
    pub commit: u64,
}

/// How a change of the members is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConfChangeTransition {
    /// In one step where possible.
    #[default]
    Auto,
    /// By a joint configuration that ends by itself.
    Implicit,
    /// By a joint configuration that is ended by an empty change.
    Explicit,
}

/// The members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfState {
    /// Those who vote.
    pub voters: Vec<u64>,
    /// Those who only follow.
    pub learners: Vec<u64>,
    /// In a joint configuration: who voted before.
    pub voters_outgoing: Vec<u64>,
    /// In a joint configuration: who will only follow.
    pub learners_next: Vec<u64>,
    /// A joint configuration ends by itself.
    pub auto_leave: bool,
}

impl<V, L> From<(V, L)> for ConfState
where
    V: IntoIterator<Item = u64>,
    L: IntoIterator<Item = u64>,
{
    fn from((voters, learners): (V, L)) -> Self {
        Self {
            voters: voters.into_iter().collect(),
            learners: learners.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// What becomes of one member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConfChangeType {
    /// It votes.
    #[default]
    AddNode,
    /// It is none any more.
    RemoveNode,
    /// It only follows.
    AddLearnerNode,
}

/// A change of one member, in its older form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfChange {
    /// What becomes of it.
    pub change_type: ConfChangeType,
    /// Which one.
    pub node_id: u64,
    /// What the proposer wants to say with it.
    pub context: Bytes,
    /// Not used.
    pub id: u64,
}

/// A change of one member, as a part of [`ConfChangeV2`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfChangeSingle {
    /// What becomes of it.
    pub change_type: ConfChangeType,
    /// Which one.
    pub node_id: u64,
}

/// A change of the members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfChangeV2 {
    /// How it is made.
    pub transition: ConfChangeTransition,
    /// What becomes of whom. None: a joint configuration ends.
    pub changes: Vec<ConfChangeSingle>,
    /// What the proposer wants to say with it.
    pub context: Bytes,
}

accessors!(Entry {
    data: Bytes, get_data, mut_data, set_data, take_data;
    context: Bytes, get_context, mut_context, set_context, take_context;
});
copied!(Entry {
    entry_type: EntryType, get_entry_type, set_entry_type;
    term: u64, get_term, set_term;
    index: u64, get_index, set_index;
});
accessors!(SnapshotMetadata {
    conf_state: ConfState, get_conf_state, mut_conf_state, set_conf_state, take_conf_state;
});
accessors!(Snapshot {
    data: Bytes, get_data, mut_data, set_data, take_data;
    metadata: SnapshotMetadata, get_metadata, mut_metadata, set_metadata, take_metadata;
});
accessors!(Message {
    entries: Vec<Entry>, get_entries, mut_entries, set_entries, take_entries;
    context: Bytes, get_context, mut_context, set_context, take_context;
});
copied!(Message {
    msg_type: MessageType, get_msg_type, set_msg_type;
    term: u64, get_term, set_term;
    index: u64, get_index, set_index;
    commit: u64, get_commit, set_commit;
    priority: i64, get_priority, set_priority;
});
copied!(HardState {
    term: u64, get_term, set_term;
    vote: u64, get_vote, set_vote;
    commit: u64, get_commit, set_commit;
});
accessors!(ConfState {
    voters: Vec<u64>, get_voters, mut_voters, set_voters, take_voters;
    learners: Vec<u64>, get_learners, mut_learners, set_learners, take_learners;
    voters_outgoing: Vec<u64>, get_voters_outgoing, mut_voters_outgoing, set_voters_outgoing, take_voters_outgoing;
    learners_next: Vec<u64>, get_learners_next, mut_learners_next, set_learners_next, take_learners_next;
});
accessors!(ConfChange {
    context: Bytes, get_context, mut_context, set_context, take_context;
});
copied!(ConfChange {
    change_type: ConfChangeType, get_change_type, set_change_type;
});
copied!(ConfChangeSingle {
    change_type: ConfChangeType, get_change_type, set_change_type;
});
accessors!(ConfChangeV2 {
    changes: Vec<ConfChangeSingle>, get_changes, mut_changes, set_changes, take_changes;
    context: Bytes, get_context, mut_context, set_context, take_context;
});
copied!(ConfChangeV2 {
    transition: ConfChangeTransition, get_transition, set_transition;
});
written_by_postcard! {
    Entry: |entry| SMALL_FIELDS + entry.data.len() + entry.context.len();
    ConfChange: |change| SMALL_FIELDS + change.context.len();
    ConfChangeV2: |change| SMALL_FIELDS * (1 + change.changes.len()) + change.context.len();
}

#[cfg(test)]
mod tests {
    use protobuf::Message as _;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let change = ConfChangeV2 {
            transition: ConfChangeTransition::Explicit,
            changes: vec![ConfChangeSingle {
                change_type: ConfChangeType::AddLearnerNode,
                node_id: 7,
            }],
            context: Bytes::from_static(b"who"),
        };
        let mut read = ConfChangeV2::default();
        let bytes = change.write_to_bytes().expect("plain data");
        read.merge_from_bytes(&bytes).expect("just written");
        assert_eq!(read, change);
        read.merge_from_bytes(&[]).expect("an empty change");
        assert_eq!(read, ConfChangeV2::default());
        assert!(read.merge_from_bytes(&[9]).is_err());
    }

    #[test]
    fn a_message_without_a_snapshot_shows_an_empty_one() {
        let mut message = Message::default();
        assert!(message.get_snapshot().is_empty());
        let mut snapshot = Snapshot::default();
        snapshot.mut_metadata().index = 3;
        message.set_snapshot(snapshot.clone());
        assert_eq!(message.take_snapshot(), snapshot);
        assert_eq!(message, Message::default());
    }

    #[test]
    fn an_entrys_size_is_not_below_its_content() {
        let entry = Entry {
            data: vec![1; 1000].into(),
            index: u64::MAX,
            term: u64::MAX,
            ..Entry::default()
        };
        let written = entry.write_to_bytes().expect("plain data").len();
        assert!(entry.compute_size() as usize >= written);
    }
}
