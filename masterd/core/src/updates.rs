//! Status updates on their way from agents to frameworks, and acknowledgements on their way back.
//!
//! The agent is the source of truth and repeats an update until it is acknowledged; the master passes it on and keeps
//! its own books by `latest`. Invariant: a task leaves `Framework::tasks` only when its terminal status was
//! acknowledged, or when the master itself ended it.

use nesos_wire::message::{MasterToAgent, TaskUpdate};
use nesos_wire::task::{Reason, Source, TaskState, TaskStatus};
use nesos_wire::{AgentId, FrameworkId, TaskId, TaskKey, Uuid};

use crate::master::Master;
use crate::outgoing::FrameworkEvent;
use crate::task::Task;

impl Master {
    pub(crate) fn update(&mut self, agent: &AgentId, update: TaskUpdate) {
        self.metrics.messages_status_update += 1;
        let TaskUpdate {
            key,
            mut status,
            latest,
        } = update;
        if self.registry.is_removed(&key.framework) {
            // It missed the order to shut the framework down.
            self.metrics.invalid_status_updates += 1;
            self.send_agent(
                agent,
                MasterToAgent::ShutdownFramework {
                    framework: key.framework,
                },
            );
            return;
        }
        if self.is_stale(agent, &key, &status) {
            self.metrics.invalid_status_updates += 1;
            if let Some(uuid) = status.uuid {
                self.send_agent(agent, MasterToAgent::Acknowledge { key, uuid });
            }
            return;
        }
        self.explain_drain(agent, &mut status, self.is_partition_aware(&key));
        let framework = self.frameworks.get_mut(&key.framework);
        let Some(task) = framework.and_then(|framework| framework.tasks.get_mut(&key.task)) else {
            self.metrics.invalid_status_updates += 1;
            self.forward(key, status);
            return;
        };
        self.metrics.valid_status_updates += 1;
        task.confirmed = true;
        let has_ended = status.state.is_terminal() && !task.state.is_terminal();
        let frees = latest.is_terminal() && !task.latest.is_terminal();
        if frees || !task.latest.is_terminal() {
            task.latest = latest;
        }
        let has_moved = !task.state.is_terminal() && task.state != status.state;
        // A status for a task that already ended changes nothing, but it is passed on and can be acknowledged.
        if !task.state.is_terminal() {
            task.record(status.clone());
        }
        task.set_unacknowledged(status.uuid.is_some().then(|| status.clone()));
        if frees {
            let (role, resources) = (task.spec.role.clone(), task.spec.resources.clone());
            self.allocator
                .recover(&key.framework, &role, agent, &resources);
        }
        if has_ended {
            self.note_end(&key.framework, status.state, status.source, status.reason);
        }
        let is_looked_at = matches!(
            status.reason,
            Some(Reason::TaskHealthCheckStatusUpdated | Reason::TaskCheckStatusUpdated)
        );
        if has_moved || is_looked_at {
            self.tell_update(&key, &status);
        }
        let is_final = status.state.is_terminal() && status.uuid.is_none();
        self.forward(key.clone(), status);
        if is_final {
            self.complete_task(&key, None);
        }
    }

    pub(crate) fn acknowledge(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        task: TaskId,
        uuid: Uuid,
    ) {
        self.metrics.messages_status_update_acknowledgement += 1;
        let key = TaskKey {
            framework: framework.clone(),
            task,
        };
        if !self
            .agents
            .get(agent)
            .is_some_and(|agent| agent.is_connected())
        {
            // The agent repeats the update when it is back, and the framework acknowledges again.
            self.metrics.invalid_status_update_acknowledgements += 1;
            return;
        }
        let known = self
            .frameworks
            .get_mut(framework)
            .and_then(|framework| framework.tasks.get_mut(&key.task));
        if let Some(task) = known.filter(|task| task.agent == *agent) {
            let awaited = task.unacknowledged();
            let Some(status) = awaited.filter(|status| status.uuid == Some(uuid)) else {
                self.metrics.invalid_status_update_acknowledgements += 1;
                return;
            };
            let is_final = status.state.is_terminal();
            task.set_unacknowledged(None);
            if is_final {
                self.complete_task(&key, Some(uuid));
            }
        }
        self.metrics.valid_status_update_acknowledgements += 1;
        self.send_agent(agent, MasterToAgent::Acknowledge { key, uuid });
    }

    /// A framework is back: what it has not acknowledged is sent at once, not at the agents' next repetition.
    pub(crate) fn resend_updates(&mut self, framework: &FrameworkId) {
        let Some(known) = self.frameworks.get(framework) else {
            return;
        };
        let waiting = known.tasks.values().filter_map(|task| {
            let status = task.unacknowledged()?.clone();
            Some((task.spec.key.clone(), status))
        });
        for (key, status) in waiting.collect::<Vec<_>>() {
            self.forward(key, status);
        }
    }

    /// Passes a status to its framework; one without a stream gets it later, from the agent or by reconciliation.
    pub(crate) fn forward(&mut self, key: TaskKey, status: TaskStatus) {
        let framework = key.framework.clone();
        self.send_framework(&framework, FrameworkEvent::Update { key, status });
    }

    /// The master itself ends a task that the agent does not have: resources are free, the framework is told (without
    /// uuid, so only if it is connected), the task is history.
    pub(crate) fn end_task(
        &mut self,
        key: &TaskKey,
        state: TaskState,
        reason: Reason,
        message: String,
    ) {
        let Some(task) = self
            .frameworks
            .get_mut(&key.framework)
            .and_then(|known| known.tasks.get_mut(&key.task))
        else {
            return;
        };
        let frees = std::mem::replace(&mut task.latest, state);
        let (role, resources, agent) = (
            task.spec.role.clone(),
            task.spec.resources.clone(),
            task.agent.clone(),
        );
        if !frees.is_terminal() {
            self.allocator
                .recover(&key.framework, &role, &agent, &resources);
        }
        let Some(task) = self.task(key) else { return };
        // A task that had ended before says so once more rather than ending twice.
        let state = if task.state.is_terminal() {
            task.state
        } else {
            state
        };
        let is_news = !task.state.is_terminal();
        let status = self.master_status(task, state, reason, message);
        if is_news {
            self.note_end(&key.framework, state, Source::Master, Some(reason));
            self.tell_update(key, &status);
        }
        if let Some(task) = self
            .frameworks
            .get_mut(&key.framework)
            .and_then(|known| known.tasks.get_mut(&key.task))
        {
            task.record(status.clone());
            task.set_unacknowledged(None);
        }
        self.forward(key.clone(), status);
        self.complete_task(key, None);
    }

    /// Moves a task to its framework's history. `acknowledged` is the terminal status's uuid.
    pub(crate) fn complete_task(&mut self, key: &TaskKey, acknowledged: Option<Uuid>) {
        let Some(framework) = self.frameworks.get_mut(&key.framework) else {
            return;
        };
        let Some(mut task) = framework.tasks.remove(&key.task) else {
            return;
        };
        if let Some(agent) = self.agents.get_mut(&task.agent) {
            agent.tasks.remove(key);
        }
        task.set_acknowledged(acknowledged);
        framework.complete(task, self.config.max_completed_tasks);
    }

    /// A status made by the master, without uuid: it need not and cannot be acknowledged.
    pub(crate) fn master_status(
        &self,
        task: &Task,
        state: TaskState,
        reason: Reason,
        message: String,
    ) -> TaskStatus {
        let statuses = task.statuses();
        let last = statuses.last();
        TaskStatus {
            state,
            source: Source::Master,
            reason: Some(reason),
            message,
            timestamp: self.wall,
            uuid: None,
            agent: Some(task.agent.clone()),
            executor: None,
            container: last.and_then(|status| status.container.clone()),
            healthy: last.and_then(|status| status.healthy),
            check: last.and_then(|status| status.check),
            data: Vec::new(),
            unreachable_time: None,
            extra: Vec::new(),
        }
    }

    /// Whether the status belongs to an earlier launch of the same task id: one that was acknowledged already (the
    /// agent has not heard of it), or one on another agent.
    fn is_stale(&self, agent: &AgentId, key: &TaskKey, status: &TaskStatus) -> bool {
        let Some(framework) = self.frameworks.get(&key.framework) else {
            return false;
        };
        match framework.tasks.get(&key.task) {
            Some(task) if task.agent != *agent => true,
            // On one link updates stay in order, so that after a launch's first status no older one comes.
            Some(task) if task.has_statuses() => false,
            _ => {
                let mut launches = framework
                    .completed
                    .values()
                    .rev()
                    .filter(|task| task.spec.key == *key);
                status.uuid.is_some() && launches.any(|task| task.acknowledged() == status.uuid)
            }
        }
    }
}
