//! `/state` in the shape that Mesos's tools read.
//!
//! Called by `http`.

use std::collections::{BTreeMap, BTreeSet};

use agentd_core::Agent;
use nesos_api::legacy::{AgentExecutor, AgentFramework, AgentState, Resources as Legacy, Task};
use nesos_api::resources::{self, Shape};
use nesos_api::{AGENT_CAPABILITIES, MESOS_VERSION, v1};
use nesos_wire::resource::Resources;
use serde::Serialize;

use super::executors::{Listed, listed};
use super::{Life, View, id_of};

/// With the keys that are Nesos's own.
#[derive(Serialize)]
pub(crate) struct State {
    #[serde(flatten)]
    state: AgentState,
    node: String,
    registered: bool,
    used_resources: Legacy,
    nesos_version: &'static str,
}

impl View {
    /// `/state`
    pub(crate) fn state(&self) -> State {
        let agent = self.agent.borrow();
        let config = agent.config();
        let attributes = resources::attributes(&config.attributes);
        let (frameworks, completed_frameworks) = self.frameworks(&agent);
        let master = self.master.get().filter(|_| self.is_registered());
        let state = AgentState {
            version: MESOS_VERSION.into(),
            start_time: self.start_time,
            id: id_of(&agent).to_string(),
            pid: format!("slave(1)@{}:{}", self.ip(), self.port),
            hostname: config.hostname.clone(),
            capabilities: AGENT_CAPABILITIES
                .map(v1::AgentInfoCapabilityType::name)
                .to_vec(),
            attributes: attributes.iter().collect(),
            domain: config.domain.as_ref().map(nesos_api::domain::shown),
            master_hostname: master.map(|ip| ip.to_string()),
            flags: self.flags(),
            frameworks,
            completed_frameworks,
            ..amounts(&agent.resources(), &agent.used())
        };
        State {
            state,
            node: config.node.to_string(),
            registered: self.is_registered(),
            used_resources: shown(&agent.used()),
            nesos_version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// Frameworks with something present, and those with nothing but the past.
    fn frameworks(&self, agent: &Agent) -> (Vec<AgentFramework>, Vec<AgentFramework>) {
        let id = id_of(agent);
        let mut known: BTreeMap<String, AgentFramework> = BTreeMap::new();
        for run in listed(agent, &id) {
            let directory = self.directory(&id, &run);
            let directory = directory.map(|path| path.display().to_string());
            let framework = known
                .entry(run.key.framework.to_string())
                .or_insert_with(|| AgentFramework::from(&run.framework()));
            let executor = executor(&run, directory.unwrap_or_default());
            if run.is_over {
                framework.completed_executors.push(executor);
            } else {
                framework.executors.push(executor);
            }
        }
        known
            .into_values()
            .partition(|framework| !framework.executors.is_empty())
    }
}

fn executor(run: &Listed<'_>, directory: String) -> AgentExecutor {
    let mut executor = AgentExecutor {
        id: run.key.executor.to_string(),
        name: run.name(),
        source: run.source(),
        container: run.container.map(ToString::to_string).unwrap_or_default(),
        directory,
        resources: shown(&run.resources()),
        role: run.role(),
        r#type: run.kind(),
        ..AgentExecutor::default()
    };
    for one in &run.tasks {
        let task = Task::from(&one.task);
        match one.life {
            Life::Queued => executor.queued_tasks.push(task),
            Life::Launched => executor.tasks.push(task),
            Life::Terminated | Life::Completed => executor.completed_tasks.push(task),
        }
    }
    executor
}

/// The ten fields about resources.
fn amounts(total: &Resources, used: &Resources) -> AgentState {
    let owners = |bag: &Resources| -> BTreeSet<String> {
        let owners = bag.entries().iter().filter_map(|entry| entry.owner());
        owners.map(str::to_string).collect()
    };
    let of = |bag: &Resources, owner: Option<&str>| bag.filter(|entry| entry.owner() == owner);
    let by_role = |bag: &Resources| -> BTreeMap<String, Legacy> {
        let row = |role: String| (role.clone(), shown(&of(bag, Some(&role))));
        owners(bag).into_iter().map(row).collect()
    };
    let full = |role: String| (role.clone(), list(&of(total, Some(&role))));
    AgentState {
        resources: shown(total),
        reserved_resources: by_role(total),
        reserved_resources_full: owners(total).into_iter().map(full).collect(),
        reserved_resources_allocated: by_role(used),
        unreserved_resources: shown(&of(total, None)),
        unreserved_resources_full: list(&of(total, None)),
        unreserved_resources_allocated: shown(&of(used, None)),
        ..AgentState::default()
    }
}

fn list(bag: &Resources) -> Vec<v1::Resource> {
    resources::list(bag, &Shape::default())
}

fn shown(bag: &Resources) -> Legacy {
    list(bag).iter().collect()
}
