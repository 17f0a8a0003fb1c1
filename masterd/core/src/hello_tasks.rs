//! The tasks of a `Hello` against the master's books: what is known, what is news, what is missing.
//!
//! Called by `agents` when an agent registers. Invariants: the agent's word wins over the master's, except about launches
//! that the framework was told are over; of two launches of one task id the later one stays.

use std::collections::BTreeSet;

use nesos_wire::message::{MasterToAgent, TaskReport};
use nesos_wire::task::{Reason, TaskState};
use nesos_wire::{AgentId, TaskId, TaskKey};

use crate::brought::Brought;
use crate::master::Master;
use crate::news::News;
use crate::task::Task;

/// What a `Hello` leads to besides the `Welcome`.
#[derive(Default)]
pub(crate) struct Reconciled {
    pub(crate) kill: Vec<TaskKey>,
    pub(crate) then: Vec<MasterToAgent>,
    pub(crate) returned: Vec<TaskKey>,
}

impl Master {
    /// Makes the master's books on this agent's tasks say what the agent says.
    pub(crate) fn reconcile_agent(&mut self, id: &AgentId, reports: Vec<TaskReport>) -> Reconciled {
        let mut reconciled = Reconciled::default();
        let mut reported = BTreeSet::new();
        let is_draining = self.upkeep(id).drain.is_some();
        let is_blank = self
            .agents
            .get(id)
            .is_some_and(|agent| agent.tasks.is_empty());
        let mut brought = Brought::default();
        for mut report in reports {
            if let (true, Some(status)) = (is_draining, &mut report.status) {
                self.explain_drain(id, status, report.spec.partition_aware);
            }
            let Some(report) = self.bring(id, report, &mut brought) else {
                continue;
            };
            let new = self.settle_brought(id, &mut brought);
            reported.extend(new.iter().cloned());
            reconciled.returned.extend(new);
            let key = report.spec.key.clone();
            if self.take_report(id, report, &mut reconciled) {
                reported.insert(key);
            }
        }
        let is_blank = is_blank && reported.is_empty();
        let new = self.settle_brought(id, &mut brought);
        let is_anyone_away = self.frameworks.values().any(|f| !f.unreachable.is_empty());
        if !is_blank || is_anyone_away {
            reported.extend(new.iter().cloned());
            self.end_unreported(id, &reported);
        }
        reconciled.returned.extend(new);
        reconciled
    }

    /// Ends what the books have on this agent and the agent does not.
    fn end_unreported(&mut self, id: &AgentId, reported: &BTreeSet<TaskKey>) {
        let known = self.agents.get(id).map(|agent| agent.tasks.iter());
        let missing = known.into_iter().flatten();
        let missing = missing.filter(|key| !reported.contains(*key)).cloned();
        let missing: Vec<TaskKey> = missing.collect();
        let lost = self.restore_unreachable(id, reported);
        for key in missing.iter().chain(&lost) {
            self.end_missing(key);
        }
    }

    /// One reported task that `brought` has no answer to. Says whether it is now in the books as reported.
    fn take_report(
        &mut self,
        agent: &AgentId,
        report: TaskReport,
        reconciled: &mut Reconciled,
    ) -> bool {
        let key = report.spec.key.clone();
        if self.registry.is_removed(&key.framework) {
            reconciled.kill.push(key);
            return false;
        }
        let Some(framework) = self.frameworks.get_mut(&key.framework) else {
            return false;
        };
        let is_same =
            |task: &&Task| task.spec.attempt == report.spec.attempt && task.spec.key == key;
        if let Some(ended) = framework.completed.values().rev().find(is_same) {
            match (
                ended.acknowledged(),
                report.status.as_ref().and_then(|status| status.uuid),
            ) {
                // It missed the acknowledgement.
                (Some(seen), Some(uuid)) if seen == uuid => {
                    reconciled
                        .then
                        .push(MasterToAgent::Acknowledge { key, uuid });
                }
                // The framework was told that it is over; so be it.
                _ => reconciled.kill.push(key),
            }
            return false;
        }
        let newest = framework
            .tasks
            .get(&key.task)
            .or_else(|| framework.unreachable.get(&key.task));
        if let Some(other) = newest {
            if other.spec.attempt > report.spec.attempt {
                reconciled.kill.push(key);
                return false;
            }
            if other.spec.attempt < report.spec.attempt || other.agent != *agent {
                self.forget_older(&key);
            }
        }
        self.put_report(agent, report, reconciled);
        true
    }

    /// A newer launch of the same id was reported: what the books have is a leftover on some other agent (or this one).
    fn forget_older(&mut self, key: &TaskKey) {
        let Some(framework) = self.frameworks.get_mut(&key.framework) else {
            return;
        };
        if framework.unreachable.remove(&key.task).is_some() {
            return;
        }
        let Some(task) = framework.tasks.get(&key.task).cloned() else {
            return;
        };
        if task.is_using_resources() {
            self.allocator.recover(
                &key.framework,
                &task.spec.role,
                &task.agent,
                &task.spec.resources,
            );
            self.send_agent(
                &task.agent,
                MasterToAgent::Kill {
                    key: key.clone(),
                    grace_ms: None,
                },
            );
        }
        if let Some(framework) = self.frameworks.get_mut(&key.framework) {
            framework.tasks.remove(&key.task);
        }
        if let Some(agent) = self.agents.get_mut(&task.agent) {
            agent.tasks.remove(key);
        }
    }

    fn put_report(&mut self, agent: &AgentId, report: TaskReport, reconciled: &mut Reconciled) {
        let TaskReport {
            mut spec,
            latest,
            status,
        } = report;
        let Some(framework) = self.frameworks.get_mut(&spec.key.framework) else {
            return;
        };
        // The same text, but in memory once.
        spec.key.framework.clone_from(&framework.id);
        let key = spec.key.clone();
        let back = framework.unreachable.remove(&key.task);
        let is_news = back.is_some() || !framework.tasks.contains_key(&key.task);
        if is_news {
            let mut task =
                back.unwrap_or_else(|| Task::new(spec, agent.clone(), &mut framework.patterns));
            // Whatever it was when it went away: the agent knows better. Whether the status is acknowledged only the
            // agent knows; it repeats it if it has to.
            task.state = TaskState::Staging;
            task.latest = TaskState::Lost;
            if let Some(status) = status {
                task.record(status);
            }
            framework.tasks.insert(key.task.clone(), task);
            reconciled.returned.push(key.clone());
        }
        if let Some(agent) = self.agents.get_mut(agent) {
            agent.tasks.insert(key.clone());
        }
        let Some(task) = framework.tasks.get_mut(&key.task) else {
            return;
        };
        task.confirmed = true;
        let (role, resources) = (&task.spec.role, &task.spec.resources);
        match (task.latest.is_terminal(), latest.is_terminal()) {
            (false, true) => self
                .allocator
                .recover(&key.framework, role, agent, resources),
            (true, false) => self
                .allocator
                .allocated(&key.framework, role, agent, resources),
            _ => {}
        }
        task.latest = latest;
        let kill = task.kill();
        if is_news {
            self.tell(|| News::TaskAdded(key.clone()));
        }
        if let Some(kill) = kill.filter(|_| !latest.is_terminal()) {
            reconciled.then.push(MasterToAgent::Kill {
                key,
                grace_ms: kill.grace_ms,
            });
        }
    }

    /// Tasks of this agent among the unreachable ones that it did not report go back to `tasks`, to be ended there.
    fn restore_unreachable(
        &mut self,
        agent: &AgentId,
        reported: &BTreeSet<TaskKey>,
    ) -> Vec<TaskKey> {
        let mut lost = Vec::new();
        let with_some = self.frameworks.values().filter_map(|framework| {
            let tasks = framework.unreachable.iter();
            let on_agent = tasks.filter(|(_, task)| task.agent == *agent);
            let ids: Vec<TaskId> = on_agent.map(|(id, _)| id.clone()).collect();
            (!ids.is_empty()).then(|| (framework.id.clone(), ids))
        });
        for (framework, ids) in with_some.collect::<Vec<_>>() {
            let Some(framework) = self.frameworks.get_mut(&framework) else {
                continue;
            };
            for id in ids {
                let Some(mut task) = framework.unreachable.remove(&id) else {
                    continue;
                };
                if reported.contains(&task.spec.key) {
                    continue;
                }
                // It uses nothing: the allocator dropped the agent's allocations when it became unreachable.
                task.latest = if task.latest.is_terminal() {
                    task.latest
                } else {
                    TaskState::Gone
                };
                if task.state.is_terminal() {
                    // The framework has been told already (LOST, or how it really ended).
                    framework.complete(task, self.config.max_completed_tasks);
                    continue;
                }
                lost.push(task.spec.key.clone());
                framework.tasks.insert(id, task);
            }
        }
        if let Some(known) = self.agents.get_mut(agent) {
            known.tasks.extend(lost.iter().cloned());
        }
        lost
    }

    /// The agent does not know this task. A launch that it never confirmed was lost with a link.
    fn end_missing(&mut self, key: &TaskKey) {
        let Some(task) = self.task(key) else { return };
        let state = match (task.spec.partition_aware, task.confirmed) {
            (false, _) => TaskState::Lost,
            (true, false) => TaskState::Dropped,
            (true, true) => TaskState::Gone,
        };
        self.end_task(
            key,
            state,
            Reason::Reconciliation,
            "Task is unknown to the agent".to_owned(),
        );
    }

    pub(crate) fn announce_returned(&mut self, returned: &[TaskKey]) {
        for key in returned {
            let Some(task) = self.task(key) else { continue };
            let message = "Unreachable agent re-registered".to_owned();
            let status = self.master_status(task, task.state, Reason::AgentReregistered, message);
            self.forward(key.clone(), status);
        }
    }
}
