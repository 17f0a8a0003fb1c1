//! A second opinion on quota: no limit is passed by an offer, and no role is kept below its guarantee.
//!
//! Called by `fairness`, and like it not the allocator's code. What a role consumes: what it holds of what is not reserved,
//! and all that is reserved for it or a sub-role, used or not.

use masterd_core::{Agent, AgentCondition, Master, Offer};
use nesos_base::time::Instant;
use nesos_wire::resource::{Entry, Resources};

use crate::books::{Books, Sums, add_up, amount};
use crate::converting::amounts;
use crate::fairness::{is_enough, is_here};
use crate::refusals::{Client, Refusals};
use crate::suiting::{is_common, suits};

/// The offer takes its role beyond a limit.
pub(crate) fn beyond(core: &Master, offer: &Offer, books: &Books) -> Option<String> {
    let top = top(&offer.role);
    let quota = core.registry().quota(top)?;
    let consumed = consumed(core, top, books);
    let offered = amounts(&offer.resources.filter(is_common));
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
    books: &Books,
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
        let consumed = consumed(core, top, books);
        let missing = |name: &str| {
            let guaranteed = quota.guarantees.get(name).map_or(0, |amount| amount.0);
            guaranteed - amount(&consumed, name)
        };
        let names = quota.guarantees.keys();
        let lacking: Vec<&String> = names.filter(|name| missing(name) > 0).collect();
        for agent in core.agents().filter(|agent| core.is_active(agent)) {
            let Some(free) = free(core, agent).filter(|_| suits(core, client, agent)) else {
                continue;
            };
            let sums = amounts(&free);
            // All that is free there of what it lacks, and enough for an offer even without the rest.
            let part = free.filter(|entry| lacking.iter().any(|name| *name == entry.name()));
            let is_whole = lacking
                .iter()
                .all(|name| missing(name) >= amount(&sums, name));
            let is_wanted = is_whole && is_enough(core, client, &part);
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
    Some(free.filter(is_common))
}

fn consumed(core: &Master, top_role: &str, books: &Books) -> Sums {
    let mut sums = books.sums(|(_, role)| top(role) == top_role, is_common);
    let is_own = |owner: &str| top(owner) == top_role;
    for agent in core.agents().filter(|agent| is_here(agent)) {
        let reserved = |entry: &Entry| entry.owner().is_some_and(is_own);
        add_up(&mut sums, &agent.resources.filter(reserved));
    }
    sums
}

fn top(role: &str) -> &str {
    role.split('/').next().unwrap_or(role)
}
