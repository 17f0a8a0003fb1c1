//! The agent link without TLS: both ends prove that they belong to the cluster, and the agent which node it is.
//!
//! Not what is said afterwards, and no protection of it (see `nesos_wire::plain`): for networks on which nobody listens
//! who must not, and only where both ends were told so. Called by masterd's server and agentd's dial. Invariants: the
//! agent proves nothing to a master that has not proved itself, no byte behind the greeting is lost, and each end draws
//! its own nonce.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nesos_base::token::ClusterKey;
use nesos_wire::NodeId;
use nesos_wire::frame::{self, FrameError, HEADER, MAX_FRAME};
use nesos_wire::plain::{
    Challenge, Knock, LinkSecret, Nonce, PREFACE, PROOF_OF_AGENT, PROOF_OF_MASTER, Proof,
};
use nesos_wire::version::{self, VersionError};
use ring::hmac;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::framed::{self, FrameReader, LinkError};
use crate::tls;

/// What the nodes' secrets are derived for, and its version.
const LABEL: &[u8] = b"plain links 1";
/// Largest message of the greeting: a node id, or a sentence.
const MAX_MESSAGE: usize = 1024;

/// Why a plain link is none.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// The stream failed.
    #[error("the link broke: {0}")]
    Io(#[from] io::Error),
    /// What came is not part of a greeting.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// No message could be written.
    #[error("{0}")]
    Link(#[from] LinkError),
    /// A message is too long to be one.
    #[error("a message of {0} bytes was announced, a greeting has at most {MAX_MESSAGE}")]
    TooLong(usize),
    /// It does not begin as plain links do.
    #[error("it begins neither as TLS, nor as HTTP, nor as a plain agent link")]
    NoPreface,
    /// The other side speaks another version.
    #[error("{0}")]
    Version(#[from] VersionError),
    /// The system's random source failed.
    #[error("{0}")]
    Random(#[from] tls::TlsError),
    /// The master said no.
    #[error("{0}")]
    Refused(String),
    /// The proof is wrong: another cluster, or somebody else.
    #[error("the {0} does not know this node's secret: it belongs to another cluster, or to none")]
    Proof(&'static str),
}

/// A master's: makes every node's secret.
#[derive(Debug, Clone)]
pub struct Secrets(hmac::Key);

impl Secrets {
    /// Those of the cluster with this key: the same for ever, at every master.
    pub fn new(key: &ClusterKey) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key.0), LABEL);
        Self(hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref()))
    }

    /// The secret of one node.
    pub fn of(&self, node: &NodeId) -> LinkSecret {
        let tag = hmac::sign(&self.0, node.as_str().as_bytes());
        let mut secret = [0; 32];
        secret.copy_from_slice(tag.as_ref());
        LinkSecret(secret)
    }
}

/// The agent's side: proves itself to a master that has proved itself.
pub async fn knock<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    node: &NodeId,
    secret: &LinkSecret,
) -> Result<Proved<S>, PlainError> {
    let own = nonce()?;
    let knock = Knock {
        version: version::CURRENT,
        node: node.clone(),
        nonce: own,
    };
    let first = [&PREFACE[..], &frame::encode(&knock)?].concat();
    stream.write_all(&first).await?;
    match read(&mut stream).await? {
        Challenge::Refused { reason } => Err(PlainError::Refused(reason)),
        Challenge::Prove { nonce, proof } => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.0);
            let said = said(PROOF_OF_MASTER, &own, &nonce);
            hmac::verify(&key, &said, &proof).map_err(|_| PlainError::Proof("master"))?;
            let proof = prove(&key, PROOF_OF_AGENT, &own, &nonce);
            let proof = frame::encode(&Proof { proof })?;
            Ok(Proved { stream, proof })
        }
    }
}

/// The agent's end of a link to a master that has proved itself. The agent's own proof leaves with the first thing that it
/// says, in one packet.
#[derive(Debug)]
pub struct Proved<S> {
    stream: S,
    /// What of it has not left yet.
    proof: Vec<u8>,
}

impl<S: AsyncWrite + Unpin> Proved<S> {
    /// Writes the proof's rest, and content behind it; says how much of the content.
    fn poll_send(&mut self, cx: &mut Context<'_>, content: &[u8]) -> Poll<io::Result<usize>> {
        while !self.proof.is_empty() {
            let both = [IoSlice::new(&self.proof), IoSlice::new(content)];
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &both))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_proof = written.min(self.proof.len());
            self.proof.drain(..of_proof);
            if written > of_proof {
                return Poll::Ready(Ok(written - of_proof));
            }
        }
        match content {
            [] => Poll::Ready(Ok(0)),
            _ => Pin::new(&mut self.stream).poll_write(cx, content),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Proved<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Proved<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        content: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, content)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx, &[]))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx, &[]))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// The master's side: the node that has proved itself, and what it says then.
pub async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    secrets: &Secrets,
) -> Result<(NodeId, FrameReader<S>), PlainError> {
    prefaced(&mut stream).await?;
    // It may have read a part of what comes behind the greeting, so it goes on to who reads that.
    let mut reader = FrameReader::with_limit(stream, MAX_MESSAGE);
    let knock: Knock = next(&mut reader).await?;
    version::negotiate(knock.version)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secrets.of(&knock.node).0);
    let own = nonce()?;
    let proof = prove(&key, PROOF_OF_MASTER, &knock.nonce, &own);
    framed::write(reader.stream(), &Challenge::Prove { nonce: own, proof }).await?;
    let proof: Proof = next(&mut reader).await?;
    let said = said(PROOF_OF_AGENT, &knock.nonce, &own);
    hmac::verify(&key, &said, &proof.proof).map_err(|_| PlainError::Proof("agent"))?;
    reader.set_limit(MAX_FRAME);
    Ok((knock.node, reader))
}

/// The master's other side: says no with this reason. The node that it was said to.
pub async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    reason: &str,
) -> Result<NodeId, PlainError> {
    prefaced(stream).await?;
    let knock: Knock = read(stream).await?;
    let reason = reason.to_owned();
    framed::write(stream, &Challenge::Refused { reason }).await?;
    stream.shutdown().await?;
    Ok(knock.node)
}

async fn prefaced<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(), PlainError> {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    match preface == *PREFACE {
        true => Ok(()),
        false => Err(PlainError::NoPreface),
    }
}

/// One message of the greeting.
async fn next<T: DeserializeOwned, S: AsyncRead + Unpin>(
    reader: &mut FrameReader<S>,
) -> Result<T, PlainError> {
    match reader.read().await {
        Ok(Some(message)) => Ok(message),
        Ok(None) | Err(LinkError::Truncated { .. }) => {
            Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
        }
        Err(LinkError::OverLimit { len, .. }) => Err(PlainError::TooLong(len)),
        Err(LinkError::Frame(error)) => Err(error.into()),
        Err(LinkError::Io(error)) => Err(error.into()),
        Err(error) => Err(error.into()),
    }
}

/// One message, and not a byte more: behind it others will read.
async fn read<T: DeserializeOwned, S: AsyncRead + Unpin>(stream: &mut S) -> Result<T, PlainError> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).await?;
    let len = frame::body_len(header)?;
    if len > MAX_MESSAGE {
        return Err(PlainError::TooLong(len));
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await?;
    Ok(frame::decode_body(&body)?)
}

fn nonce() -> Result<Nonce, tls::TlsError> {
    let mut nonce = [0; 32];
    tls::random(&mut nonce)?;
    Ok(nonce)
}

fn said(whose: &[u8], agent: &Nonce, master: &Nonce) -> Vec<u8> {
    [whose, agent, master].concat()
}

fn prove(key: &hmac::Key, whose: &[u8], agent: &Nonce, master: &Nonce) -> [u8; 32] {
    let mut proof = [0; 32];
    proof.copy_from_slice(hmac::sign(key, &said(whose, agent, master)).as_ref());
    proof
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nesos_wire::message::MasterToAgent;

    use super::*;

    fn secrets(seed: u8) -> Secrets {
        Secrets::new(&ClusterKey([seed; 32]))
    }

    /// Both ends at once: the agent `node` with this secret at the master of cluster 1.
    fn greet(
        node: &str,
        secret: LinkSecret,
    ) -> (Result<(), PlainError>, Result<NodeId, PlainError>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            let (a, b) = tokio::io::duplex(7);
            let node = NodeId::new(node);
            // What is said at once afterwards must still be there.
            let agent = async {
                let mut link = knock(a, &node, &secret).await?;
                let ping = MasterToAgent::Ping { sequence: 9 };
                framed::write(&mut link, &ping).await?;
                Ok(())
            };
            let master = async {
                let (node, mut reader) = answer(b, &secrets(1)).await?;
                let next = reader.read().await?;
                assert_eq!(next, Some(MasterToAgent::Ping { sequence: 9 }));
                Ok(node)
            };
            tokio::join!(agent, master)
        })
    }

    #[test]
    fn a_node_and_its_master_know_each_other() {
        let node = NodeId::new("board");
        let (agent, master) = greet("board", secrets(1).of(&node));
        agent.unwrap();
        assert_eq!(master.unwrap(), node);
    }

    #[test]
    fn a_master_of_another_cluster_is_noticed_before_anything_is_proved_to_it() {
        let (agent, master) = greet("board", secrets(2).of(&NodeId::new("board")));
        assert!(matches!(agent, Err(PlainError::Proof("master"))));
        assert!(matches!(master, Err(PlainError::Io(_))));
    }

    #[test]
    fn a_node_cannot_be_another_one() {
        let (agent, _) = greet("board", secrets(1).of(&NodeId::new("other")));
        assert!(matches!(agent, Err(PlainError::Proof("master"))));
        assert_ne!(
            secrets(1).of(&NodeId::new("a")),
            secrets(1).of(&NodeId::new("b"))
        );
    }

    /// What the master makes of an agent that says this.
    fn at_the_master(bytes: &[u8]) -> PlainError {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            let (mut a, b) = tokio::io::duplex(64 * 1024);
            a.write_all(bytes).await.unwrap();
            a.shutdown().await.unwrap();
            answer(b, &secrets(1)).await.unwrap_err()
        })
    }

    #[test]
    fn whoever_proves_nothing_gets_nothing() {
        let knock = Knock {
            version: version::CURRENT,
            node: NodeId::new("board"),
            nonce: [1; 32],
        };
        let knock = [&PREFACE[..], &frame::encode(&knock).unwrap()].concat();
        let proof = frame::encode(&Proof { proof: [0; 32] }).unwrap();
        let error = at_the_master(&[&knock[..], &proof].concat());
        assert!(matches!(error, PlainError::Proof("agent")), "{error}");
        let error = at_the_master(&knock);
        assert!(matches!(error, PlainError::Io(_)), "{error}");
    }

    #[test]
    fn what_is_no_greeting_is_refused_early() {
        let error = at_the_master(b"\x01nothing like it");
        assert!(matches!(error, PlainError::NoPreface), "{error}");
        let long = [&PREFACE[..], &5000_u32.to_le_bytes()].concat();
        let error = at_the_master(&long);
        assert!(matches!(error, PlainError::TooLong(5000)), "{error}");
        let damaged = [&PREFACE[..], &1_u32.to_le_bytes(), &[0xff]].concat();
        let error = at_the_master(&damaged);
        assert!(matches!(error, PlainError::Frame(_)), "{error}");
    }

    #[test]
    fn a_proof_leaves_with_what_is_said_first_or_alone() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            for first in [&b"hello"[..], b""] {
                let (mut a, b) = tokio::io::duplex(64);
                let proof = b"proof".to_vec();
                let mut link = Proved { stream: b, proof };
                link.write_all(first).await.unwrap();
                link.flush().await.unwrap();
                drop(link);
                let mut came = Vec::new();
                a.read_to_end(&mut came).await.unwrap();
                assert_eq!(came, [&b"proof"[..], first].concat());
            }
        });
    }

    #[test]
    fn a_refusal_says_why() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            let (a, mut b) = tokio::io::duplex(64);
            let node = NodeId::new("board");
            let secret = secrets(1).of(&node);
            let (agent, master) =
                tokio::join!(knock(a, &node, &secret), refuse(&mut b, "not here"));
            assert_eq!(agent.unwrap_err().to_string(), "not here");
            assert_eq!(master.unwrap(), node);
        });
    }
}
