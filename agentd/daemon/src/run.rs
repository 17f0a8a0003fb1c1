//! The loop: events into the core, the core's wishes into the world.
//!
//! One thread, one owner of the core. Called by `main`. Signals: SIGTERM and SIGINT end agentd and leave the tasks running;
//! SIGUSR1 kills all tasks, says goodbye, then ends. Invariant: nothing of a `Ready` is done before its records are on disk.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use agentd_core::checkpoint::Record;
use agentd_core::{Agent, Config, Configuration, Event, Level, Ready, Seed, may_follow};
use nesos_base::time::Instant;
use nesos_sys::machine;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::{ContainerId, version};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::clock::Clocks;
use crate::container::Containerizer;
use crate::executors::Streams;
use crate::http;
use crate::identity;
use crate::link::Links;
use crate::settings::{Settings, SettingsError};
use crate::store::{Store, StoreError};
use crate::view::View;
use crate::{gc, volumes};

mod act;
mod self_test;

/// Events that wait for the loop; senders wait beyond it.
const MAX_EVENTS: usize = 256;
/// Most events stepped before their records are synchronised together.
const BATCH: usize = 64;
/// Threads for copying and deleting, which ends when there is nothing to do.
const BLOCKING_THREADS: usize = 2;
/// Stack of those threads.
const STACK: usize = 256 * 1024;
/// Pause between two looks for old sandboxes when nothing happens, and at least.
const GC_PAUSE: Duration = Duration::from_secs(3600);
const GC_MIN_PAUSE: Duration = Duration::from_secs(60);

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Tls(#[from] nesos_shell::tls::TlsError),
    #[error("cannot set up signals, timers or sockets: {0}")]
    Io(#[from] std::io::Error),
}

/// Runs the agent until a signal ends it.
pub(crate) fn run(settings: Settings) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_stack_size(STACK)
        .build()?;
    let result = tokio::task::LocalSet::new().block_on(&runtime, async {
        // Held until the end: a second agentd would spoil the log.
        let _lock = identity::lock(&settings.work_dir)?;
        tokio::spawn(nesos_shell::settle::release_startup_code());
        Daemon::start(Rc::new(settings)).await?.drive().await;
        Ok(())
    });
    // A copy under way must not keep the process alive.
    runtime.shutdown_background();
    result
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }
}

struct Daemon {
    settings: Rc<Settings>,
    agent: Rc<RefCell<Agent>>,
    containers: Rc<RefCell<Containerizer>>,
    clocks: Rc<Clocks>,
    store: Store,
    links: Links,
    streams: Rc<Streams>,
    view: Rc<View>,
    app: Rc<http::App>,
    events: mpsc::Receiver<Event>,
    /// Events that the loop makes itself.
    own_events: VecDeque<Event>,
    signals: Signals,
    endpoint: String,
    gc_at: tokio::time::Instant,
    /// When containers are looked at for oversubscription.
    look_at: Option<tokio::time::Instant>,
    last_gc: tokio::time::Instant,
    is_stopping: bool,
    /// Where to say how the self-test went, until it has begun.
    self_test: Option<PathBuf>,
}

impl Daemon {
    async fn start(settings: Rc<Settings>) -> Result<Self, RunError> {
        let signals = Signals::new()?;
        let (ip, port) = settings.listen;
        let listener = TcpListener::bind((ip, port))
            .await
            .map_err(|e| SettingsError::new(format!("--port: listen on {ip}:{port}"), e))?;
        let port = listener.local_addr()?.port();
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let clocks = Rc::new(Clocks::new());
        let containers = Containerizer::new(settings.clone(), clocks.clone(), sender.clone())?;
        let containers = Rc::new(RefCell::new(containers));
        let (store, replay) = Store::open(&identity::meta(&settings.work_dir))?;
        if replay.skipped > 0 {
            tracing::warn!(
                "{} bytes of the checkpoint log were damaged and are skipped",
                replay.skipped
            );
        }
        let config = config(&settings, port);
        check_configuration(&settings, &config, &replay.records)?;
        let agent = Agent::recover(config, seed()?, replay.records, clocks.moment());
        let agent = Rc::new(RefCell::new(agent));
        let links = Links::new(settings.clone(), sender.clone());
        let streams = Rc::new(Streams::default());
        let view = View::new(
            settings.clone(),
            agent.clone(),
            containers.clone(),
            clocks.clone(),
            links.master(),
            port,
        );
        let view = Rc::new(view);
        let app = http::App::new(view.clone(), sender, streams.clone());
        http::begin(listener, &app)?;
        let advertised = settings.advertised_ip();
        let host = if advertised.is_empty() {
            "127.0.0.1"
        } else {
            &advertised
        };
        tracing::info!(
            "agentd {} listens on {ip}:{port}, node {}",
            env!("CARGO_PKG_VERSION"),
            settings.node
        );
        let now = tokio::time::Instant::now();
        let daemon = Self {
            links,
            streams,
            view,
            app,
            endpoint: format!("{host}:{port}"),
            gc_at: now + GC_MIN_PAUSE,
            look_at: settings.oversubscription.map(|_| now),
            last_gc: now,
            own_events: VecDeque::new(),
            is_stopping: false,
            self_test: settings.self_test.clone(),
            settings,
            agent,
            containers,
            clocks,
            store,
            events,
            signals,
        };
        daemon.sweep();
        Ok(daemon)
    }

    /// Removes what a process before this one left: containers nobody knows, data of deleted volumes.
    fn sweep(&self) {
        let known = self.known_containers();
        self.containers.borrow_mut().adopt_own(&known);
        let known = self.known_containers();
        self.containers.borrow_mut().bury_strangers(&known);
        let resources = self.agent.borrow().resources();
        let leftovers = volumes::leftovers(&self.settings.work_dir, &resources);
        tokio::task::spawn_blocking(move || leftovers.iter().for_each(|path| volumes::sweep(path)));
    }

    async fn drive(mut self) {
        self.step(Event::Tick);
        loop {
            let deadline = self.obey_all();
            self.self_test();
            if self.is_stopping {
                let own = self.containers.borrow().end_own();
                own.await;
                tracing::info!("all tasks are gone, agentd ends");
                return self.links.finish().await;
            }
            let Some(event) = self.wait(deadline).await else {
                tracing::info!("agentd ends, its tasks live on");
                return;
            };
            self.step(event);
            for _ in 0..BATCH {
                let Ok(event) = self.events.try_recv() else {
                    break;
                };
                self.step(event);
            }
        }
    }

    /// The next event; `None` when agentd is to end.
    async fn wait(&mut self, deadline: Option<Instant>) -> Option<Event> {
        let at = deadline.map(|deadline| self.clocks.ticks.deadline(deadline));
        let wake = [at, self.look_at].into_iter().flatten();
        let wake = wake.fold(self.gc_at, std::cmp::Ord::min);
        tokio::select! {
            // `self.links` keeps a sender, so the channel never closes.
            event = self.events.recv() => event,
            () = tokio::time::sleep_until(wake) => {
                self.collect_garbage();
                Some(self.look().unwrap_or(Event::Tick))
            }
            _ = self.signals.user.recv() => Some(Event::Shutdown),
            _ = self.signals.terminate.recv() => None,
            _ = self.signals.interrupt.recv() => None,
        }
    }

    fn step(&mut self, event: Event) {
        self.agent.borrow_mut().step(event, self.clocks.moment());
    }

    /// Does everything the core wants; when it wants to be woken.
    fn obey_all(&mut self) -> Option<Instant> {
        loop {
            while let Some(event) = self.own_events.pop_front() {
                self.step(event);
            }
            let ready = self.agent.borrow_mut().ready();
            if ready.is_idle() {
                return ready.deadline;
            }
            self.obey(ready);
        }
    }

    fn obey(&mut self, ready: Ready) {
        if !ready.persist.is_empty() {
            if let Err(error) = self.store.append(&ready.persist) {
                return self.step(Event::NotStored {
                    ready: Box::new(ready),
                    reason: error.to_string(),
                });
            }
            self.compact();
        }
        for note in ready.notes {
            match note.level {
                Level::Info => tracing::info!("{}", note.text),
                Level::Warn => tracing::warn!("{}", note.text),
            }
        }
        // Messages before actions: a goodbye must be in the outbox before `Stop`, an update before `HangUp`.
        self.own_events.extend(self.links.send(ready.send));
        for action in ready.actions {
            self.act(action);
        }
    }

    fn known_containers(&self) -> Vec<ContainerId> {
        let agent = self.agent.borrow();
        // A custom executor's container is its own, and gone with it, though ended tasks of it may still be told of.
        let tasks = agent.tasks();
        let tasks = tasks.filter(|view| view.spec.kind != ExecutorKind::Custom);
        let of_tasks = tasks.flat_map(|view| [view.container, view.parent]);
        let of_executors = agent.executors().map(|view| Some(view.container));
        let of_core = of_tasks.chain(of_executors).flatten().cloned();
        let own = self.containers.borrow().all_own();
        let of_operators = own.iter().map(|own| own.wanted.container.clone());
        of_core.chain(of_operators).collect()
    }

    fn compact(&mut self) {
        if self.store.wants_compaction() {
            let snapshot = self.agent.borrow().snapshot();
            if let Err(error) = self.store.compact(&snapshot) {
                tracing::warn!("{error}");
            }
        }
    }

    /// What containers use and wait for, when it is time.
    fn look(&mut self) -> Option<Event> {
        let (rules, pause) = self.settings.oversubscription?;
        let now = tokio::time::Instant::now();
        if self.look_at.is_some_and(|at| now < at) {
            return None;
        }
        self.look_at = Some(now + pause);
        let sample = Box::new(self.containers.borrow().sample(&self.known_containers()));
        Some(Event::Measured { rules, sample })
    }

    fn collect_garbage(&mut self) {
        let now = tokio::time::Instant::now();
        if now < self.gc_at {
            return;
        }
        self.gc_at = now + GC_PAUSE;
        self.last_gc = now;
        let policy = gc::Policy {
            work_dir: self.settings.work_dir.clone(),
            delay: self.settings.gc_delay,
            headroom: self.settings.gc_headroom,
            unix: nesos_shell::clock::Clock::wall(),
            keep: self
                .known_containers()
                .iter()
                .map(ToString::to_string)
                .collect(),
        };
        self.containers.borrow().relieve_disk();
        tokio::task::spawn_blocking(move || {
            let removed = gc::collect(&policy);
            if removed > 0 {
                tracing::info!("removed {removed} old sandboxes");
            }
        });
    }
}

/// A board that has become another one is not taken for the old one without its owner's word.
fn check_configuration(
    settings: &Settings,
    config: &Config,
    records: &[Record],
) -> Result<(), SettingsError> {
    let Some(before) = Configuration::last(records) else {
        return Ok(());
    };
    let now = Configuration::of(config);
    may_follow(settings.reconfiguration, before, &now).map_err(|reason| {
        let meta = identity::meta(&settings.work_dir);
        let way_out = "start with --reconfiguration_policy=any, or as a new agent by removing";
        let reason = format!("{reason}; {way_out} {}", meta.display());
        SettingsError::new("--reconfiguration_policy", reason)
    })
}

fn config(settings: &Settings, port: u16) -> Config {
    Config {
        node: settings.node.clone(),
        version: version::CURRENT,
        boot_id: machine::boot_id().unwrap_or_default(),
        hostname: settings.hostname.clone(),
        ip: settings.advertised_ip(),
        port,
        software: env!("CARGO_PKG_VERSION").into(),
        resources: settings.resources.clone(),
        attributes: settings.attributes.clone(),
        domain: settings.domain.clone(),
        executors: settings.executors,
    }
}

fn seed() -> Result<Seed, RunError> {
    let mut bytes = [0; 16];
    nesos_shell::tls::random(&mut bytes)?;
    Ok(Seed(bytes))
}
