//! A second opinion on every offer: who should have got it, by the books of the master alone.
//!
//! Not the allocator's code in any part: hierarchical dominant resource fairness is worked out anew from tasks, offers and
//! what frameworks refused. Called by `master` after each batch. Four rules: no offer to whom it must not go; none that its
//! framework has just refused; none past somebody with a smaller share who would take it; and nothing stays free on an
//! agent that somebody would take. With quota the last two give way to those of `quota`. Invariant: it asks the core for
//! its books and its configuration, never for a decision.

use std::collections::BTreeMap;

use masterd_core::{Agent, AgentCondition, FrameworkEvent, Master, Offer, Ready};
use nesos_base::time::{Duration, Instant};
use nesos_wire::resource::Resources;
use nesos_wire::{FrameworkId, resource_text};

use crate::converting::amounts;
use crate::quota;
use crate::refusals::{Client, Refusals};

/// How long a new master with quota waits for agents: the flag's value here. Nothing is promised that long.
pub(crate) const RECOVERY: Duration = Duration::from_secs(60);

/// Who holds what, tasks and offers.
#[derive(Debug, Default)]
struct Books {
    held: BTreeMap<Client, Resources>,
    total: Resources,
}

impl Books {
    /// As they were before `fresh` was offered.
    fn before(core: &Master, fresh: &[&Offer]) -> Self {
        let mut books = Self::default();
        for agent in core.agents() {
            if !is_here(agent) {
                continue;
            }
            books.total.add(&agent.resources);
            for task in agent
                .tasks
                .iter()
                .filter_map(|key| core.task(key))
                .filter(|task| !task.latest.is_terminal())
            {
                books.hold(
                    &task.spec.key.framework,
                    &task.spec.role,
                    &task.spec.resources,
                );
            }
        }
        for offer in core
            .offers()
            .filter(|offer| !fresh.iter().any(|new| new.id == offer.id))
        {
            books.hold(&offer.framework, &offer.role, &offer.resources);
        }
        books
    }

    fn hold(&mut self, framework: &FrameworkId, role: &str, resources: &Resources) {
        self.held
            .entry((framework.clone(), role.to_owned()))
            .or_default()
            .add(resources);
    }

    fn text(&self) -> String {
        let held = self.held.iter().map(|((framework, role), held)| {
            format!("{framework} in {role}: {}", resource_text::text(held))
        });
        let total = format!("all: {}", resource_text::text(&self.total));
        held.chain([total]).collect::<Vec<_>>().join("\n")
    }

    /// The dominant share of all clients that `is_meant`.
    fn share(&self, is_meant: impl Fn(&Client) -> bool) -> f64 {
        let mut sum = Resources::new();
        self.held
            .iter()
            .filter(|(client, _)| is_meant(client))
            .for_each(|(_, held)| sum.add(held));
        let (sum, total) = (amounts(&sum), amounts(&self.total));
        total.iter().fold(0.0, |most: f64, (name, total)| {
            most.max(amount(&sum, name) as f64 / (*total).max(1) as f64)
        })
    }

    /// Whether fairness puts `first` before `second`, leaving no doubt.
    fn is_before(&self, core: &Master, first: &Client, second: &Client) -> bool {
        if first.1 == second.1 {
            return self.share(|client| client == first) < self.share(|client| client == second);
        }
        // Siblings in the tree of roles are compared, a role with sub-roles being one more child of itself.
        let (one, other): (Vec<&str>, Vec<&str>) =
            (first.1.split('/').collect(), second.1.split('/').collect());
        let common = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
        self.branch(core, &one, common) < self.branch(core, &other, common)
    }

    fn branch(&self, core: &Master, path: &[&str], common: usize) -> f64 {
        let below = |client: &Client, depth: usize| {
            client
                .1
                .split('/')
                .take(depth)
                .eq(path[..depth].iter().copied())
        };
        if path.len() == common {
            let own = path.join("/");
            return self.share(|client| client.1 == own);
        }
        let weight = core.registry().weight(&path[..=common].join("/"));
        let share =
            self.share(|client| below(client, common + 1) && client.1.split('/').count() > common);
        share / weight.unwrap_or(1.0)
    }
}

/// What is wrong with the offers of this batch, or (`is_thorough`) with there being no others; none: nothing.
pub(crate) fn complaint(
    core: &Master,
    ready: &Ready,
    refusals: &Refusals,
    now: Instant,
    is_thorough: bool,
) -> Option<String> {
    let events = ready
        .to_frameworks
        .iter()
        .filter_map(|(_, event)| match event {
            FrameworkEvent::Offers(offers) => Some(offers),
            _ => None,
        });
    let mut fresh: Vec<&Offer> = events.flatten().collect();
    fresh.sort_by_key(|offer| number(offer));
    if fresh.is_empty() && !is_thorough {
        return None;
    }
    let clients: Vec<Client> = core
        .frameworks()
        .filter(|known| known.is_connected())
        .flat_map(|known| {
            let wanted = known
                .facts
                .roles
                .iter()
                .filter(|role| !known.suppressed.contains(*role));
            wanted.map(|role| (known.id.clone(), role.clone()))
        })
        .collect();
    let has_quota = core.registry().quotas().next().is_some();
    let mut books = Books::before(core, &fresh);
    for offer in &fresh {
        let client = (offer.framework.clone(), offer.role.clone());
        if let Some(what) = misplaced(core, offer, &client, &clients, refusals, now) {
            return Some(what);
        }
        let passed = clients.iter().find(|other| {
            let fitting = fitting(&offer.resources, &other.1);
            **other != client
                && is_enough(core, &fitting)
                && !refusals.hide(other, &offer.agent, &fitting, now)
                && books.is_before(core, other, &client)
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
        books.hold(&offer.framework, &offer.role, &offer.resources);
        if let Some(what) = quota::beyond(core, offer, &books.held) {
            return Some(what);
        }
    }
    match has_quota {
        true => quota::unmet(core, &clients, &books.held, refusals, now),
        false => idle(core, &clients, refusals, now),
    }
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
        if let Some(wanting) = clients.iter().find(|client| {
            let fitting = fitting(&free, &client.1);
            is_enough(core, &fitting) && !refusals.hide(client, &agent.id, &fitting, now)
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

/// What a role may be offered of a bag.
fn fitting(resources: &Resources, role: &str) -> Resources {
    resources.filter(|entry| entry.is_allocatable_to(role))
}

/// Whether it is worth an offer.
pub(crate) fn is_enough(core: &Master, resources: &Resources) -> bool {
    let sums = amounts(resources);
    let holds = |least: &Resources| {
        let least = amounts(least);
        least
            .iter()
            .all(|(name, least)| amount(&sums, name) >= *least)
    };
    core.config().min_allocatable.iter().any(holds)
}

/// One of the sums that `amounts` makes.
pub(crate) fn amount(sums: &[(String, i64)], name: &str) -> i64 {
    let found = sums.iter().find(|(known, _)| known == name);
    found.map_or(0, |(_, amount)| *amount)
}

fn number(offer: &Offer) -> u64 {
    let digits = offer
        .id
        .as_str()
        .rsplit_once("-O")
        .map(|(_, digits)| digits);
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
