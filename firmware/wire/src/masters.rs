//! What masters say to each other (TLS, ALPN `nesos-master/1`), and what is known of each.
//!
//! A connection carries messages one way: each master dials each other one. Raft's own messages are opaque here; one that
//! does not fit a frame comes in several. Append-only; old bytes decode for ever.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::version::Version;

/// ALPN of links between masters (mutual TLS with a certificate that only holders of the cluster key can make).
pub const ALPN_MASTER: &[u8] = b"nesos-master/1";
/// Bytes of a raft message in one frame: several times a usual one, and a fraction of the bound of frames.
pub const PART: usize = 256 * 1024;

/// Most masters of a cluster, learners included: more than 7 only make each commit dearer.
pub const MAX_MASTERS: usize = 15;

/// A master of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterRecord {
    /// Drawn by chance when its disk was first used, never 0: one that lost its disk is another master.
    pub number: u64,
    /// Its host's name.
    pub name: String,
    /// `host:port` as others reach it.
    pub address: String,
    /// It is to have a vote as soon as it has caught up.
    pub is_to_vote: bool,
}

/// What a master says to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MasterToMaster {
    /// The first message of who dials: who it is.
    Introduce {
        /// Wire version it speaks.
        version: Version,
        /// Which cluster it is of.
        cluster: String,
        /// Itself.
        master: MasterRecord,
    },
    /// The only message of who was dialled, its answer: the masters that it knows.
    Known {
        /// Itself included.
        masters: Vec<MasterRecord>,
    },
    /// The answer to who may not speak: why, in a sentence.
    Refused {
        /// For its log.
        reason: String,
    },
    /// A piece of a raft message of at most [`PART`] bytes.
    Raft {
        /// The message is complete with it.
        is_last: bool,
        /// Its bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
}
