//! Who is still there: pings, broken links, unreachable and removed agents.
//!
//! Called by the timers and by `agents`. Invariants: the registry says "unreachable" before anybody else hears it (the
//! shell's ordering of `Ready`), and an unreachable agent has no offers, no allocations and no tasks in `tasks`.

use nesos_base::time::Instant;
use nesos_wire::AgentId;
use nesos_wire::command::{AgentRecord, Command};
use nesos_wire::message::MasterToAgent;
use nesos_wire::operation::OperationState;
use nesos_wire::task::{Reason, Source, TaskState};

use crate::event::LinkId;
use crate::master::Master;
use crate::news::News;
use crate::outgoing::FrameworkEvent;
use crate::state::{Agent, AgentCondition};
use crate::task::Task;
use crate::timers::Timer;

/// How an agent leaves for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parting {
    /// It said so itself; the board may join again.
    Goodbye,
    /// An operator said so; its id is refused from then on.
    Gone,
}

impl Parting {
    /// What becomes of a task there, and why.
    pub(crate) fn end_of(self, task: &Task) -> (TaskState, Reason) {
        let reason = match self {
            Self::Goodbye => Reason::AgentRemoved,
            Self::Gone => Reason::AgentRemovedByOperator,
        };
        match self {
            _ if !task.spec.partition_aware => (TaskState::Lost, reason),
            Self::Goodbye => (TaskState::Gone, reason),
            Self::Gone => (TaskState::GoneByOperator, reason),
        }
    }
}

impl Master {
    /// The registry's agents: each may take `agent_reregister_timeout` from now to come back.
    pub(crate) fn recover_agents(&mut self) {
        let records: Vec<AgentRecord> = self.registry.agents().cloned().collect();
        for record in records {
            let mut agent = Agent::blank(&record);
            match record.unreachable_since {
                Some(since) => agent.condition = AgentCondition::Unreachable(since),
                None => {
                    let at = self.now + self.config.agent_reregister_timeout;
                    agent.gone_at = Some(at);
                    self.timers
                        .arm(at, Timer::Unreachable(record.agent.clone()));
                }
            }
            if record.upkeep.is_draining() {
                self.draining.insert(record.agent.clone());
            }
            self.agents.insert(record.agent, agent);
        }
    }

    pub(crate) fn ping_due(&mut self, link: LinkId) {
        let Some(id) = self.links.get(&link).cloned() else {
            return;
        };
        let limit = self.config.max_ping_misses.max(1);
        let Some(agent) = self.agents.get_mut(&id) else {
            return;
        };
        if agent.missed_pings >= limit {
            self.drop_link(&id);
            return;
        }
        agent.missed_pings += 1;
        agent.ping_sequence += 1;
        let sequence = agent.ping_sequence;
        self.out
            .to_agents
            .push((link, MasterToAgent::Ping { sequence }));
        self.timers
            .arm(self.now + self.config.ping_interval, Timer::Ping(link));
    }

    pub(crate) fn unreachable_due(&mut self, id: &AgentId, at: Instant) {
        if self
            .agents
            .get(id)
            .is_some_and(|agent| agent.gone_at == Some(at))
        {
            if self.now < self.removal_allowed_at {
                self.postpone_removal(id);
                return;
            }
            if let Some(pause) = self.config.agent_removal_pause {
                self.removal_allowed_at = self.now + pause;
            }
            self.mark_unreachable(id);
        }
    }

    /// Too many agents went away at once: this one has until the next permit to come back.
    fn postpone_removal(&mut self, id: &AgentId) {
        let at = self.removal_allowed_at;
        if let Some(agent) = self.agents.get_mut(id) {
            agent.gone_at = Some(at);
            self.timers.arm(at, Timer::Unreachable(id.clone()));
        }
    }

    /// Gives a link up and lets the shell close it.
    pub(crate) fn drop_link(&mut self, id: &AgentId) {
        if let Some(link) = self.agents.get(id).and_then(Agent::link) {
            self.out.close_links.push(link);
            self.disconnect(id);
        }
    }

    /// The agent's link is gone: nothing is offered, its tasks are believed to run on, its time is running. This holds
    /// for tasks of non-checkpointing frameworks too, unlike in Mesos: here every task outlives agentd.
    pub(crate) fn disconnect(&mut self, id: &AgentId) {
        let at = self.now + self.config.agent_reregister_timeout;
        let Some(agent) = self.agents.get_mut(id) else {
            return;
        };
        let Some(link) = agent.link() else { return };
        agent.condition = AgentCondition::Disconnected;
        agent.gone_at = Some(at);
        self.links.remove(&link);
        self.allocator.set_agent_active(id, false);
        self.timers.arm(at, Timer::Unreachable(id.clone()));
        self.metrics.slave_unreachable_scheduled += 1;
        self.rescind_agent_offers(id);
        self.rescind_inverse_offers(id);
        self.fail_requests(link);
    }

    /// The agent will not come back: its tasks are gone, the board is forgotten.
    pub(crate) fn remove_agent(&mut self, id: &AgentId, parting: Parting) {
        self.drop_link(id);
        self.metrics.slave_removals += 1;
        if self.agents.get(id).is_some_and(|a| a.gone_at.is_some()) {
            self.metrics.slave_unreachable_canceled += 1;
        }
        if matches!(parting, Parting::Goodbye) {
            self.metrics.removed_by_goodbye += 1;
        }
        let keys: Vec<_> = self
            .agents
            .get(id)
            .map(|agent| agent.tasks.iter().cloned().collect())
            .unwrap_or_default();
        for key in keys {
            let Some(task) = self.task(&key) else {
                continue;
            };
            let (state, reason) = parting.end_of(task);
            self.end_task(&key, state, reason, format!("Agent {id} removed"));
        }
        self.lose_operations(id, OperationState::GoneByOperator);
        self.forget_maintenance(id);
        self.agents.remove(id);
        self.tell(|| News::AgentRemoved(id.clone()));
        self.draining.remove(id);
        self.allocator.remove_agent(id);
        let agent = id.clone();
        self.propose(match parting {
            Parting::Goodbye => Command::RemoveAgent { agent },
            Parting::Gone => Command::MarkGone {
                agent,
                since: self.wall,
            },
        });
        self.announce_failure(id);
    }

    fn mark_unreachable(&mut self, id: &AgentId) {
        let since = self.wall;
        let Some(agent) = self.agents.get_mut(id) else {
            return;
        };
        agent.condition = AgentCondition::Unreachable(since);
        agent.gone_at = None;
        let keys = std::mem::take(&mut agent.tasks);
        agent.executors.clear();
        let hostname = agent.hostname.clone();
        self.propose(Command::MarkUnreachable {
            agent: id.clone(),
            since,
        });
        self.forget_maintenance(id);
        self.metrics.slave_unreachable_completed += 1;
        self.metrics.slave_removals += 1;
        self.metrics.removed_as_unreachable += 1;
        self.allocator.remove_agent(id);
        for key in keys {
            let framework = self.frameworks.get_mut(&key.framework);
            let Some(task) = framework.and_then(|framework| framework.tasks.remove(&key.task))
            else {
                continue;
            };
            self.park(task, since, &hostname);
        }
        self.lose_operations(id, OperationState::Unreachable);
        self.tell(|| News::AgentRemoved(id.clone()));
        self.announce_failure(id);
    }

    /// A task's agent became unreachable: the task waits among the unreachable ones for what turns out.
    fn park(&mut self, mut task: Task, since: f64, hostname: &str) {
        let key = task.spec.key.clone();
        if !task.state.is_terminal() {
            let state = if task.spec.partition_aware {
                TaskState::Unreachable
            } else {
                TaskState::Lost
            };
            let message = format!("Agent {hostname} did not answer and was marked unreachable");
            let mut status = self.master_status(&task, state, Reason::AgentRemoved, message);
            status.unreachable_time = Some(since);
            if state.is_terminal() {
                let reason = Some(Reason::AgentRemoved);
                self.note_end(&key.framework, state, Source::Master, reason);
            }
            task.record(status.clone());
            self.tell_update(&key, &status);
            self.forward(key.clone(), status);
        }
        task.set_unacknowledged(None);
        let Some(framework) = self.frameworks.get_mut(&key.framework) else {
            return;
        };
        framework.unreachable.insert(key.task, task);
        if framework.unreachable.len() > self.config.max_unreachable_tasks {
            // The one launched first is forgotten; should its agent return, the task is taken in as a new one.
            let oldest = framework
                .unreachable
                .iter()
                .min_by_key(|(_, task)| task.spec.attempt);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                framework.unreachable.remove(&oldest);
            }
        }
    }

    fn announce_failure(&mut self, agent: &AgentId) {
        for stream in self.streams.keys().copied() {
            self.out.to_frameworks.push((
                stream,
                FrameworkEvent::Failure {
                    agent: agent.clone(),
                    executor: None,
                },
            ));
        }
    }
}
