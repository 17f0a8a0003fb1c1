//! From "find the master" to an authenticated stream: address, first contact if need be, mutual TLS.
//!
//! Called by `link` for each attempt; the core decides when the next one is. Invariant: nothing is said to a master before
//! it has proved itself: by its certificate, or with `--master_tls=off` by the secret that it gave this node over TLS.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use agentd_core::LinkError;
use nesos_shell::plain::{self, PlainError, Proved};
use nesos_shell::{mdns, tls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::credentials::{Credentials, Secured, handshake_error};
use crate::identity;
use crate::settings::{self, Settings};

/// A master on the same network answers at once; this is for lost packets.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Handshake of a slow board.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(15);
/// How long one look for masters with mDNS takes at most.
const BROWSE_LIMIT: Duration = Duration::from_secs(10);

/// An authenticated stream to a master.
pub(crate) type MasterStream = Box<dyn Duplex>;

/// What is read and written.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// One attempt. Also the master's address.
pub(crate) async fn dial(
    settings: &Settings,
    secured: &Secured,
    leader: Option<String>,
) -> Result<(MasterStream, Option<IpAddr>), LinkError> {
    let (addresses, name) = match leader
        .or_else(|| settings.master.clone())
        .or_else(settings::local_master)
    {
        Some(name) => (resolve(&name).await?, name),
        None => browse(settings).await?,
    };
    let stream = connect(&addresses, &name).await?;
    let (credentials, stream) = credentials(settings, stream, &name).await?;
    let address = stream.peer_addr().ok().map(|peer| peer.ip());
    if settings.is_plain {
        let stream = prove(stream, &credentials, &name).await?;
        return Ok((Box::new(stream), address));
    }
    let config = secured
        .with(credentials)
        .map_err(|e| LinkError::Refused(e.to_string()))?;
    match timeout(HANDSHAKE_LIMIT, tls::connect(config, stream)).await {
        Ok(Ok(stream)) => Ok((Box::new(stream), address)),
        Ok(Err(error)) => Err(handshake_error(&error)),
        Err(_) => Err(LinkError::Failed(format!(
            "the master at {name} does not finish the TLS handshake"
        ))),
    }
}

/// The link without TLS.
async fn prove(
    stream: TcpStream,
    credentials: &Credentials,
    name: &str,
) -> Result<Proved<TcpStream>, LinkError> {
    let knocking = plain::knock(stream, &credentials.node, &credentials.secret);
    match timeout(HANDSHAKE_LIMIT, knocking).await {
        Ok(Ok(link)) => Ok(link),
        Ok(Err(error @ (PlainError::Refused(_) | PlainError::Proof(_)))) => {
            Err(LinkError::Refused(format!(
                "the master at {name} refuses this node without TLS: {error}"
            )))
        }
        Ok(Err(error)) => Err(LinkError::Failed(error.to_string())),
        Err(_) => Err(LinkError::Failed(format!(
            "the master at {name} does not answer a link without TLS"
        ))),
    }
}

/// The board's credentials, obtained over `stream` if there are none yet, and a stream for the link.
async fn credentials(
    settings: &Settings,
    stream: TcpStream,
    name: &str,
) -> Result<(Credentials, TcpStream), LinkError> {
    let meta = identity::meta(&settings.work_dir);
    let token = settings.token.clone().or_else(settings::local_token);
    if let Some(known) = Credentials::load(&meta, &settings.node, token.as_ref()) {
        return Ok((known, stream));
    }
    let Some(token) = token else {
        return Err(no_token());
    };
    let address = stream
        .peer_addr()
        .map_err(|e| LinkError::Failed(e.to_string()))?;
    let joining = Credentials::join(&meta, &settings.node, &settings.hostname, &token, stream);
    let joined = timeout(HANDSHAKE_LIMIT, joining).await;
    let joined = joined.map_err(|_| {
        LinkError::Failed(format!(
            "the master at {name} does not answer the join request"
        ))
    })??;
    Ok((joined, connect(&[address], name).await?))
}

fn no_token() -> LinkError {
    let text = "this node has no join token: put `token = \"nesos-…\"` under [cluster] in cluster.toml (`nesos token` on the master prints it)";
    // On a board, masterd may be about to leave its token.
    match std::path::Path::new("/run/nesos").is_dir() {
        true => LinkError::Failed(text.into()),
        false => LinkError::Refused(text.into()),
    }
}

async fn resolve(name: &str) -> Result<Vec<SocketAddr>, LinkError> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    match timeout(CONNECT_LIMIT, tokio::net::lookup_host(name)).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(error)) => Err(LinkError::Failed(format!(
            "cannot look up the master {name}: {error}"
        ))),
        Err(_) => Err(LinkError::Failed(format!(
            "cannot look up the master {name}: no answer"
        ))),
    }
}

async fn browse(settings: &Settings) -> Result<(Vec<SocketAddr>, String), LinkError> {
    let browser = mdns::browse(&settings.mdns, settings.cluster.as_deref())
        .map_err(|e| LinkError::Failed(e.to_string()))?;
    let Some(mut browser) = browser else {
        return Err(LinkError::Failed(
            "no master is known: give --master=host:port or allow --mdns".into(),
        ));
    };
    match browser.leader_within(BROWSE_LIMIT).await {
        Some(found) => {
            tracing::info!(
                "found master {} of cluster {} by mDNS",
                found.name,
                found.cluster
            );
            Ok((found.addresses, found.name))
        }
        None => Err(LinkError::Failed("no master answers by mDNS".into())),
    }
}

async fn connect(addresses: &[SocketAddr], name: &str) -> Result<TcpStream, LinkError> {
    let mut last = format!("the master {name} has no address");
    for address in addresses {
        match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small messages that wait for each other; an error costs only latency.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = format!("cannot connect to the master at {address}: {error}"),
            Err(_) => last = format!("cannot connect to the master at {address}: no answer"),
        }
    }
    Err(LinkError::Failed(last))
}
