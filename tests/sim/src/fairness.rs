//! A second opinion on every offer: who should have got it, by the books of the master alone.
//!
//! Not the allocator's code in any part: hierarchical dominant resource fairness is worked out anew from tasks, offers and
//! what frameworks refused. Called by `master` after each batch. Four rules: no offer to whom it must not go; none that its
//! framework has just refused; none past somebody with a smaller share who would take it; and nothing stays free on an
//! agent that somebody would take. Invariant: the memory of refusals never holds less than the master's filters do.

use std::collections::BTreeMap;

use masterd_core::{Call, FrameworkEvent, Master, Offer, Ready};
use nesos_base::time::{self, Duration, Instant};
use nesos_wire::resource::{Resources, Value};
use nesos_wire::{AgentId, FrameworkId, resource_text};

/// How long after the end of a refusal the resources may still lie idle: the master's shell gathers for 3 ms at most.
const SETTLING: Duration = Duration::from_millis(10);
/// What a refusal lasts that does not say how long.
const REFUSAL: f64 = 5.0;
/// The master remembers so many refusals of one agent; beyond half of them it is not certain that it still knows all.
const CERTAIN: usize = 8;

/// Somebody who could be offered something: a role of a framework.
type Client = (FrameworkId, String);

#[derive(Debug)]
struct Refusal {
    resources: Resources,
    until: Instant,
    /// The master cannot have forgotten it.
    is_certain: bool,
}

/// What was refused.
#[derive(Debug, Default)]
pub(crate) struct Refusals(BTreeMap<(FrameworkId, String, AgentId), Vec<Refusal>>);

impl Refusals {
    /// A call that the master is about to take in.
    pub(crate) fn note(
        &mut self,
        core: &Master,
        framework: &FrameworkId,
        call: &Call,
        now: Instant,
    ) {
        let (offers, seconds, is_decline) = match call {
            Call::Decline {
                offers,
                refuse_seconds,
            } => (offers, refuse_seconds, true),
            Call::Accept {
                offers,
                refuse_seconds,
                ..
            } => (offers, refuse_seconds, false),
            Call::Revive { roles } => return self.revive(core, framework, roles),
            Call::UpdateFramework(_) => return self.doubt(|known| known == framework),
            _ => return,
        };
        let seconds = seconds.filter(|seconds| *seconds >= 0.0).unwrap_or(REFUSAL);
        let pause = time::seconds(seconds).max(core.config().decline_pause);
        let own = offers
            .iter()
            .filter_map(|id| core.offer(id))
            .filter(|offer| offer.framework == *framework);
        let mut sums: BTreeMap<(FrameworkId, String, AgentId), Resources> = BTreeMap::new();
        for offer in own {
            let key = (framework.clone(), offer.role.clone(), offer.agent.clone());
            if is_decline {
                self.put(key, offer.resources.clone(), now + pause, now, true);
            } else {
                sums.entry(key).or_default().add(&offer.resources);
            }
        }
        // What an ACCEPT leaves of several offers is refused as one.
        for (key, sum) in sums {
            self.put(key, sum, now + pause, now, false);
        }
    }

    fn put(
        &mut self,
        key: (FrameworkId, String, AgentId),
        resources: Resources,
        until: Instant,
        now: Instant,
        is_certain: bool,
    ) {
        let refusals = self.0.entry(key).or_default();
        refusals.retain(|known| known.until + SETTLING > now);
        if refusals.len() >= CERTAIN {
            refusals
                .iter_mut()
                .for_each(|known| known.is_certain = false);
        }
        refusals.push(Refusal {
            resources,
            until,
            is_certain,
        });
    }

    /// A framework subscribes, or (nobody named) an agent registers: the master may forget refusals.
    pub(crate) fn doubt(&mut self, is_meant: impl Fn(&FrameworkId) -> bool) {
        let meant = self
            .0
            .iter_mut()
            .filter(|((framework, _, _), _)| is_meant(framework));
        for refusal in meant.flat_map(|(_, refusals)| refusals) {
            refusal.is_certain = false;
        }
    }

    /// One foreign role and the call is void.
    fn revive(&mut self, core: &Master, framework: &FrameworkId, roles: &[String]) {
        let own = core
            .framework(framework)
            .map_or(&[][..], |known| &known.facts.roles);
        if roles.iter().all(|role| own.contains(role)) {
            let is_meant =
                |role: &String| own.contains(role) && (roles.is_empty() || roles.contains(role));
            self.0
                .retain(|(of, role, _), _| of != framework || !is_meant(role));
        }
    }

    fn hide(&self, client: &Client, agent: &AgentId, resources: &Resources, now: Instant) -> bool {
        self.find(client, agent)
            .any(|known| known.until + SETTLING > now && known.resources.contains(resources))
    }

    fn forbid(
        &self,
        client: &Client,
        agent: &AgentId,
        resources: &Resources,
        now: Instant,
    ) -> bool {
        self.find(client, agent).any(|known| {
            known.is_certain && known.until > now && known.resources.contains(resources)
        })
    }

    fn find(&self, client: &Client, agent: &AgentId) -> impl Iterator<Item = &Refusal> {
        let key = (client.0.clone(), client.1.clone(), agent.clone());
        self.0.get(&key).into_iter().flatten()
    }
}

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
            if !matches!(
                agent.condition,
                masterd_core::AgentCondition::Connected(_)
                    | masterd_core::AgentCondition::Disconnected
            ) {
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
        let scalars = self
            .total
            .iter()
            .filter(|(_, value)| matches!(value, Value::Scalar(total) if total.0 > 0));
        scalars.fold(0.0, |most: f64, (name, _)| {
            most.max(sum.scalar(name).0 as f64 / self.total.scalar(name).0 as f64)
        })
    }

    /// Whether fairness puts `first` before `second`, leaving no doubt.
    fn is_before(&self, first: &Client, second: &Client) -> bool {
        if first.1 == second.1 {
            return self.share(|client| client == first) < self.share(|client| client == second);
        }
        // Siblings in the tree of roles are compared, a role with sub-roles being one more child of itself.
        let (one, other): (Vec<&str>, Vec<&str>) =
            (first.1.split('/').collect(), second.1.split('/').collect());
        let common = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
        self.branch(&one, common) < self.branch(&other, common)
    }

    fn branch(&self, path: &[&str], common: usize) -> f64 {
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
        self.share(|client| below(client, common + 1) && client.1.split('/').count() > common)
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
    let mut books = Books::before(core, &fresh);
    for offer in &fresh {
        let client = (offer.framework.clone(), offer.role.clone());
        if let Some(what) = misplaced(core, offer, &client, &clients, refusals, now) {
            return Some(what);
        }
        let passed = clients.iter().find(|other| {
            **other != client
                && !refusals.hide(other, &offer.agent, &offer.resources, now)
                && books.is_before(other, &client)
        });
        if let Some(passed) = passed {
            return Some(format!(
                "{} of {} goes to {client:?} although {passed:?} has less: {}",
                offer.id,
                resource_text::text(&offer.resources),
                books.text()
            ));
        }
        books.hold(&offer.framework, &offer.role, &offer.resources);
    }
    idle(core, &clients, refusals, now)
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
        if !core
            .config()
            .min_allocatable
            .iter()
            .any(|least| free.contains(least))
        {
            continue;
        }
        if let Some(wanting) = clients
            .iter()
            .find(|client| !refusals.hide(client, &agent.id, &free, now))
        {
            return Some(format!(
                "{free:?} lies idle on {}, {wanting:?} would take it",
                agent.id
            ));
        }
    }
    None
}

fn number(offer: &Offer) -> u64 {
    let digits = offer
        .id
        .as_str()
        .rsplit_once("-O")
        .map(|(_, digits)| digits);
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
