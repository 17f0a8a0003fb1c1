//! The built-in schedulers beside the master that leads: their wishes go in, the events of their framework come back.
//!
//! Not the schedulers (`masterd_core::builtin`), not what definitions mean (`convert::service`). Called by `lead`. Invariants: wishes reach the
//! master in their order, in the step in which they were made; listeners hear of what the group has agreed on.

use std::sync::Arc;

use masterd_core::builtin::jobs::{EPSILON_MS, JobFacts, Past, Trigger};
use masterd_core::builtin::{
    Builtin, FRAMEWORK, Launch, Moment, Need, ROLE, ServiceFacts, Told, Wish,
};
use masterd_core::{
    Call, Event, FrameworkEvent, LaunchTask, Master, Operation, Registry, StreamId, Subscribe,
};
use nesos_api::v1::{self, FrameworkInfoCapabilityType as Capability};
use nesos_base::time::Instant;
use nesos_shell::clock::Clock;
use nesos_wire::builtin::{JobRecord, Owner, ServiceRecord};
use nesos_wire::command::FrameworkFacts;
use nesos_wire::resource::Scalar;
use nesos_wire::{FrameworkId, Uuid};
use tokio::sync::broadcast;

use super::asked::Delivery;
use super::lead::Lead;
use crate::convert::{job, launch, service};
use crate::replica::Replica;

/// The stream of their framework. No scheduler's is the same: those are random UUIDs, and this is none.
pub(super) const STREAM: StreamId = StreamId(Uuid([0xff; 16]));
/// How long their tasks may do without a leading master, seconds: a week, as Marathon has it.
const FAILOVER_TIMEOUT: f64 = 604_800.0;
/// What a listener may be behind; who is more is cut off.
const MAX_BEHIND: usize = 1024;
/// By name.
const CAPABILITIES: &[Capability] = &[
    Capability::GpuResources,
    Capability::PartitionAware,
    Capability::RegionAware,
    Capability::ReservationRefinement,
    Capability::TaskKillingState,
];

/// Reads the state of the built-in schedulers and makes the answer.
pub(super) type Look = Box<dyn FnOnce(&Builtin, &Master, Moment) -> Delivery + Send>;
/// Changes it and makes the answer.
pub(super) type Operate = Box<dyn FnOnce(&mut Builtin, Moment) -> Delivery + Send>;

/// See the module.
#[derive(Debug)]
pub(super) struct Host {
    builtin: Builtin,
    /// Something has happened since they were asked for their wishes.
    is_touched: bool,
    listeners: broadcast::Sender<Arc<Told>>,
}

impl Host {
    /// For a leadership that begins with this registry.
    pub(super) fn new(registry: &Registry, moment: Moment) -> Self {
        let services = registry.services().cloned();
        let services = services.map(|record| {
            let facts = facts(&record, registry);
            (record, facts)
        });
        let jobs = registry.jobs().cloned().map(|record| {
            let facts = job_facts(&record);
            (record, facts)
        });
        Self {
            builtin: Builtin::new(services.collect(), jobs.collect(), registry, moment),
            is_touched: true,
            listeners: broadcast::Sender::new(MAX_BEHIND),
        }
    }

    /// When time alone makes them wish for something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.builtin.deadline()
    }

    /// Passes on what the group has agreed on.
    pub(super) fn tell(&self, told: Vec<Told>) {
        for told in told {
            // Nobody listens: nobody is told.
            let _ = self.listeners.send(Arc::new(told));
        }
    }
}

impl Lead {
    /// Answers a question about the built-in schedulers, as [`ask`](Self::ask) does about the master.
    pub(super) fn look(&mut self, look: Look, replica: &mut Replica) {
        let deliver = look(&self.host.builtin, &self.master, self.moment());
        self.ask(Box::new(|_| deliver), replica);
    }

    /// Has an operator change something; the answer waits until that is agreed on.
    pub(super) fn operate(&mut self, operate: Operate, replica: &mut Replica) {
        let moment = self.moment();
        let deliver = operate(&mut self.host.builtin, moment);
        self.host.is_touched = true;
        self.settle(replica);
        self.ask(Box::new(|_| deliver), replica);
    }

    /// To hear what is told from now on.
    pub(super) fn listen(&self) -> broadcast::Receiver<Arc<Told>> {
        self.host.listeners.subscribe()
    }

    /// An event for the built-in schedulers' framework.
    pub(super) fn builtin_hears(&mut self, event: FrameworkEvent) {
        let moment = self.moment();
        self.host.is_touched = true;
        self.host.builtin.hear(event, &self.master, moment);
    }

    /// Carries out what they wish for. Gives what they tell.
    pub(super) fn pump(&mut self) -> Vec<Told> {
        let moment = self.moment();
        let is_due = |due: Instant| due <= moment.now;
        if !self.host.is_touched && !self.host.deadline().is_some_and(is_due) {
            return Vec::new();
        }
        self.host.is_touched = false;
        self.host.builtin.tick(moment);
        for wish in self.host.builtin.take_wishes() {
            match wish {
                Wish::Subscribe => self.step(subscribe(self.master.config().root_submissions)),
                Wish::Keep(command) => self.step(Event::Keep(command)),
                Wish::Call(call) => self.call(call),
                Wish::Launch { offer, launches } => {
                    let tasks = launches.iter().map(task).collect();
                    self.call(Call::Accept {
                        offers: vec![offer],
                        operations: vec![Operation::Launch(tasks)],
                        refuse_seconds: None,
                    });
                }
            }
        }
        self.host.builtin.take_told()
    }

    fn call(&mut self, call: Call) {
        self.step(Event::Call {
            framework: FrameworkId::new(FRAMEWORK),
            stream: STREAM,
            call,
        });
    }

    fn moment(&self) -> Moment {
        Moment::new(self.clock.now(), Clock::wall())
    }
}

/// What a service's last definition says. One that cannot be read is left as it is: none of its instances is started or killed.
fn facts(record: &ServiceRecord, registry: &Registry) -> ServiceFacts {
    let definition = record.versions.last();
    let definition = definition.map_or(&[][..], |version| &version.definition);
    service::facts(definition).unwrap_or_else(|reason| {
        tracing::error!("service {} stays as it is: {reason}", record.id);
        let is_its = |owner: &Owner| matches!(owner, Owner::Service { id, .. } if *id == record.id);
        let instances = registry.instances().filter(|one| is_its(&one.owner));
        ServiceFacts {
            instances: u32::try_from(instances.count()).unwrap_or(u32::MAX),
            need: Need {
                scalars: vec![("cpus".into(), Scalar(i64::MAX))],
                ..Need::default()
            },
            min_healthy: 1.0,
            ..ServiceFacts::default()
        }
    })
}

/// What a job's definition says. One that cannot be read starts nothing.
fn job_facts(record: &JobRecord) -> JobFacts {
    job::kept(&record.definition).unwrap_or_else(|reason| {
        tracing::error!("job {} is not started: {reason}", record.name);
        JobFacts {
            trigger: Trigger::Parents(Default::default()),
            retries: 0,
            disabled: true,
            concurrent: false,
            soft_error: false,
            epsilon_ms: EPSILON_MS,
            longest_ms: None,
            need: Need::default(),
            past: Past::default(),
        }
    })
}

fn subscribe(may_be_root: bool) -> Event {
    let user = if may_be_root { "root" } else { "nobody" };
    let facts = FrameworkFacts {
        name: FRAMEWORK.into(),
        user: user.into(),
        roles: vec![ROLE.into()],
        principal: None,
        failover_timeout: FAILOVER_TIMEOUT,
        checkpoint: true,
        capabilities: CAPABILITIES.iter().map(|one| one.name().into()).collect(),
    };
    let capabilities = CAPABILITIES
        .iter()
        .map(|one| v1::FrameworkInfoCapability { r#type: Some(*one) });
    let info = v1::FrameworkInfo {
        user: facts.user.clone(),
        name: facts.name.clone(),
        id: Some(v1::FrameworkID::from(FRAMEWORK)),
        failover_timeout: Some(FAILOVER_TIMEOUT),
        checkpoint: Some(true),
        role: Some(ROLE.into()),
        capabilities: capabilities.collect(),
        ..v1::FrameworkInfo::default()
    };
    Event::Subscribe(Box::new(Subscribe {
        stream: STREAM,
        framework: Some(FrameworkId::new(FRAMEWORK)),
        facts,
        info: info.to_protobuf(),
        suppressed_roles: Vec::new(),
        min_allocatable: Default::default(),
        constraints: Default::default(),
    }))
}

/// A task as the master takes it. One whose definition cannot be read becomes TASK_ERROR.
fn task(wanted: &Launch) -> LaunchTask {
    let info = match wanted.owner {
        Owner::Service { .. } => service::task_info(wanted).map_err(|error| error.to_string()),
        Owner::Job { attempt, .. } => job::task_info(wanted, attempt),
    };
    match info {
        Ok(info) => launch::task(&info, FRAMEWORK),
        Err(reason) => LaunchTask {
            invalid: Some(reason),
            ..launch::task(&service::bare_task_info(wanted), FRAMEWORK)
        },
    }
}
