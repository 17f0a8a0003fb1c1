//! The registry's part about what the built-in schedulers keep: services, their instances, jobs.
//!
//! Not the rules about them (`builtin`). Called by the registry. Invariant: what is kept is what the commands said last.

use std::collections::BTreeMap;

use nesos_wire::TaskId;
use nesos_wire::builtin::{InstanceRecord, JobRecord, ServiceRecord};

use super::{Change, Record, Registry, delete, put};

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Kept {
    services: BTreeMap<String, ServiceRecord>,
    instances: BTreeMap<TaskId, InstanceRecord>,
    jobs: BTreeMap<String, JobRecord>,
}

impl Kept {
    pub(super) fn put_service(&mut self, record: &ServiceRecord) -> Change {
        self.services.insert(record.id.clone(), record.clone());
        service(record)
    }

    pub(super) fn remove_service(&mut self, id: &str) -> Vec<Change> {
        let removed = self.services.remove(id);
        removed
            .map(|_| delete(service_key(id)))
            .into_iter()
            .collect()
    }

    pub(super) fn put_instance(&mut self, record: &InstanceRecord) -> Change {
        self.instances.insert(record.task.clone(), record.clone());
        instance(record)
    }

    pub(super) fn remove_instance(&mut self, task: &TaskId) -> Vec<Change> {
        let removed = self.instances.remove(task);
        removed
            .map(|_| delete(instance_key(task)))
            .into_iter()
            .collect()
    }

    pub(super) fn put_job(&mut self, record: &JobRecord) -> Change {
        self.jobs.insert(record.name.clone(), record.clone());
        job(record)
    }

    pub(super) fn remove_job(&mut self, name: &str) -> Vec<Change> {
        let removed = self.jobs.remove(name);
        removed.map(|_| delete(job_key(name))).into_iter().collect()
    }

    /// What was written for what is kept.
    pub(super) fn rows(&self) -> impl Iterator<Item = Change> {
        let services = self.services.values().map(service);
        let instances = self.instances.values().map(instance);
        services.chain(instances).chain(self.jobs.values().map(job))
    }
}

impl Registry {
    /// The services, by path.
    pub fn services(&self) -> impl Iterator<Item = &ServiceRecord> {
        self.kept.services.values()
    }

    /// Tasks that built-in schedulers have started, by id.
    pub fn instances(&self) -> impl Iterator<Item = &InstanceRecord> {
        self.kept.instances.values()
    }

    /// The jobs, by name.
    pub fn jobs(&self) -> impl Iterator<Item = &JobRecord> {
        self.kept.jobs.values()
    }
}

fn service(record: &ServiceRecord) -> Change {
    put(service_key(&record.id), &Record::Service(record.clone()))
}

fn instance(record: &InstanceRecord) -> Change {
    put(
        instance_key(&record.task),
        &Record::Instance(record.clone()),
    )
}

fn job(record: &JobRecord) -> Change {
    put(job_key(&record.name), &Record::Job(record.clone()))
}

fn service_key(id: &str) -> String {
    format!("service/{id}")
}

fn instance_key(task: &TaskId) -> String {
    format!("instance/{task}")
}

fn job_key(name: &str) -> String {
    format!("job/{name}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_wire::AgentId;
    use nesos_wire::builtin::{JobProgress, Owner};
    use nesos_wire::command::Command;

    /// Two services, instances and jobs, of which each first one goes.
    fn kept() -> Vec<Command> {
        let mut commands = Vec::new();
        for name in ["a", "b"] {
            let id = format!("/{name}");
            let task = TaskId::new(name);
            commands.push(Command::PutService(ServiceRecord {
                id: id.clone(),
                versions: Vec::new(),
                deployment: None,
            }));
            commands.push(Command::PutInstance(InstanceRecord {
                task,
                owner: Owner::Service { id, version: 1 },
                agent: AgentId::new("x"),
                host: "h".into(),
                ports: vec![1],
                staged: 2,
            }));
            commands.push(Command::PutJob(JobRecord {
                name: name.into(),
                definition: Vec::new(),
                progress: JobProgress::default(),
            }));
        }
        commands.push(Command::RemoveService { id: "/a".into() });
        commands.push(Command::RemoveInstance {
            task: TaskId::new("a"),
        });
        commands.push(Command::RemoveJob { name: "a".into() });
        commands
    }

    #[test]
    fn what_was_written_loads_again() {
        let mut registry = Registry::default();
        let mut database = BTreeMap::new();
        for change in kept().iter().flat_map(|command| registry.apply(command)) {
            match change.value {
                Some(value) => drop(database.insert(change.key, value)),
                None => drop(database.remove(&change.key)),
            }
        }
        let rows = database.iter().map(|(key, value)| (&**key, &**value));
        let loaded = Registry::load(rows).unwrap();
        assert_eq!(loaded, registry);
        let mut rows = registry.rows();
        rows.sort();
        assert_eq!(rows, database.into_iter().collect::<Vec<_>>());
        let services: Vec<_> = loaded.services().map(|service| &*service.id).collect();
        let instances: Vec<_> = loaded.instances().map(|one| one.task.as_str()).collect();
        let jobs: Vec<_> = loaded.jobs().map(|job| &*job.name).collect();
        assert_eq!(
            (services, instances, jobs),
            (vec!["/b"], vec!["b"], vec!["b"])
        );
    }
}
