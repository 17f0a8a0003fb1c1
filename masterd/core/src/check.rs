//! The invariants of a master's memory, checked as a whole.
//!
//! Not called by the daemon: the simulation and the tests call it after every step. Each sentence it returns is a bug.

use std::collections::BTreeSet;

use nesos_wire::resource::{Resources, Value};

use crate::maintenance::is_present;
use crate::master::Master;
use crate::schedule::Mode;
use crate::state::{Agent, AgentCondition};

/// Every broken invariant, as a sentence; empty if all hold.
pub fn violations(master: &Master) -> Vec<String> {
    let mut found = Vec::new();
    for agent in master.agents() {
        check_agent(master, agent, &mut found);
    }
    check_offers(master, &mut found);
    check_maintenance(master, &mut found);
    check_tasks(master, &mut found);
    check_registry(master, &mut found);
    found.extend(master.allocator.violations());
    found
}

fn check_agent(master: &Master, agent: &Agent, found: &mut Vec<String>) {
    let id = &agent.id;
    let used = master.used_resources(agent);
    let offered = master.offered_resources(agent);
    let mut committed = used.clone();
    committed.add(&offered);
    // An agent may come back with less than its tasks use: what is short is not offered. Nobody uses up what is shared.
    let mut unused = agent.resources.clone();
    unused.subtract(&used.filter(|entry| !entry.is_shared()));
    if !unused.contains(&offered) {
        found.push(format!(
            "agent {id} is over-committed: {committed:?} of {:?}",
            agent.resources
        ));
    }
    if let Some(overlap) = overlap(&[&used, &offered]) {
        found.push(format!("agent {id}: {overlap} is in use and on offer"));
    }
    let offers: Vec<&Resources> = agent
        .offers
        .iter()
        .filter_map(|id| master.offers.get(id))
        .map(|offer| &offer.resources)
        .collect();
    if let Some(overlap) = overlap(&offers) {
        found.push(format!("agent {id}: {overlap} is in two offers"));
    }
    let upkeep = master.upkeep(id);
    if upkeep.deactivated && !agent.offers.is_empty() {
        found.push(format!("agent {id} is deactivated but offered"));
    }
    if upkeep.is_draining() != master.draining.contains(id) {
        found.push(format!(
            "agent {id}: the registry and the set of draining agents differ"
        ));
    }
    if !agent.is_connected() && !agent.offers.is_empty() {
        found.push(format!("agent {id} is not connected but offered"));
    }
    if let Some(link) = agent.link()
        && master.links.get(&link) != Some(id)
    {
        found.push(format!("agent {id}'s link is not in the table of links"));
    }
    let is_present = matches!(
        agent.condition,
        AgentCondition::Connected(_) | AgentCondition::Disconnected
    );
    if is_present != master.allocator.has_agent(id) {
        found.push(format!(
            "agent {id} is {:?}, the allocator differs",
            agent.condition
        ));
    }
    if is_present && master.allocator.allocated_on(id) != committed {
        let allocated = master.allocator.allocated_on(id);
        found.push(format!(
            "agent {id}: allocated {allocated:?}, used and offered {committed:?}"
        ));
    }
    let is_empty = agent.tasks.is_empty() && agent.executors.is_empty();
    if !is_present && !is_empty {
        found.push(format!("agent {id} is away but has tasks or executors"));
    }
    for (key, executor) in &agent.executors {
        if *key != executor.key || !master.frameworks.contains_key(&key.framework) {
            found.push(format!("executor {key} on agent {id} is nobody's"));
        }
    }
}

fn check_offers(master: &Master, found: &mut Vec<String>) {
    for offer in master.offers.values() {
        let id = &offer.id;
        if !master
            .agents
            .get(&offer.agent)
            .is_some_and(|agent| agent.offers.contains(id))
        {
            found.push(format!("offer {id}'s agent does not know it"));
        }
        match master.frameworks.get(&offer.framework) {
            Some(framework) if framework.offers.contains(id) && framework.is_connected() => {}
            _ => found.push(format!(
                "offer {id}'s framework does not know it, or is away"
            )),
        }
    }
    let by_agents: usize = master.agents.values().map(|agent| agent.offers.len()).sum();
    let by_frameworks: usize = master
        .frameworks
        .values()
        .map(|framework| framework.offers.len())
        .sum();
    if by_agents != master.offers.len() || by_frameworks != master.offers.len() {
        found.push(format!(
            "{} offers, {by_agents} at agents, {by_frameworks} at frameworks",
            master.offers.len()
        ));
    }
}

fn check_maintenance(master: &Master, found: &mut Vec<String>) {
    for agent in master.agents() {
        let (id, machine) = (&agent.id, agent.machine());
        let planned = master.schedule().unavailability(&machine);
        let planned = planned.filter(|_| is_present(agent));
        let known = master.maintained(id).map(|known| known.unavailability);
        if planned != known {
            found.push(format!("agent {id}: planned {planned:?}, known {known:?}"));
        }
        if is_present(agent) && master.schedule().mode(&machine) == Mode::Down {
            found.push(format!("agent {id} is here, though its machine is down"));
        }
        let offers = agent.offers.iter().filter_map(|id| master.offer(id));
        for offer in offers.filter(|offer| offer.unavailability != known) {
            found.push(format!("offer {} does not say what is planned", offer.id));
        }
    }
    for offer in master.inverse_offers.values() {
        let (id, agent) = (&offer.id, master.agent(&offer.agent));
        let framework = master.framework(&offer.framework);
        let maintained = master.maintained(&offer.agent);
        let is_known = framework.is_some_and(|known| known.inverse_offers.contains(id))
            && maintained.is_some_and(|m| m.outstanding.get(&offer.framework) == Some(id));
        if !is_known {
            found.push(format!("inverse offer {id} is not known on both sides"));
        }
        let is_connected = framework.is_some_and(|known| known.is_connected())
            && agent.is_some_and(Agent::is_connected);
        if !is_connected {
            found.push(format!("inverse offer {id} stands, but a side is away"));
        }
    }
    let by_agents = master.maintained.values().map(|m| m.outstanding.len());
    let by_frameworks = master.frameworks().map(|f| f.inverse_offers.len());
    let all = [
        by_agents.sum(),
        by_frameworks.sum(),
        master.inverse_offers.len(),
    ];
    if all[0] != all[1] || all[1] != all[2] {
        found.push(format!(
            "inverse offers at agents, at frameworks, in all: {all:?}"
        ));
    }
    if master.maintained.len() < master.inverse_due.len()
        || master
            .maintained
            .keys()
            .any(|id| !master.agents.contains_key(id))
    {
        found.push("maintenance is planned for agents that are not here".to_owned());
    }
}

fn check_tasks(master: &Master, found: &mut Vec<String>) {
    let mut tasks = 0;
    let mut attempts = BTreeSet::new();
    for framework in master.frameworks.values() {
        tasks += framework.tasks.len();
        for task in framework.tasks.values() {
            let key = task.key();
            if !master
                .agents
                .get(&task.agent)
                .is_some_and(|agent| agent.tasks.contains(key))
            {
                found.push(format!("task {key} is not in its agent's set"));
            }
        }
        for task in framework
            .tasks
            .values()
            .chain(framework.unreachable.values())
        {
            if !attempts.insert(task.spec.attempt) {
                found.push(format!(
                    "attempt {:?} of {} stands twice",
                    task.spec.attempt,
                    task.key()
                ));
            }
        }
        if framework
            .tasks
            .keys()
            .any(|id| framework.unreachable.contains_key(id))
        {
            found.push(format!(
                "framework {}: a task is both known and unreachable",
                framework.id
            ));
        }
        if let Some(stream) = framework.stream
            && master.streams.get(&stream) != Some(&framework.id)
        {
            found.push(format!(
                "framework {}'s stream is not in the table of streams",
                framework.id
            ));
        }
        if framework.stream.is_none() && framework.removal_at.is_none() {
            found.push(format!(
                "framework {} is away and will never be removed",
                framework.id
            ));
        }
    }
    let by_agents: usize = master.agents.values().map(|agent| agent.tasks.len()).sum();
    if tasks != by_agents {
        found.push(format!(
            "{tasks} tasks at frameworks, {by_agents} at agents"
        ));
    }
}

fn check_registry(master: &Master, found: &mut Vec<String>) {
    let in_registry: BTreeSet<_> = master
        .registry
        .agents()
        .map(|record| &record.agent)
        .collect();
    if in_registry != master.agents.keys().collect() {
        found.push("the registry's agents are not the master's".to_owned());
    }
    for record in master.registry.agents() {
        let condition = master
            .agents
            .get(&record.agent)
            .map(|agent| agent.condition);
        let is_unreachable = matches!(condition, Some(AgentCondition::Unreachable(_)));
        if record.unreachable_since.is_some() != is_unreachable {
            found.push(format!(
                "agent {}: the registry says unreachable {:?}",
                record.agent, record.unreachable_since
            ));
        }
    }
    let kept = master.registry.quotas().map(|quota| {
        let (guarantees, limits) = (&quota.guarantees, &quota.limits);
        (quota.role.as_str(), guarantees, limits)
    });
    let told = master.allocator.quotas();
    if !kept.eq(told.map(|(role, quota)| (role, &quota.guarantees, &quota.limits))) {
        found.push("the registry's quotas are not the allocator's".to_owned());
    }
    for framework in master.registry.frameworks() {
        if !master.frameworks.contains_key(&framework.framework) {
            found.push(format!(
                "framework {} is in the registry only",
                framework.framework
            ));
        }
    }
}

/// A name whose ranges or sets stand in more than one of `bags`.
fn overlap(bags: &[&Resources]) -> Option<String> {
    for (at, bag) in bags.iter().enumerate() {
        for other in &bags[at + 1..] {
            let doubled = bag.entries().iter().find(|entry| {
                if matches!(entry.value(), Value::Scalar(_)) {
                    return false;
                }
                let mut rest: Resources = [(*entry).clone()].into_iter().collect();
                let before = rest.clone();
                rest.subtract(other);
                rest != before
            });
            if let Some(entry) = doubled {
                return Some(entry.name().to_owned());
            }
        }
    }
    None
}
