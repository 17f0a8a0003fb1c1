//! The agent link without TLS, for trusted networks: how both ends prove who they are before the first message.
//!
//! The agent knocks, the master proves itself and asks, the agent proves itself; from then on both speak as behind TLS. A
//! proof is an HMAC-SHA-256 under the node's [`LinkSecret`] over [`PROOF_OF_AGENT`] or [`PROOF_OF_MASTER`] and both nonces.
//! What follows is neither encrypted nor protected: whoever can change packets can take a link over.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::version::Version;

/// What a plain link begins with; neither a TLS record nor an HTTP request does.
pub const PREFACE: &[u8; 8] = b"\x01nesos\x00\x01";
/// What a master's proof is about.
pub const PROOF_OF_MASTER: &[u8] = b"nesos plain link: master";
/// What an agent's proof is about.
pub const PROOF_OF_AGENT: &[u8] = b"nesos plain link: agent";

/// What a node and every master of its cluster know; the node got it when it joined, over TLS.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSecret(pub [u8; 32]);

impl core::fmt::Debug for LinkSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("LinkSecret(secret)")
    }
}

/// Fresh random bytes of one end.
pub type Nonce = [u8; 32];

/// The agent begins, after [`PREFACE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knock {
    /// Wire version it speaks.
    pub version: Version,
    /// Who it says it is.
    pub node: NodeId,
    /// What the master's proof is to hold.
    pub nonce: Nonce,
}

/// The master's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Challenge {
    /// Who I am, and now you.
    Prove {
        /// What the agent's proof is to hold.
        nonce: Nonce,
        /// That this master belongs to the cluster.
        proof: [u8; 32],
    },
    /// No, and why, in a sentence.
    Refused {
        /// For the agent's log.
        reason: String,
    },
}

/// The agent is the node that it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// See the module.
    pub proof: [u8; 32],
}
