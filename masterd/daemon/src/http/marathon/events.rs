//! `/v2/events`: what happens, told to whoever listens, as server-sent events.
//!
//! Called by `mod`. A task for each listener turns what the scheduler tells into lines. Invariants: there are at most [`MAX_LISTENERS`], each is
//! at most [`MAX_BEHIND`] events and [`MAX_BYTES`] behind, and who reads more slowly is cut off; a stream ends with the leadership.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use masterd_core::builtin::{Action, Deployment, Told};
use nesos_api::marathon::event::{Event, Plan, Status};
use nesos_api::marathon::time;
use nesos_api::tasks;
use nesos_shell::clock::Clock;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::view::{self, Embed};
use super::{Answer, Asked, answer, refuse, seen, stopping};
use crate::gate::Control;
use crate::http::App;
use crate::http::answer::{Body, Lines};

/// At a time: each holds a connection and some memory. Proxies and page servers of a cluster are a handful.
pub(super) const MAX_LISTENERS: usize = 32;
/// Events that a listener may be behind: some for each task of a large deployment.
const MAX_BEHIND: usize = 256;
/// Bytes that a listener may be behind; one event always fits. With all listeners together 16 MB.
const MAX_BYTES: usize = 512 * 1024;
/// Lines that say nothing, so that a connection that is dead is found out.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Answers with events until one of both ends.
pub(super) async fn listen(asked: &Asked<'_>) -> Answer {
    if asked.method != "GET" {
        return Err(asked.not_allowed("GET"));
    }
    let app = Arc::clone(&asked.context.app);
    let place = Arc::clone(&app.marathon.listeners).try_acquire_owned();
    let place = place.map_err(|_| {
        let sentence = format!("there are {MAX_LISTENERS} listeners, which is as many as may be");
        refuse(StatusCode::SERVICE_UNAVAILABLE, sentence)
    })?;
    let posts = app.marathon.posts.subscribe();
    let told = app.engine.listen().await.ok_or_else(stopping)?;
    let (lines, pieces) = mpsc::channel(MAX_BEHIND);
    let queued = Arc::new(AtomicUsize::new(0));
    let body = Lines {
        pieces,
        queued: Arc::clone(&queued),
    };
    let listener = Listener {
        remote: asked.context.peer.address.to_string(),
        wanted: asked.query.all("event_type").map(str::to_owned).collect(),
        control: Arc::clone(&asked.context.control),
        lines,
        queued,
        app,
        _place: place,
    };
    listener.post(Event::attached(&listener.remote));
    tokio::spawn(listener.run(told, posts));
    let response = answer::with_body(StatusCode::OK, "text/event-stream", Body::lines(body));
    let no_store = hyper::header::CACHE_CONTROL;
    Ok(answer::header(response, no_store, "no-cache"))
}

struct Listener {
    app: Arc<App>,
    remote: String,
    /// Names of events; none: all.
    wanted: Vec<String>,
    control: Arc<Control>,
    lines: mpsc::Sender<Bytes>,
    /// Bytes of what waits there.
    queued: Arc<AtomicUsize>,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    async fn run(
        self,
        mut told: broadcast::Receiver<Arc<Told>>,
        mut posts: broadcast::Receiver<Arc<Event>>,
    ) {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        loop {
            let events = tokio::select! {
                told = told.recv() => match told {
                    Ok(told) => self.events(&told).await,
                    Err(RecvError::Closed) => break,
                    Err(RecvError::Lagged(_)) => return self.cut(),
                },
                post = posts.recv() => match post {
                    Ok(event) => vec![Event::clone(&event)],
                    Err(RecvError::Closed) => break,
                    Err(RecvError::Lagged(_)) => return self.cut(),
                },
                _ = heartbeat.tick() => {
                    if !self.push(Bytes::from_static(b"\r\n")) {
                        return self.cut();
                    }
                    continue;
                }
                () = self.lines.closed() => break,
            };
            let wall = (Clock::wall() * 1000.0) as u64;
            for event in events.iter().filter(|event| self.wants(event)) {
                if !self.push(event.text(wall).into()) {
                    return self.cut();
                }
            }
        }
        self.post(Event::detached(&self.remote));
    }

    /// Queues a piece. `false`: the reader is gone or too slow.
    fn push(&self, piece: Bytes) -> bool {
        let len = piece.len();
        let queued = self.queued.fetch_add(len, Ordering::Relaxed);
        (queued == 0 || queued + len <= MAX_BYTES) && self.lines.try_send(piece).is_ok()
    }

    fn wants(&self, event: &Event) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|name| name == event.name)
    }

    fn post(&self, event: Event) {
        // Nobody listens: nobody is told.
        let _ = self.app.marathon.posts.send(Arc::new(event));
    }

    fn cut(&self) {
        if !self.lines.is_closed() {
            tracing::warn!(
                "cut the event stream of {}: it reads too slowly",
                self.remote
            );
            self.control.cut();
        }
        self.post(Event::detached(&self.remote));
    }

    async fn events(&self, told: &Told) -> Vec<Event> {
        match told {
            Told::Status {
                service,
                version,
                task,
                agent,
                host,
                ports,
                state,
                message,
            } => vec![Event::status(&Status {
                slave_id: agent.to_string(),
                task_id: task.to_string(),
                task_status: tasks::state(*state).name(),
                message: message.clone(),
                app_id: service.clone(),
                host: host.clone(),
                ports: ports.clone(),
                version: time::write(*version),
            })],
            Told::Health {
                service,
                version,
                task,
                is_alive,
            } => vec![Event::health(service, *version, task.as_str(), *is_alive)],
            Told::Begun(deployment) => vec![Event::deployment_info(&self.plan(deployment).await)],
            Told::Ended {
                deployment,
                is_success,
            } => {
                let plan = self.plan(deployment).await;
                let mut events = Event::deployment_ended(&plan, *is_success);
                let stopped = deployment.actions.iter();
                let stopped = stopped.filter(|(_, action)| *action == Action::Stop && *is_success);
                let gone = stopped.map(|(app, _)| Event::app_terminated(app));
                events.splice(0..0, gone);
                events
            }
        }
    }

    /// A deployment with the apps as they are to be.
    async fn plan(&self, deployment: &Deployment) -> Plan {
        let ids: Vec<String> = deployment
            .actions
            .iter()
            .map(|(id, _)| id.clone())
            .collect();
        let seen = self.app.engine.look(move |builtin, master, moment| {
            seen::see(builtin, master, moment, |id| ids.iter().any(|of| of == id))
        });
        let seen = seen.await;
        let apps = seen.iter().flat_map(|seen| {
            let services = seen.services.iter();
            services.filter_map(move |service| view::app(service, Embed::default(), seen))
        });
        let actions = view::actions(deployment);
        Plan::new(&deployment.id, deployment.version, actions, apps.collect())
    }
}
