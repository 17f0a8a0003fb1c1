//! What operators wish for: services put, removed, started anew, instances killed, deployments given up.
//!
//! Called by the shell for each request, which then calls [`Builtin::tick`]. Invariant: a wish is refused as a whole or carried out as a
//! whole.

use std::collections::BTreeMap;

use nesos_wire::TaskId;
use nesos_wire::builtin::{Owner, ServiceRecord, ServiceVersion};
use nesos_wire::command::Command;

use super::services::is_circular;
use super::{
    Action, Builtin, MAX_DEFINITION, MAX_INSTANCES, MAX_SERVICE_ID, MAX_SERVICES, Moment, Service,
    ServiceError, ServiceFacts, Told,
};

/// A new definition of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Its path, `/a/b`.
    pub id: String,
    /// JSON, with its defaults filled in.
    pub definition: Vec<u8>,
    /// What it says.
    pub facts: ServiceFacts,
    /// It must be new.
    pub is_new: bool,
    /// Something else than the number of instances has changed: those that are there are replaced.
    pub replaces: bool,
}

impl Builtin {
    /// Puts services, all or none, in one deployment of this id, which must be new. Says its version.
    ///
    /// # Errors
    /// One of them cannot be, or is being deployed and `force` is not set.
    pub fn put_services(
        &mut self,
        changes: Vec<Change>,
        deployment: &str,
        force: bool,
        moment: Moment,
    ) -> Result<u64, ServiceError> {
        for change in &changes {
            self.check(change, &changes, force)?;
        }
        let new = changes
            .iter()
            .filter(|new| !self.services.contains_key(&new.id));
        if self.services.len() + new.count() > MAX_SERVICES {
            let sentence = format!("there are {MAX_SERVICES} services, which is as many as may be");
            return Err(ServiceError::Invalid(sentence));
        }
        self.moment = moment;
        let ids = changes.iter().map(|change| change.id.as_str());
        let version = self.next_version(ids);
        for change in changes {
            self.put(change, deployment, version);
        }
        self.begun(deployment);
        self.subscribe_if(true);
        Ok(version)
    }

    /// Removes services, all or none; their instances are killed. Says the deployment's version.
    ///
    /// # Errors
    /// One of them is not there, or is being deployed and `force` is not set.
    pub fn remove_services(
        &mut self,
        ids: &[String],
        deployment: &str,
        force: bool,
        moment: Moment,
    ) -> Result<u64, ServiceError> {
        for id in ids {
            self.check_unlocked(id, force)?;
        }
        self.moment = moment;
        let version = self.next_version(ids.iter().map(String::as_str));
        for id in ids {
            let Some(service) = self.services.remove(id) else {
                continue;
            };
            self.keep(Command::RemoveService { id: id.clone() });
            self.leaving.insert(id.clone(), deployment.to_owned());
            self.join_deployment(deployment, version, id, Action::Stop);
            if let Some(before) = service.record.deployment {
                self.leave_deployment(&before, false);
            }
            self.dirty.insert(id.clone());
        }
        self.begun(deployment);
        Ok(version)
    }

    /// Replaces all instances of a service. Says the deployment's version.
    ///
    /// # Errors
    /// It is not there, or is being deployed and `force` is not set.
    pub fn restart_service(
        &mut self,
        id: &str,
        deployment: &str,
        force: bool,
        moment: Moment,
    ) -> Result<u64, ServiceError> {
        self.check_unlocked(id, force)?;
        let service = self.services.get(id);
        let service = service.ok_or_else(|| ServiceError::NotFound(id.to_owned()))?;
        let definition = service.current().map(|current| current.definition.clone());
        let change = Change {
            id: id.to_owned(),
            definition: definition.unwrap_or_default(),
            facts: service.facts.clone(),
            is_new: false,
            replaces: true,
        };
        self.put_services(vec![change], deployment, force, moment)
    }

    /// Kills tasks of services, which then get others in their place. Tasks that are not there are ignored.
    pub fn kill_instances(&mut self, tasks: &[TaskId], moment: Moment) {
        self.moment = moment;
        for task in tasks {
            let instance = self.instances.get(task);
            let service = instance.and_then(|instance| instance.service());
            if let Some(service) = service.map(str::to_owned) {
                self.kill(task);
                self.dirty.insert(service);
            }
        }
    }

    /// Gives a deployment up: what it has done stays, and its services are no longer locked.
    ///
    /// # Errors
    /// There is none of this id.
    pub fn give_up_deployment(&mut self, id: &str, moment: Moment) -> Result<(), ServiceError> {
        if !self.deployments.contains_key(id) {
            return Err(ServiceError::NoDeployment(id.to_owned()));
        }
        self.moment = moment;
        let of_it = |service: &&mut Service| service.record.deployment.as_deref() == Some(id);
        let mut records = Vec::new();
        for service in self.services.values_mut().filter(of_it) {
            service.record.deployment = None;
            records.push(service.record.clone());
        }
        records
            .into_iter()
            .for_each(|record| self.keep(Command::PutService(record)));
        self.leaving.values_mut().for_each(|deployment| {
            if deployment == id {
                deployment.clear();
            }
        });
        self.leave_deployment(id, false);
        Ok(())
    }

    /// Has a service that failed be started at once again.
    ///
    /// # Errors
    /// It is not there.
    pub fn reset_delay(&mut self, id: &str, moment: Moment) -> Result<(), ServiceError> {
        self.moment = moment;
        let service = self.services.get_mut(id);
        let service = service.ok_or_else(|| ServiceError::NotFound(id.to_owned()))?;
        service.delay = Default::default();
        self.link.is_news = true;
        Ok(())
    }

    fn put(&mut self, change: Change, deployment: &str, version: u64) {
        let known = self.services.get(&change.id);
        let action = match (known, change.replaces) {
            (None, _) => Action::Start,
            (Some(_), true) => Action::Restart,
            (Some(_), false) => Action::Scale,
        };
        let changed = match (known, change.replaces) {
            (Some(known), false) => known.changed(),
            _ => version,
        };
        let mut service = known.cloned().unwrap_or_else(|| {
            let record = ServiceRecord {
                id: change.id.clone(),
                versions: Vec::new(),
                deployment: None,
            };
            Service::new(record, change.facts.clone())
        });
        let definition = ServiceVersion {
            version,
            changed,
            definition: change.definition,
        };
        service.redefine(definition, change.facts);
        let before = service.record.deployment.replace(deployment.to_owned());
        self.keep(Command::PutService(service.record.clone()));
        self.services.insert(change.id.clone(), service);
        let stop = self.leaving.remove(&change.id);
        self.join_deployment(deployment, version, &change.id, action);
        for before in before.into_iter().chain(stop) {
            self.leave_deployment(&before, false);
        }
        self.dirty.insert(change.id);
    }

    fn begun(&mut self, deployment: &str) {
        if let Some(deployment) = self.deployments.get(deployment).cloned() {
            self.tell(Told::Begun(deployment));
        }
    }

    fn check(&self, change: &Change, all: &[Change], force: bool) -> Result<(), ServiceError> {
        let id = &change.id;
        let invalid = |sentence: String| Err(ServiceError::Invalid(sentence));
        if change.is_new && self.services.contains_key(id) {
            return Err(ServiceError::Exists(id.clone()));
        }
        if self.services.contains_key(id) {
            self.check_unlocked(id, force)?;
        }
        if id.len() > MAX_SERVICE_ID || !id.starts_with('/') {
            return invalid(format!(
                "id: expected a path of at most {MAX_SERVICE_ID} bytes, not {id:?}"
            ));
        }
        if change.definition.len() > MAX_DEFINITION {
            return invalid(format!(
                "the definition of {id} has {} bytes, and no more than {MAX_DEFINITION} may be",
                change.definition.len()
            ));
        }
        if change.facts.instances > MAX_INSTANCES {
            return invalid(format!("instances: at most {MAX_INSTANCES}"));
        }
        let known = self.services.iter();
        let known = known.map(|(id, service)| (id.as_str(), &service.facts.depends_on));
        let mut waits: BTreeMap<_, _> = known.collect();
        waits.extend(
            all.iter()
                .map(|new| (new.id.as_str(), &new.facts.depends_on)),
        );
        if is_circular(id, &waits) {
            return invalid(format!("dependencies: {id} would wait for itself"));
        }
        Ok(())
    }

    fn check_unlocked(&self, id: &str, force: bool) -> Result<(), ServiceError> {
        let service = self.services.get(id);
        let service = service.ok_or_else(|| ServiceError::NotFound(id.to_owned()))?;
        match &service.record.deployment {
            Some(deployment) if !force => {
                Err(ServiceError::Locked(id.to_owned(), deployment.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Later than all that these services have, even where the clock went back. An instance of a removed service of the same path
    /// must not pass for one of the new one's.
    fn next_version<'a>(&self, ids: impl Iterator<Item = &'a str>) -> u64 {
        let newest = ids.map(|id| {
            let known = self.services.get(id).map_or(0, Service::version);
            let left = self.instances_of(id).map(|one| match one.record.owner {
                Owner::Service { version, .. } => version,
                Owner::Job { .. } => 0,
            });
            left.max().unwrap_or(0).max(known)
        });
        let newest = newest.max().unwrap_or(0);
        self.moment.wall.max(newest + 1)
    }
}
