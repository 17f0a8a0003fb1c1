//! The built-in schedulers: services are kept running, jobs are started by time or after other jobs.
//!
//! Not part of the [`Master`], which knows them as one more framework; not what is run either, which the shell reads from JSON
//! definitions. Pure as the master: the shell and the simulation carry events in and wishes out. Invariants: a task is launched only after
//! its record was wished for; a record is given up only when its task has ended or nobody can tell of it any more.

use std::collections::{BTreeMap, BTreeSet};

use nesos_base::time::{Duration, Instant};
use nesos_wire::builtin::{InstanceRecord, JobRecord, Owner, ServiceRecord};
use nesos_wire::command::Command;
use nesos_wire::{FrameworkId, TaskId};

use crate::call::Call;
use crate::master::Master;
use crate::outgoing::FrameworkEvent;
use crate::registry::Registry;

mod deploy;
mod fit;
mod instance;
pub mod jobs;
mod need;
mod operate;
mod placing;
mod rules;
mod runs;
mod services;
mod tasks;
mod wish;

pub use instance::{Health, Instance};
use jobs::{JobFacts, Jobs};
pub use need::{Constraint, Need, Pattern, PatternError, PortNeed, Rule};
pub use operate::Change;
use runs::Run;
pub use services::{
    Backoff, Failure, MAX_DEFINITION, MAX_INSTANCES, MAX_SERVICE_ID, MAX_SERVICES, MAX_VERSIONS,
    Service, ServiceError, ServiceFacts,
};
pub use wish::{Action, Deployment, Launch, Told, Wish};

/// Id of the framework by which the master knows the built-in schedulers; nobody else may subscribe under it.
pub const FRAMEWORK: &str = "nesos";

/// The role in which they take offers.
pub const ROLE: &str = "*";

/// What is told and not yet fetched; the shell fetches after each step, and a step that tells more loses the oldest.
const MAX_TOLD: usize = 4096;

/// When something happens, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// By the clock that never jumps.
    pub now: Instant,
    /// Milliseconds since 1970, by the clock that may.
    pub wall: u64,
}

impl Moment {
    /// `wall` in seconds since 1970; before that counts as then.
    pub fn new(now: Instant, wall: f64) -> Self {
        Self {
            now,
            wall: (wall * 1000.0) as u64,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Builtin {
    services: BTreeMap<String, Service>,
    instances: BTreeMap<TaskId, Instance>,
    /// Instances by service, of removed services too.
    of_service: BTreeMap<String, BTreeSet<TaskId>>,
    deployments: BTreeMap<String, Deployment>,
    /// Services that are no longer wanted and still have instances, with the deployment that removes them.
    leaving: BTreeMap<String, String>,
    /// Services that are to be looked at.
    dirty: BTreeSet<String>,
    jobs: Jobs,
    /// Runs of jobs that wait for an offer, oldest first.
    runs: Vec<Run>,
    link: Link,
    /// Start count of the registry: prefixes task numbers.
    start: u32,
    next_task: u64,
    /// The host port that was given out last, of those that nobody asked for by number.
    last_port: u16,
    wishes: Vec<Wish>,
    told: Vec<Told>,
    moment: Moment,
}

/// How it stands with the master.
#[derive(Debug, Default)]
struct Link {
    /// Subscribing was wished for.
    is_wished: bool,
    /// It is subscribed.
    is_up: bool,
    /// Offers are suppressed.
    is_suppressed: bool,
    /// Something began to wait for an offer since offers were asked for last.
    is_news: bool,
    /// When instances that nobody has told of yet are asked about, and how long to wait until then next time.
    ask: Option<(Instant, Duration)>,
}

impl Builtin {
    /// At the start of a leadership with this registry, of which `services` and `jobs` are those with what their definitions say.
    pub fn new(
        services: Vec<(ServiceRecord, ServiceFacts)>,
        jobs: Vec<(JobRecord, JobFacts)>,
        registry: &Registry,
        moment: Moment,
    ) -> Self {
        let mut builtin = Self {
            services: BTreeMap::new(),
            instances: BTreeMap::new(),
            of_service: BTreeMap::new(),
            deployments: BTreeMap::new(),
            leaving: BTreeMap::new(),
            dirty: BTreeSet::new(),
            jobs: Jobs::default(),
            runs: Vec::new(),
            link: Link::default(),
            start: registry.start(),
            next_task: 0,
            last_port: 0,
            wishes: Vec::new(),
            told: Vec::new(),
            moment,
        };
        for (record, facts) in services {
            builtin.recover_service(record, facts);
        }
        for record in registry.instances() {
            builtin.recover_instance(record.clone());
        }
        jobs.into_iter()
            .for_each(|(record, facts)| builtin.recover_job(record, facts));
        builtin.end_orphans();
        // Boards may bring back what was given up.
        let has_run = registry.framework(&FrameworkId::new(FRAMEWORK)).is_some();
        builtin.subscribe_if(has_run || !builtin.services.is_empty());
        builtin
    }

    /// Takes in an event of the framework's stream. Events come in the order in which the master made them.
    pub fn hear(&mut self, event: FrameworkEvent, master: &Master, moment: Moment) {
        self.moment = moment;
        match event {
            FrameworkEvent::Subscribed { .. } => self.subscribed(),
            FrameworkEvent::Offers(offers) => self.offered(offers, master),
            FrameworkEvent::Update { key, status } => self.updated(key.task, status),
            FrameworkEvent::Error(_) => self.link = Link::default(),
            // It never reserves, has no executors of its own, and inverse offers are answered by `nesos drain`'s kills.
            FrameworkEvent::InverseOffers(_)
            | FrameworkEvent::RescindInverseOffer(_)
            | FrameworkEvent::Rescind(_)
            | FrameworkEvent::Operation(_)
            | FrameworkEvent::Message { .. }
            | FrameworkEvent::Failure { .. }
            | FrameworkEvent::Heartbeat => {}
        }
    }

    /// Time has passed, or operators have wished for something: decides what follows from that.
    pub fn tick(&mut self, moment: Moment) {
        self.moment = moment;
        self.jobs.tick(moment.wall);
        self.obey_jobs();
        self.look_after_instances();
        while let Some(id) = self.dirty.pop_first() {
            self.drive(&id);
        }
        self.ask_for_offers();
    }

    /// What is to be done since the last call, in order.
    pub fn take_wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.wishes)
    }

    /// What is to be told since the last call, in order.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// When [`tick`](Self::tick) is due at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let waits = self.services.values().filter(|service| service.waiting > 0);
        let waits = waits.filter_map(|service| service.delay.until(self.moment.now));
        let ask = self.link.ask.map(|(at, _)| at);
        let due = waits.chain(ask).chain(self.instances_due());
        due.chain(self.jobs_due()).min()
    }

    /// The services, by path.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// One service.
    pub fn service(&self, id: &str) -> Option<&Service> {
        self.services.get(id)
    }

    /// All tasks, by id.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values()
    }

    /// The tasks of a service, by id.
    pub fn instances_of(&self, service: &str) -> impl Iterator<Item = &Instance> {
        let tasks = self.of_service.get(service).into_iter().flatten();
        tasks.filter_map(|task| self.instances.get(task))
    }

    /// One task.
    pub fn instance(&self, task: &TaskId) -> Option<&Instance> {
        self.instances.get(task)
    }

    /// Deployments under way, by id.
    pub fn deployments(&self) -> impl Iterator<Item = &Deployment> {
        self.deployments.values()
    }

    /// For how long a service is not started yet because it has failed.
    pub fn delay(&self, service: &Service, now: Instant) -> Option<Duration> {
        service.delay.until(now).map(|until| until - now)
    }

    fn recover_service(&mut self, record: ServiceRecord, facts: ServiceFacts) {
        let id = record.id.clone();
        let service = Service::new(record, facts);
        if let Some(deployment) = service.record.deployment.clone() {
            // What kind of change it was is not remembered.
            self.join_deployment(&deployment, service.version(), &id, Action::Scale);
        }
        self.services.insert(id.clone(), service);
        self.dirty.insert(id);
    }

    fn recover_instance(&mut self, record: InstanceRecord) {
        if let Owner::Service { id, .. } = &record.owner {
            self.dirty.insert(id.clone());
        }
        let given = record.ports.iter().copied().max();
        self.last_port = self.last_port.max(given.unwrap_or(0));
        self.index(Instance::new(record));
    }

    fn index(&mut self, instance: Instance) {
        let task = instance.record.task.clone();
        if let Owner::Service { id, .. } = &instance.record.owner {
            let of_service = self.of_service.entry(id.clone()).or_default();
            of_service.insert(task.clone());
        }
        self.instances.insert(task, instance);
    }

    /// A cluster that never had services or jobs does not show the framework.
    fn subscribe_if(&mut self, is_needed: bool) {
        if is_needed && !self.link.is_wished {
            self.link.is_wished = true;
            self.wishes.push(Wish::Subscribe);
        }
    }

    fn keep(&mut self, command: Command) {
        self.wishes.push(Wish::Keep(command));
    }

    fn call(&mut self, call: Call) {
        self.wishes.push(Wish::Call(call));
    }

    fn tell(&mut self, told: Told) {
        if self.told.len() >= MAX_TOLD {
            self.told.remove(0);
        }
        self.told.push(told);
    }
}
