//! The knobs of a master, with the reasons for their defaults.
//!
//! Not the flags: the daemon reads those and fills this in. Constant for the life of a `Master`.

use std::collections::BTreeMap;

use nesos_base::time::Duration;
use nesos_wire::MasterId;
use nesos_wire::domain::Domain;
use nesos_wire::resource::{Resources, Scalar, Value};
use nesos_wire::version::Window;

/// How a master behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// This master process's id: a fresh UUID, prefix of the ids it allots.
    pub master: MasterId,
    /// The wire versions that it speaks. Default: this build's.
    pub versions: Window,
    /// The cluster's name, told to agents.
    pub cluster: String,
    /// Pause between pings on an idle agent link. Default 5 s (Mesos: 15 s): boards lose power without a FIN, and a ping
    /// of ten bytes costs nothing.
    pub ping_interval: Duration,
    /// Pings in a row without any word from the agent until the link counts as broken. Default 3, so 15 s of silence
    /// (Mesos: 5, 75 s); shorter would take a busy SD card's pauses for deaths.
    pub max_ping_misses: u32,
    /// How long an agent without a link may be away until it is unreachable. Default 30 s (Mesos: 10 min, but 75 s in
    /// all when pings fail). A restart of agentd takes below 1 s and a reboot of a board some 15 s; a board that was
    /// unplugged is declared unreachable 45 s later, sooner than Mesos's 75 s.
    pub agent_reregister_timeout: Duration,
    /// Least pause between two agents that are declared unreachable; one that returns while it waits is spared. Default
    /// none, as Mesos's `--agent_removal_rate_limit`.
    pub agent_removal_pause: Option<Duration>,
    /// How long an offer stands before it is rescinded. Default for ever, as Mesos's `--offer_timeout`.
    pub offer_timeout: Option<Duration>,
    /// How long frameworks that a new master knows only from the registry or from agents may take to subscribe, if
    /// their own failover timeout is shorter. Default 10 min (Mesos never removes them; orphans then run for ever).
    pub framework_recovery_timeout: Duration,
    /// A decline with `refuse_seconds` 0 still hides the same resources from the same framework this long: without a
    /// periodic batch the two would play ping-pong. Default 1 s, Mesos's `--allocation_interval`.
    pub decline_pause: Duration,
    /// Offers must hold one of these. Default `cpus:0.01` or `mem:32`.
    pub min_allocatable: Vec<Resources>,
    /// Frameworks without GPU_RESOURCES get nothing from agents with gpus. Default true.
    pub filter_gpu_resources: bool,
    /// Weights by role for a registry that has none (`--weights`).
    pub weights: BTreeMap<String, f64>,
    /// With quota, a new master makes no offers until this part of the agents is back. Default 0.8, as Mesos's.
    pub allocator_agent_recovery_factor: f64,
    /// But it waits no longer than this. Default 10 min, as Mesos's.
    pub allocator_recovery_timeout: Duration,
    /// Where this master stands. Agents of other regions are offered to REGION_AWARE frameworks only.
    pub domain: Option<Domain>,
    /// If not empty, only these roles may be subscribed to (`--roles`).
    pub roles: Vec<String>,
    /// Whether frameworks may have the user root (`--root_submissions`). Default true, as Mesos's.
    pub root_submissions: bool,
    /// Ended frameworks that are remembered. Default 50, as Mesos's.
    pub max_completed_frameworks: usize,
    /// Ended tasks that are remembered of a framework. Default 1000, as Mesos's.
    pub max_completed_tasks: usize,
    /// Tasks on unreachable agents that are remembered of a framework. Default 1000, as Mesos's.
    pub max_unreachable_tasks: usize,
    /// Most frameworks known at a time, subscribed or not. Default 1000: each costs memory and registry space.
    pub max_frameworks: usize,
    /// Most agents in the registry. Default 10000, the scale the allocator is built for.
    pub max_agents: usize,
}

impl Config {
    /// The defaults.
    pub fn new(master: MasterId, cluster: impl Into<String>) -> Self {
        Self {
            master,
            versions: Window::OURS,
            cluster: cluster.into(),
            ping_interval: Duration::from_secs(5),
            max_ping_misses: 3,
            agent_reregister_timeout: Duration::from_secs(30),
            agent_removal_pause: None,
            offer_timeout: None,
            framework_recovery_timeout: Duration::from_secs(600),
            decline_pause: Duration::from_secs(1),
            min_allocatable: vec![
                Resources::from_iter([("cpus", Value::Scalar(Scalar(10)))]),
                Resources::from_iter([("mem", Value::Scalar(Scalar(32_000)))]),
            ],
            filter_gpu_resources: true,
            weights: BTreeMap::new(),
            allocator_agent_recovery_factor: 0.8,
            allocator_recovery_timeout: Duration::from_secs(600),
            domain: None,
            roles: Vec::new(),
            root_submissions: true,
            max_completed_frameworks: 50,
            max_completed_tasks: 1000,
            max_unreachable_tasks: 1000,
            max_frameworks: 1000,
            max_agents: 10_000,
        }
    }

    /// What agents are told as `silence_limit_ms`: the same span after which the master gives a link up.
    pub fn silence_limit(&self) -> Duration {
        Duration::from_micros(
            self.ping_interval
                .as_micros()
                .saturating_mul(u64::from(self.max_ping_misses.max(1))),
        )
    }
}
