//! One agent's link on the master's side: reads its messages to the engine, writes the engine's messages to it.
//!
//! Not the agent's state (the core's). Called by the server after a TLS handshake with ALPN `nesos-agent/1` and a
//! certificate of the cluster's CA. Invariants: the first message is a `Hello` whose node is the certificate's (or the token of a
//! connection that the master has asked for); the
//! outgoing queue is bounded, and an agent that lets it fill up is cut off.

use std::net::SocketAddr;
use std::time::Duration;

use masterd_core::LinkId;
use nesos_shell::framed::{FrameReader, LinkError};
use nesos_wire::id::IdError;
use nesos_wire::message::{AgentToMaster, Hello, MasterToAgent};
use nesos_wire::{NodeId, Uuid};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::engine::{Engine, Input};

mod live;
mod outbox;

use live::Live;
use outbox::outbox;
pub(crate) use outbox::{Outbox, OutboxError};

/// How long an authenticated agent may take for its `Hello`, which may hold a thousand tasks over a slow network.
const HELLO_LIMIT: Duration = Duration::from_secs(20);
/// How long one message may take to leave: a board that reads nothing for so long is gone.
const WRITE_LIMIT: Duration = Duration::from_secs(20);

/// Why a link is not served.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("its first message was not a Hello")]
    NoHello,
    #[error("it says to be node '{said}', its certificate is for '{certified}'")]
    OtherNode { said: NodeId, certified: String },
    #[error("{0}")]
    Node(#[from] IdError),
    #[error("it did not take a message within {WRITE_LIMIT:?}")]
    Stuck,
    #[error("the master cut it")]
    Cut,
}

/// Greets an agent and serves its link, in a task of its own, until it ends. `certified` is the common name of the agent's
/// certificate.
pub(crate) async fn serve<S>(
    mut reader: FrameReader<S>,
    link: LinkId,
    certified: String,
    peer: SocketAddr,
    engine: Engine,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let hello = match first_message(&mut reader, &certified, peer).await {
        Ok(First::Hello(hello)) => hello,
        Ok(First::CallBack(token)) => {
            let stream = Box::pin(reader.into_inner());
            if !engine.callbacks.hand_over(token, stream) {
                tracing::info!("node {certified} calls back from {peer}, but nobody waits for it");
            }
            return;
        }
        Ok(First::Nothing) => return,
        Err(fault) => {
            tracing::warn!("agent link {} from {peer}: {fault}", link.0);
            let reason = fault.to_string();
            let refusal = MasterToAgent::Refused { reason };
            // It may not listen any more.
            let refusing = nesos_shell::framed::write(reader.stream(), &refusal);
            let _ = tokio::time::timeout(WRITE_LIMIT, refusing).await;
            let _ = reader.stream().shutdown().await;
            return;
        }
    };
    // The engine tells of it once it is registered: two lines for each of thousands that come at once would take time.
    tracing::debug!("agent link {} from {peer}: node {}", link.0, hello.node);
    let node = hello.node.clone();
    let (outbox, outgoing) = outbox();
    let hello = Input::Hello {
        link,
        hello,
        outbox,
    };
    if engine.send(hello).await {
        tokio::spawn(Live::new(reader, outgoing, link, node, engine));
    }
}

/// What an agent begins with.
enum First {
    Hello(Box<Hello>),
    /// It is no link, but a connection that somebody waits for.
    CallBack(Uuid),
    Nothing,
}

async fn first_message<S: AsyncRead + Unpin>(
    reader: &mut FrameReader<S>,
    certified: &str,
    peer: SocketAddr,
) -> Result<First, Fault> {
    let mut hello = match reader.read_within(HELLO_LIMIT).await? {
        Some(AgentToMaster::Hello(hello)) => hello,
        Some(AgentToMaster::CallBack { token }) => return Ok(First::CallBack(token)),
        Some(_) => return Err(Fault::NoHello),
        None => return Ok(First::Nothing),
    };
    // Postcard does not check ids.
    NodeId::parse(hello.node.as_str())?;
    if hello.node.as_str() != certified {
        return Err(Fault::OtherNode {
            said: hello.node,
            certified: certified.into(),
        });
    }
    if hello.ip.is_empty() {
        hello.ip = peer.ip().to_canonical().to_string();
    }
    Ok(First::Hello(Box::new(hello)))
}
