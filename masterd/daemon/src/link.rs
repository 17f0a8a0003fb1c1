//! One agent's link on the master's side: reads its messages to the engine, writes the engine's messages to it.
//!
//! Not the agent's state (the core's). Called by the server after a TLS handshake with ALPN `nesos-agent/1` and a
//! certificate of the cluster's CA. Invariants: the first message is a `Hello` whose node is the certificate's; the
//! outgoing queue is bounded, and an agent that lets it fill up is cut off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use masterd_core::LinkId;
use nesos_shell::framed::{FrameReader, LinkError};
use nesos_wire::NodeId;
use nesos_wire::frame::{self, FrameError};
use nesos_wire::id::IdError;
use nesos_wire::message::{AgentToMaster, Hello, MasterToAgent};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

use crate::engine::{Engine, Input};

/// How long an authenticated agent may take for its `Hello`, which may hold a thousand tasks over a slow network.
const HELLO_LIMIT: Duration = Duration::from_secs(20);
/// Messages an agent may be behind.
const MAX_MESSAGES: usize = 1024;
/// Bytes an agent may be behind. The largest ACCEPT has 8 MB, and a task's command travels twice: as sent and taken apart.
const MAX_BYTES: usize = 24 * 1024 * 1024;
/// How long one message may take to leave: a board that reads nothing for so long is gone.
const WRITE_LIMIT: Duration = Duration::from_secs(20);

/// Why nothing more can be sent on a link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboxError {
    /// The agent does not read.
    #[error("the agent is {MAX_MESSAGES} messages or {MAX_BYTES} bytes behind")]
    Full,
    /// The link has ended; its `Closed` is on the way.
    #[error("the link has ended")]
    Closed,
    /// The message is too large.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

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

/// The engine's end of the outgoing queue. Dropping it closes the link after everything was sent.
#[derive(Debug)]
pub(crate) struct Outbox {
    frames: mpsc::Sender<Vec<u8>>,
    queued: Arc<AtomicUsize>,
    cut: Arc<Notify>,
}

/// The writing task's end.
struct Outgoing {
    frames: mpsc::Receiver<Vec<u8>>,
    queued: Arc<AtomicUsize>,
    cut: Arc<Notify>,
}

impl Outbox {
    /// Queues a message.
    pub(crate) fn push(&self, message: &MasterToAgent) -> Result<(), OutboxError> {
        let bytes = frame::encode(message)?;
        let len = bytes.len();
        if self.queued.fetch_add(len, Ordering::Relaxed) + len > MAX_BYTES {
            return Err(OutboxError::Full);
        }
        self.frames.try_send(bytes).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => OutboxError::Full,
            mpsc::error::TrySendError::Closed(_) => OutboxError::Closed,
        })
    }

    /// Closes the link at once.
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }
}

/// Serves a link until it ends. `certified` is the common name of the agent's certificate.
pub(crate) async fn serve<S>(
    stream: S,
    link: LinkId,
    certified: String,
    peer: SocketAddr,
    engine: Engine,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = FrameReader::new(read);
    let hello = match first_message(&mut reader, &certified, peer).await {
        Ok(Some(hello)) => hello,
        Ok(None) => return,
        Err(fault) => {
            tracing::warn!("agent link {} from {peer}: {fault}", link.0);
            let refusal = MasterToAgent::Refused {
                reason: fault.to_string(),
            };
            // It may not listen any more.
            let _ = tokio::time::timeout(
                WRITE_LIMIT,
                nesos_shell::framed::write(&mut write, &refusal),
            )
            .await;
            let _ = write.shutdown().await;
            return;
        }
    };
    let (outbox, outgoing) = queue();
    tracing::info!(
        "agent link {} from {peer}: node {} ({:?})",
        link.0,
        hello.node,
        hello.hostname
    );
    if !engine
        .send(Input::Hello {
            link,
            hello: Box::new(hello),
            outbox,
        })
        .await
    {
        return;
    }
    let ended = tokio::select! {
        ended = read_all(&mut reader, link, &engine) => ended,
        ended = write_all(&mut write, outgoing) => ended,
    };
    match ended {
        Ok(()) => tracing::info!("agent link {} of node {certified} was closed", link.0),
        Err(fault) => tracing::warn!("agent link {} of node {certified} ends: {fault}", link.0),
    }
    engine.send(Input::Closed(link)).await;
}

fn queue() -> (Outbox, Outgoing) {
    let (sender, receiver) = mpsc::channel(MAX_MESSAGES);
    let queued = Arc::new(AtomicUsize::new(0));
    let cut = Arc::new(Notify::new());
    let outgoing = Outgoing {
        frames: receiver,
        queued: Arc::clone(&queued),
        cut: Arc::clone(&cut),
    };
    (
        Outbox {
            frames: sender,
            queued,
            cut,
        },
        outgoing,
    )
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
        if !engine.send(Input::Message { link, message }).await {
            break;
        }
    }
    Ok(())
}

async fn write_all<W: AsyncWrite + Unpin>(
    write: &mut W,
    mut outgoing: Outgoing,
) -> Result<(), Fault> {
    loop {
        let frame = tokio::select! {
            frame = outgoing.frames.recv() => frame,
            () = outgoing.cut.notified() => return Err(Fault::Cut),
        };
        let Some(frame) = frame else {
            // The other side sees an orderly end; whether it still listens does not matter.
            let _ = tokio::time::timeout(WRITE_LIMIT, write.shutdown()).await;
            return Ok(());
        };
        let sending = async {
            write.write_all(&frame).await?;
            write.flush().await
        };
        tokio::select! {
            sent = tokio::time::timeout(WRITE_LIMIT, sending) => match sent {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(LinkError::Io(error).into()),
                Err(_) => return Err(Fault::Stuck),
            },
            () = outgoing.cut.notified() => return Err(Fault::Cut),
        }
        outgoing.queued.fetch_sub(frame.len(), Ordering::Relaxed);
    }
}
