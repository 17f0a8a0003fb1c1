//! The master's state and its two entry points; the modules beside this one hold the behaviour.
//!
//! Here: construction, dispatch, accessors, the small helpers everybody uses. Called by the shell and the simulation.
//! Invariant: `step` does nothing but change memory and append to the next `Ready`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use nesos_base::time::Instant;
use nesos_wire::command::Command;
use nesos_wire::message::MasterToAgent;
use nesos_wire::resource::Resources;
use nesos_wire::{AgentId, Attempt, FrameworkId, MasterId, OfferId, TaskKey};

use crate::agents::Kinds;
use crate::allocator::{Allocator, Settings};
use crate::call::CallRefusal;
use crate::config::Config;
use crate::event::{Event, LinkId, RequestId, StreamId};
use crate::maintenance::Maintained;
use crate::metrics::Metrics;
use crate::outgoing::{FrameworkEvent, InverseOffer, Offer};
use crate::ready::{Answer, Ready};
use crate::registry::Registry;
use crate::shelf::Shelf;
use crate::state::{Agent, Completed, Framework};
use crate::tally::Tally;
use crate::task::Task;
use crate::timers::{Timer, Timers};

/// The master. See the crate's documentation for the contract with the shell.
#[derive(Debug)]
pub struct Master {
    pub(crate) config: Config,
    pub(crate) registry: Registry,
    pub(crate) agents: Shelf<AgentId, Agent>,
    pub(crate) frameworks: Shelf<FrameworkId, Framework>,
    pub(crate) completed: VecDeque<Arc<Completed>>,
    pub(crate) offers: Shelf<OfferId, Offer>,
    /// When each is taken back, with `Config::offer_timeout`.
    pub(crate) offer_deadlines: BTreeMap<OfferId, Instant>,
    pub(crate) links: BTreeMap<LinkId, AgentId>,
    pub(crate) streams: BTreeMap<StreamId, FrameworkId>,
    pub(crate) requests: BTreeMap<RequestId, LinkId>,
    /// Agents whose tasks are being killed for an operator.
    pub(crate) draining: BTreeSet<AgentId>,
    pub(crate) inverse_offers: BTreeMap<OfferId, InverseOffer>,
    pub(crate) maintained: BTreeMap<AgentId, Maintained>,
    /// Maintained agents on which somebody may have to be asked to leave.
    pub(crate) inverse_due: BTreeSet<AgentId>,
    /// No agent becomes unreachable before this.
    pub(crate) removal_allowed_at: Instant,
    pub(crate) allocator: Allocator,
    pub(crate) kinds: Kinds,
    pub(crate) timers: Timers,
    pub(crate) metrics: Metrics,
    pub(crate) tallies: Shelf<FrameworkId, Tally>,
    pub(crate) calls_by_principal: BTreeMap<String, u64>,
    pub(crate) is_watched: bool,
    pub(crate) now: Instant,
    pub(crate) wall: f64,
    pub(crate) start_time: f64,
    pub(crate) next_agent: u64,
    pub(crate) next_framework: u64,
    pub(crate) next_offer: u64,
    pub(crate) next_attempt: u32,
    pub(crate) out: Ready,
}

impl Master {
    /// A master that begins to lead with what the registry on disk says. Its first `ready` holds the command that counts
    /// this start. `wall` is the time in seconds since 1970.
    pub fn new(config: Config, registry: Registry, now: Instant, wall: f64) -> Self {
        let allocator = Allocator::new(&Settings {
            min_allocatable: config.min_allocatable.clone(),
            filter_gpu_resources: config.filter_gpu_resources,
            fair_sharing_excluded: Vec::new(),
        });
        let mut master = Self {
            config,
            registry,
            agents: Shelf::default(),
            frameworks: Shelf::default(),
            completed: VecDeque::new(),
            offers: Shelf::default(),
            offer_deadlines: BTreeMap::new(),
            links: BTreeMap::new(),
            streams: BTreeMap::new(),
            requests: BTreeMap::new(),
            draining: BTreeSet::new(),
            inverse_offers: BTreeMap::new(),
            maintained: BTreeMap::new(),
            inverse_due: BTreeSet::new(),
            removal_allowed_at: now,
            allocator,
            kinds: Kinds::default(),
            timers: Timers::default(),
            metrics: Metrics::default(),
            tallies: Shelf::default(),
            calls_by_principal: BTreeMap::new(),
            is_watched: false,
            now,
            wall,
            start_time: wall,
            next_agent: 0,
            next_framework: 0,
            next_offer: 0,
            next_attempt: 0,
            out: Ready::default(),
        };
        let start = master.registry.start().saturating_add(1);
        master.propose(Command::MasterStarted { start });
        master.recover();
        master
    }

    /// Takes in one event. `now` must not go back; `wall` (seconds since 1970) may.
    pub fn step(&mut self, event: Event, now: Instant, wall: f64) {
        self.now = self.now.max(now);
        self.wall = wall;
        self.ring();
        match event {
            Event::AgentHello { link, hello } => self.agent_hello(link, *hello),
            Event::AgentMessage { link, message } => self.agent_message(link, message),
            Event::AgentClosed { link } => self.agent_closed(link),
            Event::Subscribe(subscribe) => self.subscribe(*subscribe),
            Event::Call {
                framework,
                stream,
                call,
            } => {
                if self.check_stream(&framework, Some(stream)).is_ok() {
                    self.call(&framework, call);
                }
            }
            Event::StreamClosed { stream } => self.stream_closed(stream),
            Event::Teardown { request, framework } => self.operator_teardown(request, &framework),
            Event::KillTask {
                request,
                key,
                grace_ms,
            } => self.operator_kill(request, &key, grace_ms),
            Event::ReadFile {
                request,
                key,
                path,
                offset,
                length,
            } => {
                self.read_file(request, key, path, offset, length);
            }
            Event::CallBack {
                request,
                agent,
                token,
            } => self.call_back(request, &agent, token),
            Event::Order { request, order } => self.order(request, order),
            Event::Keep(command) => self.propose(command),
            Event::Tick => {}
        }
    }

    /// Everything to do since the last call. Makes the offers of the batch, so call it after a batch of events, not
    /// within one.
    pub fn ready(&mut self) -> Ready {
        self.finish_drains();
        self.make_offers();
        self.make_inverse_offers();
        let mut ready = std::mem::take(&mut self.out);
        ready.deadline = [self.timers.next(), self.allocator.next_deadline()]
            .into_iter()
            .flatten()
            .min();
        ready
    }

    /// What HTTP status a call other than SUBSCRIBE deserves: `Ok` is 202. `stream` is the `Mesos-Stream-Id` header, if
    /// it is there and a UUID (a text that is none: pass a stream id that was never used); `principal` the authenticated
    /// one, if there is authentication.
    pub fn check_call(
        &self,
        framework: &FrameworkId,
        stream: Option<StreamId>,
        principal: Option<&str>,
    ) -> Result<(), CallRefusal> {
        let known = self
            .frameworks
            .get(framework)
            .ok_or(CallRefusal::UnknownFramework)?;
        if principal.is_some() && known.facts.principal.as_deref() != principal {
            return Err(CallRefusal::WrongPrincipal);
        }
        self.check_stream(framework, stream)
    }

    fn check_stream(
        &self,
        framework: &FrameworkId,
        stream: Option<StreamId>,
    ) -> Result<(), CallRefusal> {
        let known = self
            .frameworks
            .get(framework)
            .ok_or(CallRefusal::UnknownFramework)?;
        let current = known.stream.ok_or(CallRefusal::NotSubscribed)?;
        match stream {
            None => Err(CallRefusal::MissingStreamId),
            Some(stream) if stream != current => Err(CallRefusal::WrongStreamId),
            Some(_) => Ok(()),
        }
    }

    /// The id that the next new framework gets, `<master>-NNNN`.
    pub fn next_framework_id(&self) -> FrameworkId {
        FrameworkId::new(format!("{}-{:04}", self.config.master, self.next_framework))
    }

    /// This master's id.
    pub fn id(&self) -> &MasterId {
        &self.config.master
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// When it started, seconds since 1970.
    pub fn start_time(&self) -> f64 {
        self.start_time
    }

    /// The registry as proposed, which runs ahead of the durable one.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All admitted agents, by id.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values()
    }

    /// One agent.
    pub fn agent(&self, id: &AgentId) -> Option<&Agent> {
        self.agents.get(id)
    }

    /// What the tasks and executors on an agent use.
    pub fn used_resources(&self, agent: &Agent) -> Resources {
        let tasks = agent
            .tasks
            .iter()
            .filter_map(|key| self.task(key))
            .filter(|task| task.is_using_resources());
        let tasks = tasks.map(|task| &task.spec.resources);
        let executors = agent.held_by_executors().map(|(_, held)| held);
        tasks
            .chain(executors)
            .fold(Resources::new(), |mut sum, used| {
                sum.add(used);
                sum
            })
    }

    /// What is on offer on an agent.
    pub fn offered_resources(&self, agent: &Agent) -> Resources {
        agent
            .offers
            .iter()
            .filter_map(|id| self.offers.get(id))
            .fold(Resources::new(), |mut sum, offer| {
                sum.add(&offer.resources);
                sum
            })
    }

    /// Frameworks that have not ended, by id.
    pub fn frameworks(&self) -> impl Iterator<Item = &Framework> {
        self.frameworks.values()
    }

    /// One framework that has not ended.
    pub fn framework(&self, id: &FrameworkId) -> Option<&Framework> {
        self.frameworks.get(id)
    }

    /// Ended frameworks, oldest first.
    pub fn completed_frameworks(&self) -> impl Iterator<Item = &Completed> {
        self.completed.iter().map(|completed| &**completed)
    }

    /// A task that is neither unreachable nor completed.
    pub fn task(&self, key: &TaskKey) -> Option<&Task> {
        self.frameworks.get(&key.framework)?.tasks.get(&key.task)
    }

    /// A task wherever it is remembered, the newest launch of its id first.
    pub fn find_task(&self, key: &TaskKey) -> Option<&Task> {
        fn ended<'a>(framework: &'a Framework, key: &TaskKey) -> Option<&'a Task> {
            let mut newest_first = framework.completed.values().rev();
            newest_first.find(|task| task.spec.key == *key)
        }
        if let Some(framework) = self.frameworks.get(&key.framework) {
            return framework
                .tasks
                .get(&key.task)
                .or_else(|| framework.unreachable.get(&key.task))
                .or_else(|| ended(framework, key));
        }
        let completed = self
            .completed
            .iter()
            .find(|completed| completed.framework.id == key.framework)?;
        ended(&completed.framework, key)
    }

    /// Outstanding offers, by id.
    pub fn offers(&self) -> impl Iterator<Item = &Offer> {
        self.offers.values()
    }

    /// One outstanding offer.
    pub fn offer(&self, id: &OfferId) -> Option<&Offer> {
        self.offers.get(id)
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Applies a command in memory and hands it out to be persisted before anything that follows.
    pub(crate) fn propose(&mut self, command: Command) {
        self.registry.apply(&command);
        self.out.commands.push(command);
    }

    /// Sends to an agent if it is connected; says whether it was.
    pub(crate) fn send_agent(&mut self, agent: &AgentId, message: MasterToAgent) -> bool {
        match self.agents.get(agent).and_then(Agent::link) {
            Some(link) => {
                self.out.to_agents.push((link, message));
                true
            }
            None => false,
        }
    }

    /// Sends to a framework if it is connected; says whether it was.
    pub(crate) fn send_framework(
        &mut self,
        framework: &FrameworkId,
        event: FrameworkEvent,
    ) -> bool {
        match self
            .frameworks
            .get(framework)
            .and_then(|framework| framework.stream)
        {
            Some(stream) => {
                self.note_event(framework, &event);
                self.out.to_frameworks.push((stream, event));
                true
            }
            None => false,
        }
    }

    pub(crate) fn answer(&mut self, request: RequestId, answer: Answer) {
        self.out.answers.push((request, answer));
    }

    /// The next launch's number: the start count above, a counter below, so later launches have greater numbers.
    pub(crate) fn allot_attempt(&mut self) -> Attempt {
        self.next_attempt = self.next_attempt.wrapping_add(1);
        Attempt(u64::from(self.registry.start()) << 32 | u64::from(self.next_attempt))
    }

    pub(crate) fn ring(&mut self) {
        self.allocator.expire_filters(self.now);
        while let Some((at, timer)) = self.timers.pop(self.now) {
            match timer {
                Timer::Heartbeat(stream) => self.heartbeat_due(stream, at),
                Timer::Ping(link) => self.ping_due(link),
                Timer::Unreachable(agent) => self.unreachable_due(&agent, at),
                Timer::Removal(framework) => self.removal_due(&framework, at),
                Timer::Offer(offer) => self.rescind(&offer),
                Timer::Inverse(agent, framework) => self.inverse_filter_due(agent, &framework),
                Timer::Request(request) => self.request_due(request),
                Timer::AllocatorRecovery => self.allocator.resume(),
            }
        }
    }
}
