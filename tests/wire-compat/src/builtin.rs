//! Samples of what the built-in schedulers keep in the registry.
//!
//! Called by `samples` only. Invariant: as for all samples, every field is set.

use nesos_wire::builtin::{
    InstanceRecord, JobProgress, JobRecord, JobRun, Owner, ServiceRecord, ServiceVersion,
};
use nesos_wire::command::Command;
use nesos_wire::{AgentId, TaskId};

use super::{Sample, sample};

pub(super) fn commands() -> Vec<Sample> {
    let service = ServiceRecord {
        id: "/web".into(),
        versions: vec![ServiceVersion {
            version: 7,
            changed: 6,
            definition: b"{}".to_vec(),
        }],
        deployment: Some("d".into()),
    };
    let instance = |task: &str, owner| {
        Command::PutInstance(InstanceRecord {
            task: TaskId::new(task),
            owner,
            agent: AgentId::new("m-S0"),
            host: "pi-1".into(),
            ports: vec![31000],
            staged: 5,
        })
    };
    let of_service = Owner::Service {
        id: "/web".into(),
        version: 6,
    };
    let of_job = Owner::Job {
        name: "backup".into(),
        attempt: 1,
    };
    vec![
        sample("Command::PutService", Command::PutService(service)),
        sample(
            "Command::RemoveService",
            Command::RemoveService { id: "/web".into() },
        ),
        sample("Command::PutInstance", instance("web.6-1", of_service)),
        sample("Command::PutInstance job", instance("ct:1", of_job)),
        sample(
            "Command::RemoveInstance",
            Command::RemoveInstance {
                task: TaskId::new("ct:1"),
            },
        ),
        sample("Command::PutJob", Command::PutJob(job())),
        sample(
            "Command::RemoveJob",
            Command::RemoveJob {
                name: "backup".into(),
            },
        ),
    ]
}

fn job() -> JobRecord {
    JobRecord {
        name: "backup".into(),
        definition: b"{}".to_vec(),
        progress: JobProgress {
            successes: 1,
            errors: 2,
            errors_since_success: 3,
            last_success: Some(4),
            last_error: Some(5),
            due: Some(6),
            remaining: Some(7),
            parents_done: vec!["p".into()],
            runs: vec![JobRun {
                task: TaskId::new("ct:1"),
                due: 8,
                attempt: 1,
                is_scheduled: true,
                arguments: Some("-v".into()),
                placed: Some(10),
            }],
        },
    }
}
