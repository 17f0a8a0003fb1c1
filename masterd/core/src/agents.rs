//! Agents: their `Hello` (register, re-register and reconcile in one), their other messages, their goodbye.
//!
//! Not how their silence is noticed (`liveness`). Called by `Master::step`. Invariant: `links` maps exactly the links of
//! connected agents.

use std::collections::BTreeSet;
use std::sync::Arc;

use arcstr::ArcStr;
use nesos_wire::command::{AgentRecord, Command, Upkeep};
use nesos_wire::domain::Domain;
use nesos_wire::message::{AgentToMaster, Hello, MasterToAgent, TaskReport, Welcome};
use nesos_wire::resource::Resources;
use nesos_wire::task::Attribute;
use nesos_wire::{AgentId, FrameworkId};

use crate::allocator::AgentFacts;
use crate::event::{LinkId, RequestId};
use crate::liveness::Parting;
use crate::master::Master;
use crate::news::News;
use crate::outgoing::FrameworkEvent;
use crate::recent::Recent;
use crate::state::{Agent, AgentCondition};
use crate::timers::Timer;

/// What agents have in common.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    pub(crate) resources: Recent<Resources>,
    attributes: Recent<Arc<[Attribute]>>,
    software: Recent<ArcStr>,
}

impl Master {
    pub(crate) fn agent_hello(&mut self, link: LinkId, hello: Hello) {
        if let Err(error) = self.config.versions.negotiate(hello.version) {
            self.refuse_link(link, error.to_string());
            return;
        }
        if let Some(id) = hello.agent.clone().filter(|id| self.registry.is_gone(id)) {
            self.say_gone(link, &id, frameworks_of(&hello));
            self.out.close_links.push(link);
            return;
        }
        if !self.admit_machine(link, &hello) {
            self.out.close_links.push(link);
            return;
        }
        let record = match self.admit(&hello) {
            Ok(record) => record,
            Err(reason) => {
                self.refuse_link(link, reason);
                return;
            }
        };
        let id = record.agent.clone();
        let newest = self.agents.get(&id).and_then(|agent| agent.newest_link);
        if newest.is_some_and(|newest| link < newest) {
            // Overtaken by the Hello of a later link: it describes the past.
            self.out.close_links.push(link);
            return;
        }
        if self
            .agents
            .get(&id)
            .and_then(Agent::link)
            .is_some_and(|old| old != link)
        {
            self.drop_link(&id);
        }
        self.register(link, &id, &record, hello);
    }

    pub(crate) fn agent_message(&mut self, link: LinkId, message: AgentToMaster) {
        if let AgentToMaster::Hello(hello) = message {
            self.agent_hello(link, hello);
            return;
        }
        // A link that was given up may still deliver: whatever it says, the next Hello says again.
        let Some(id) = self.links.get(&link).cloned() else {
            return;
        };
        let has_missed = |agent: &Agent| agent.missed_pings > 0;
        if self.agents.get(&id).is_some_and(has_missed)
            && let Some(agent) = self.agents.get_mut(&id)
        {
            agent.missed_pings = 0;
        }
        match message {
            AgentToMaster::Hello(_) | AgentToMaster::Pong { .. } => {}
            AgentToMaster::Update(update) => self.update(&id, update),
            AgentToMaster::OperationUpdate(report) => self.operation_update(&id, report),
            AgentToMaster::FileData { request, result } => {
                self.file_read(link, RequestId(request), result);
            }
            AgentToMaster::FrameworkMessage {
                framework,
                executor,
                data,
            } => {
                self.metrics.messages_executor_to_framework += 1;
                let message = FrameworkEvent::Message {
                    agent: id,
                    executor,
                    data,
                };
                if self.send_framework(&framework, message) {
                    self.metrics.valid_executor_to_framework_messages += 1;
                } else {
                    self.metrics.invalid_executor_to_framework_messages += 1;
                }
            }
            AgentToMaster::ExecutorEnded {
                key,
                attempt,
                status,
            } => self.executor_ended(&id, &key, attempt, status),
            AgentToMaster::Lent { resources } => self.lent(&id, &resources),
            // The first message of a connection that is no link: the shell has taken it.
            AgentToMaster::CallBack { .. } => {}
            AgentToMaster::Goodbye => {
                self.metrics.messages_unregister_slave += 1;
                self.remove_agent(&id, Parting::Goodbye);
            }
        }
    }

    pub(crate) fn agent_closed(&mut self, link: LinkId) {
        if let Some(id) = self.links.get(&link).cloned() {
            self.disconnect(&id);
        }
    }

    fn refuse_link(&mut self, link: LinkId, reason: String) {
        self.out
            .to_agents
            .push((link, MasterToAgent::Refused { reason }));
        self.out.close_links.push(link);
    }

    /// The board's record, proposed if it is new or says something else than before.
    fn admit(&mut self, hello: &Hello) -> Result<Arc<AgentRecord>, String> {
        if hello.domain.is_some() && self.config.domain.is_none() {
            return Err(
                "this agent has a fault domain but the master has none: give both --domain, or neither"
                    .to_owned(),
            );
        }
        let known = self.registry.agent_of_node(&hello.node);
        let (agent, unreachable_since, upkeep) = match known {
            Some(record) => (
                record.agent.clone(),
                record.unreachable_since,
                record.upkeep,
            ),
            None => {
                let admitted = self.registry.admitted();
                if admitted >= self.config.max_agents {
                    return Err(format!(
                        "{admitted} agents are admitted, which is as many as this master takes"
                    ));
                }
                (
                    self.allot_agent_id(hello.agent.as_ref()),
                    None,
                    Upkeep::default(),
                )
            }
        };
        let record = AgentRecord {
            agent,
            node: hello.node.clone(),
            hostname: hello.hostname.as_str().into(),
            ip: hello.ip.as_str().into(),
            port: hello.port,
            unreachable_since,
            upkeep,
        };
        let same = self.registry.shared_agent(&record.agent);
        if let Some(same) = same.filter(|known| **known == record) {
            return Ok(same);
        }
        let record = Arc::new(record);
        self.propose(Command::AdmitAgent(Arc::clone(&record)));
        Ok(record)
    }

    /// The id the agent remembers, if nobody has it (the registry was lost, the tasks were not); else a new one.
    fn allot_agent_id(&mut self, remembered: Option<&AgentId>) -> AgentId {
        if let Some(id) = remembered.and_then(|id| AgentId::parse(id.as_str()).ok())
            && self.registry.agent(&id).is_none()
        {
            return id;
        }
        loop {
            let id = AgentId::new(format!("{}-S{}", self.config.master, self.next_agent));
            self.next_agent += 1;
            if self.registry.agent(&id).is_none() {
                return id;
            }
        }
    }

    fn register(&mut self, link: LinkId, id: &AgentId, record: &AgentRecord, mut hello: Hello) {
        let before = self.agents.get(id).map(|agent| agent.condition);
        if before == Some(AgentCondition::Disconnected) {
            self.metrics.slave_unreachable_canceled += 1;
        }
        match before {
            None => {
                self.metrics.messages_register_slave += 1;
                self.metrics.slave_registrations += 1;
            }
            Some(_) => {
                self.metrics.messages_reregister_slave += 1;
                self.metrics.slave_reregistrations += 1;
            }
        }
        if record.unreachable_since.is_some() {
            self.propose(Command::MarkReachable { agent: id.clone() });
        }
        let operations = std::mem::take(&mut hello.operations);
        let executors = std::mem::take(&mut hello.executors);
        let tasks = self.note_agent(link, record, hello);
        if !matches!(
            before,
            Some(AgentCondition::Connected(_) | AgentCondition::Disconnected)
        ) {
            self.tell(|| News::AgentAdded(id.clone()));
        }
        self.links.insert(link, id.clone());
        let reconciled = self.reconcile_agent(id, tasks);
        let welcome = Welcome {
            agent: id.clone(),
            master: self.config.master.clone(),
            cluster: self.config.cluster.clone(),
            silence_limit_ms: u32::try_from(self.config.silence_limit().as_millis())
                .unwrap_or(u32::MAX),
            kill: reconciled.kill,
            time: self.wall,
        };
        self.out
            .to_agents
            .push((link, MasterToAgent::Welcome(welcome)));
        self.out
            .to_agents
            .extend(reconciled.then.into_iter().map(|message| (link, message)));
        let orders = self.reconcile_executors(id, executors);
        let orders = orders.into_iter().map(|message| (link, message));
        self.out.to_agents.extend(orders);
        let settled = self.reconcile_agent_operations(id, operations);
        let settled = settled.into_iter().map(|message| (link, message));
        self.out.to_agents.extend(settled);
        self.allocator.share_memory(id);
        if record.unreachable_since.is_some() {
            self.announce_returned(&reconciled.returned);
        }
        if record.upkeep.is_draining() {
            self.kill_for_drain(id);
        }
        self.timers
            .arm(self.now + self.config.ping_interval, Timer::Ping(link));
    }

    /// Writes down what the agent says of itself, in the allocator too; hands its tasks back.
    fn note_agent(&mut self, link: LinkId, record: &AgentRecord, hello: Hello) -> Vec<TaskReport> {
        let id = &record.agent;
        // Normally there are none left; a second Hello on the same link may have changed anything.
        self.rescind_agent_offers(id);
        let wall = self.wall;
        if !self.agents.contains_key(id) {
            self.agents.insert(id.clone(), Agent::blank(record));
        }
        let Some(agent) = self.agents.get_mut(id) else {
            return hello.tasks;
        };
        let resources = self.kinds.resources.share(hello.resources);
        let attributes = self.kinds.attributes.share(hello.attributes.into());
        let changed = agent.resources != resources
            || agent.attributes != attributes
            || agent.domain != hello.domain;
        match agent.registered_time {
            None => agent.registered_time = Some(wall),
            Some(_) => agent.reregistered_time = Some(wall),
        }
        agent.hostname = record.hostname.clone();
        agent.ip = record.ip.clone();
        agent.port = record.port;
        agent.software = self.kinds.software.share(hello.software.into());
        agent.boot_id = hello.boot_id.into();
        agent.resources = resources.clone();
        agent.attributes = attributes;
        agent.domain = hello.domain;
        agent.condition = AgentCondition::Connected(link);
        agent.newest_link = Some(link);
        agent.missed_pings = 0;
        agent.gone_at = None;
        if self.allocator.has_agent(id) {
            self.allocator.update_agent(id, resources);
        } else {
            self.allocator.add_agent(id, resources);
        }
        let remote = |own: &Domain| {
            agent
                .domain
                .as_ref()
                .is_some_and(|d| d.region != own.region)
        };
        let facts = AgentFacts {
            is_remote: self.config.domain.as_ref().is_some_and(remote),
            ..AgentFacts::default()
        };
        self.allocator.set_agent_facts(id, facts);
        let active = !self.registry.upkeep(id).deactivated;
        self.allocator.set_agent_active(id, active);
        if changed {
            self.allocator.clear_agent_filters(id);
        }
        self.refresh_maintenance(id);
        self.ask_later(id);
        hello.tasks
    }
}

/// The frameworks of everything that runs on the agent.
pub(crate) fn frameworks_of(hello: &Hello) -> BTreeSet<FrameworkId> {
    let tasks = hello.tasks.iter().map(|task| &task.spec.key.framework);
    let executors = hello.executors.iter().map(|known| &known.key.framework);
    tasks.chain(executors).cloned().collect()
}

impl Agent {
    /// One of which only this is known.
    pub(crate) fn blank(record: &AgentRecord) -> Self {
        Self {
            id: record.agent.clone(),
            node: record.node.clone(),
            hostname: record.hostname.clone(),
            ip: record.ip.clone(),
            port: record.port,
            software: ArcStr::new(),
            boot_id: ArcStr::new(),
            resources: Default::default(),
            attributes: Default::default(),
            domain: None,
            condition: AgentCondition::Recovered,
            registered_time: None,
            reregistered_time: None,
            tasks: BTreeSet::new(),
            executors: Default::default(),
            operations: Default::default(),
            offers: BTreeSet::new(),
            newest_link: None,
            ping_sequence: 0,
            missed_pings: 0,
            gone_at: None,
        }
    }
}
