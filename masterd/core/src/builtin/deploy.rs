//! Bringing services to what they are to be: instances are asked for and killed, deployments come to their end.
//!
//! The numbers are `services::plan`'s. Called by `Builtin::tick` for each service about which something has changed.

use nesos_wire::TaskId;
use nesos_wire::builtin::Owner;
use nesos_wire::command::Command;

use super::services::is_within;
use super::services::plan::Counts;
use super::{Action, Builtin, Deployment, Instance, Service, Told};

impl Builtin {
    pub(super) fn drive(&mut self, id: &str) {
        if !self.services.contains_key(id) {
            self.drive_out(id);
            return;
        }
        let may_start = self.may_start(id);
        let Some(service) = self.services.get(id) else {
            return;
        };
        let counts = self.counts(service);
        let plan = counts.plan(service.facts.min_healthy, service.facts.max_over);
        let current = self.victims(service, true, plan.kill_current);
        let old = self.victims(service, false, plan.kill_old);
        let wall = self.moment.wall;
        let Some(service) = self.services.get_mut(id) else {
            return;
        };
        service.waiting -= plan.withdraw.min(service.waiting);
        if may_start && plan.ask > 0 {
            if service.waiting == 0 {
                service.waiting_since = wall;
                service.unused_offers = 0;
            }
            service.waiting += plan.ask;
            self.link.is_news = true;
        }
        for task in current.into_iter().chain(old) {
            self.kill(&task);
        }
        self.settle(id);
    }

    /// Takes note of a service in a deployment, which begins with it if there is none of this id.
    pub(super) fn join_deployment(
        &mut self,
        id: &str,
        version: u64,
        service: &str,
        action: Action,
    ) {
        let deployment = self.deployments.entry(id.to_owned());
        let deployment = deployment.or_insert_with(|| Deployment {
            id: id.to_owned(),
            version,
            actions: Vec::new(),
        });
        deployment.actions.push((service.to_owned(), action));
    }

    /// A service takes part in this deployment no more; if none does, it is over.
    pub(super) fn leave_deployment(&mut self, id: &str, is_success: bool) {
        let is_of_it = |other: &Service| other.record.deployment.as_deref() == Some(id);
        let goes_on = self.services.values().any(is_of_it)
            || self.leaving.values().any(|deployment| deployment == id);
        if goes_on {
            return;
        }
        if let Some(deployment) = self.deployments.remove(id) {
            self.tell(Told::Ended {
                deployment,
                is_success,
            });
        }
    }

    /// A service that is no longer wanted: all that is left of it is killed.
    fn drive_out(&mut self, id: &str) {
        let left = self.instances_of(id).filter(|left| !left.is_dying());
        let left: Vec<TaskId> = left.map(|left| left.record.task.clone()).collect();
        left.iter().for_each(|task| self.kill(task));
        if self.instances_of(id).next().is_none() {
            self.of_service.remove(id);
            if let Some(deployment) = self.leaving.remove(id) {
                self.leave_deployment(&deployment, true);
            }
        }
    }

    /// Whether all is as it is to be, for whoever waits for that.
    fn settle(&mut self, id: &str) {
        let Some(service) = self.services.get(id) else {
            return;
        };
        let counts = self.counts(service);
        let is_settled = counts.is_settled();
        // While it is being replaced it is whole all the same, as long as enough of it are ready.
        let is_whole = counts.current_ready + counts.old_ready >= counts.target;
        let is_news = is_whole && !service.is_whole;
        let Some(service) = self.services.get_mut(id) else {
            return;
        };
        service.is_whole = is_whole;
        let ended = service.record.deployment.take_if(|_| is_settled);
        if let Some(deployment) = ended {
            let record = service.record.clone();
            self.keep(Command::PutService(record));
            self.leave_deployment(&deployment, true);
        }
        if is_news {
            let mut waits = |other: &&Service| {
                let mut names = other.facts.depends_on.iter();
                names.any(|name| is_within(id, name))
            };
            let waiting = self.services.values().filter(&mut waits);
            let waiting: Vec<String> = waiting.map(|other| other.record.id.clone()).collect();
            self.dirty.extend(waiting);
        }
    }

    /// Whether all that it depends on is ready. What does not exist is not waited for: it may have been removed since.
    fn may_start(&self, id: &str) -> bool {
        let Some(service) = self.services.get(id) else {
            return false;
        };
        let mut needed = service.facts.depends_on.iter();
        needed.all(|name| {
            let mut others = self.services.values();
            others.all(|other| other.is_whole || !is_within(&other.record.id, name))
        })
    }

    pub(super) fn counts(&self, service: &Service) -> Counts {
        let mut counts = Counts {
            target: service.facts.instances,
            waiting: service.waiting,
            ..Counts::default()
        };
        for instance in self.instances_of(&service.record.id) {
            if instance.is_dying() {
                counts.dying += 1;
            } else if instance.counts() {
                let is_ready = u32::from(instance.is_ready(service.facts.is_checked));
                if is_current(instance, service) {
                    counts.current += 1;
                    counts.current_ready += is_ready;
                } else {
                    counts.old += 1;
                    counts.old_ready += is_ready;
                }
            }
        }
        counts
    }

    /// The first so many of those of the present definition, or of older ones, that are to go first.
    fn victims(&self, service: &Service, current: bool, count: u32) -> Vec<TaskId> {
        if count == 0 {
            return Vec::new();
        }
        let of_kind = |one: &&Instance| one.counts() && is_current(one, service) == current;
        let kind = self.instances_of(&service.record.id).filter(of_kind);
        let mut kind: Vec<&Instance> = kind.collect();
        kind.sort_by_key(|one| {
            let is_ready = one.is_ready(service.facts.is_checked);
            let staged = one.record.staged;
            let order = match service.facts.kills_oldest {
                true => staged,
                false => u64::MAX - staged,
            };
            (is_ready, order)
        });
        let first = kind.into_iter().take(count as usize);
        first.map(|one| one.record.task.clone()).collect()
    }
}

fn is_current(instance: &Instance, service: &Service) -> bool {
    match &instance.record.owner {
        Owner::Service { version, .. } => *version == service.changed(),
        Owner::Job { .. } => false,
    }
}
