//! One agent's link on the master's side: reads its messages to the engine, writes the engine's messages to it.
//!
//! Not the agent's state (the core's). Called by the server after a TLS handshake with ALPN `nesos-agent/1` and a
//! certificate of the cluster's CA. Invariants: the first message is a `Hello` whose node is the certificate's; the
//! outgoing queue is bounded, and an agent that lets it fill up is cut off.

use std::net::SocketAddr;
use std::time::Duration;

use masterd_core::LinkId;
use nesos_shell::framed::{FrameReader, LinkError};
use nesos_wire::NodeId;
use nesos_wire::id::IdError;
use nesos_wire::message::{AgentToMaster, Hello, MasterToAgent};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::engine::{Engine, Input};

mod outbox;

use outbox::{Next, Outgoing, outbox};
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

/// Serves a link until it ends. `certified` is the common name of the agent's certificate.
///
/// Not an `async fn`: that would keep room for its arguments beside what became of them.
pub(crate) fn serve<S>(
    stream: S,
    link: LinkId,
    certified: String,
    peer: SocketAddr,
    engine: Engine,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = FrameReader::new(read);
    async move {
        // In boxes, here and below: what a link needs for a moment must not stay with it as long as it lives.
        let greeting = Box::pin(greet(
            &mut reader,
            &mut write,
            link,
            &certified,
            peer,
            &engine,
        ));
        let Some(outgoing) = greeting.await else {
            return;
        };
        let ended = tokio::select! {
            ended = read_all(&mut reader, link, &engine) => ended,
            ended = write_all(&mut write, &outgoing) => ended,
        };
        match ended {
            Ok(()) => tracing::info!("agent link {} of node {certified} was closed", link.0),
            Err(fault) => tracing::warn!("agent link {} of node {certified} ends: {fault}", link.0),
        }
        Box::pin(engine.send(Input::Closed(link))).await;
    }
}

/// Hands the agent's `Hello` to the engine. Gives what will be sent; `None`: the link is over.
async fn greet<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: &mut FrameReader<R>,
    write: &mut W,
    link: LinkId,
    certified: &str,
    peer: SocketAddr,
    engine: &Engine,
) -> Option<Outgoing> {
    let hello = match first_message(reader, certified, peer).await {
        Ok(hello) => Box::new(hello?),
        Err(fault) => {
            tracing::warn!("agent link {} from {peer}: {fault}", link.0);
            let reason = fault.to_string();
            let refusal = MasterToAgent::Refused { reason };
            // It may not listen any more.
            let refusing = nesos_shell::framed::write(write, &refusal);
            let _ = tokio::time::timeout(WRITE_LIMIT, refusing).await;
            let _ = write.shutdown().await;
            return None;
        }
    };
    tracing::info!(
        "agent link {} from {peer}: node {} ({:?})",
        link.0,
        hello.node,
        hello.hostname
    );
    let (outbox, outgoing) = outbox();
    let hello = Input::Hello {
        link,
        hello,
        outbox,
    };
    engine.send(hello).await.then_some(outgoing)
}

async fn first_message<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    certified: &str,
    peer: SocketAddr,
) -> Result<Option<Hello>, Fault> {
    let mut hello = match reader.read_within(HELLO_LIMIT).await? {
        Some(AgentToMaster::Hello(hello)) => hello,
        Some(_) => return Err(Fault::NoHello),
        None => return Ok(None),
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
    Ok(Some(hello))
}

async fn read_all<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    link: LinkId,
    engine: &Engine,
) -> Result<(), Fault> {
    while let Some(message) = reader.read().await? {
        if !Box::pin(engine.send(Input::Message { link, message })).await {
            break;
        }
    }
    Ok(())
}

async fn write_all<W: AsyncWrite + Unpin>(write: &mut W, outgoing: &Outgoing) -> Result<(), Fault> {
    loop {
        let frame = match outgoing.next().await {
            Next::Frame(frame) => frame,
            Next::Cut => return Err(Fault::Cut),
            Next::End => {
                // The other side sees an orderly end; whether it still listens does not matter.
                let _ = tokio::time::timeout(WRITE_LIMIT, write.shutdown()).await;
                return Ok(());
            }
        };
        tokio::select! {
            sent = Box::pin(send(write, &frame)) => sent?,
            () = outgoing.was_cut() => return Err(Fault::Cut),
        }
        outgoing.sent(frame.len());
    }
}

async fn send<W: AsyncWrite + Unpin>(write: &mut W, frame: &[u8]) -> Result<(), Fault> {
    let sending = async {
        write.write_all(frame).await?;
        write.flush().await
    };
    match tokio::time::timeout(WRITE_LIMIT, sending).await {
        Ok(sent) => Ok(sent.map_err(LinkError::Io)?),
        Err(_) => Err(Fault::Stuck),
    }
}
