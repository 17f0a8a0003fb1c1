//! First contact: a board that has only the join token asks for its certificate (ALPN `nesos-join/1`).
//!
//! Called by the server. One request, one answer. Invariants: the secret is compared in constant time, a refusal is logged
//! with the node's name and address, and no secret is ever logged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nesos_base::token::JoinToken;
use nesos_shell::framed::{self, FrameReader};
use nesos_shell::plain::Secrets;
use nesos_shell::tls::{self, Authority};
use nesos_wire::NodeId;
use nesos_wire::join::{JoinAnswer, JoinRequest};
use nesos_wire::version;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

/// How long a board may take for its request.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Largest request: a secret, a key and two names.
const MAX_REQUEST: usize = 1024;
/// Longest node id that fits a certificate's common name (RFC 5280).
const MAX_COMMON_NAME: usize = 64;

/// What the join handler needs.
#[derive(Debug, Clone)]
pub(crate) struct Doorkeeper {
    /// Signs.
    pub(crate) authority: Arc<Authority>,
    /// What boards must know.
    pub(crate) token: JoinToken,
    /// Told to the board.
    pub(crate) cluster: String,
    /// Makes the board's secret.
    pub(crate) secrets: Secrets,
}

impl Doorkeeper {
    /// Answers one request.
    pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        peer: SocketAddr,
    ) {
        let mut reader = FrameReader::with_limit(&mut stream, MAX_REQUEST);
        let request: JoinRequest = match reader.read_within(REQUEST_LIMIT).await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!("join request from {peer}: {error}");
                return;
            }
        };
        let answer = match self.judge(&request) {
            Ok(certificate) => {
                tracing::info!(
                    "node {} ({:?}) at {peer} joined the cluster",
                    request.node,
                    request.hostname
                );
                let ca = self.authority.certificate().to_vec();
                JoinAnswer::Accepted {
                    certificate,
                    ca,
                    cluster: self.cluster.clone(),
                    secret: self.secrets.of(&request.node),
                }
            }
            Err(reason) => {
                tracing::warn!(
                    "refused node {:?} ({:?}) at {peer}: {reason}",
                    request.node.as_str(),
                    request.hostname
                );
                JoinAnswer::Refused { reason }
            }
        };
        let sent = tokio::time::timeout(REQUEST_LIMIT, async {
            framed::write(&mut stream, &answer).await?;
            stream.shutdown().await.map_err(framed::LinkError::Io)
        });
        if let Ok(Err(error)) = sent.await {
            tracing::debug!("join answer to {peer}: {error}");
        }
    }

    /// The board's certificate, or a sentence for its console.
    fn judge(&self, request: &JoinRequest) -> Result<Vec<u8>, String> {
        version::negotiate(request.version).map_err(|e| e.to_string())?;
        let secret =
            tls::secrets_match(&request.secret, &self.token.secret).map_err(|e| e.to_string())?;
        if !secret {
            return Err(
                "the join token is wrong: its second half is not this cluster's secret".into(),
            );
        }
        let node = NodeId::parse(request.node.as_str()).map_err(|e| e.to_string())?;
        if node.as_str().len() > MAX_COMMON_NAME {
            return Err(format!(
                "the node id is longer than {MAX_COMMON_NAME} bytes"
            ));
        }
        self.authority
            .issue_node(&node, request.public_key)
            .map_err(|e| e.to_string())
    }
}
