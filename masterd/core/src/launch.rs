//! LAUNCH: from the tasks of an ACCEPT to what agents are told, or to the statuses that say why not.
//!
//! Called by `accept`. Invariant: what the launched tasks of one ACCEPT use is contained in what its offers held, so that
//! nothing is committed twice.

use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::message::MasterToAgent;
use nesos_wire::resource::{Entry, Resources, Scalar};
use nesos_wire::resource_text;
use nesos_wire::task::{Reason, Source, TaskSpec, TaskState, TaskStatus};
use nesos_wire::{AgentId, ExecutorId, TaskKey};

use crate::call::LaunchTask;
use crate::master::Master;
use crate::news::News;
use crate::outgoing::Offer;
use crate::state::Task;

/// Most bytes of specs in one `Launch`, estimated: a quarter of the frame limit, because the estimate is rough.
const MAX_LAUNCH_BYTES: usize = nesos_wire::frame::MAX_FRAME / 4;

impl Master {
    pub(crate) fn launch(
        &mut self,
        offer: &Offer,
        task: LaunchTask,
        remaining: &mut Resources,
        launched: &mut Vec<TaskSpec>,
    ) {
        if let Err(message) = self.check_task(offer, &task, remaining) {
            let key = TaskKey {
                framework: offer.framework.clone(),
                task: task.task,
            };
            self.refuse_task(
                key,
                task.agent,
                TaskState::Error,
                Reason::TaskInvalid,
                message,
            );
            return;
        }
        self.take_resources(offer, &task.resources, remaining);
        let attempt = self.allot_attempt();
        let Some(framework) = self.frameworks.get_mut(&offer.framework) else {
            return;
        };
        let spec = TaskSpec {
            key: TaskKey {
                framework: offer.framework.clone(),
                task: task.task.clone(),
            },
            attempt,
            name: task.name,
            executor: task
                .executor
                .unwrap_or_else(|| ExecutorId::new(task.task.as_str())),
            kind: ExecutorKind::Command,
            role: offer.role.clone(),
            resources: task.resources,
            limits: task.limits,
            command: task.command,
            kill_grace_ms: task.kill_grace_ms,
            partition_aware: framework.facts.is_capable("PARTITION_AWARE"),
            task_killing: framework.facts.is_capable("TASK_KILLING_STATE"),
            checkpoint: framework.facts.checkpoint,
            info: task.info,
            framework_info: framework.info.clone(),
        };
        framework
            .tasks
            .insert(task.task, Task::new(spec.clone(), offer.agent.clone()));
        if let Some(agent) = self.agents.get_mut(&offer.agent) {
            agent.tasks.insert(spec.key.clone());
        }
        self.tell(|| News::TaskAdded(spec.key.clone()));
        self.metrics.tasks_launched += 1;
        launched.push(spec);
    }

    /// Books what a task uses. Of a shared volume it gets a holding of its own, and the next task can have one too.
    fn take_resources(&mut self, offer: &Offer, used: &Resources, remaining: &mut Resources) {
        let shared = used.filter(Entry::is_shared);
        if !shared.is_empty() {
            self.allocator
                .allocated(&offer.framework, &offer.role, &offer.agent, &shared);
        }
        remaining.subtract(&used.filter(|entry| !entry.is_shared()));
    }

    /// Semantic validation; the protobuf's was the daemon's.
    fn check_task(
        &self,
        offer: &Offer,
        task: &LaunchTask,
        remaining: &Resources,
    ) -> Result<(), String> {
        if let Some(reason) = &task.invalid {
            return Err(reason.clone());
        }
        if task.agent != offer.agent {
            return Err(format!(
                "Task uses invalid agent {} while agent {} is expected",
                task.agent, offer.agent
            ));
        }
        if let Some(role) = task.role.as_ref().filter(|role| **role != offer.role) {
            return Err(format!(
                "Task's resources are allocated to role {role}, the offer's to role {}",
                offer.role
            ));
        }
        let framework = self.frameworks.get(&offer.framework);
        if framework.is_some_and(|f| {
            f.tasks.contains_key(&task.task) || f.unreachable.contains_key(&task.task)
        }) {
            return Err(format!("Task has duplicate ID: {}", task.task));
        }
        if task.resources.is_empty() {
            return Err("Task uses no resources".to_owned());
        }
        let volumes = task.resources.entries().iter();
        for volume in volumes.filter_map(|entry| entry.terms().volume()) {
            volume
                .check_path()
                .map_err(|e| format!("Task's volume {}: {e}", volume.id))?;
        }
        if let Some(name) = mixed_name(&task.resources) {
            return Err(format!(
                "Task uses revocable and non-revocable {name} at once"
            ));
        }
        for (name, limit) in &task.limits {
            if name != "cpus" && name != "mem" {
                return Err(format!(
                    "Task has a limit for {name}, only cpus and mem can have one"
                ));
            }
            if limit.is_some_and(|limit| limit < task.resources.scalar(name) || limit <= Scalar(0))
            {
                return Err(format!("Task's limit for {name} is below its request"));
            }
        }
        if !remaining.contains(&task.resources) {
            return Err(format!(
                "Task uses more resources {} than available {}",
                resource_text::text(&task.resources),
                resource_text::text(remaining)
            ));
        }
        Ok(())
    }

    /// A task that never came to be: one status, no trace in the books.
    pub(crate) fn refuse_task(
        &mut self,
        key: TaskKey,
        agent: AgentId,
        state: TaskState,
        reason: Reason,
        message: String,
    ) {
        self.metrics.count_end(state, Source::Master, Some(reason));
        let status = TaskStatus {
            state,
            source: Source::Master,
            reason: Some(reason),
            message,
            timestamp: self.wall,
            uuid: None,
            agent: Some(agent),
            executor: None,
            container: None,
            healthy: None,
            data: Vec::new(),
            unreachable_time: None,
            extra: Vec::new(),
        };
        self.forward(key, status);
    }

    pub(crate) fn send_launches(&mut self, agent: &AgentId, launched: Vec<TaskSpec>) {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for spec in launched {
            let size = estimate(&spec);
            if !batch.is_empty() && bytes + size > MAX_LAUNCH_BYTES {
                self.send_agent(
                    agent,
                    MasterToAgent::Launch {
                        tasks: std::mem::take(&mut batch),
                    },
                );
                bytes = 0;
            }
            bytes += size;
            batch.push(spec);
        }
        if !batch.is_empty() {
            self.send_agent(agent, MasterToAgent::Launch { tasks: batch });
        }
    }
}

/// A resource that is there as a revocable and as another one.
fn mixed_name(resources: &Resources) -> Option<&str> {
    let revocable = |entry: &&Entry| entry.terms().is_revocable;
    let mut names = resources
        .entries()
        .iter()
        .filter(revocable)
        .map(Entry::name);
    let firm = |name: &&str| {
        let mut entries = resources.entries().iter();
        entries.any(|entry| entry.name() == *name && !entry.terms().is_revocable)
    };
    names.find(firm)
}

/// Roughly how many bytes a spec takes on the wire; the texts are what can be large.
fn estimate(spec: &TaskSpec) -> usize {
    const REST: usize = 1024;
    let command = &spec.command;
    let arguments: usize = command
        .arguments
        .iter()
        .map(|argument| argument.len() + 4)
        .sum();
    let environment: usize = command
        .environment
        .iter()
        .map(|(name, value)| name.len() + value.len() + 8)
        .sum();
    let uris: usize = command.uris.iter().map(|uri| uri.value.len() + 300).sum();
    REST + spec.info.len()
        + spec.framework_info.len()
        + command.value.len()
        + arguments
        + environment
        + uris
}
