//! Executors that frameworks brought: in the books with their first task, out of them when their agent says so.
//!
//! Not how one is launched (`launch`, `group`). Called by `agents`, `call` and `frameworks`. Invariants: an executor holds its
//! resources in the allocator for exactly as long as it stands in its agent's `executors`; the agent's word about which
//! executors live wins.

use std::collections::BTreeSet;

use nesos_wire::framework_executor::FrameworkExecutor;
use nesos_wire::message::MasterToAgent;
use nesos_wire::resource::Resources;
use nesos_wire::task::Command;
use nesos_wire::{AgentId, Attempt, ExecutorId, ExecutorKey, FrameworkId};

use crate::master::Master;
use crate::outgoing::{EndedExecutor, FrameworkEvent};
use crate::state::Agent;

impl Agent {
    /// The executors that this framework brought here, by id.
    pub fn executors_of(
        &self,
        framework: &FrameworkId,
    ) -> impl Iterator<Item = &FrameworkExecutor> {
        let first = ExecutorKey {
            framework: framework.clone(),
            executor: ExecutorId::default(),
        };
        let from = self.executors.range(first..);
        let own = from.take_while(move |(key, _)| key.framework == *framework);
        own.map(|(_, executor)| executor)
    }

    /// What the executors here hold, beside their tasks, each with its framework.
    pub(crate) fn held_by_executors(&self) -> impl Iterator<Item = (&FrameworkId, &Resources)> {
        let executors = self.executors.iter();
        let holding = executors.filter(|(_, known)| !known.resources.is_empty());
        holding.map(|(key, known)| (&key.framework, &known.resources))
    }

    /// The frameworks that have a task or an executor here.
    pub(crate) fn frameworks(&self) -> BTreeSet<FrameworkId> {
        let tasks = self.tasks.iter().map(|key| &key.framework);
        let executors = self.executors.keys().map(|key| &key.framework);
        tasks.chain(executors).cloned().collect()
    }
}

impl Master {
    /// Every executor that a framework brought and that has not ended, with its agent.
    pub fn executors(&self) -> impl Iterator<Item = (&Agent, &FrameworkExecutor)> {
        let agents = self.agents.values();
        agents.flat_map(|agent| agent.executors.values().map(move |known| (agent, known)))
    }

    /// Writes an executor down that is on its way to its agent, or was reported by it. What only the agent needs is left
    /// out.
    pub(crate) fn book_executor(&mut self, agent: &AgentId, mut executor: FrameworkExecutor) {
        executor.command = Command::default();
        executor.framework_info = Vec::new();
        if let Some(agent) = self.agents.get_mut(agent) {
            agent.executors.insert(executor.key.clone(), executor);
        }
    }

    /// SHUTDOWN. An agent that is away does not hear it, as in Mesos.
    pub(crate) fn shut_executor_down(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        executor: ExecutorId,
    ) {
        let key = ExecutorKey {
            framework: framework.clone(),
            executor,
        };
        self.send_agent(agent, MasterToAgent::ShutdownExecutor { key });
    }

    pub(crate) fn executor_ended(
        &mut self,
        agent: &AgentId,
        key: &ExecutorKey,
        attempt: Attempt,
        status: i32,
    ) {
        self.metrics.messages_exited_executor += 1;
        let known = self
            .agents
            .get(agent)
            .and_then(|agent| agent.executors.get(key));
        // News of a run before the present one: the present one is not over.
        if known.is_none_or(|known| known.attempt != attempt) {
            return;
        }
        self.forget_executor(agent, key);
        let executor = EndedExecutor {
            executor: key.executor.clone(),
            status,
        };
        let failure = FrameworkEvent::Failure {
            agent: agent.clone(),
            executor: Some(executor),
        };
        self.send_framework(&key.framework, failure);
    }

    /// Makes the books on this agent's executors say what the agent says; returns what it must be told.
    pub(crate) fn reconcile_executors(
        &mut self,
        id: &AgentId,
        reported: Vec<FrameworkExecutor>,
    ) -> Vec<MasterToAgent> {
        let mut orders = Vec::new();
        let mut living = BTreeSet::new();
        let is_drained = self.upkeep(id).is_drained();
        for executor in reported {
            let framework = executor.key.framework.clone();
            if self.registry.is_removed(&framework) {
                orders.push(MasterToAgent::ShutdownFramework { framework });
                continue;
            }
            if !self.frameworks.contains_key(&framework) {
                self.recover_framework_of_executor(&executor);
            }
            living.insert(executor.key.clone());
            if is_drained {
                let key = executor.key.clone();
                orders.push(MasterToAgent::ShutdownExecutor { key });
            }
            self.take_executor(id, executor);
        }
        let known = self.agents.get(id).map(|agent| agent.executors.keys());
        let known = known.into_iter().flatten();
        let ended: Vec<_> = known
            .filter(|key| !living.contains(*key))
            .cloned()
            .collect();
        for key in ended {
            self.forget_executor(id, &key);
        }
        orders
    }

    /// The framework's executors end with it; the allocator frees all that it held at once.
    pub(crate) fn drop_executors_of(&mut self, framework: &FrameworkId) -> BTreeSet<AgentId> {
        let with_some = self.agents.values();
        let with_some = with_some.filter(|agent| agent.executors_of(framework).next().is_some());
        let agents: BTreeSet<AgentId> = with_some.map(|agent| agent.id.clone()).collect();
        for id in &agents {
            if let Some(agent) = self.agents.get_mut(id) {
                agent.executors.retain(|key, _| key.framework != *framework);
            }
        }
        agents
    }

    /// One reported executor, in the books as reported.
    fn take_executor(&mut self, id: &AgentId, mut executor: FrameworkExecutor) {
        let known = self
            .agents
            .get(id)
            .and_then(|agent| agent.executors.get(&executor.key));
        if known.is_some_and(|known| known.attempt == executor.attempt) {
            return;
        }
        self.forget_executor(id, &executor.key);
        if let Some(framework) = self.frameworks.get(&executor.key.framework) {
            // The same text, but in memory once.
            executor.key.framework.clone_from(&framework.id);
        }
        if !executor.resources.is_empty() {
            let (framework, role) = (&executor.key.framework, &executor.role);
            self.allocator
                .allocated(framework, role, id, &executor.resources);
        }
        self.book_executor(id, executor);
    }

    /// The executor is over: what it held is free.
    fn forget_executor(&mut self, agent: &AgentId, key: &ExecutorKey) {
        let known = self.agents.get_mut(agent);
        let Some(executor) = known.and_then(|agent| agent.executors.remove(key)) else {
            return;
        };
        self.allocator
            .recover(&key.framework, &executor.role, agent, &executor.resources);
    }
}
