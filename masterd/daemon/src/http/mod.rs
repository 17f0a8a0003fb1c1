//! HTTP on the master: one connection, one request, one answer.
//!
//! Here: the connection with its limits, and the shared state of all handlers; `route` finds the handler. Called by the
//! server. Invariants: a handler never blocks, a body is never buffered beyond its bound, and every answer of an error is
//! a sentence.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use masterd_core::StreamId;
use nesos_shell::clock::Clock;
use nesos_shell::http::query;
use nesos_wire::Uuid;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::about::About;
use crate::engine::Engine;
use crate::gate::Control;

pub(crate) mod access;
mod answer;
mod chronos;
mod files;
mod forward;
mod guard;
mod gzip;
mod help;
mod intake;
mod log;
mod logging;
mod marathon;
mod masters;
mod metrics;
mod operator;
mod parts;
mod pieces;
mod reads;
mod registry;
mod roles;
mod route;
mod scheduler;
mod shown;
mod state;
mod summary;
mod tasks;
mod writer;

use access::Access;
use answer::Body;
pub(crate) use marathon::Marathon;
pub(crate) use reads::Reads;

/// Bytes of a request's head; Mesos clients send a few hundred.
const MAX_HEAD: usize = 16 * 1024;
/// hyper's own limit on a head, as a second net under the guard's.
const HEAD_LIMIT: Duration = Duration::from_secs(3600);

/// What all handlers share.
#[derive(Debug)]
pub(crate) struct App {
    /// The way to the master.
    pub(crate) engine: Engine,
    /// Who this master is.
    pub(crate) about: About,
    /// Who may write.
    pub(crate) access: Access,
    /// For `/flags` and `/state`.
    pub(crate) flags: Vec<(&'static str, String)>,
    /// Large answers under way.
    pub(crate) reads: Reads,
    /// What requests about services share.
    pub(crate) marathon: Marathon,
    /// Bytes of request bodies in memory right now.
    pub(crate) buffered: AtomicUsize,
    /// How much is logged for the moment.
    pub(crate) logging: nesos_shell::log::Toggle,
    /// Whether metrics name each framework.
    pub(crate) per_framework: bool,
    /// For `/metrics/snapshot`.
    pub(crate) clock: Clock,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// Where from.
    pub(crate) address: SocketAddr,
}

/// A request with what the connection knows.
struct Context {
    app: Arc<App>,
    peer: Peer,
    control: Arc<Control>,
}

/// Serves one connection until it ends.
pub(crate) async fn serve<S>(app: Arc<App>, stream: S, peer: Peer, control: &Arc<Control>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let guarded = guard::Guarded::new(stream, Arc::clone(control));
    let service = service_fn(|request| {
        let context = Context {
            app: Arc::clone(&app),
            peer,
            control: Arc::clone(control),
        };
        answer_one(context, request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(guarded), service);
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            tracing::debug!("HTTP connection from {}: {error}", peer.address);
        },
        () = control.was_cut() => {}
    }
}

async fn answer_one(
    context: Context,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let busy = guard::Busy::new(Arc::clone(&context.control));
    let takes_gzip = gzip::is_accepted(request.headers());
    let mut response = route::dispatch(&context, request).await;
    if takes_gzip {
        response = gzip::compressed(response).await;
    }
    if let Some(reader) = response.body_mut().reader() {
        context.control.set_until(reader.until());
    }
    response.body_mut().hold(busy);
    Ok(response)
}

/// Draws a new stream's id. `None`: the system's random source failed.
fn new_stream() -> Option<StreamId> {
    let mut bytes = [0; 16];
    nesos_shell::tls::random(&mut bytes).ok()?;
    Some(StreamId(Uuid::from_random(bytes)))
}
