//! The agent's own HTTP server: Mesos's executor and operator APIs and its older endpoints, in Mesos's paths.
//!
//! Tasks are launched and killed through the master, not here. Called once by `run`. Invariants: a bounded number of
//! connections, each bounded in time and memory; a broken client costs only its connection; what changes something asks
//! the access rule first.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use agentd_core::{Event, ExecutorCall};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nesos_shell::http::access::Access;
use nesos_shell::log::Toggle;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::dial::Duplex;
use crate::executors::{Control, Streams};
use crate::sessions::Sessions;
use crate::settings::SettingsError;
use crate::update::Updater;
use crate::view::View;
use domain::Caller;

mod answer;
mod containers;
pub(crate) mod domain;
mod executor;
mod files;
mod intake;
mod operator;
mod route;
mod sessions;
mod update;

pub(crate) use containers::nobodys;

/// Connections at a time beside the streams of executors: scrapers, people, calls; more are closed at once.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take for its first request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection may live that is not an executor's: requests here are short.
const CONNECTION_LIMIT: Duration = Duration::from_secs(120);
/// Largest head; hyper's minimum.
const MAX_HEAD: usize = 8 * 1024;
/// Pause after accepting failed (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Realm of everything that changes something.
const REALM: &str = "mesos-agent-readwrite";

/// What all handlers share.
pub(crate) struct App {
    /// What there is to show.
    view: Rc<View>,
    /// Who may write.
    access: Access,
    /// How much is logged for the moment.
    logging: Toggle,
    /// To the loop.
    events: mpsc::Sender<Event>,
    /// The executors that listen.
    streams: Rc<Streams>,
    /// The board's image.
    updater: Updater,
    /// People's commands beside tasks.
    sessions: Sessions,
}

impl App {
    pub(crate) fn new(
        view: Rc<View>,
        events: mpsc::Sender<Event>,
        streams: Rc<Streams>,
    ) -> Rc<Self> {
        Rc::new(Self {
            access: view.settings.access.clone(),
            updater: Updater::new(view.settings.updater.clone()),
            view,
            logging: Toggle::default(),
            events,
            streams,
            sessions: Sessions::default(),
        })
    }
}

/// A request's surroundings.
struct Context {
    app: Rc<App>,
    peer: IpAddr,
    /// The address that was called.
    local: Option<IpAddr>,
    /// This connection's.
    control: Rc<Control>,
    /// The master is at the other end: it has checked who may do what, and forwards calls of operators and updates only.
    is_masters: bool,
    /// It came through the executors' unix socket, and who that is.
    caller: Option<Caller>,
}

impl Context {
    /// Whether this peer may change something.
    fn may_write(&self, headers: &hyper::HeaderMap) -> Result<(), nesos_shell::http::Refusal> {
        match self.is_masters {
            true => Ok(()),
            false => self.app.access.check(self.peer, headers, REALM).map(drop),
        }
    }
}

/// Serves what the settings say, in the background.
pub(crate) fn begin(listener: TcpListener, app: &Rc<App>) -> Result<(), SettingsError> {
    tokio::task::spawn_local(serve(listener, app.clone()));
    if let Some(path) = &app.view.settings.domain_socket {
        let listener = domain::listen(path)?;
        tokio::task::spawn_local(domain::serve(listener, app.clone()));
    }
    Ok(())
}

/// Serves until the process ends. The agent has recovered before, so nobody is ever answered 503.
async fn serve(listener: TcpListener, app: Rc<App>) {
    let open = Rc::new(Cell::new(0));
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // An executor has a stream, and a connection for its calls.
        if open.get() < MAX_CONNECTIONS + 2 * app.streams.count() {
            // An event that waits for an acknowledgement of TCP is late. A connection that has just broken cannot be told.
            let _ = stream.set_nodelay(true);
            open.set(open.get() + 1);
            let open = open.clone();
            let context = Context {
                app: app.clone(),
                peer: peer.ip(),
                local: stream.local_addr().ok().map(|local| local.ip()),
                control: Rc::default(),
                is_masters: false,
                caller: None,
            };
            tokio::task::spawn_local(async move {
                attend(stream, context).await;
                open.set(open.get() - 1);
            });
        }
    }
}

/// Serves the operator API on a connection that the master has asked for, to its end.
pub(crate) async fn serve_master(stream: impl Duplex, app: Rc<App>) {
    let context = Context {
        app,
        peer: IpAddr::from([0, 0, 0, 0]),
        local: None,
        control: Rc::default(),
        is_masters: true,
        caller: None,
    };
    attend(stream, context).await;
}

/// Serves a connection to its end, and tells the core if an executor has listened on it.
async fn attend(stream: impl Duplex, context: Context) {
    let (app, control) = (context.app.clone(), context.control.clone());
    let mut served = pin!(connection(stream, context));
    let mut limit = HEAD_LIMIT;
    loop {
        tokio::select! {
            // However it ends, it is over, and nobody is interested in how.
            _ = &mut served => break,
            () = control.was_cut() => break,
            () = tokio::time::sleep(limit) => {
                let is_late = limit == CONNECTION_LIMIT && !control.is_lasting();
                if is_late || control.requests() == 0 {
                    break;
                }
                limit = CONNECTION_LIMIT;
            }
        }
    }
    if let Some((key, stream)) = control.stream() {
        app.streams.close(stream);
        let call = ExecutorCall::Lost { stream };
        // Fails only when the daemon is ending.
        let _ = app.events.send(Event::Executor { key, call }).await;
    }
}

async fn connection(stream: impl Duplex, context: Context) -> Result<(), hyper::Error> {
    let context = Rc::new(context);
    let service = service_fn(move |request: Request<Incoming>| {
        let context = context.clone();
        context.control.count_request();
        async move {
            Ok::<_, Infallible>(match context.is_masters {
                true if request.uri().path() == update::UPDATE => {
                    update::handle(&context, request).await
                }
                true => operator::handle(&context, request).await,
                false => route::dispatch(&context, request).await,
            })
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        // It would end connections that idle between calls; `attend` knows whose they are.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await
}
