//! Launching: which tasks are taken, and how a launch that cannot be taken is answered.
//!
//! Idempotent by (task, attempt). A refused launch leaves an ended task that is not checkpointed: its one status is
//! repeated until acknowledged, and after a restart of the agent the master's reconciliation stands in for it.

use nesos_wire::check::{Checks, Probe};
use nesos_wire::message::{AgentToMaster, TaskUpdate};
use nesos_wire::resource::Resources;
use nesos_wire::resource_text;
use nesos_wire::task::{Command, Reason, TaskSpec, TaskState};
use nesos_wire::{ContainerId, TaskKey};

use crate::agent::{Agent, exclusive};
use crate::checkpoint::Record;
use crate::event::{Action, Level};
use crate::task::{Draft, Phase, Task};

/// What is to become of a launch.
pub(crate) enum Verdict {
    Take,
    /// Already known or over: say nothing.
    Ignore(&'static str),
    /// Answer with one status that is repeated until acknowledged.
    Refuse(Draft),
    /// Answer once: there is no room for a record.
    Bounce(Draft),
}

impl Agent {
    pub(crate) fn launch(&mut self, specs: Vec<TaskSpec>) {
        let mut free = self.free();
        for spec in specs {
            match self.judge(&spec, &free) {
                Verdict::Take => {
                    free.subtract(&exclusive(&spec.resources));
                    self.take(spec);
                }
                verdict => self.turn_away(spec, verdict),
            }
        }
    }

    /// Does what the verdict says of a task that is not taken.
    pub(crate) fn turn_away(&mut self, spec: TaskSpec, verdict: Verdict) {
        let key = spec.key.clone();
        match verdict {
            Verdict::Ignore(why) => {
                let text = format!("launch of {key} attempt {} ignored: {why}", spec.attempt.0);
                self.note(Level::Info, text);
            }
            Verdict::Refuse(draft) => self.refuse(spec, draft),
            Verdict::Bounce(draft) => self.send_once(&key, draft),
            Verdict::Take => {}
        }
    }

    /// A status without uuid: nobody acknowledges or repeats it.
    pub(crate) fn send_once(&mut self, key: &TaskKey, draft: Draft) {
        if !self.link.is_connected() {
            return;
        }
        self.note(
            Level::Warn,
            format!("task {key}: {:?}: {}", draft.state, draft.message),
        );
        let status = self.status(key, draft, None);
        let latest = status.state;
        self.out.send.push(AgentToMaster::Update(TaskUpdate {
            key: key.clone(),
            status,
            latest,
        }));
    }

    /// The launch of `key` could not be checkpointed: it fails, and nothing of it is ever stored.
    pub(crate) fn fail_unstored(&mut self, key: &TaskKey, reason: &str) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        task.is_stored = false;
        let container = task.container.take();
        let Some(container) = container else { return };
        self.out.persist.retain(|record| !is_about(record, key));
        if self.containers.remove(&container).is_some() {
            self.retract_container(&container);
        } else {
            self.retract_delivery(key);
        }
        self.finish(key, draft_unstored(reason));
    }

    /// Takes back what was to be done with a container that is not to be.
    pub(crate) fn retract_container(&mut self, container: &ContainerId) {
        self.out.actions.retain(|action| {
            !matches!(action, Action::Launch { container: c, .. } | Action::Kill { container: c, .. }
                | Action::Destroy { container: c } | Action::Release { container: c, .. }
                | Action::Resize { container: c, .. } if c == container)
        });
    }

    pub(crate) fn judge(&self, spec: &TaskSpec, free: &Resources) -> Verdict {
        let lost = if spec.partition_aware {
            TaskState::Dropped
        } else {
            TaskState::Lost
        };
        if let Some(known) = self.tasks.get(&spec.key) {
            if spec.attempt == known.spec.attempt {
                return Verdict::Ignore("this attempt is known");
            }
            if spec.attempt < known.spec.attempt {
                return Verdict::Ignore("a later attempt is known");
            }
            if known.phase.is_active() {
                let text = "Task id is in use by an earlier attempt that still runs on this agent";
                return Verdict::Bounce(Draft::agent(TaskState::Error, Reason::TaskInvalid, text));
            }
        }
        if self
            .finished
            .iter()
            .any(|(key, attempt)| *key == spec.key && *attempt >= spec.attempt)
        {
            return Verdict::Ignore("this attempt is over");
        }
        if self.tasks.len() >= crate::MAX_TASKS && !self.tasks.contains_key(&spec.key) {
            let text = format!(
                "The agent holds {} tasks, which is its limit",
                crate::MAX_TASKS
            );
            return Verdict::Bounce(Draft::agent(lost, Reason::InvalidOffers, text));
        }
        if self.held.bytes + spec_bytes(spec) > crate::MAX_SPEC_BYTES {
            let text = format!(
                "The descriptions of this agent's tasks would exceed {} bytes",
                crate::MAX_SPEC_BYTES
            );
            return Verdict::Bounce(Draft::agent(lost, Reason::InvalidOffers, text));
        }
        if self.shutdown_at.is_some() {
            return Verdict::Refuse(Draft::agent(
                lost,
                Reason::AgentRemoved,
                "The agent is shutting down",
            ));
        }
        if let Some(blocked) = self
            .store_blocked
            .as_ref()
            .filter(|_| self.is_store_resting())
        {
            return Verdict::Refuse(draft_unstored(&blocked.reason));
        }
        if !free.contains(&spec.resources) {
            let (asked, free) = (
                resource_text::text(&spec.resources),
                resource_text::text(free),
            );
            let text = format!("The task asks for {asked}, the agent has {free} free");
            return Verdict::Refuse(Draft::agent(lost, Reason::InvalidOffers, text));
        }
        Verdict::Take
    }

    fn take(&mut self, spec: TaskSpec) {
        let key = spec.key.clone();
        self.forget(&key);
        let container = self.rng.container_id();
        self.note(
            Level::Info,
            format!(
                "launching task {key} attempt {} in container {container}",
                spec.attempt.0
            ),
        );
        let spec_box = Box::new(spec.clone());
        self.out.persist.push(Record::Launched {
            spec: spec_box.clone(),
            container: container.clone(),
        });
        self.out.actions.push(Action::Launch {
            container: container.clone(),
            parent: None,
            spec: spec_box,
        });
        self.containers.insert(container.clone(), key.clone());
        self.held.take(&spec, false);
        self.tasks.insert(key, Task::new(spec, Some(container)));
    }

    fn refuse(&mut self, spec: TaskSpec, draft: Draft) {
        let key = spec.key.clone();
        self.forget(&key);
        self.held.take(&spec, true);
        let mut task = Task::new(spec, None);
        task.is_stored = false;
        task.phase = Phase::Ended;
        self.tasks.insert(key.clone(), task);
        self.finish(&key, draft);
    }
}

/// An upper bound of the spec's encoded size, statuses and small fields included.
pub(crate) fn spec_bytes(spec: &TaskSpec) -> usize {
    const SMALL_FIELDS: usize = 1024;
    let ids = 2
        * (spec.key.framework.as_str().len()
            + spec.key.task.as_str().len()
            + spec.executor.as_str().len());
    let texts = spec.name.len() + spec.role.len();
    let checks = spec.checks.as_deref();
    SMALL_FIELDS
        + checks.map_or(0, checks_bytes)
        + spec.info.len()
        + spec.framework_info.len()
        + command_bytes(&spec.command)
        + ids
        + texts
}

fn checks_bytes(checks: &Checks) -> usize {
    let health = checks.health.as_ref().map(|health| &health.check);
    let both = health.into_iter().chain(&checks.check);
    let probes = both.map(|check| match &check.probe {
        Probe::Command(command) => command_bytes(command),
        Probe::Http(http) => http.path.len() + 5 * http.statuses.len(),
        Probe::Tcp { .. } => 0,
    });
    probes.sum()
}

pub(crate) fn command_bytes(command: &Command) -> usize {
    let environment: usize = command
        .environment
        .iter()
        .map(|(name, value)| name.len() + value.len() + 10)
        .sum();
    let arguments: usize = command
        .arguments
        .iter()
        .map(|argument| argument.len() + 5)
        .sum();
    let uris: usize = command
        .uris
        .iter()
        .map(|uri| uri.value.len() + uri.output_file.as_ref().map_or(0, String::len) + 16)
        .sum();
    environment + arguments + uris + command.value.len()
}

pub(crate) fn draft_unstored(reason: &str) -> Draft {
    Draft::agent(
        TaskState::Failed,
        Reason::ContainerLaunchFailed,
        format!("cannot write the checkpoint: {reason}"),
    )
}

fn is_about(record: &Record, key: &TaskKey) -> bool {
    match record {
        Record::Launched { spec, .. } | Record::Given { spec, .. } => spec.key == *key,
        Record::KillRequested { key: other, .. }
        | Record::Updated { key: other, .. }
        | Record::Acknowledged { key: other, .. }
        | Record::Seen { key: other, .. } => other == key,
        // An earlier attempt's: it stays.
        Record::Forgotten { .. }
        | Record::Admitted { .. }
        | Record::Boot { .. }
        | Record::Made { .. }
        | Record::Applied { .. }
        | Record::OperationAcknowledged { .. }
        | Record::ExecutorLaunched { .. }
        | Record::ExecutorSubscribed { .. }
        | Record::ExecutorShutdown { .. }
        | Record::ExecutorEnded { .. }
        | Record::Configured { .. }
        | Record::Preempted { .. }
        | Record::Masters { .. } => false,
    }
}
