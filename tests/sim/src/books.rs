//! Who holds what, tasks, executors and offers, added up anew for the checkers.
//!
//! Not the allocator's sums in any part. Called by `fairness` and `quota`. Invariant: what is shared counts once per agent
//! in every sum, however many of those summed up hold it.

use std::collections::BTreeMap;

use masterd_core::{Master, Offer};
use nesos_wire::resource::{Entry, Resources};
use nesos_wire::{AgentId, resource_text};

use crate::converting::amounts;
use crate::fairness::is_here;
use crate::refusals::Client;

/// Amounts by name.
pub(crate) type Sums = Vec<(String, i64)>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Books {
    held: BTreeMap<AgentId, BTreeMap<Client, Resources>>,
    total: Sums,
}

impl Books {
    /// As they were before `fresh` was offered.
    pub(crate) fn before(core: &Master, fresh: &[&Offer]) -> Self {
        let mut books = Self::default();
        for agent in core.agents().filter(|agent| is_here(agent)) {
            add_up(&mut books.total, &agent.resources);
            let tasks = agent.tasks.iter().filter_map(|key| core.task(key));
            for task in tasks.filter(|task| !task.latest.is_terminal()) {
                let client = (task.spec.key.framework.clone(), task.spec.role.clone());
                books.put(&agent.id, client, &task.spec.resources);
            }
            for executor in agent.executors.values() {
                let client = (executor.key.framework.clone(), executor.role.clone());
                books.put(&agent.id, client, &executor.resources);
            }
        }
        let is_fresh = |offer: &Offer| fresh.iter().any(|new| new.id == offer.id);
        for offer in core.offers().filter(|offer| !is_fresh(offer)) {
            books.hold(offer);
        }
        books
    }

    /// Somebody is offered something.
    pub(crate) fn hold(&mut self, offer: &Offer) {
        let client = (offer.framework.clone(), offer.role.clone());
        self.put(&offer.agent, client, &offer.resources);
    }

    /// What all clients that are meant hold together, of the entries that count.
    pub(crate) fn sums(
        &self,
        is_meant: impl Fn(&Client) -> bool,
        counts: impl Fn(&Entry) -> bool,
    ) -> Sums {
        let mut sums = Sums::new();
        for clients in self.held.values() {
            let mut bag = Resources::new();
            let meant = clients.iter().filter(|(client, _)| is_meant(client));
            meant.for_each(|(_, held)| bag.add(&held.filter(&counts)));
            add_up(&mut sums, &bag);
        }
        sums
    }

    /// Whether fairness puts `first` before `second`, leaving no doubt.
    pub(crate) fn is_before(&self, core: &Master, first: &Client, second: &Client) -> bool {
        if first.1 == second.1 {
            return self.share(|client| client == first) < self.share(|client| client == second);
        }
        // Siblings in the tree of roles are compared, a role with sub-roles being one more child of itself.
        let (one, other): (Vec<&str>, Vec<&str>) =
            (first.1.split('/').collect(), second.1.split('/').collect());
        let common = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
        self.branch(core, &one, common) < self.branch(core, &other, common)
    }

    pub(crate) fn text(&self) -> String {
        let held = self.held.iter().flat_map(|(agent, clients)| {
            clients.iter().map(move |((framework, role), held)| {
                let held = resource_text::text(held);
                format!("{framework} in {role} on {agent}: {held}")
            })
        });
        let total = format!("all: {:?}", self.total);
        held.chain([total]).collect::<Vec<_>>().join("\n")
    }

    fn put(&mut self, agent: &AgentId, client: Client, resources: &Resources) {
        let clients = self.held.entry(agent.clone()).or_default();
        clients.entry(client).or_default().add(resources);
    }

    /// The dominant share of all clients that are meant.
    fn share(&self, is_meant: impl Fn(&Client) -> bool) -> f64 {
        let sums = self.sums(is_meant, |_| true);
        self.total.iter().fold(0.0, |most: f64, (name, total)| {
            most.max(amount(&sums, name) as f64 / (*total).max(1) as f64)
        })
    }

    fn branch(&self, core: &Master, path: &[&str], common: usize) -> f64 {
        let below = |client: &Client, depth: usize| {
            let above = client.1.split('/').take(depth);
            above.eq(path[..depth].iter().copied())
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

/// One of the sums.
pub(crate) fn amount(sums: &[(String, i64)], name: &str) -> i64 {
    let found = sums.iter().find(|(known, _)| known == name);
    found.map_or(0, |(_, amount)| *amount)
}

/// Adds what is in a bag.
pub(crate) fn add_up(sums: &mut Sums, bag: &Resources) {
    for (name, more) in amounts(bag) {
        match sums.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += more,
            None => sums.push((name, more)),
        }
    }
}
