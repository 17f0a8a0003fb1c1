//! The views of the operator API, in its own types.
//!
//! Called by `http::operator`.

use std::collections::BTreeMap;

use nesos_api::operator::agent::{
    ResponseGetAgent, ResponseGetContainers, ResponseGetContainersContainer, ResponseGetExecutors,
    ResponseGetExecutorsExecutor, ResponseGetFrameworks, ResponseGetFrameworksFramework,
    ResponseGetOperations, ResponseGetState, ResponseGetTasks,
};
use nesos_api::resources::{self, Shape};
use nesos_api::v1;

use super::executors::{Listed, listed};
use super::{Life, View, all, id_of};

impl View {
    /// GET_STATE
    pub(crate) fn get_state(&self) -> ResponseGetState {
        ResponseGetState {
            get_tasks: Some(self.get_tasks()),
            get_executors: Some(self.get_executors()),
            get_frameworks: Some(self.get_frameworks()),
        }
    }

    /// GET_TASKS. There is no authorization to wait for, so none is pending.
    pub(crate) fn get_tasks(&self) -> ResponseGetTasks {
        let agent = self.agent.borrow();
        let mut shown = ResponseGetTasks::default();
        for one in all(&agent, &id_of(&agent)) {
            match one.life {
                Life::Queued => shown.queued_tasks.push(one.task),
                Life::Launched => shown.launched_tasks.push(one.task),
                Life::Terminated => shown.terminated_tasks.push(one.task),
                Life::Completed => shown.completed_tasks.push(one.task),
            }
        }
        shown
    }

    /// GET_EXECUTORS
    pub(crate) fn get_executors(&self) -> ResponseGetExecutors {
        let agent = self.agent.borrow();
        let mut shown = ResponseGetExecutors::default();
        for run in listed(&agent, &id_of(&agent)) {
            let executor_info = self.executor_info(&run);
            let executor = ResponseGetExecutorsExecutor { executor_info };
            if run.is_over {
                shown.completed_executors.push(executor);
            } else {
                shown.executors.push(executor);
            }
        }
        shown
    }

    /// GET_FRAMEWORKS: a framework is completed when all of its executors are.
    pub(crate) fn get_frameworks(&self) -> ResponseGetFrameworks {
        let agent = self.agent.borrow();
        let runs = listed(&agent, &id_of(&agent));
        let mut known: BTreeMap<&str, &Listed<'_>> = BTreeMap::new();
        for run in &runs {
            // Present ones come first.
            known.entry(run.key.framework.as_str()).or_insert(run);
        }
        let mut shown = ResponseGetFrameworks::default();
        for run in known.into_values() {
            let framework_info = run.framework();
            let framework = ResponseGetFrameworksFramework { framework_info };
            if run.is_over {
                shown.completed_frameworks.push(framework);
            } else {
                shown.frameworks.push(framework);
            }
        }
        shown
    }

    /// GET_CONTAINERS: executors' containers, with `show_nested` those of the tasks of pods, and operators' own.
    pub(crate) fn get_containers(
        &self,
        show_nested: bool,
        show_standalone: bool,
    ) -> ResponseGetContainers {
        let held = self.held();
        let wanted = held
            .iter()
            .filter(|held| show_nested || held.parent.is_none());
        let containers = wanted.map(|held| ResponseGetContainersContainer {
            framework_id: Some(held.framework.as_str().into()),
            executor_id: Some(held.executor.as_str().into()),
            executor_name: Some(held.executor_name.clone()),
            container_id: held.container_id(),
            container_status: Some(self.container_status(held)),
            resource_statistics: Some(self.statistics_of(held)),
        });
        let own = self.own_containers(show_nested, show_standalone);
        ResponseGetContainers {
            containers: containers.chain(own).collect(),
        }
    }

    /// GET_OPERATIONS: those whose end is not acknowledged.
    pub(crate) fn get_operations(&self) -> ResponseGetOperations {
        let agent = self.agent.borrow();
        let id = id_of(&agent);
        let operations = agent.operations();
        ResponseGetOperations {
            operations: operations
                .map(|report| nesos_api::operations::shown(&id, report))
                .collect(),
        }
    }

    /// GET_AGENT
    pub(crate) fn get_agent(&self) -> ResponseGetAgent {
        ResponseGetAgent {
            agent_info: Some(self.agent_info()),
            ..ResponseGetAgent::default()
        }
    }

    /// What this agent is, as it tells operators and executors.
    pub(crate) fn agent_info(&self) -> v1::AgentInfo {
        let agent = self.agent.borrow();
        let config = agent.config();
        v1::AgentInfo {
            hostname: config.hostname.clone(),
            port: Some(i32::from(self.port)),
            resources: resources::list(&agent.resources(), &Shape::default()),
            attributes: resources::attributes(&config.attributes),
            id: agent.id().map(|id| id.as_str().into()),
            domain: config.domain.as_ref().map(nesos_api::domain::shown),
        }
    }
}
