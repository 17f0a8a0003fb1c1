//! What survives the master: admitted agents and what operators decided about them, agents that are gone, frameworks, ended
//! frameworks, quota and weights, the maintenance schedule, the start count.
//!
//! Not the truth about tasks (agents are) and not the storage (the shell puts [`Change`]s into its database). Called by
//! the core when it proposes a command, and by whoever applies commands to the durable copy. Invariant: `apply` reads
//! nothing but the registry and the command, and never fails, so equal commands in equal order make equal registries.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use nesos_wire::builtin::{InstanceRecord, JobRecord, ServiceRecord};
use nesos_wire::command::{
    AgentRecord, Command, FrameworkRecord, QuotaRecord, Upkeep, WeightRecord,
};
use nesos_wire::maintenance::{MachineId, Window};
use nesos_wire::masters::MasterRecord;
use nesos_wire::version::Version;
use nesos_wire::{AgentId, FrameworkId, NodeId};
use serde::{Deserialize, Serialize};

use crate::shelf::Shelf;

pub mod backup;
mod group;
mod kept;
mod shares;

use group::Group;
use kept::Kept;
use shares::Shares;
pub use shares::{MAX_QUOTAS, MAX_ROLE, MAX_WEIGHTS};

use crate::schedule::Schedule;

/// How many ended frameworks are remembered (Mesos: 50). An agent that was away longer brings a forgotten one's tasks
/// back as those of an orphan, which ends after `Config::framework_recovery_timeout`.
pub const MAX_REMOVED: usize = 50;

/// How many agents that operators gave up are remembered; 100 bytes each. An older one's id is free to return.
pub const MAX_GONE: usize = 10_000;

/// Why stored bytes are not a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The value is not a record.
    #[error("registry record {key:?} is damaged: {reason}")]
    Damaged {
        /// Its key.
        key: String,
        /// postcard's word.
        reason: postcard::Error,
    },
    /// The value is a record of a kind that there is not yet.
    #[error(
        "registry record {key:?} is of a kind that this masterd does not know: a later masterd has written it, start that one"
    )]
    Later {
        /// Its key.
        key: String,
    },
}

/// One value of the database. Append-only, as all wire enums.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Record {
    Start(u32),
    Agent(Arc<AgentRecord>),
    Framework(FrameworkRecord),
    Removed(VecDeque<FrameworkId>),
    Gone(AgentId, f64),
    Quota(QuotaRecord),
    Weight(WeightRecord),
    Schedule(Vec<Window>, BTreeSet<MachineId>),
    Master(MasterRecord),
    Service(ServiceRecord),
    Instance(InstanceRecord),
    Job(JobRecord),
    MasterVersion(u64, Version),
    Dismissed(VecDeque<u64>),
}

impl Record {
    /// Kinds there are: postcard begins a record with the number of its kind.
    const KINDS: u8 = 14;
}

/// One change of the database: put `value` at `key`, or delete `key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `start`, `agent/<id>`, `framework/<id>`, `gone/<id>`, `quota/<role>`, `weight/<role>`, `schedule`, `removed`,
    /// `master/<number>`, `master-version/<number>`, `dismissed`, `service/<path>`, `instance/<task>` or `job/<name>`; at most 265 bytes.
    pub key: String,
    /// `None`: delete.
    pub value: Option<Vec<u8>>,
}

/// The replicated state.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Registry {
    start: u32,
    agents: Shelf<AgentId, AgentRecord>,
    /// The same records by their boards, which have one each.
    nodes: Shelf<NodeId, AgentRecord>,
    frameworks: Shelf<FrameworkId, FrameworkRecord>,
    removed: VecDeque<FrameworkId>,
    gone: Shelf<AgentId, f64>,
    shares: Shares,
    schedule: Schedule,
    group: Group,
    kept: Kept,
}

impl Registry {
    /// Rebuilds the registry from the key-value pairs that [`Registry::apply`] made, in any order.
    pub fn load<'a>(
        records: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, RegistryError> {
        let mut registry = Self::default();
        let mut dismissed = None;
        for (key, value) in records {
            match read(key, value)? {
                Record::Start(start) => registry.start = start,
                Record::Agent(agent) => registry.keep_agent(agent),
                Record::Framework(framework) => {
                    registry
                        .frameworks
                        .insert(framework.framework.clone(), framework);
                }
                Record::Removed(removed) => registry.removed = removed,
                Record::Gone(agent, since) => {
                    registry.gone.insert(agent, since);
                }
                Record::Quota(quota) => drop(registry.shares.set_quota(&quota)),
                Record::Weight(weight) => drop(registry.shares.set_weight(&weight)),
                Record::Schedule(windows, down) => {
                    registry.schedule = Schedule::new(windows, down);
                }
                Record::Master(master) => drop(registry.group.put(&master)),
                Record::MasterVersion(number, version) => {
                    registry.group.load_version(number, version);
                }
                Record::Dismissed(numbers) => dismissed = Some(numbers),
                Record::Service(service) => drop(registry.kept.put_service(&service)),
                Record::Instance(instance) => drop(registry.kept.put_instance(&instance)),
                Record::Job(job) => drop(registry.kept.put_job(&job)),
            }
        }
        registry.group.load_dismissed(dismissed.unwrap_or_default());
        Ok(registry)
    }

    /// All key-value pairs, from which [`Registry::load`] makes an equal registry.
    pub fn rows(&self) -> Vec<(String, Vec<u8>)> {
        let mut changes = Vec::new();
        if self.start > 0 {
            changes.push(put("start".into(), &Record::Start(self.start)));
        }
        let agents = self.agents.keys().filter_map(|id| self.shared_agent(id));
        changes.extend(
            agents.map(|agent| put(format!("agent/{}", agent.agent), &Record::Agent(agent))),
        );
        let frameworks = self.frameworks.values();
        changes.extend(frameworks.map(put_framework));
        if !self.removed.is_empty() {
            changes.push(put(
                "removed".into(),
                &Record::Removed(self.removed.clone()),
            ));
        }
        let gone = self.gone.iter();
        changes.extend(
            gone.map(|(id, since)| put(format!("gone/{id}"), &Record::Gone(id.clone(), *since))),
        );
        changes.extend(self.shares.rows());
        if self.schedule != Schedule::default() {
            changes.push(self.put_schedule());
        }
        changes.extend(self.group.rows());
        changes.extend(self.kept.rows());
        let rows = changes.into_iter();
        rows.filter_map(|change| Some((change.key, change.value?)))
            .collect()
    }

    /// The registry that [`Registry::rows`] in postcard stand for.
    pub fn from_rows(bytes: &[u8]) -> Result<Self, RegistryError> {
        let rows: Vec<(String, Vec<u8>)> =
            postcard::from_bytes(bytes).map_err(|reason| RegistryError::Damaged {
                key: "rows".into(),
                reason,
            })?;
        Self::load(
            rows.iter()
                .map(|(key, value)| (key.as_str(), value.as_slice())),
        )
    }

    /// Applies one command and says what to write. A command about an unknown agent or framework changes nothing.
    pub fn apply(&mut self, command: &Command) -> Vec<Change> {
        match command {
            Command::MasterStarted { start } => {
                self.start = *start;
                vec![put("start".into(), &Record::Start(*start))]
            }
            Command::AdmitAgent(record) => self.put_agent(Arc::clone(record)),
            Command::MarkUnreachable { agent, since } => {
                self.edit(agent, |record| record.unreachable_since = Some(*since))
            }
            Command::MarkReachable { agent } => {
                self.edit(agent, |record| record.unreachable_since = None)
            }
            Command::RemoveAgent { agent } => self.remove_agent(agent),
            Command::SetUpkeep { agent, upkeep } => {
                self.edit(agent, |record| record.upkeep = *upkeep)
            }
            Command::MarkGone { agent, since } => self.mark_gone(agent, *since),
            Command::PutFramework(record) => {
                self.frameworks
                    .insert(record.framework.clone(), record.clone());
                vec![put_framework(record)]
            }
            Command::RemoveFramework { framework } => self.remove_framework(framework),
            Command::SetQuotas(quotas) => {
                let changes = quotas.iter().map(|quota| self.shares.set_quota(quota));
                changes.collect()
            }
            Command::SetWeights(weights) => {
                let changes = weights.iter().map(|weight| self.shares.set_weight(weight));
                changes.collect()
            }
            Command::SetSchedule { windows } => {
                self.schedule.set(windows.clone());
                vec![self.put_schedule()]
            }
            Command::StartMaintenance { machines } => {
                self.schedule.start(machines);
                vec![self.put_schedule()]
            }
            Command::StopMaintenance { machines } => {
                self.schedule.stop(machines);
                vec![self.put_schedule()]
            }
            Command::PutMaster(master) => self.group.put(master),
            Command::RemoveMaster { number } => self.group.remove(*number),
            Command::PutMasterVersion { number, version } => {
                self.group.put_version(*number, *version)
            }
            Command::PutService(record) => vec![self.kept.put_service(record)],
            Command::RemoveService { id } => self.kept.remove_service(id),
            Command::PutInstance(record) => vec![self.kept.put_instance(record)],
            Command::RemoveInstance { task } => self.kept.remove_instance(task),
            Command::PutJob(record) => vec![self.kept.put_job(record)],
            Command::RemoveJob { name } => self.kept.remove_job(name),
        }
    }

    /// How many master processes have led so far.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// The admitted agents.
    pub fn agents(&self) -> impl Iterator<Item = &AgentRecord> {
        self.agents.values()
    }

    /// One agent's record.
    pub fn agent(&self, id: &AgentId) -> Option<&AgentRecord> {
        self.agents.get(id)
    }

    /// The same, to be kept.
    pub(crate) fn shared_agent(&self, id: &AgentId) -> Option<Arc<AgentRecord>> {
        self.agents.get_shared(id).cloned()
    }

    /// How many agents are admitted.
    pub fn admitted(&self) -> usize {
        self.agents.len()
    }

    /// The record of a board.
    pub fn agent_of_node(&self, node: &NodeId) -> Option<&AgentRecord> {
        self.nodes.get(node)
    }

    /// The registered frameworks.
    pub fn frameworks(&self) -> impl Iterator<Item = &FrameworkRecord> {
        self.frameworks.values()
    }

    /// One framework's record.
    pub fn framework(&self, id: &FrameworkId) -> Option<&FrameworkRecord> {
        self.frameworks.get(id)
    }

    /// Whether the framework has ended (as far as is remembered).
    pub fn is_removed(&self, id: &FrameworkId) -> bool {
        self.removed.contains(id)
    }

    /// What operators decided about an agent; nothing, if it is unknown.
    pub fn upkeep(&self, id: &AgentId) -> Upkeep {
        self.agents
            .get(id)
            .map(|record| record.upkeep)
            .unwrap_or_default()
    }

    /// Agents that operators gave up, with the time (seconds since 1970), by id.
    pub fn gone(&self) -> impl Iterator<Item = (&AgentId, f64)> {
        self.gone.iter().map(|(id, since)| (id, *since))
    }

    /// Whether an operator gave the agent up (as far as is remembered).
    pub fn is_gone(&self, id: &AgentId) -> bool {
        self.gone.contains_key(id)
    }

    /// The masters, by number.
    pub fn masters(&self) -> impl Iterator<Item = &MasterRecord> {
        self.group.masters()
    }

    /// One master.
    pub fn master(&self, number: u64) -> Option<&MasterRecord> {
        self.group.master(number)
    }

    /// The newest wire version that a master speaks, as far as the group knows.
    pub fn version_of(&self, number: u64) -> Version {
        self.group.version_of(number)
    }

    /// The group's wire version: the lowest that one of its masters speaks. Commands that are newer must not be proposed.
    pub fn version(&self) -> Version {
        self.group.version()
    }

    /// Whether this master was sent away and nobody has let it in since (as far as is remembered).
    pub fn is_dismissed(&self, number: u64) -> bool {
        self.group.is_dismissed(number)
    }

    /// Which machines are to be maintained, and which are down.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn put_schedule(&self) -> Change {
        let (windows, down) = self.schedule.parts();
        let record = Record::Schedule(windows.to_vec(), down.clone());
        put("schedule".into(), &record)
    }

    fn put_agent(&mut self, record: Arc<AgentRecord>) -> Vec<Change> {
        let change = put(
            format!("agent/{}", record.agent),
            &Record::Agent(Arc::clone(&record)),
        );
        self.keep_agent(record);
        vec![change]
    }

    fn keep_agent(&mut self, record: Arc<AgentRecord>) {
        let node = record.node.clone();
        let before = self
            .agents
            .insert(record.agent.clone(), Arc::clone(&record));
        if let Some(before) = before.filter(|before| before.node != node) {
            self.nodes.remove(&before.node);
        }
        self.nodes.insert(node, record);
    }

    fn edit(&mut self, agent: &AgentId, change: impl FnOnce(&mut AgentRecord)) -> Vec<Change> {
        match self.agents.get(agent).cloned() {
            Some(mut record) => {
                change(&mut record);
                self.put_agent(Arc::new(record))
            }
            None => Vec::new(),
        }
    }

    fn remove_agent(&mut self, agent: &AgentId) -> Vec<Change> {
        match self.agents.remove(agent) {
            Some(record) => {
                self.nodes.remove(&record.node);
                vec![delete(format!("agent/{agent}"))]
            }
            None => Vec::new(),
        }
    }

    fn mark_gone(&mut self, agent: &AgentId, since: f64) -> Vec<Change> {
        let mut changes = self.remove_agent(agent);
        if self.gone.insert(agent.clone(), since).is_some() {
            return changes;
        }
        changes.push(put(
            format!("gone/{agent}"),
            &Record::Gone(agent.clone(), since),
        ));
        if self.gone.len() > MAX_GONE {
            let oldest = self.gone.iter().min_by(|a, b| a.1.total_cmp(b.1));
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.gone.remove(&oldest);
                changes.push(delete(format!("gone/{oldest}")));
            }
        }
        changes
    }

    fn remove_framework(&mut self, framework: &FrameworkId) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.frameworks.remove(framework).is_some() {
            changes.push(delete(format!("framework/{framework}")));
        }
        if !self.removed.contains(framework) {
            self.removed.push_back(framework.clone());
            if self.removed.len() > MAX_REMOVED {
                self.removed.pop_front();
            }
            changes.push(put(
                "removed".into(),
                &Record::Removed(self.removed.clone()),
            ));
        }
        changes
    }
}

fn put_framework(record: &FrameworkRecord) -> Change {
    let key = format!("framework/{}", record.framework);
    put(key, &Record::Framework(record.clone()))
}

/// What a value says.
fn read(key: &str, value: &[u8]) -> Result<Record, RegistryError> {
    let key = || key.to_owned();
    if value.first().is_some_and(|kind| *kind >= Record::KINDS) {
        return Err(RegistryError::Later { key: key() });
    }
    postcard::from_bytes(value).map_err(|reason| RegistryError::Damaged { key: key(), reason })
}

fn delete(key: String) -> Change {
    Change { key, value: None }
}

fn put(key: String, record: &Record) -> Change {
    // Serialising these types into memory cannot fail: no maps of unknown length, no custom serialisers. An empty value
    // would be reported as damaged by `load`.
    let value = postcard::to_allocvec(record).unwrap_or_default();
    Change {
        key,
        value: Some(value),
    }
}

#[cfg(test)]
mod tests;
