//! masterd: the master of a Nesos cluster. This file puts the parts together and ends them in order.
//!
//! Here: start, signals, exit codes (0 stopped, 1 cannot run, 2 wrong usage). Decisions are the core's
//! (`masterd-core`), I/O is in the modules beside this one. Invariant: nothing is served before the registry has been
//! read and locked.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use anyhow::Context;
use nesos_shell::alarm::Alarm;
use nesos_shell::clock::Clock;
use nesos_shell::mdns::Advertisement;
use nesos_shell::plain::Secrets;
use nesos_shell::settle;
use nesos_shell::tls::{self, Authority, NodeKey, TlsError};
use nesos_wire::join::{ALPN_AGENT, ALPN_JOIN};
use nesos_wire::masters::ALPN_MASTER;
use nesos_wire::{MasterId, Uuid};
use rustls::ClientConfig;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

mod about;
mod beacon;
mod callbacks;
mod convert;
mod engine;
mod founding;
mod gate;
mod http;
mod identity;
mod join;
mod link;
mod options;
mod pace;
mod ready;
mod replica;
mod server;

use about::About;
use engine::{Engine, Runner};
use options::{Join, Options, Recovery};
use replica::{Replica, recover};
use server::Server;

/// Keeps what lives long apart from what is as large as a handshake, and is the same with every C library.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut random = [0; 16];
    let drawn = tls::random(&mut random);
    let options = Options::from_process(MasterId::new(Uuid::from_random(random).to_string()));
    nesos_shell::log::init(options::TABLE.program, options.level);
    if let Some(limit) = nesos_shell::limits::raise_open_files() {
        tracing::debug!("up to {limit} files and connections may be open");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = drawn
        .context("draw the master's id")
        .and_then(|()| runtime.context("start the runtime"))
        .and_then(|runtime| runtime.block_on(run(options)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("masterd cannot run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(mut options: Options) -> anyhow::Result<()> {
    let work_dir = &options.work_dir;
    std::fs::create_dir_all(work_dir).with_context(|| format!("create {}", work_dir.display()))?;
    let part = part(&options)?;
    if let Some(recovery) = &options.recovery {
        return recover(work_dir, recovery, part.new_number);
    }
    let clock = Clock::new();
    let mut replica = take_part(&mut options, part, &clock).await?;
    let work_dir = &options.work_dir;
    let identity = identity::Identity::load(work_dir, options.key.clone())?;
    tell_token(&identity, work_dir);
    let authority = Authority::new(&identity.key).context("make the cluster's CA")?;
    let tls = authority
        .server_config(&[ALPN_AGENT, ALPN_MASTER, ALPN_JOIN, server::ALPN_HTTP])
        .context("set up TLS")?;
    let to_masters = client(&authority, replica.number()).context("set up TLS to other masters")?;
    let address = SocketAddr::new(options.ip, options.port);
    let listener = server::listen(address).with_context(|| format!("listen on {address}"))?;
    let port = listener.local_addr().context("read the port")?.port();
    let about = about(&options, port);
    if options.join.is_some() || options.masters > 1 {
        about.await_address().await;
    }
    let ear = replica.connect(
        about.endpoint(),
        about.address.is_none(),
        about.cluster.clone(),
        to_masters,
    );
    let (engine, mailbox) = Engine::new();
    let doorkeeper = join::Doorkeeper {
        authority: Arc::new(authority),
        token: identity.token,
        cluster: about.cluster.clone(),
        secrets: Secrets::new(&identity.key),
    };
    let alarm = Alarm::new().context("make an alarm clock")?;
    let mut runner = Runner::new(
        options.core.clone(),
        replica,
        (clock, alarm),
        about.clone(),
        options.max_watchers,
        mailbox,
    );
    runner.prepare().await;
    tell_place(&options, port);
    let server = Server {
        app: Arc::new(app(&options, &about, &engine, clock)),
        doorkeeper,
        tls,
        takes_plain: options.takes_plain,
        gate: gate::Gate::default(),
        pace: pace::Pace::default(),
        ear,
    };
    let serving = tokio::spawn(server.run(listener));
    let announcing = announce(&options, &about, &engine);
    ready::begin(&options, &engine);
    tokio::spawn(settle::release_unused_code(runner.follow_busy()));
    runner.run(stopped()?).await?;
    serving.abort();
    announcing.abort();
    // The beacon is dropped with its task, and says goodbye.
    let _ = announcing.await;
    tracing::info!("stopped; agents and their tasks go on");
    Ok(())
}

/// Takes up what is in the work folder; a new one begins a group, or asks to be let into the one that there is.
async fn take_part(
    options: &mut Options,
    mut part: replica::Settings,
    clock: &Clock,
) -> anyhow::Result<Replica> {
    part.is_founder &= !founding::is_late(options, &about(options, options.port)).await?;
    let replica = Replica::open(part, clock.now())?;
    if options.join.is_none() && !replica.takes_part() {
        // Also when it starts again before anybody has let it in.
        options.join = Some(Join::Mdns);
    }
    Ok(replica)
}

fn tell_place(options: &Options, port: u16) {
    tracing::info!(
        "master {} of cluster '{}' listens on {}:{port}",
        options.core.master,
        options.core.cluster,
        options.ip
    );
}

/// Begins a new group by hand.
fn recover(work_dir: &Path, recovery: &Recovery, number: u64) -> anyhow::Result<()> {
    let begun = match recovery {
        Recovery::ForceNew(said) => recover::force_new(work_dir, *said, number)?,
        Recovery::Restore(file) => recover::restore(work_dir, file, number)?,
    };
    let registry = &begun.registry;
    tracing::warn!(
        "{} now holds master {:016x}, the only one of a new group, with {} agents and {} frameworks after start {}; start it \
         without this flag, and let other masters join it with new work folders",
        work_dir.display(),
        begun.number,
        registry.admitted(),
        registry.frameworks().count(),
        registry.start()
    );
    Ok(())
}

/// How this master takes part in the group.
fn part(options: &Options) -> anyhow::Result<replica::Settings> {
    let mut random = [0; 16];
    tls::random(&mut random).context("draw the master's number")?;
    let (number, seed) = random.split_at(8);
    let drawn = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    Ok(replica::Settings {
        work_dir: options.work_dir.clone(),
        // 0 is nobody's.
        new_number: drawn(number).max(1),
        seed: drawn(seed),
        election_timeout: options.election_timeout,
        name: options.node.clone(),
        is_founder: options.join.is_none(),
        seeds: match &options.join {
            Some(Join::At(masters)) => masters.clone(),
            Some(Join::Mdns) | None => Vec::new(),
        },
        masters: options.masters,
    })
}

/// The certificate with which other masters are dialled lives as long as this process.
fn client(authority: &Authority, number: u64) -> Result<Arc<ClientConfig>, TlsError> {
    let key = NodeKey::generate()?;
    let certificate = authority.issue_master(number, key.public_key()?)?;
    tls::master_client(authority.certificate(), &certificate, &key)
}

/// A new cluster's token is shown once; later it is found in its file.
fn tell_token(identity: &identity::Identity, work_dir: &Path) {
    if identity.is_new {
        let token = identity.token.to_text();
        tracing::info!("made a new cluster key; boards join with the token {token}");
    } else {
        let file = work_dir.join("token");
        tracing::info!("boards join with the token in {}", file.display());
    }
}

/// What others are told of this master, which listens on `port`.
fn about(options: &Options, port: u16) -> About {
    let listens_on = (!options.ip.is_unspecified()).then_some(options.ip);
    About {
        hostname: options.hostname.clone(),
        address: options.advertise_ip.or(listens_on),
        port: options.advertise_port.unwrap_or(port),
        cluster: options.core.cluster.clone(),
        domain: options.core.domain.clone(),
    }
}

/// What HTTP handlers need.
fn app(options: &Options, about: &About, engine: &Engine, clock: Clock) -> http::App {
    http::App {
        engine: engine.clone(),
        about: about.clone(),
        access: options.access.clone(),
        flags: options.shown.clone(),
        reads: http::Reads::new(options.read_limit),
        marathon: http::Marathon::default(),
        buffered: AtomicUsize::new(0),
        logging: nesos_shell::log::Toggle::default(),
        per_framework: options.per_framework_metrics,
        clock,
    }
}

/// Announces this master by mDNS until the task is ended, and looks for a group if it is to join one.
fn announce(options: &Options, about: &About, engine: &Engine) -> JoinHandle<()> {
    let mode = options.mdns.clone();
    if let Some(Join::Mdns) = options.join {
        let cluster = about.cluster.clone();
        tokio::spawn(beacon::look_for_group(
            mode.clone(),
            cluster,
            engine.clone(),
        ));
    }
    let beacon = beacon::Beacon::new(mode, advertisement(options, about), engine);
    tokio::spawn(beacon.run())
}

/// What mDNS says of this master.
fn advertisement(options: &Options, about: &About) -> Advertisement {
    Advertisement {
        cluster: about.cluster.clone(),
        node: options.node.clone(),
        port: about.port,
        version: about::NESOS_VERSION.into(),
        role: options.role.into(),
        leads: false,
        address: options.advertise_ip,
    }
}

/// Completes on SIGTERM or SIGINT.
fn stopped() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("watch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
    })
}
