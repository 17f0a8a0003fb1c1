//! A second opinion on quota: no limit is passed by an offer, and no role is kept below its guarantee.
//!
//! Called by `fairness`, and like it not the allocator's code. What a role consumes: what it holds of what is not reserved,
//! and all that is reserved for it or a sub-role, used or not.

use std::collections::BTreeMap;

use masterd_core::{Agent, AgentCondition, Master, Offer};
use nesos_base::time::Instant;
use nesos_wire::resource::Resources;

use crate::converting::amounts;
use crate::fairness::{amount, is_enough, is_here};
use crate::refusals::{Client, Refusals};

type Held = BTreeMap<Client, Resources>;

/// The offer takes its role beyond a limit.
pub(crate) fn beyond(core: &Master, offer: &Offer, held: &Held) -> Option<String> {
    let top = top(&offer.role);
    let quota = core.registry().quota(top)?;
    let consumed = consumed(core, top, held);
    let offered = amounts(&offer.resources.filter(|entry| entry.owner().is_none()));
    let broken = quota
        .limits
        .iter()
        .find(|(name, limit)| amount(&offered, name) > 0 && amount(&consumed, name) > limit.0);
    broken.map(|(name, limit)| {
        format!(
            "{} takes {top} to {} of {name}, its limit is {}",
            offer.id,
            amount(&consumed, name),
            limit.0
        )
    })
}

/// Somebody lacks what it is guaranteed, would take it, and it is there.
pub(crate) fn unmet(
    core: &Master,
    clients: &[Client],
    held: &Held,
    refusals: &Refusals,
    now: Instant,
) -> Option<String> {
    // A master that has just started may still be waiting for its agents.
    if core
        .agents()
        .any(|agent| agent.condition == AgentCondition::Recovered)
        || refusals.is_early(now)
    {
        return None;
    }
    for client in clients {
        let top = top(&client.1);
        let Some(quota) = core.registry().quota(top) else {
            continue;
        };
        let consumed = consumed(core, top, held);
        let missing = |name: &str| {
            let guaranteed = quota.guarantees.get(name).map_or(0, |amount| amount.0);
            guaranteed - amount(&consumed, name)
        };
        let names = quota.guarantees.keys();
        let lacking: Vec<&String> = names.filter(|name| missing(name) > 0).collect();
        for agent in core.agents().filter(|agent| core.is_active(agent)) {
            let Some(free) = free(core, agent) else {
                continue;
            };
            let sums = amounts(&free);
            // All that is free there of what it lacks, and enough for an offer even without the rest.
            let part = free.filter(|entry| lacking.iter().any(|name| *name == entry.name()));
            let is_whole = lacking
                .iter()
                .all(|name| missing(name) >= amount(&sums, name));
            let is_wanted = is_whole && is_enough(core, &part);
            if is_wanted && !refusals.hide(client, &agent.id, &part, now) {
                return Some(format!(
                    "{top} lacks {lacking:?} of its guarantee, {client:?} would take what is free on {}",
                    agent.id
                ));
            }
        }
    }
    None
}

/// What is neither used nor offered nor reserved; none while more is in use than there is.
fn free(core: &Master, agent: &Agent) -> Option<Resources> {
    let mut committed = core.used_resources(agent);
    committed.add(&core.offered_resources(agent));
    if !agent.resources.contains(&committed) {
        return None;
    }
    let mut free = agent.resources.clone();
    free.subtract(&committed);
    Some(free.filter(|entry| entry.owner().is_none()))
}

fn consumed(core: &Master, top_role: &str, held: &Held) -> Vec<(String, i64)> {
    let mut sum = Resources::new();
    for (_, resources) in held.iter().filter(|((_, role), _)| top(role) == top_role) {
        sum.add(&resources.filter(|entry| entry.owner().is_none()));
    }
    for agent in core.agents().filter(|agent| is_here(agent)) {
        let is_own = |owner: &str| top(owner) == top_role;
        sum.add(
            &agent
                .resources
                .filter(|entry| entry.owner().is_some_and(is_own)),
        );
    }
    amounts(&sum)
}

fn top(role: &str) -> &str {
    role.split('/').next().unwrap_or(role)
}
