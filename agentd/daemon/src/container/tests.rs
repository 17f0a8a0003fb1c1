//! What tests of the daemon share.

use nesos_wire::task::{Command, TaskSpec};
use nesos_wire::{Attempt, ExecutorId, TaskKey};

/// A command task with nothing special.
pub(crate) fn spec(key: &TaskKey) -> TaskSpec {
    TaskSpec {
        key: key.clone(),
        attempt: Attempt(1),
        name: key.task.to_string(),
        executor: ExecutorId::new(key.task.as_str()),
        kind: Default::default(),
        role: "*".into(),
        resources: Default::default(),
        limits: Default::default(),
        command: Command {
            shell: true,
            value: "true".into(),
            ..Command::default()
        },
        kill_grace_ms: 3000,
        partition_aware: false,
        task_killing: false,
        checkpoint: true,
        checks: None,
        info: Vec::new(),
        framework_info: Vec::new(),
    }
}
