//! First contact: how a board that has only a join token gets its certificate (TLS, ALPN `nesos-join/1`).
//!
//! One request, one answer, then the link is closed. The board has verified the server against the CA that its token
//! pins before it sends the secret.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::plain::LinkSecret;
use crate::version::Version;

/// ALPN of the agent link (mutual TLS).
pub const ALPN_AGENT: &[u8] = b"nesos-agent/1";
/// ALPN of first contact (the client has no certificate yet).
pub const ALPN_JOIN: &[u8] = b"nesos-join/1";
/// Name in every master's certificate.
pub const SERVER_NAME: &str = "master.nesos";

/// A board asks to be let in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Wire version it speaks.
    pub version: Version,
    /// The token's secret half.
    pub secret: [u8; 16],
    /// Who it is.
    pub node: NodeId,
    /// Its name, for the log.
    pub hostname: String,
    /// Ed25519 public key to be certified; the board proves that it owns it in the next TLS handshake.
    pub public_key: [u8; 32],
}

impl core::fmt::Debug for JoinRequest {
    /// Leaves the secret out: requests are logged.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("JoinRequest")
            .field("node", &self.node)
            .field("hostname", &self.hostname)
            .finish_non_exhaustive()
    }
}

/// The master's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinAnswer {
    /// Welcome to the cluster.
    Accepted {
        /// The board's certificate, DER.
        #[serde(with = "serde_bytes")]
        certificate: Vec<u8>,
        /// The CA's certificate, DER.
        #[serde(with = "serde_bytes")]
        ca: Vec<u8>,
        /// The cluster's name.
        cluster: String,
        /// What the board proves itself with where links go without TLS.
        secret: LinkSecret,
    },
    /// No, and why, in a sentence.
    Refused {
        /// For the board's console.
        reason: String,
    },
}
