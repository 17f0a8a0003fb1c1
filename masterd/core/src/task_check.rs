//! What a task or an executor must be to be launched on an offer.
//!
//! Semantic validation: the protobuf's was the daemon's. Called by `launch` and `group`. Invariant: nothing here changes
//! anything, and each refusal is a sentence for the framework.

use nesos_wire::resource::{Entry, Resources, Scalar};
use nesos_wire::{ExecutorKey, resource_text};

use crate::call::{LaunchExecutor, LaunchTask};
use crate::master::Master;
use crate::outgoing::Offer;

/// Most executors of frameworks on one agent: each is a process that may idle for ever, and holds some hundred bytes here.
pub(crate) const MAX_EXECUTORS: usize = 256;

impl Master {
    /// Whether this task can run on the offer's agent, its executor and what it uses aside.
    pub(crate) fn check_task(&self, offer: &Offer, task: &LaunchTask) -> Result<(), String> {
        if let Some(reason) = &task.invalid {
            return Err(reason.clone());
        }
        if task.agent != offer.agent {
            return Err(format!(
                "Task uses invalid agent {} while agent {} is expected",
                task.agent, offer.agent
            ));
        }
        check_role(offer, "Task", task.role.as_deref())?;
        let framework = self.frameworks.get(&offer.framework);
        if framework.is_some_and(|f| {
            f.tasks.contains_key(&task.task) || f.unreachable.contains_key(&task.task)
        }) {
            return Err(format!("Task has duplicate ID: {}", task.task));
        }
        if task.resources.is_empty() {
            return Err("Task uses no resources".to_owned());
        }
        check_volumes("Task", &task.resources)?;
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
        Ok(())
    }

    /// Whether this executor can hold tasks on the offer's agent; says whether it is to be started there.
    pub(crate) fn check_executor(
        &self,
        offer: &Offer,
        executor: &LaunchExecutor,
    ) -> Result<bool, String> {
        if let Some(reason) = &executor.invalid {
            return Err(reason.clone());
        }
        check_role(offer, "Executor", executor.role.as_deref())?;
        check_volumes("Executor", &executor.resources)?;
        let Some(agent) = self.agents.get(&offer.agent) else {
            return Err(format!("Agent {} is gone", offer.agent));
        };
        let key = ExecutorKey {
            framework: offer.framework.clone(),
            executor: executor.executor.clone(),
        };
        match agent.executors.get(&key) {
            None if agent.executors.len() >= MAX_EXECUTORS => Err(format!(
                "{MAX_EXECUTORS} executors run on agent {}, which is the limit",
                offer.agent
            )),
            None => Ok(true),
            Some(known) if known.info != executor.info => Err(format!(
                "ExecutorInfo is not compatible with the existing ExecutorInfo with the same ExecutorID {} on agent {}",
                executor.executor, offer.agent
            )),
            Some(known) if known.role != offer.role && !known.resources.is_empty() => Err(format!(
                "ExecutorInfo is not compatible with the existing ExecutorInfo with the same ExecutorID {}: its resources are allocated to role {}, not {}",
                executor.executor, known.role, offer.role
            )),
            Some(_) => Ok(false),
        }
    }
}

/// Whether what is left of an offer has room for all of `parts`, each with what is its own alone. `whose` begins the
/// sentence: `Task uses`.
pub(crate) fn check_room<'a>(
    whose: &str,
    parts: impl IntoIterator<Item = &'a Resources>,
    remaining: &Resources,
) -> Result<(), String> {
    // Not the sum: of two parts that want the same port it would hold that port once.
    let (mut left, mut needed, mut fits) = (remaining.clone(), Resources::new(), true);
    for part in parts {
        fits &= left.contains(part);
        left.subtract(&part.filter(|entry| !entry.is_shared()));
        needed.add(part);
    }
    if let Some(name) = mixed_name(&needed) {
        return Err(format!(
            "{whose} revocable and non-revocable {name} at once"
        ));
    }
    if fits {
        return Ok(());
    }
    Err(format!(
        "{whose} more resources {} than available {}",
        resource_text::text(&needed),
        resource_text::text(remaining)
    ))
}

fn check_role(offer: &Offer, whose: &str, role: Option<&str>) -> Result<(), String> {
    match role {
        Some(role) if role != offer.role => Err(format!(
            "{whose}'s resources are allocated to role {role}, the offer's to role {}",
            offer.role
        )),
        _ => Ok(()),
    }
}

fn check_volumes(whose: &str, resources: &Resources) -> Result<(), String> {
    let volumes = resources.entries().iter();
    for volume in volumes.filter_map(|entry| entry.terms().volume()) {
        volume
            .check_path()
            .map_err(|e| format!("{whose}'s volume {}: {e}", volume.id))?;
    }
    Ok(())
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
