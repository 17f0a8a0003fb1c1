//! A second opinion on every offer: who should have got it, by the books of the master alone.
//!
//! Not the allocator's code in any part: hierarchical dominant resource fairness is worked out anew from tasks, offers and
//! what frameworks refused. Called by `master` after each batch. Four rules: no offer to whom it must not go; none that its
//! framework has just refused; none past somebody with a smaller share who would take it; and nothing stays free on an
//! agent that somebody would take. With quota the last two give way to those of `quota`. Invariant: it asks the core for
//! its books and its configuration, never for a decision.

use masterd_core::{Agent, AgentCondition, FrameworkEvent, Master, Offer, Ready};
use nesos_base::time::{Duration, Instant};
use nesos_wire::resource::{Entry, Resources};
use nesos_wire::resource_text;

use crate::books::{Books, amount};
use crate::converting::amounts;
use crate::quota;
use crate::refusals::{Client, Refusals};
use crate::suiting::{fitting, floors, suits};

/// How long a new master with quota waits for agents: the flag's value here. Nothing is promised that long.
pub(crate) const RECOVERY: Duration = Duration::from_secs(60);

/// What is wrong with the offers of this batch, or (`is_thorough`) with there being no others; none: nothing.
pub(crate) fn complaint(
    core: &Master,
    ready: &Ready,
    refusals: &Refusals,
    now: Instant,
    is_thorough: bool,
) -> Option<String> {
    let fresh = fresh_offers(ready);
    if fresh.is_empty() && !is_thorough {
        return None;
    }
    let clients = wanting(core);
    let has_quota = core.registry().quotas().next().is_some();
    let mut books = Books::before(core, &fresh);
    // Who comes first is settled when an agent's turn comes, and within a role when the role's turn comes there.
    let (mut at_agent, mut at_role) = (books.clone(), books.clone());
    let mut last: Option<&Offer> = None;
    for offer in &fresh {
        let is_same = last.is_some_and(|last| last.agent == offer.agent);
        if !is_same {
            at_agent = books.clone();
        }
        if !is_same || last.is_some_and(|last| last.role != offer.role) {
            at_role = books.clone();
        }
        last = Some(offer);
        let client = (offer.framework.clone(), offer.role.clone());
        if let Some(what) = misplaced(core, offer, &client, &clients, refusals, now) {
            return Some(what);
        }
        let passed = clients.iter().find(|other| {
            let fitting = fitting(core, &offer.resources, other);
            let agent = core.agent(&offer.agent);
            let then = match other.1 == client.1 {
                true => &at_role,
                false => &at_agent,
            };
            **other != client
                && agent.is_some_and(|agent| suits(core, other, agent))
                && is_enough(core, other, &fitting)
                && !refusals.hide(other, &offer.agent, &fitting, now)
                && then.is_before(core, other, &client)
        });
        // With quota others come first who lack what they are guaranteed.
        if let Some(passed) = passed.filter(|_| !has_quota) {
            return Some(format!(
                "{} of {} goes to {client:?} although {passed:?} has less: {}",
                offer.id,
                resource_text::text(&offer.resources),
                books.text()
            ));
        }
        books.hold(offer);
        if let Some(what) = quota::beyond(core, offer, &books) {
            return Some(what);
        }
    }
    match has_quota {
        true => quota::unmet(core, &clients, &books, refusals, now),
        false if refusals.is_waiting(now) => None,
        false => idle(core, &clients, refusals, now),
    }
}

/// The offers of this batch, in the order in which they were made.
fn fresh_offers(ready: &Ready) -> Vec<&Offer> {
    let events = ready
        .to_frameworks
        .iter()
        .filter_map(|(_, event)| match event {
            FrameworkEvent::Offers(offers) => Some(offers),
            _ => None,
        });
    let mut fresh: Vec<&Offer> = events.flatten().collect();
    fresh.sort_by_key(|offer| number(offer));
    fresh
}

/// Roles of connected frameworks that want offers.
fn wanting(core: &Master) -> Vec<Client> {
    let connected = core.frameworks().filter(|known| known.is_connected());
    let clients = connected.flat_map(|known| {
        let roles = known.facts.roles.iter();
        let wanted = roles.filter(|role| !known.suppressed.contains(*role));
        wanted.map(|role| (known.id.clone(), role.clone()))
    });
    clients.collect()
}

fn misplaced(
    core: &Master,
    offer: &Offer,
    client: &Client,
    clients: &[Client],
    refusals: &Refusals,
    now: Instant,
) -> Option<String> {
    let is_active = core
        .agent(&offer.agent)
        .is_some_and(|agent| core.is_active(agent));
    if !is_active || !clients.contains(client) {
        return Some(format!(
            "{} of {} goes to {client:?}, who or which is not active",
            offer.id, offer.agent
        ));
    }
    let is_suitable = core
        .agent(&offer.agent)
        .is_some_and(|agent| suits(core, client, agent));
    if !is_suitable || fitting(core, &offer.resources, client) != offer.resources {
        return Some(format!(
            "{} of {} on {} goes to {client:?}, who cannot have it",
            offer.id,
            resource_text::text(&offer.resources),
            offer.agent
        ));
    }
    refusals
        .forbid(client, &offer.agent, &offer.resources, now)
        .then(|| {
            format!(
                "{} of {} goes to {client:?}, who refused it",
                offer.id, offer.agent
            )
        })
}

fn idle(core: &Master, clients: &[Client], refusals: &Refusals, now: Instant) -> Option<String> {
    for agent in core.agents().filter(|agent| core.is_active(agent)) {
        let mut committed = core.used_resources(agent);
        committed.add(&core.offered_resources(agent));
        if !agent.resources.contains(&committed) {
            continue;
        }
        let mut free = agent.resources.clone();
        free.subtract(&committed);
        // What is shared is given to one client a run, so that there may or may not be some beside the rest.
        let single = free.filter(|entry| !entry.is_shared());
        let mut all = single.clone();
        all.add(&agent.resources.filter(Entry::is_shared));
        if let Some(wanting) = clients.iter().find(|client| {
            let is_hidden = |free: &Resources| {
                refusals.hide(client, &agent.id, &fitting(core, free, client), now)
            };
            suits(core, client, agent)
                && is_enough(core, client, &fitting(core, &single, client))
                && !is_hidden(&single)
                && !is_hidden(&all)
        }) {
            return Some(format!(
                "{} lies idle on {}, {wanting:?} would take it",
                resource_text::text(&free),
                agent.id
            ));
        }
    }
    None
}

/// Whether the master counts on the agent.
pub(crate) fn is_here(agent: &Agent) -> bool {
    matches!(
        agent.condition,
        AgentCondition::Connected(_) | AgentCondition::Disconnected
    )
}

/// Whether it is worth an offer to the client.
pub(crate) fn is_enough(core: &Master, client: &Client, resources: &Resources) -> bool {
    let sums = amounts(resources);
    let holds = |least: &Resources| {
        let least = amounts(least);
        least
            .iter()
            .all(|(name, least)| amount(&sums, name) >= *least)
    };
    let own = core
        .framework(&client.0)
        .and_then(|framework| floors(&framework.facts.name));
    match own {
        Some(own) if own.is_empty() => !resources.is_empty(),
        Some(own) => own.iter().any(holds),
        None => core.config().min_allocatable.iter().any(holds),
    }
}

fn number(offer: &Offer) -> u64 {
    let digits = offer
        .id
        .as_str()
        .rsplit_once("-O")
        .map(|(_, digits)| digits);
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
