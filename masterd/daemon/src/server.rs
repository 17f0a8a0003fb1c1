//! One port for everything: the first byte tells TLS, plain HTTP and plain agent links apart, ALPN agents, joining boards
//! and HTTP.
//!
//! Started by `main`. Invariants: each connection is numbered in the order of acceptance (the core relies on it), no step
//! before a request is without a time limit, and a failed connection never ends the server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use masterd_core::LinkId;
use nesos_shell::framed::FrameReader;
use nesos_shell::plain;
use nesos_shell::stale::end_silent;
use nesos_shell::tls::records::{self, Whole};
use nesos_shell::tls::{common_name, master_number};
use nesos_wire::join::{ALPN_AGENT, ALPN_JOIN};
use nesos_wire::masters::ALPN_MASTER;
use nesos_wire::plain::PREFACE;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::gate::{Gate, MAX_CONNECTIONS, Ticket};
use crate::http::{self, App, Peer};
use crate::join::Doorkeeper;
use crate::link;
use crate::pace::Pace;
use crate::replica::Ear;

/// ALPN of HTTP.
pub(crate) const ALPN_HTTP: &[u8] = b"http/1.1";
/// First byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
/// First byte of an agent's link without TLS.
const PLAIN_LINK: u8 = PREFACE[0];
/// What agents without TLS are told.
const NO_PLAIN: &str = "this master takes agents with TLS only: start it with --agent_tls=optional, or the agent without --master_tls=off";
/// How long a peer may take for its first byte, and then for the TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// A master that was switched off without a word is not heard any more after so long; its votes and answers are missed at once.
const SILENT_LIMIT: Duration = Duration::from_secs(30);
/// Pause after `accept` failed (too many open files): connections end meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that may wait to be accepted: as many as may then be open. With the usual 128 some of the agents that dial all
/// at once, after the master was away, wait a second until their system knocks again.
const BACKLOG: u32 = MAX_CONNECTIONS as u32;

/// Listens on this address.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A master that was killed leaves connections behind that hold the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Everything a connection may need.
#[derive(Debug)]
pub(crate) struct Server {
    /// HTTP.
    pub(crate) app: Arc<App>,
    /// First contact.
    pub(crate) doorkeeper: Doorkeeper,
    /// TLS.
    pub(crate) tls: Arc<ServerConfig>,
    /// Whether agents may link without it.
    pub(crate) takes_plain: bool,
    /// How many may be open.
    pub(crate) gate: Gate,
    /// How many may compute.
    pub(crate) pace: Pace,
    /// Hears other masters.
    pub(crate) ear: Ear,
}

impl Server {
    /// Accepts connections for ever.
    pub(crate) async fn run(self, listener: TcpListener) {
        if self.takes_plain {
            tracing::warn!(
                "--agent_tls=optional: agents may link without TLS; whoever can change packets on this network can speak for them"
            );
        }
        let server = Arc::new(self);
        let mut next_link = 0;
        let mut is_failing = false;
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Said once: it lasts until some connection ends.
                    if !is_failing {
                        tracing::error!("cannot accept connections: {error}");
                    }
                    is_failing = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            is_failing = false;
            let link = LinkId(next_link);
            next_link += 1;
            let Some(ticket) = server.gate.admit() else {
                tracing::warn!(
                    "refused a connection from {peer}: all {} are busy",
                    MAX_CONNECTIONS
                );
                continue;
            };
            let server = Arc::clone(&server);
            tokio::spawn(async move { server.serve(stream, peer, link, ticket).await });
        }
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr, link: LinkId, ticket: Ticket) {
        let control = Arc::clone(&ticket.control);
        let handshake = tokio::select! {
            greeted = tokio::time::timeout(HANDSHAKE_LIMIT, self.greet(stream)) => greeted,
            () = control.was_cut() => return,
        };
        match handshake {
            Err(_) => tracing::debug!("{peer} said nothing within {HANDSHAKE_LIMIT:?}"),
            Ok(Err(error)) => tracing::info!("connection from {peer}: {error}"),
            Ok(Ok(Greeted::Plain(stream))) => self.http(stream, peer, ticket).await,
            Ok(Ok(Greeted::Agent(reader, node))) => {
                let engine = self.app.engine.clone();
                link::serve(reader, link, node, peer, engine).await;
            }
            Ok(Ok(Greeted::Tls(stream))) => self.secured(*stream, peer, link, ticket).await,
        }
    }

    async fn greet(&self, stream: TcpStream) -> Result<Greeted, plain::PlainError> {
        stream.set_nodelay(true)?;
        let mut first = [0];
        stream.peek(&mut first).await?;
        match first[0] {
            TLS_HANDSHAKE => {}
            PLAIN_LINK => return self.plain(stream).await,
            _ => return Ok(Greeted::Plain(stream)),
        }
        let handshake = TlsAcceptor::from(Arc::clone(&self.tls)).accept(Whole::new(stream));
        let stream = self.pace.keep(handshake).await?;
        Ok(Greeted::Tls(Box::new(stream)))
    }

    /// An agent that does without TLS.
    async fn plain(&self, mut stream: TcpStream) -> Result<Greeted, plain::PlainError> {
        if self.takes_plain {
            let (node, reader) = plain::answer(stream, &self.doorkeeper.secrets).await?;
            return Ok(Greeted::Agent(reader, node.to_string()));
        }
        let node = plain::refuse(&mut stream, NO_PLAIN).await?;
        Err(plain::PlainError::Refused(format!(
            "refused agent {:?}: {NO_PLAIN}",
            node.as_str()
        )))
    }

    async fn secured(
        &self,
        mut stream: TlsStream<Whole<TcpStream>>,
        peer: SocketAddr,
        link: LinkId,
        ticket: Ticket,
    ) {
        let state = stream.get_ref().1;
        let certified = state
            .peer_certificates()
            .and_then(|chain| common_name(chain.first()?));
        match state.alpn_protocol() {
            Some(ALPN_AGENT) => {
                drop(ticket);
                self.agent(stream, peer, link, certified).await;
            }
            Some(ALPN_MASTER) => {
                drop(ticket);
                stream.get_mut().0.open();
                self.master(stream, peer, link, certified).await;
            }
            Some(ALPN_JOIN) => {
                stream.get_mut().0.open();
                self.doorkeeper.serve(stream, peer).await;
            }
            _ => {
                stream.get_mut().0.open();
                self.http(stream, peer, ticket).await;
            }
        }
    }

    /// Takes an agent's link over from rustls. It then lives in a task of its own: this one has room for everything that a
    /// connection may turn out to be, which ten thousand agents would keep for as long as they live.
    async fn agent(
        &self,
        stream: TlsStream<Whole<TcpStream>>,
        peer: SocketAddr,
        link: LinkId,
        certified: Option<String>,
    ) {
        let Some(certified) = certified else {
            tracing::warn!("agent link from {peer}: it has no certificate of this cluster");
            return;
        };
        match tokio::time::timeout(HANDSHAKE_LIMIT, records::take_over(stream)).await {
            Ok(Ok(stream)) => {
                let engine = self.app.engine.clone();
                link::serve(FrameReader::new(stream), link, certified, peer, engine).await;
            }
            Ok(Err(error)) => tracing::warn!("agent link from {peer}: {error}"),
            Err(_) => tracing::warn!("agent link from {peer}: it sent half a record and no more"),
        }
    }

    /// Another master that has something to say.
    async fn master(
        &self,
        stream: TlsStream<Whole<TcpStream>>,
        peer: SocketAddr,
        link: LinkId,
        certified: Option<String>,
    ) {
        // The other end only speaks: that it lost its power would never be found out by an answer.
        if let Err(error) = end_silent(stream.get_ref().0.get_ref(), SILENT_LIMIT) {
            return tracing::warn!("master link from {peer}: {error}");
        }
        match certified.as_deref().and_then(master_number) {
            Some(number) => self.ear.serve(stream, number, link.0).await,
            None => tracing::warn!("master link from {peer}: it has no master's certificate"),
        }
    }

    async fn http<S>(&self, stream: S, peer: SocketAddr, ticket: Ticket)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let peer = Peer { address: peer };
        http::serve(Arc::clone(&self.app), stream, peer, &ticket.control).await;
    }
}

enum Greeted {
    Plain(TcpStream),
    /// With the agent's node.
    Agent(FrameReader<TcpStream>, String),
    Tls(Box<TlsStream<Whole<TcpStream>>>),
}
