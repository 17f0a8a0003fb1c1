//! What a request needs to know of services and their tasks, copied in the engine's turn.
//!
//! Not how it is shown (`view`): definitions are read elsewhere than in the engine. Called by the handlers. Invariant: all of it is of one
//! moment.

use masterd_core::Master;
use masterd_core::builtin::{Builtin, Deployment, FRAMEWORK, Failure, Instance, Moment, Service};
use nesos_api::marathon::App;
use nesos_wire::builtin::{ServiceRecord, ServiceVersion};
use nesos_wire::domain::Domain;
use nesos_wire::{FrameworkId, TaskKey};

use crate::convert::service;

/// Services by path, and the deployments under way.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) services: Vec<SeenService>,
    pub(super) deployments: Vec<Deployment>,
    /// Milliseconds since 1970.
    pub(super) wall: u64,
}

/// A service.
#[derive(Debug)]
pub(super) struct SeenService {
    pub(super) record: ServiceRecord,
    pub(super) is_checked: bool,
    pub(super) last_failure: Option<Failure>,
    /// Instances that wait for an offer.
    pub(super) waiting: u32,
    /// Since when they do, milliseconds since 1970.
    pub(super) waiting_since: u64,
    pub(super) unused_offers: u64,
    /// Seconds until it is started again.
    pub(super) delay: Option<u64>,
    pub(super) tasks: Vec<SeenTask>,
}

/// A task of a service.
#[derive(Debug)]
pub(super) struct SeenTask {
    pub(super) instance: Instance,
    pub(super) domain: Option<Domain>,
    /// Its agent's address.
    pub(super) ip: Option<String>,
    /// Protobuf of what its last status says beside what everybody reads.
    pub(super) extra: Vec<u8>,
}

/// The services that are wanted.
pub(super) fn see(
    builtin: &Builtin,
    master: &Master,
    moment: Moment,
    wanted: impl Fn(&str) -> bool,
) -> Seen {
    let services = builtin.services().filter(|one| wanted(&one.record.id));
    Seen {
        services: services
            .map(|service| see_service(builtin, master, moment, service))
            .collect(),
        deployments: builtin.deployments().cloned().collect(),
        wall: moment.wall,
    }
}

fn see_service(
    builtin: &Builtin,
    master: &Master,
    moment: Moment,
    service: &Service,
) -> SeenService {
    let delay = builtin.delay(service, moment.now);
    let tasks = builtin.instances_of(&service.record.id);
    SeenService {
        record: service.record.clone(),
        is_checked: service.facts.is_checked,
        last_failure: service.last_failure.clone(),
        waiting: service.waiting,
        waiting_since: service.waiting_since,
        unused_offers: service.unused_offers,
        delay: delay.map(|delay| delay.as_millis().div_ceil(1000)),
        tasks: tasks.map(|task| see_task(task, master)).collect(),
    }
}

fn see_task(instance: &Instance, master: &Master) -> SeenTask {
    let agent = master.agent(&instance.record.agent);
    let key = TaskKey {
        framework: FrameworkId::new(FRAMEWORK),
        task: instance.record.task.clone(),
    };
    let task = master.task(&key);
    let last = task.and_then(|task| task.statuses().pop());
    SeenTask {
        instance: instance.clone(),
        domain: agent.and_then(|agent| agent.domain.clone()),
        ip: agent.map(|agent| agent.ip.to_string()),
        extra: last.map(|last| last.extra).unwrap_or_default(),
    }
}

impl Seen {
    /// One service.
    pub(super) fn service(&self, id: &str) -> Option<&SeenService> {
        self.services.iter().find(|one| one.record.id == id)
    }

    /// The task of this id and its service.
    pub(super) fn task(&self, id: &str) -> Option<(&SeenService, &SeenTask)> {
        let all = self.services.iter();
        let mut all = all.flat_map(|one| one.tasks.iter().map(move |task| (one, task)));
        all.find(|(_, task)| task.instance.record.task.as_str() == id)
    }
}

impl SeenService {
    /// Its path.
    pub(super) fn id(&self) -> &str {
        &self.record.id
    }

    /// The definition that holds.
    pub(super) fn current(&self) -> Option<&ServiceVersion> {
        self.record.versions.last()
    }

    /// What it says; none if it cannot be read, which is logged.
    pub(super) fn app(&self) -> Option<App> {
        self.current().and_then(|version| read(self.id(), version))
    }
}

/// What a definition says; none if it cannot be read, which is logged.
pub(super) fn read(id: &str, version: &ServiceVersion) -> Option<App> {
    let read = service::read(&version.definition);
    read.inspect_err(|reason| tracing::error!("version {} of {id}: {reason}", version.version))
        .ok()
}
