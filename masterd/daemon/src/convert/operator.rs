//! The master's state in the operator API's types: agents, frameworks, tasks, executors, roles.
//!
//! Pure functions of the core's state. Called by the operator's read calls and for the events of its stream. Invariant:
//! nothing here is shown that the core does not know.

use std::collections::BTreeMap;

use masterd_core::{Agent, AgentCondition, Framework, Master};
use nesos_api::operator::master::{
    ResponseGetAgents, ResponseGetAgentsAgent, ResponseGetExecutors, ResponseGetExecutorsExecutor,
    ResponseGetFrameworks, ResponseGetFrameworksFramework, ResponseGetState, ResponseGetTasks,
};
use nesos_api::v1;
use nesos_wire::FrameworkId;
use nesos_wire::command::Drain;
use nesos_wire::framework_executor::FrameworkExecutor;
use nesos_wire::resource::Resources;

use super::resource::{self, Shape};
use super::status;
use super::{constraints, event, maintenance};
use crate::about::MESOS_VERSION;

pub(crate) use nesos_api::AGENT_CAPABILITIES;

/// Everything, at one moment.
pub(crate) fn state(master: &Master) -> ResponseGetState {
    ResponseGetState {
        get_tasks: Some(tasks(master)),
        get_executors: Some(executors(master)),
        get_frameworks: Some(frameworks(master)),
        get_agents: Some(agents(master)),
    }
}

/// All registered agents, and those that are waited for.
pub(crate) fn agents(master: &Master) -> ResponseGetAgents {
    ResponseGetAgents {
        agents: master
            .agents()
            .filter(|known| is_registered(known))
            .map(|known| agent(master, known))
            .collect(),
        recovered_agents: master
            .agents()
            .filter(|known| known.condition == AgentCondition::Recovered)
            .map(agent_info)
            .collect(),
    }
}

/// All frameworks, and those that have ended.
pub(crate) fn frameworks(master: &Master) -> ResponseGetFrameworks {
    let executors = by_framework(master);
    ResponseGetFrameworks {
        frameworks: master
            .frameworks()
            .map(|known| framework(master, known, &executors))
            .collect(),
        completed_frameworks: master
            .completed_frameworks()
            .map(|completed| framework(master, &completed.framework, &executors))
            .collect(),
        ..ResponseGetFrameworks::default()
    }
}

/// All tasks, also of frameworks that have ended.
pub(crate) fn tasks(master: &Master) -> ResponseGetTasks {
    let mut shown = ResponseGetTasks::default();
    for known in master.frameworks() {
        shown.tasks.extend(known.tasks.values().map(status::task));
        shown
            .unreachable_tasks
            .extend(known.unreachable.values().map(status::task));
    }
    let ended = master.completed_frameworks().map(|c| &c.framework);
    for known in master.frameworks().chain(ended) {
        shown
            .completed_tasks
            .extend(known.completed.values().map(status::task));
    }
    shown
}

/// The executors that frameworks brought with their tasks; those made up for plain commands are not listed.
pub(crate) fn executors(master: &Master) -> ResponseGetExecutors {
    let shown = |(agent, executor): (&Agent, &FrameworkExecutor)| ResponseGetExecutorsExecutor {
        executor_info: executor_info(executor),
        agent_id: agent.id.as_str().into(),
    };
    ResponseGetExecutors {
        executors: master.executors().map(shown).collect(),
        ..ResponseGetExecutors::default()
    }
}

/// Executors by their framework, each with its agent.
pub(crate) type Executors<'a> = BTreeMap<&'a FrameworkId, Vec<(&'a Agent, &'a FrameworkExecutor)>>;

/// The executors that frameworks brought, for whoever asks about many frameworks.
pub(crate) fn by_framework(master: &Master) -> Executors<'_> {
    let mut all = Executors::new();
    for (agent, executor) in master.executors() {
        let of = all.entry(&executor.key.framework).or_default();
        of.push((agent, executor));
    }
    all
}

/// What a framework said of its executor, with the role its resources are allocated to.
pub(crate) fn executor_info(executor: &FrameworkExecutor) -> v1::ExecutorInfo {
    // Written by this master or one before it; a damaged one leaves the display poorer, nothing else.
    let info = v1::ExecutorInfo::from_protobuf(&executor.info).unwrap_or_default();
    let shape = Shape {
        allocation: Some(&executor.role),
        ..Shape::default()
    };
    v1::ExecutorInfo {
        resources: resource::list(&executor.resources, &shape),
        ..info
    }
}

/// One agent.
pub(crate) fn agent(master: &Master, known: &Agent) -> ResponseGetAgentsAgent {
    let tasks = known.tasks.iter().filter_map(|key| master.task(key));
    let allocated = tasks.filter(|task| task.is_using_resources());
    let allocated = allocated.map(|t| (t.spec.role.as_str(), &t.spec.resources));
    let executors = known.executors.values();
    let executors = executors.map(|e| (e.role.as_str(), &e.resources));
    let offers = known.offers.iter().filter_map(|id| master.offer(id));
    let upkeep = master.upkeep(&known.id);
    ResponseGetAgentsAgent {
        agent_info: agent_info(known),
        active: master.is_active(known),
        deactivated: Some(upkeep.deactivated),
        drain_info: upkeep.drain.as_ref().map(drain_info),
        estimated_drain_start_time: upkeep.drain.map(|drain| time(drain.since)),
        version: agent_version(known),
        pid: Some(format!("slave(1)@{}:{}", known.ip, known.port)),
        registered_time: known.registered_time.map(time),
        reregistered_time: known.reregistered_time.map(time),
        total_resources: resource::list(&known.resources, &Shape::default()),
        allocated_resources: by_role(allocated.chain(executors)),
        offered_resources: by_role(offers.map(|offer| (offer.role.as_str(), &offer.resources))),
        capabilities: AGENT_CAPABILITIES
            .into_iter()
            .map(|capability| v1::AgentInfoCapability {
                r#type: Some(capability),
            })
            .collect(),
        ..ResponseGetAgentsAgent::default()
    }
}

/// One framework.
pub(crate) fn framework(
    master: &Master,
    known: &Framework,
    executors: &Executors<'_>,
) -> ResponseGetFrameworksFramework {
    let using = known.tasks.values().filter(|t| t.is_using_resources());
    let using = using.map(|t| (t.spec.role.as_str(), &t.spec.resources));
    let executors = executors.get(&known.id).into_iter().flatten();
    let executors = executors.map(|(_, e)| (e.role.as_str(), &e.resources));
    let inverse = known.inverse_offers.iter();
    let inverse = inverse.filter_map(|id| master.inverse_offer(id));
    let offers = || known.offers.iter().filter_map(|id| master.offer(id));
    ResponseGetFrameworksFramework {
        framework_info: framework_info(known),
        active: known.is_connected(),
        connected: known.is_connected(),
        recovered: known.recovered,
        registered_time: known.registered_time.map(time),
        reregistered_time: known.reregistered_time.map(time),
        unregistered_time: known.unregistered_time.map(time),
        inverse_offers: inverse.map(maintenance::inverse_offer).collect(),
        offers: offers().map(|offer| event::offer(offer, true)).collect(),
        allocated_resources: by_role(using.chain(executors)),
        offered_resources: by_role(offers().map(|o| (o.role.as_str(), &o.resources))),
        offer_constraints: constraints::shown(&known.constraints),
    }
}

/// What a framework said of itself. Written by this master or one before it: a damaged one leaves the display poorer.
pub(crate) fn framework_info(known: &Framework) -> v1::FrameworkInfo {
    v1::FrameworkInfo::from_protobuf(&known.info).unwrap_or_default()
}

/// Mesos lists agents that have registered and are not unreachable.
pub(crate) fn is_registered(agent: &Agent) -> bool {
    matches!(
        agent.condition,
        AgentCondition::Connected(_) | AgentCondition::Disconnected
    )
}

/// The agent's software; unknown before its first hello to this master.
pub(crate) fn agent_version(known: &Agent) -> String {
    if known.software.is_empty() {
        MESOS_VERSION.into()
    } else {
        known.software.to_string()
    }
}

fn agent_info(known: &Agent) -> v1::AgentInfo {
    v1::AgentInfo {
        hostname: known.hostname.to_string(),
        port: Some(i32::from(known.port)),
        resources: resource::list(&known.resources, &Shape::default()),
        attributes: resource::attributes(&known.attributes),
        domain: known.domain.as_ref().map(nesos_api::domain::shown),
        id: Some(known.id.as_str().into()),
    }
}

/// The sums of what each role holds, with the role in each.
fn by_role<'a>(parts: impl Iterator<Item = (&'a str, &'a Resources)>) -> Vec<v1::Resource> {
    let mut sums: BTreeMap<&str, Resources> = BTreeMap::new();
    for (role, resources) in parts {
        sums.entry(role).or_default().add(resources);
    }
    sums.iter()
        .flat_map(|(role, sum)| {
            let allocation = Some(*role);
            resource::list(
                sum,
                &Shape {
                    allocation,
                    ..Shape::default()
                },
            )
        })
        .collect()
}

/// How far the emptying of an agent is.
pub(crate) fn drain_info(drain: &Drain) -> v1::DrainInfo {
    let nanos = |ns| v1::DurationInfo {
        nanoseconds: i64::try_from(ns).unwrap_or(i64::MAX),
    };
    v1::DrainInfo {
        state: if drain.is_drained {
            v1::DrainState::Drained
        } else {
            v1::DrainState::Draining
        },
        config: v1::DrainConfig {
            max_grace_period: drain.max_grace_ns.map(nanos),
            mark_gone: Some(drain.mark_gone),
        },
    }
}

/// A time of the wall clock.
pub(crate) fn time(seconds: f64) -> v1::TimeInfo {
    v1::TimeInfo {
        nanoseconds: (seconds * 1e9) as i64,
    }
}
