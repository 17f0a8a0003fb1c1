//! Which offer is used for what.
//!
//! Called when offers come. What waits longest is placed first, each instance where the fewest of its service are. Invariant: each offer is
//! accepted or declined at once.

use std::collections::BTreeMap;

use nesos_wire::builtin::{InstanceRecord, Owner};
use nesos_wire::command::Command;
use nesos_wire::resource::Resources;
use nesos_wire::{AgentId, OfferId, TaskId};

use super::fit::{Share, take};
use super::need::Need;
use super::rules::{Place, allow};
use super::{Builtin, Instance, Launch, ROLE, Service, Wish};
use crate::call::Call;
use crate::master::Master;
use crate::outgoing::Offer;

/// An offer that is being used.
struct Open {
    offer: Offer,
    free: Resources,
    launches: Vec<Launch>,
}

/// Where an instance may go to, and what it gets there.
struct Choice {
    at: usize,
    share: Share,
}

impl Builtin {
    /// Has the master send offers while something waits for one, and none otherwise.
    pub(super) fn ask_for_offers(&mut self) {
        if !self.link.is_up {
            return;
        }
        let is_due = |service| self.is_due(service);
        let wants = !self.runs.is_empty() || self.services.values().any(is_due);
        if wants && (self.link.is_suppressed || self.link.is_news) {
            self.link.is_suppressed = false;
            self.link.is_news = false;
            self.call(Call::Revive { roles: Vec::new() });
        } else if !wants && !self.link.is_suppressed {
            self.link.is_suppressed = true;
            self.call(Call::Suppress { roles: Vec::new() });
        }
    }

    pub(super) fn offered(&mut self, offers: Vec<Offer>, master: &Master) {
        let open = offers.into_iter().map(|offer| Open {
            free: offer.resources.clone(),
            offer,
            launches: Vec::new(),
        });
        let mut open: Vec<Open> = open.collect();
        self.place_runs(&mut open, master);
        let due = self
            .services
            .values()
            .filter(|service| self.is_due(service));
        let mut due: Vec<(u64, String)> = due
            .map(|service| (service.waiting_since, service.record.id.clone()))
            .collect();
        due.sort();
        for (_, id) in due {
            self.place_service(&id, &mut open, master);
        }
        self.use_offers(open);
    }

    /// Whether it waits for offers now.
    fn is_due(&self, service: &Service) -> bool {
        service.waiting > 0 && service.delay.until(self.moment.now).is_none()
    }

    /// What is to run at a time comes before what is to run always.
    fn place_runs(&mut self, open: &mut [Open], master: &Master) {
        for run in std::mem::take(&mut self.runs) {
            let job = self.jobs.get(&run.job);
            let choice = job.and_then(|job| self.choose(&job.facts().need, None, open, master));
            let (Some(job), Some(choice)) = (job, choice) else {
                self.runs.push(run);
                continue;
            };
            let definition = job.definition().to_vec();
            let owner = Owner::Job {
                name: run.job,
                attempt: run.attempt,
            };
            let what = (definition, 0, run.arguments);
            self.launch(run.task.clone(), owner, what, choice, open);
            self.jobs.started(&run.task, self.moment.wall);
        }
        self.obey_jobs();
    }

    fn place_service(&mut self, id: &str, open: &mut [Open], master: &Master) {
        loop {
            let Some(service) = self.services.get(id).filter(|service| service.waiting > 0) else {
                return;
            };
            let changed = service.changed();
            let owner = Owner::Service {
                id: id.to_owned(),
                version: changed,
            };
            let choice = self.choose(&service.facts.need, Some(&owner), open, master);
            let definition = service.current().map(|current| current.definition.clone());
            let (version, need) = (service.version(), self.next_task);
            let Some(service) = self.services.get_mut(id) else {
                return;
            };
            let Some(choice) = choice else {
                service.unused_offers += open.len() as u64;
                return;
            };
            service.waiting -= 1;
            let flat = id.trim_start_matches('/').replace('/', "_");
            let task = TaskId::new(format!("{flat}.{}-{need}", self.start));
            self.next_task += 1;
            let definition = definition.unwrap_or_default();
            self.launch(task, owner, (definition, version, None), choice, open);
        }
    }

    /// Where an instance is to go: of the agents that suit it and have room, the one with the fewest of its kind, then with the fewest.
    fn choose(
        &self,
        need: &Need,
        owner: Option<&Owner>,
        open: &[Open],
        master: &Master,
    ) -> Option<Choice> {
        let is_kin = |one: &&Instance| owner.is_some_and(|owner| one.record.owner == *owner);
        let kin = self
            .instances
            .values()
            .filter(|one| one.counts())
            .filter(is_kin);
        let kin: Vec<&AgentId> = kin.map(|one| &one.record.agent).collect();
        let others = kin.iter().filter_map(|agent| master.agent(agent));
        let others: Vec<Place<'_>> = others.map(Place::of).collect();
        let mut held: BTreeMap<&AgentId, usize> = BTreeMap::new();
        for instance in self.instances.values() {
            *held.entry(&instance.record.agent).or_default() += 1;
        }
        let mut best: Option<((usize, usize), Choice)> = None;
        for (at, open) in open.iter().enumerate() {
            let agent = &open.offer.agent;
            if self.is_down(&open.offer) || !allow(&need.constraints, place(&open.offer), &others) {
                continue;
            }
            let of_kind = kin.iter().filter(|other| **other == agent).count();
            let rank = (of_kind, held.get(agent).copied().unwrap_or(0));
            if best.as_ref().is_some_and(|(best, _)| *best <= rank) {
                continue;
            }
            if let Some(share) = take(need, &open.free, self.last_port) {
                best = Some((rank, Choice { at, share }));
            }
        }
        best.map(|(_, choice)| choice)
    }

    /// Whether the agent's machine is to be down already.
    fn is_down(&self, offer: &Offer) -> bool {
        let wall = i128::from(self.moment.wall) * 1_000_000;
        let window = offer.unavailability.as_ref();
        window.is_some_and(|window| i128::from(window.start_ns) <= wall)
    }

    fn launch(
        &mut self,
        task: TaskId,
        owner: Owner,
        (definition, version, arguments): (Vec<u8>, u64, Option<String>),
        choice: Choice,
        open: &mut [Open],
    ) {
        let open = &mut open[choice.at];
        open.free.subtract(&choice.share.resources);
        let record = InstanceRecord {
            task: task.clone(),
            owner: owner.clone(),
            agent: open.offer.agent.clone(),
            host: open.offer.hostname.to_string(),
            ports: choice.share.ports.clone(),
            staged: self.moment.wall,
        };
        open.launches.push(Launch {
            task,
            owner,
            definition,
            version,
            agent: record.agent.clone(),
            host: record.host.clone(),
            resources: choice.share.resources,
            ports: choice.share.ports,
            arguments,
        });
        self.last_port = choice.share.last_port;
        self.keep(Command::PutInstance(record.clone()));
        let mut instance = Instance::new(record);
        // The master tells of what it was asked to launch.
        instance.is_confirmed = true;
        self.index(instance);
    }

    fn use_offers(&mut self, open: Vec<Open>) {
        let mut declined: Vec<OfferId> = Vec::new();
        for Open {
            offer, launches, ..
        } in open
        {
            debug_assert_eq!(offer.role, ROLE);
            match launches.is_empty() {
                true => declined.push(offer.id),
                false => self.wishes.push(Wish::Launch {
                    offer: offer.id,
                    launches,
                }),
            }
        }
        if !declined.is_empty() {
            self.call(Call::Decline {
                offers: declined,
                refuse_seconds: None,
            });
        }
    }
}

fn place(offer: &Offer) -> Place<'_> {
    Place {
        hostname: &offer.hostname,
        attributes: &offer.attributes,
        domain: offer.domain.as_ref(),
    }
}
