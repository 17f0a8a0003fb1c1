//! `/state` and the endpoints that show parts of it, in the shapes that Mesos's tools read.
//!
//! Called by the router. Small answers are built inside the engine's turn, large ones from a view by `reads`: each shows
//! one moment. Invariant: only reads.

use bytes::Bytes;
use hyper::Response;
use masterd_core::{Agent, AgentCondition, Framework, Master, Offer, View};
use nesos_api::legacy;
use nesos_api::v1;
use nesos_wire::framework_executor::FrameworkExecutor;
use nesos_wire::resource::{Entry, Resources};
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use super::answer::{self, Body};
use super::pieces::{Pieces, Rendered};
use super::query::Query;
use super::reads;
use super::writer::{Writer, item};
use crate::about::{About, MESOS_VERSION, NESOS_VERSION};
use crate::convert::constraints;
use crate::convert::operator::{self, Executors, is_registered as is_known};
use crate::convert::resource::{self, Shape};

const JSON: &str = "application/json";

/// `/state`
pub(super) async fn state(context: &Context) -> Response<Body> {
    let about = context.app.about.clone();
    let flags = context
        .app
        .flags
        .iter()
        .map(|(name, value)| ((*name).to_string(), value.clone()))
        .collect();
    let key = ("/state", String::new());
    reads::parts(context, key, JSON, move |view, pieces| {
        whole(view, pieces, &about, flags)
    })
    .await
}

/// `/slaves?slave_id=`
pub(super) async fn slaves(context: &Context, query: &Query) -> Response<Body> {
    let wanted = query.get("slave_id").map(str::to_string);
    let key = ("/slaves", format!("{wanted:?}"));
    reads::json(context, key, move |master| {
        let is_wanted = |agent: &&Agent| wanted.as_deref().is_none_or(|id| agent.id.as_str() == id);
        let absent = |is_so: fn(&Agent) -> bool| {
            let agents = master.agents().filter(is_wanted);
            agents
                .filter(|agent| is_so(agent))
                .map(recovered_slave)
                .collect()
        };
        legacy::Slaves {
            slaves: master
                .agents()
                .filter(is_wanted)
                .filter(|agent| is_known(agent))
                .map(|agent| full_slave(master, agent))
                .collect(),
            recovered_slaves: absent(is_recovered),
            unreachable_slaves: absent(is_unreachable),
        }
    })
    .await
}

/// `/frameworks?framework_id=`
pub(super) async fn frameworks(context: &Context, query: &Query) -> Response<Body> {
    let wanted = query.get("framework_id").map(str::to_string);
    let key = ("/frameworks", format!("{wanted:?}"));
    reads::parts(context, key, JSON, move |view, _| {
        // The pieces are those of `/state`, which shows all frameworks.
        let mut none = Pieces::default();
        let mut rendered = Rendered::new(&mut none, view);
        let mut out = Writer::new(&legacy::Frameworks::default())?;
        frameworks_into(&mut out, view, &mut rendered, wanted.as_deref())?;
        out.end(b'}');
        Ok(out.finish())
    })
    .await
}

/// `/version`
pub(super) fn version() -> Response<Body> {
    reply(&json!({
        "build_date": "", "build_time": 0.0, "build_user": "",
        "version": MESOS_VERSION, "nesos_version": NESOS_VERSION,
    }))
}

/// `/flags`
pub(super) fn flags(context: &Context) -> Response<Body> {
    let flags = context
        .app
        .flags
        .iter()
        .map(|(name, value)| ((*name).to_string(), value.clone()))
        .collect();
    reply(&legacy::Flags { flags })
}

/// Asks the master and answers with JSON.
pub(super) async fn ask<T: Serialize>(
    context: &Context,
    question: impl FnOnce(&Master) -> T + Send + 'static,
) -> Response<Body> {
    let bytes = context
        .app
        .engine
        .query(move |master| serde_json::to_vec(&question(master)))
        .await;
    match bytes {
        Some(Ok(bytes)) => answer::json(bytes),
        Some(Err(error)) => {
            answer::text(hyper::StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
        None => answer::stopping(),
    }
}

/// Answers with this as JSON.
pub(super) fn reply(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => answer::json(bytes),
        Err(error) => answer::text(hyper::StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

#[derive(Serialize)]
struct NesosState {
    #[serde(flatten)]
    state: legacy::State,
    nesos_version: &'static str,
}

fn whole(
    view: &View,
    pieces: &mut Pieces,
    about: &About,
    flags: BTreeMap<String, String>,
) -> serde_json::Result<Vec<Bytes>> {
    let count =
        |wanted: fn(&Agent) -> bool| view.agents().filter(|agent| wanted(agent)).count() as u64;
    let pid = about.pid();
    let state = legacy::State {
        version: MESOS_VERSION.into(),
        start_time: view.start_time(),
        elected_time: Some(view.start_time()),
        id: view.id().to_string(),
        hostname: about.hostname.clone(),
        capabilities: vec!["AGENT_UPDATE"],
        activated_slaves: count(Agent::is_connected),
        deactivated_slaves: count(|agent| agent.condition == AgentCondition::Disconnected),
        unreachable_slaves: count(is_unreachable),
        domain: about.domain.as_ref().map(nesos_api::domain::shown),
        leader: Some(pid.clone()),
        leader_info: Some(legacy::LeaderInfo {
            id: view.id().to_string(),
            pid: pid.clone(),
            port: about.port,
            hostname: about.hostname.clone(),
            domain: about.domain.as_ref().map(nesos_api::domain::shown),
        }),
        pid,
        cluster: Some(about.cluster.clone()),
        flags,
        ..legacy::State::default()
    };
    let mut out = Writer::new(&NesosState {
        state,
        nesos_version: NESOS_VERSION,
    })?;
    let mut rendered = Rendered::new(pieces, view);
    frameworks_into(&mut out, view, &mut rendered, None)?;
    let (registered, recovered) = rendered.agents(
        view,
        |agent, list| match is_known(agent) {
            true => item(list, &slave(view, agent)),
            false => Ok(()),
        },
        |agent, list| match is_recovered(agent) {
            true => item(list, &recovered_slave(agent)),
            false => Ok(()),
        },
    )?;
    out.whole("slaves", &registered);
    out.whole("recovered_slaves", &recovered);
    out.end(b'}');
    rendered.keep();
    Ok(out.finish())
}

/// The lists `frameworks` and `completed_frameworks`.
fn frameworks_into(
    out: &mut Writer,
    view: &View,
    rendered: &mut Rendered<'_>,
    wanted: Option<&str>,
) -> serde_json::Result<()> {
    let executors = operator::by_framework(view);
    let is_wanted = |framework: &&Framework| wanted.is_none_or(|id| framework.id.as_str() == id);
    out.list("frameworks");
    for known in view.frameworks().filter(is_wanted) {
        framework_into(out, view, rendered, known, &executors)?;
    }
    out.end(b']');
    out.list("completed_frameworks");
    let ended = view.completed_frameworks().map(|ended| &ended.framework);
    for known in ended.filter(is_wanted) {
        framework_into(out, view, rendered, known, &executors)?;
    }
    out.end(b']');
    Ok(())
}

fn framework_into(
    out: &mut Writer,
    view: &View,
    rendered: &mut Rendered<'_>,
    known: &Framework,
    executors: &Executors<'_>,
) -> serde_json::Result<()> {
    let live = rendered.tasks(&known.tasks)?;
    let used = live.iter().map(|piece| &piece.used);
    let executors = executors.get(&known.id).into_iter().flatten();
    let used = sum(used.chain(executors.clone().map(|(_, executor)| &executor.resources)));
    out.open(&legacy::Framework {
        offers: offers(view, known).map(offer).collect(),
        executors: executors.map(shown_executor).collect(),
        ..framework_head(view, known, &used)
    })?;
    let unreachable = rendered.tasks(&known.unreachable)?;
    let ended = rendered.ended(&known.completed)?;
    out.whole("tasks", live.iter().map(|piece| &piece.json));
    out.whole(
        "unreachable_tasks",
        unreachable.iter().map(|piece| &piece.json),
    );
    out.whole("completed_tasks", ended.iter().map(|piece| &piece.json));
    out.end(b'}');
    Ok(())
}

fn shown_executor((agent, executor): &(&Agent, &FrameworkExecutor)) -> legacy::Executor {
    legacy::Executor::new(&operator::executor_info(executor), agent.id.as_str())
}

fn is_unreachable(agent: &Agent) -> bool {
    matches!(agent.condition, AgentCondition::Unreachable(_))
}

fn is_recovered(agent: &Agent) -> bool {
    agent.condition == AgentCondition::Recovered
}

/// What is shown here comes from the agent, its upkeep, its offers, and its tasks: `pieces` goes by that.
pub(super) fn slave(master: &Master, agent: &Agent) -> legacy::Slave {
    let total = shown(&agent.resources);
    let upkeep = master.upkeep(&agent.id);
    legacy::Slave {
        id: agent.id.to_string(),
        hostname: agent.hostname.to_string(),
        port: agent.port,
        attributes: resource::attributes(&agent.attributes).iter().collect(),
        domain: agent.domain.as_ref().map(nesos_api::domain::shown),
        pid: format!("slave(1)@{}:{}", agent.ip, agent.port),
        registered_time: agent.registered_time.unwrap_or_default(),
        reregistered_time: agent.reregistered_time,
        reserved_resources: by_role(&agent.resources, shown),
        unreserved_resources: shown(&unreserved(&agent.resources)),
        resources: total,
        used_resources: shown(&master.used_resources(agent)),
        offered_resources: shown(&master.offered_resources(agent)),
        active: master.is_active(agent),
        deactivated: upkeep.deactivated,
        drain_info: upkeep.drain.as_ref().map(operator::drain_info),
        estimated_drain_start_time_seconds: upkeep.drain.map(|drain| drain.since),
        version: operator::agent_version(agent),
        capabilities: operator::AGENT_CAPABILITIES
            .map(|capability| capability.name())
            .to_vec(),
    }
}

fn full_slave(master: &Master, agent: &Agent) -> legacy::FullSlave {
    let full = |bag: &Resources| resource::list(bag, &Shape::default());
    legacy::FullSlave {
        slave: slave(master, agent),
        reserved_resources_full: by_role(&agent.resources, full),
        unreserved_resources_full: full(&unreserved(&agent.resources)),
        used_resources_full: full(&master.used_resources(agent)),
        offered_resources_full: full(&master.offered_resources(agent)),
    }
}

fn recovered_slave(agent: &Agent) -> legacy::RecoveredSlave {
    legacy::RecoveredSlave {
        id: agent.id.to_string(),
        hostname: agent.hostname.to_string(),
        port: agent.port,
        attributes: resource::attributes(&agent.attributes).iter().collect(),
        domain: agent.domain.as_ref().map(nesos_api::domain::shown),
    }
}

/// A framework without its tasks and executors, which use `used`, and offers.
pub(super) fn framework_head(
    master: &Master,
    known: &Framework,
    used: &Resources,
) -> legacy::Framework {
    let info = v1::FrameworkInfo::from_protobuf(&known.info).unwrap_or_default();
    let offered = sum(offers(master, known).map(|offer| &offer.resources));
    legacy::Framework {
        id: known.id.to_string(),
        resources: shown(&sum([used, &offered])),
        used_resources: shown(used),
        offered_resources: shown(&offered),
        active: known.is_connected(),
        connected: known.is_connected(),
        recovered: known.recovered,
        registered_time: known.registered_time.unwrap_or_default(),
        reregistered_time: known.reregistered_time,
        unregistered_time: known.unregistered_time.unwrap_or_default(),
        offer_constraints: constraints::shown(&known.constraints).unwrap_or_default(),
        ..legacy::Framework::from(&info)
    }
}

fn offers<'a>(master: &'a Master, known: &'a Framework) -> impl Iterator<Item = &'a Offer> {
    known.offers.iter().filter_map(|id| master.offer(id))
}

fn offer(offer: &Offer) -> legacy::Offer {
    legacy::Offer {
        id: offer.id.to_string(),
        framework_id: offer.framework.to_string(),
        allocation_info: v1::ResourceAllocationInfo {
            role: Some(offer.role.clone()),
        },
        slave_id: offer.agent.to_string(),
        resources: shown(&offer.resources),
    }
}

fn unreserved(bag: &Resources) -> Resources {
    bag.filter(|entry| entry.owner().is_none())
}

/// What is reserved, by the role that owns it.
fn by_role<T>(bag: &Resources, show: impl Fn(&Resources) -> T) -> BTreeMap<String, T> {
    let owners: BTreeSet<&str> = bag.entries().iter().filter_map(Entry::owner).collect();
    let of = |role: &str| show(&bag.filter(|entry| entry.owner() == Some(role)));
    owners
        .iter()
        .map(|role| ((*role).to_owned(), of(role)))
        .collect()
}

fn shown(bag: &Resources) -> legacy::Resources {
    resource::list(bag, &Shape::default()).iter().collect()
}

/// The sum of bags.
pub(super) fn sum<'a>(bags: impl IntoIterator<Item = &'a Resources>) -> Resources {
    bags.into_iter().fold(Resources::new(), |mut total, bag| {
        total.add(bag);
        total
    })
}
