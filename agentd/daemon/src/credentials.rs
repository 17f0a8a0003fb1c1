//! The certificate by which this machine belongs to a cluster, and how it is obtained.
//!
//! Kept in `meta/credentials`. Called by `dial`. Invariant: a certificate is used only for the node and the cluster (the
//! token's pin) it was issued for; another token in cluster.toml makes the board join anew.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agentd_core::LinkError;
use nesos_base::token::JoinToken;
use nesos_shell::framed::{self, FrameReader};
use nesos_shell::tls::{self, NodeKey, TlsError};
use nesos_sys::fs::write_durably;
use nesos_wire::NodeId;
use nesos_wire::join::{JoinAnswer, JoinRequest};
use nesos_wire::plain::LinkSecret;
use nesos_wire::version;
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

const FILE: &str = "credentials";
/// Largest answer to a join request: two certificates of some 400 bytes each.
const MAX_ANSWER: usize = 64 * 1024;
/// The master answers from memory.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credentials {
    pub(crate) node: NodeId,
    /// First half of the token that let the board in.
    pin: [u8; 16],
    key: [u8; 32],
    certificate: Vec<u8>,
    ca: Vec<u8>,
    cluster: String,
    /// For links without TLS.
    pub(crate) secret: LinkSecret,
}

impl Credentials {
    /// Those from an earlier join, if they are for this node and, when a token is known, for its cluster.
    pub(crate) fn load(meta: &Path, node: &NodeId, token: Option<&JoinToken>) -> Option<Self> {
        let bytes = fs::read(meta.join(FILE)).ok()?;
        let Ok(loaded) = postcard::from_bytes::<Self>(&bytes) else {
            tracing::warn!("{} is damaged: joining anew", meta.join(FILE).display());
            return None;
        };
        let fits = loaded.node == *node && token.is_none_or(|token| token.pin == loaded.pin);
        fits.then_some(loaded)
    }

    /// For the agent link.
    fn tls(&self) -> Result<Arc<ClientConfig>, TlsError> {
        tls::link_client(&self.ca, &self.certificate, &NodeKey::from_bytes(self.key))
    }

    /// Asks the master behind `stream` for a certificate and keeps it.
    pub(crate) async fn join(
        meta: &Path,
        node: &NodeId,
        hostname: &str,
        token: &JoinToken,
        stream: TcpStream,
    ) -> Result<Self, LinkError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            LinkError::Failed(format!("{what}: {error}"))
        };
        let key = NodeKey::generate().map_err(|e| failed("cannot make a key", &e))?;
        let public_key = key
            .public_key()
            .map_err(|e| failed("cannot make a key", &e))?;
        let config = tls::join_client(token).map_err(|e| failed("cannot set up TLS", &e))?;
        let mut stream = tls::connect(config, stream)
            .await
            .map_err(|error| handshake_error(&error))?;
        let request = JoinRequest {
            version: version::CURRENT,
            secret: token.secret,
            node: node.clone(),
            hostname: hostname.into(),
            public_key,
        };
        framed::write(&mut stream, &request)
            .await
            .map_err(|e| failed("cannot ask to join", &e))?;
        let mut reader = FrameReader::with_limit(stream, MAX_ANSWER);
        let answer = reader
            .read_within(ANSWER_LIMIT)
            .await
            .map_err(|e| failed("no answer to the join request", &e))?;
        match answer {
            Some(JoinAnswer::Accepted {
                certificate,
                ca,
                cluster,
                secret,
            }) => {
                tracing::info!("joined cluster {cluster} as node {node}");
                let own = Self {
                    node: node.clone(),
                    pin: token.pin,
                    key: key.to_bytes(),
                    certificate,
                    ca,
                    cluster,
                    secret,
                };
                own.store(meta);
                Ok(own)
            }
            Some(JoinAnswer::Refused { reason }) => Err(LinkError::Refused(format!(
                "the master refuses to let this node join: {reason}"
            ))),
            None => Err(LinkError::Failed(
                "the master closed the link without an answer to the join request".into(),
            )),
        }
    }

    /// A full disk is no reason not to join: the next start joins again.
    fn store(&self, meta: &Path) {
        let stored = postcard::to_allocvec(self)
            .map_err(|e| e.to_string())
            .and_then(|bytes| write_durably(meta, FILE, &bytes).map_err(|e| e.to_string()));
        if let Err(error) = stored {
            tracing::warn!("the certificate cannot be kept: {error}");
        }
    }
}

/// The TLS side of the credentials used last, kept because it remembers the last link: the next one then costs a master
/// with thousands of agents half as much.
#[derive(Default)]
pub(crate) struct Secured(RefCell<Option<(Credentials, Arc<ClientConfig>)>>);

impl std::fmt::Debug for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secured")
    }
}

impl Secured {
    /// What a link with these credentials is opened with.
    pub(crate) fn with(&self, credentials: Credentials) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some((known, tls)) = &*self.0.borrow()
            && *known == credentials
        {
            return Ok(Arc::clone(tls));
        }
        let tls = credentials.tls()?;
        *self.0.borrow_mut() = Some((credentials, Arc::clone(&tls)));
        Ok(tls)
    }
}

/// A handshake that fails over certificates will fail again; one that breaks off may not.
pub(crate) fn handshake_error(error: &TlsError) -> LinkError {
    match error {
        TlsError::Handshake(io) if io.kind() != std::io::ErrorKind::InvalidData => {
            LinkError::Failed(error.to_string())
        }
        _ => LinkError::Refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use nesos_base::token::ClusterKey;

    use super::*;

    #[test]
    fn only_fitting_credentials_are_used() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let own = Credentials {
            node: NodeId::new("n"),
            pin: [1; 16],
            key: [2; 32],
            certificate: vec![3],
            ca: vec![4],
            cluster: "c".into(),
            secret: LinkSecret([5; 32]),
        };
        own.store(folder.path());
        let token = |pin| JoinToken {
            pin: [pin; 16],
            secret: [0; 16],
        };
        let load = |node: &str, token: Option<JoinToken>| {
            Credentials::load(folder.path(), &NodeId::new(node), token.as_ref())
        };
        assert!(load("n", None).is_some_and(|loaded| loaded == own));
        assert!(load("n", Some(token(1))).is_some());
        assert!(load("n", Some(token(9))).is_none());
        assert!(load("m", None).is_none());
        fs::write(folder.path().join(FILE), b"\xff\xff\xff").expect("damage");
        assert!(load("n", None).is_none());
    }

    #[test]
    fn what_remembers_the_last_link_is_kept_for_the_same_credentials_only() {
        let authority = |seed| tls::Authority::new(&ClusterKey([seed; 32])).expect("a CA");
        let of = |authority: &tls::Authority| {
            let (node, key) = (NodeId::new("n"), NodeKey::from_bytes([5; 32]));
            let public_key = key.public_key().expect("a key");
            Credentials {
                pin: [1; 16],
                key: key.to_bytes(),
                certificate: authority.issue_node(&node, public_key).expect("signed"),
                ca: authority.certificate().to_vec(),
                cluster: "c".into(),
                secret: LinkSecret([5; 32]),
                node,
            }
        };
        let (home, other) = (of(&authority(1)), of(&authority(2)));
        let secured = Secured::default();
        let with = |credentials: &Credentials| secured.with(credentials.clone()).expect("TLS");
        let first = with(&home);
        assert!(Arc::ptr_eq(&first, &with(&home)));
        let elsewhere = with(&other);
        assert!(!Arc::ptr_eq(&first, &elsewhere));
        assert!(Arc::ptr_eq(&elsewhere, &with(&other)));
    }
}
