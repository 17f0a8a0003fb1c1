//! What became of operations: the agent's word to the framework, its acknowledgement back, and reconciliation.
//!
//! As with tasks the agent is the source of truth and repeats itself until acknowledged. Called by `agents`,
//! `frameworks` and `liveness`. Invariant: an operation leaves the books when its end was acknowledged, or when the master
//! itself told its end.

use std::collections::BTreeSet;

use nesos_wire::message::MasterToAgent;
use nesos_wire::operation::{OperationReport, OperationState, OperationStatus};
use nesos_wire::resource::Resources;
use nesos_wire::{AgentId, FrameworkId, Uuid};

use crate::call::ReconcileOperation;
use crate::master::Master;
use crate::outgoing::{FrameworkEvent, OperationUpdate};
use crate::state::AgentCondition;

impl Master {
    /// The agent tells an operation's end.
    pub(crate) fn operation_update(&mut self, agent: &AgentId, report: OperationReport) {
        self.metrics.messages_operation_status_update += 1;
        if let Some(message) = self.take_operation(agent, report) {
            self.send_agent(agent, message);
        }
    }

    /// All operations that an agent knows, from its `Hello`; what the master waited for and is not among them was lost
    /// with a link. Returns what to tell the agent.
    pub(crate) fn reconcile_agent_operations(
        &mut self,
        agent: &AgentId,
        reports: Vec<OperationReport>,
    ) -> Vec<MasterToAgent> {
        let Some(known) = self.agents.get_mut(agent) else {
            return Vec::new();
        };
        let told: BTreeSet<Uuid> = reports.iter().map(|report| report.spec.uuid).collect();
        let missing = known
            .operations
            .extract_if(.., |uuid, _| !told.contains(uuid));
        let missing: Vec<OperationReport> = missing.map(|(_, report)| report).collect();
        let mut messages = Vec::new();
        for report in reports {
            messages.extend(self.take_operation(agent, report));
        }
        for report in missing {
            if !report.status.state.is_terminal() {
                self.metrics.count_operation(OperationState::Dropped);
                let message = "The operation did not reach the agent".to_owned();
                self.tell_end(agent, &report, OperationState::Dropped, message);
            }
        }
        messages
    }

    /// The framework has seen an operation's end.
    pub(crate) fn acknowledge_operation(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        id: &str,
        uuid: Uuid,
    ) {
        self.metrics
            .messages_operation_status_update_acknowledgement += 1;
        let is_meant = |report: &OperationReport| {
            report.spec.framework.as_ref() == Some(framework)
                && report.spec.id.as_deref() == Some(id)
                && report.status.uuid == Some(uuid)
        };
        let known = self.agents.get(agent);
        let found = known.and_then(|known| {
            let mut operations = known.operations.iter();
            operations
                .find(|(_, report)| is_meant(report))
                .map(|(operation, _)| *operation)
        });
        let metrics = &mut self.metrics;
        let Some(operation) = found else {
            metrics.invalid_operation_status_update_acknowledgements += 1;
            return;
        };
        metrics.valid_operation_status_update_acknowledgements += 1;
        if let Some(known) = self.agents.get_mut(agent) {
            known.operations.remove(&operation);
            self.send_agent(agent, MasterToAgent::AcknowledgeOperation { uuid });
        }
    }

    /// RECONCILE_OPERATIONS: one status each, without uuid. Without any: of all the framework's operations.
    pub(crate) fn reconcile_operations(
        &mut self,
        framework: &FrameworkId,
        asked: Vec<ReconcileOperation>,
    ) {
        self.metrics.messages_reconcile_operations += 1;
        let own = |report: &&OperationReport| report.spec.framework.as_ref() == Some(framework);
        let mut updates = Vec::new();
        if asked.is_empty() {
            for agent in self.agents.values() {
                let known = agent.operations.values().filter(own);
                updates.extend(known.filter_map(|report| update(&agent.id, report)));
            }
        }
        for ReconcileOperation { id, agent } in asked {
            let agents = self.agents.values();
            let known = agents.filter(|known| agent.as_ref().is_none_or(|id| known.id == *id));
            let found = known.flat_map(|known| {
                let reports = known.operations.values().filter(own);
                reports.filter_map(|report| update(&known.id, report))
            });
            let found = found.into_iter().find(|update| update.id == id);
            updates.push(found.unwrap_or_else(|| {
                let state = self.unknown_operation(agent.as_ref());
                blank(id, agent, state, String::new())
            }));
        }
        for update in updates {
            let status = OperationStatus {
                uuid: None,
                ..update.status
            };
            let event = FrameworkEvent::Operation(OperationUpdate { status, ..update });
            self.send_framework(framework, event);
        }
    }

    /// The framework is gone: nobody will acknowledge.
    pub(crate) fn release_operations(&mut self, framework: &FrameworkId) {
        let mut messages = Vec::new();
        let is_own = |report: &OperationReport| report.spec.framework.as_ref() == Some(framework);
        let with_some = self
            .agents
            .values()
            .filter(|agent| agent.operations.values().any(is_own));
        for id in with_some.map(|agent| agent.id.clone()).collect::<Vec<_>>() {
            let Some(agent) = self.agents.get_mut(&id) else {
                continue;
            };
            agent.operations.retain(|_, report| {
                if let Some(uuid) = report.status.uuid.filter(|_| is_own(report)) {
                    messages.push((id.clone(), uuid));
                }
                !is_own(report)
            });
        }
        for (agent, uuid) in messages {
            self.send_agent(&agent, MasterToAgent::AcknowledgeOperation { uuid });
        }
    }

    /// The agent is gone, for now or for ever.
    pub(crate) fn lose_operations(&mut self, agent: &AgentId, state: OperationState) {
        let Some(known) = self.agents.get_mut(agent) else {
            return;
        };
        for report in std::mem::take(&mut known.operations).into_values() {
            if state.is_terminal() {
                self.metrics.count_operation(state);
            }
            self.tell_end(agent, &report, state, String::new());
        }
    }

    /// Says that there will be no such operation, if the framework wants to know.
    pub(crate) fn refuse_operation(
        &mut self,
        framework: &FrameworkId,
        agent: Option<&AgentId>,
        id: Option<String>,
        state: OperationState,
        message: String,
    ) {
        self.metrics.count_operation(state);
        if let Some(id) = id {
            let update = blank(id, agent.cloned(), state, message);
            self.send_framework(framework, FrameworkEvent::Operation(update));
        }
    }

    /// Puts a report in the books and passes it on, or says how to make the agent forget it.
    fn take_operation(
        &mut self,
        agent: &AgentId,
        report: OperationReport,
    ) -> Option<MasterToAgent> {
        let known = self.agents.get_mut(agent)?;
        let is_wanted = report.spec.id.is_some()
            && report
                .spec
                .framework
                .as_ref()
                .is_some_and(|framework| !self.registry.is_removed(framework));
        let before = known.operations.remove(&report.spec.uuid);
        if before.is_none_or(|before| before.status.state != report.status.state) {
            self.metrics.count_operation(report.status.state);
        }
        if !is_wanted {
            let uuid = report.status.uuid?;
            return Some(MasterToAgent::AcknowledgeOperation { uuid });
        }
        let told = update(agent, &report);
        let framework = report.spec.framework.clone();
        known.operations.insert(report.spec.uuid, report);
        if let (Some(framework), Some(update)) = (framework, told) {
            self.send_framework(&framework, FrameworkEvent::Operation(update));
        }
        None
    }

    fn tell_end(
        &mut self,
        agent: &AgentId,
        report: &OperationReport,
        state: OperationState,
        message: String,
    ) {
        if let (Some(framework), Some(id)) = (&report.spec.framework, &report.spec.id) {
            let update = blank(id.clone(), Some(agent.clone()), state, message);
            self.send_framework(framework, FrameworkEvent::Operation(update));
        }
    }

    /// The state of an operation that nobody knows (mesos: `OPERATION_UNKNOWN` and its likes).
    fn unknown_operation(&self, agent: Option<&AgentId>) -> OperationState {
        let Some(id) = agent else {
            return OperationState::Unknown;
        };
        if self.registry.is_gone(id) {
            return OperationState::GoneByOperator;
        }
        match self.agents.get(id).map(|agent| agent.condition) {
            Some(AgentCondition::Recovered) => OperationState::Recovering,
            Some(AgentCondition::Unreachable(_)) => OperationState::Unreachable,
            _ => OperationState::Unknown,
        }
    }
}

/// What a framework is told of a report; nothing if it gave the operation no id.
fn update(agent: &AgentId, report: &OperationReport) -> Option<OperationUpdate> {
    let is_done = report.status.state == OperationState::Finished;
    Some(OperationUpdate {
        id: report.spec.id.clone()?,
        agent: Some(agent.clone()),
        converted: if is_done {
            report.spec.converted.clone()
        } else {
            Resources::new()
        },
        status: report.status.clone(),
    })
}

fn blank(
    id: String,
    agent: Option<AgentId>,
    state: OperationState,
    message: String,
) -> OperationUpdate {
    let status = OperationStatus {
        state,
        message,
        uuid: None,
    };
    OperationUpdate {
        id,
        agent,
        status,
        converted: Resources::new(),
    }
}
