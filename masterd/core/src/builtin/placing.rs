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

/// How many instances agents have, counted once for all that is placed.
#[derive(Default)]
struct Crowd {
    /// Of all services and jobs.
    all: BTreeMap<AgentId, usize>,
    /// Of what is being placed, made by the same definition.
    kin: BTreeMap<AgentId, usize>,
}

impl Crowd {
    fn add(&mut self, agent: &AgentId) {
        for counts in [&mut self.all, &mut self.kin] {
            *counts.entry(agent.clone()).or_default() += 1;
        }
    }

    /// Fewest of the kind first, then fewest of all.
    fn rank(&self, agent: &AgentId) -> (usize, usize) {
        let count = |counts: &BTreeMap<_, usize>| counts.get(agent).copied().unwrap_or(0);
        (count(&self.kin), count(&self.all))
    }
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
        let mut crowd = Crowd::default();
        for instance in self.instances.values() {
            crowd.add(&instance.record.agent);
        }
        self.place_runs(&mut open, &mut crowd, master);
        let due = self
            .services
            .values()
            .filter(|service| self.is_due(service));
        let mut due: Vec<(u64, String)> = due
            .map(|service| (service.waiting_since, service.record.id.clone()))
            .collect();
        due.sort();
        for (_, id) in due {
            self.place_service(&id, &mut open, &mut crowd, master);
        }
        self.use_offers(open);
    }

    /// Whether it waits for offers now.
    fn is_due(&self, service: &Service) -> bool {
        service.waiting > 0 && service.delay.until(self.moment.now).is_none()
    }

    /// What is to run at a time comes before what is to run always.
    fn place_runs(&mut self, open: &mut [Open], crowd: &mut Crowd, master: &Master) {
        for run in std::mem::take(&mut self.runs) {
            crowd.kin.clear();
            let job = self.jobs.get(&run.job);
            let choice = job.and_then(|job| self.choose(&job.facts().need, crowd, open, master));
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
            crowd.add(&open[choice.at].offer.agent);
            self.launch(run.task.clone(), owner, what, choice, open);
            self.jobs.started(&run.task, self.moment.wall);
        }
        self.obey_jobs();
    }

    fn place_service(&mut self, id: &str, open: &mut [Open], crowd: &mut Crowd, master: &Master) {
        let Some(service) = self.services.get(id) else {
            return;
        };
        let owner = Owner::Service {
            id: id.to_owned(),
            version: service.changed(),
        };
        let definition = service.current().map(|current| current.definition.clone());
        let definition = definition.unwrap_or_default();
        let version = service.version();
        crowd.kin.clear();
        let kin = self.instances_of(id).filter(|one| one.counts());
        for one in kin.filter(|one| one.record.owner == owner) {
            *crowd.kin.entry(one.record.agent.clone()).or_default() += 1;
        }
        while let Some(service) = self.services.get(id).filter(|one| one.waiting > 0) {
            let choice = self.choose(&service.facts.need, crowd, open, master);
            let Some(service) = self.services.get_mut(id) else {
                return;
            };
            let Some(choice) = choice else {
                service.unused_offers += open.len() as u64;
                return;
            };
            service.waiting -= 1;
            let flat = id.trim_start_matches('/').replace('/', "_");
            let task = TaskId::new(format!("{flat}.{}-{}", self.start, self.next_task));
            self.next_task += 1;
            crowd.add(&open[choice.at].offer.agent);
            let what = (definition.clone(), version, None);
            self.launch(task, owner.clone(), what, choice, open);
        }
    }

    /// Where an instance is to go: of the agents that suit it and have room, the one that comes first by [`Crowd::rank`].
    fn choose(&self, need: &Need, crowd: &Crowd, open: &[Open], master: &Master) -> Option<Choice> {
        let others: Vec<Place<'_>> = match need.constraints.is_empty() {
            true => Vec::new(),
            false => {
                let kin = crowd.kin.iter();
                let kin = kin.filter_map(|(agent, count)| Some((master.agent(agent)?, *count)));
                kin.flat_map(|(agent, count)| std::iter::repeat_n(Place::of(agent), count))
                    .collect()
            }
        };
        let mut best: Option<((usize, usize), Choice)> = None;
        for (at, open) in open.iter().enumerate() {
            let rank = crowd.rank(&open.offer.agent);
            if best.as_ref().is_some_and(|(best, _)| *best <= rank)
                || self.is_down(&open.offer)
                || !allow(&need.constraints, place(&open.offer), &others)
            {
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
