//! Samples of what master and agent say about executors that frameworks brought.
//!
//! Called by `samples`. Invariant: each field is set.

use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::task::Command;
use nesos_wire::{Attempt, ExecutorKey};

use crate::{Sample, framework, resources, sample, spec};

pub(crate) fn messages() -> Vec<Sample> {
    vec![
        sample(
            "AgentToMaster::ExecutorEnded",
            AgentToMaster::ExecutorEnded {
                key: key(),
                attempt: Attempt(1 << 32),
                status: -1,
            },
        ),
        sample(
            "MasterToAgent::LaunchExecutor",
            MasterToAgent::LaunchExecutor {
                executor: Box::new(executor()),
                start: true,
                tasks: vec![spec()],
                group: true,
            },
        ),
        sample(
            "MasterToAgent::ShutdownExecutor",
            MasterToAgent::ShutdownExecutor { key: key() },
        ),
    ]
}

pub(crate) fn executor() -> FrameworkExecutor {
    FrameworkExecutor {
        key: key(),
        attempt: Attempt(1 << 32),
        kind: ExecutorKind::Default,
        name: "n".into(),
        source: "s".into(),
        role: "*".into(),
        resources: resources(),
        command: Command {
            shell: true,
            value: "true".into(),
            ..Command::default()
        },
        shutdown_grace_ms: Some(5000),
        checkpoint: true,
        partition_aware: true,
        info: vec![1],
        framework_info: vec![2],
    }
}

fn key() -> ExecutorKey {
    ExecutorKey {
        framework: framework(),
        executor: crate::executor(),
    }
}
