//! What operators decide about agents: drain, deactivate, reactivate, give up.
//!
//! Not how agents are noticed to be away (`liveness`). Called by `order`, and by `agents` when one comes back. Invariants:
//! the decision stands in the registry alone; a deactivated agent has no offers; `Master::draining` holds exactly the
//! agents whose record says that they are being drained.

use std::collections::BTreeSet;

use nesos_wire::command::{Command, Drain, Upkeep};
use nesos_wire::message::MasterToAgent;
use nesos_wire::task::{Reason, TaskState, TaskStatus};
use nesos_wire::{AgentId, FrameworkId, TaskId, TaskKey};

use crate::event::LinkId;
use crate::liveness::Parting;
use crate::master::Master;
use crate::ready::Answer;
use crate::state::Agent;

const NANOS_PER_MS: u64 = 1_000_000;

impl Master {
    /// What operators decided about an agent.
    pub fn upkeep(&self, agent: &AgentId) -> Upkeep {
        self.registry.upkeep(agent)
    }

    /// Whether the agent gets offers.
    pub fn is_active(&self, agent: &Agent) -> bool {
        agent.is_connected() && !self.upkeep(&agent.id).deactivated
    }

    pub(crate) fn drain(
        &mut self,
        id: &AgentId,
        max_grace_ns: Option<u64>,
        mark_gone: bool,
    ) -> Answer {
        if !self.agents.contains_key(id) {
            return unknown(id);
        }
        let drain = Drain {
            is_drained: false,
            max_grace_ns,
            mark_gone,
            since: self.wall,
        };
        self.set_upkeep(
            id,
            Upkeep {
                deactivated: true,
                drain: Some(drain),
            },
        );
        self.kill_for_drain(id);
        Answer::Done
    }

    pub(crate) fn deactivate(&mut self, id: &AgentId) -> Answer {
        if !self.agents.contains_key(id) {
            return unknown(id);
        }
        let upkeep = Upkeep {
            deactivated: true,
            ..self.upkeep(id)
        };
        self.set_upkeep(id, upkeep);
        Answer::Done
    }

    pub(crate) fn reactivate(&mut self, id: &AgentId) -> Answer {
        if !self.agents.contains_key(id) {
            return unknown(id);
        }
        let upkeep = self.upkeep(id);
        if !upkeep.deactivated {
            return Answer::Invalid(format!("Agent {id} is not deactivated"));
        }
        if upkeep.is_draining() {
            return Answer::Invalid(format!("Agent {id} is still being drained"));
        }
        self.set_upkeep(id, Upkeep::default());
        Answer::Done
    }

    pub(crate) fn give_up(&mut self, id: &AgentId) -> Answer {
        if self.registry.is_gone(id) {
            return Answer::Done;
        }
        let Some(agent) = self.agents.get(id) else {
            return Answer::NotFound(format!("No agent found with ID {id}"));
        };
        let (link, frameworks) = (agent.link(), agent.frameworks());
        self.end_unreachable(id);
        if let Some(link) = link {
            self.rescind_agent_offers(id);
            self.say_gone(link, id, frameworks);
        }
        self.remove_agent(id, Parting::Gone);
        Answer::Done
    }

    /// Tells an agent that was given up to end what it runs, and not to come back. Its link is the caller's to close.
    pub(crate) fn say_gone(
        &mut self,
        link: LinkId,
        id: &AgentId,
        frameworks: BTreeSet<FrameworkId>,
    ) {
        self.shut_down_frameworks(link, frameworks);
        let reason = format!("an operator marked agent {id} as gone");
        self.out
            .to_agents
            .push((link, MasterToAgent::Refused { reason }));
    }

    /// Tells an agent to end all that the frameworks run there.
    pub(crate) fn shut_down_frameworks(&mut self, link: LinkId, frameworks: BTreeSet<FrameworkId>) {
        for framework in frameworks {
            let shutdown = MasterToAgent::ShutdownFramework { framework };
            self.out.to_agents.push((link, shutdown));
        }
    }

    /// Orders the end of all that runs on a draining agent. A task's own grace period is cut, never stretched.
    pub(crate) fn kill_for_drain(&mut self, id: &AgentId) {
        let Some(drain) = self.upkeep(id).drain else {
            return;
        };
        let most = drain
            .max_grace_ns
            .map(|ns| u32::try_from(ns / NANOS_PER_MS).unwrap_or(u32::MAX));
        let keys = self.agents.get(id).map(|agent| agent.tasks.clone());
        for key in keys.unwrap_or_default() {
            let Some(task) = self.task(&key) else {
                continue;
            };
            let ordered = task.kill().and_then(|kill| kill.grace_ms);
            let grace_ms = match (ordered, most) {
                (ordered, Some(most)) => Some(ordered.unwrap_or(task.spec.kill_grace_ms).min(most)),
                (ordered, None) => ordered,
            };
            self.order_kill(&key, grace_ms);
        }
    }

    /// Agents that are empty now: drained, or given up if that was the wish. One that is away may hold tasks nobody here
    /// knows, so it stays draining until it is back.
    pub(crate) fn finish_drains(&mut self) {
        let is_empty = |agent: &Agent| agent.is_connected() && agent.tasks.is_empty();
        let empty = self
            .draining
            .iter()
            .filter(|id| self.agents.get(*id).is_some_and(is_empty));
        for id in empty.cloned().collect::<Vec<_>>() {
            let upkeep = self.upkeep(&id);
            let Some(drain) = upkeep.drain else { continue };
            if drain.mark_gone {
                self.give_up(&id);
                continue;
            }
            let drain = Some(Drain {
                is_drained: true,
                ..drain
            });
            self.set_upkeep(&id, Upkeep { drain, ..upkeep });
            self.end_idle_executors(&id);
        }
    }

    /// A drained agent is about to be switched off: executors that are left on it without tasks get their SHUTDOWN. Those
    /// of one that was away are told at its return.
    fn end_idle_executors(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.get(id) else {
            return;
        };
        for key in agent.executors.keys().cloned().collect::<Vec<_>>() {
            self.send_agent(id, MasterToAgent::ShutdownExecutor { key });
        }
    }

    /// A task that ends on a draining agent ends for that reason, whoever ordered it.
    pub(crate) fn explain_drain(&self, agent: &AgentId, status: &mut TaskStatus, is_aware: bool) {
        let upkeep = self.upkeep(agent);
        let Some(drain) = upkeep.drain else { return };
        if !matches!(status.state, TaskState::Killing | TaskState::Killed) {
            return;
        }
        status.reason = Some(Reason::AgentDraining);
        if status.state == TaskState::Killed && drain.mark_gone && is_aware {
            status.state = TaskState::GoneByOperator;
        }
    }

    pub(crate) fn is_partition_aware(&self, key: &TaskKey) -> bool {
        self.task(key).is_some_and(|task| task.spec.partition_aware)
    }

    fn set_upkeep(&mut self, id: &AgentId, upkeep: Upkeep) {
        if self.upkeep(id) != upkeep {
            self.propose(Command::SetUpkeep {
                agent: id.clone(),
                upkeep,
            });
        }
        if upkeep.is_draining() {
            self.draining.insert(id.clone());
        } else {
            self.draining.remove(id);
        }
        let is_active = self
            .agents
            .get(id)
            .is_some_and(|agent| self.is_active(agent));
        self.allocator.set_agent_active(id, is_active);
        if !is_active {
            self.rescind_agent_offers(id);
        }
    }

    /// Tasks that were believed to run on an unreachable agent are gone with it.
    fn end_unreachable(&mut self, id: &AgentId) {
        let mut found: Vec<(FrameworkId, TaskId)> = Vec::new();
        for framework in self.frameworks.values() {
            let on_agent = framework
                .unreachable
                .iter()
                .filter(|(_, task)| task.agent == *id);
            found.extend(on_agent.map(|(task, _)| (framework.id.clone(), task.clone())));
        }
        for (framework, task) in found {
            let Some(known) = self.frameworks.get_mut(&framework) else {
                continue;
            };
            let Some(mut task) = known.unreachable.remove(&task) else {
                continue;
            };
            task.latest = TaskState::GoneByOperator;
            // One that is LOST already has had its news.
            if !task.state.is_terminal() {
                let (state, reason) = Parting::Gone.end_of(&task);
                let status =
                    self.master_status(&task, state, reason, format!("Agent {id} removed"));
                self.note_end(&framework, state, status.source, status.reason);
                task.record(status.clone());
                self.tell_update(&task.spec.key, &status);
                self.forward(task.spec.key.clone(), status);
            }
            if let Some(known) = self.frameworks.get_mut(&framework) {
                known.complete(task, self.config.max_completed_tasks);
            }
        }
    }
}

fn unknown(id: &AgentId) -> Answer {
    Answer::Invalid(format!("No agent found with ID {id}"))
}
