//! The messages of the crate `raft` as plain structs that postcard writes, in the place of the generated ones.
//!
//! Called by `raft`, and by masterd for its log and its links. Names of fields and functions are those that raft calls; what
//! they mean is in raft's own documentation. Invariant: every message that was written is read back equal.

mod changes;
pub mod eraftpb;

pub use changes::{
    ConfChangeI, conf_state_eq, new_conf_change_single, parse_conf_change, stringify_conf_change,
};

/// What users of raft import.
pub mod prelude {
    pub use crate::eraftpb::{
        ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2,
        ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot, SnapshotMetadata,
    };
}
