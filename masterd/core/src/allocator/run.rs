//! One run: gives out what is free on the agents that changed.
//!
//! Called through [`Allocator::allocate`]. Two stages, as in Mesos: first roles get what advances guarantees they have not
//! met, then everybody gets by fairness what no guarantee needs. Within an agent, roles and their frameworks are asked in
//! the tree's order, each once; agents are taken in the order of their numbers. What a role or a framework may have of an
//! agent is said in `share`. Invariant: a run never gives out more than is available, nor more than a limit or the
//! headroom allows.

use std::collections::BTreeMap;

use nesos_wire::resource::Resources;
use nesos_wire::{AgentId, FrameworkId};

use super::bits::Bits;
use super::order::{Cursor, Kind};
use super::ranking::{NOBODY, Ranking, Walk};
use super::share::Share;
use super::{Allocation, Allocator, Handle};

/// From so many agents on it pays to sort out the roles that are at their limits.
const MANY: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Guarantees,
    Fair,
}

/// Scratch space and results of a run.
pub(super) struct Run<'a> {
    pub(super) stage: Stage,
    pub(super) is_eligible: &'a dyn Fn(&FrameworkId, &str, &AgentId) -> bool,
    /// The top-level roles that can be given anything of an agent that has nothing but scalars: in the first stage those
    /// with guarantees not met, in the second those that are not at their limits. `None`: all of them.
    tops: Option<Ranking>,
    tops_walk: Walk,
    cursor: Cursor,
    clients: Clients,
    /// From whom all of the agent is hidden: a place in the agent's bundles, or several of them put together.
    hiding: Option<usize>,
    hidden: Bits,
    /// What is shared and was given out, by agent: it is given to one client a run.
    pub(super) shared: BTreeMap<u32, Resources>,
    /// A role could not have all that is free on the agent.
    is_capped: bool,
    given: Vec<Allocation>,
}

/// The clients of a role, the most deserving first.
#[derive(Debug, Default)]
struct Clients {
    walk: Walk,
    /// If nearly all are hidden: the few others, the last first.
    listed: Option<Vec<u32>>,
}

impl Allocator {
    /// Gives out what is free on the agents that changed.
    pub fn allocate(&mut self) -> Vec<Allocation> {
        self.allocate_where(|_, _, _| true)
    }

    /// The same, asking first whether a framework's role with offer constraints may be offered an agent. The answer must
    /// not change without `clear_agent_filters` or `put_framework` saying that something did.
    pub fn allocate_where(
        &mut self,
        is_eligible: impl Fn(&FrameworkId, &str, &AgentId) -> bool,
    ) -> Vec<Allocation> {
        if !self.has_work() {
            return Vec::new();
        }
        self.rank_frameworks();
        self.tree.refresh(&self.names);
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.extend(&std::mem::take(&mut self.held_back));
        let mut run = Run {
            stage: Stage::Guarantees,
            is_eligible: &is_eligible,
            tops: None,
            tops_walk: Walk::default(),
            cursor: Cursor::default(),
            clients: Clients::default(),
            hiding: None,
            hidden: Bits::default(),
            shared: BTreeMap::new(),
            is_capped: false,
            given: Vec::with_capacity(candidates.len() as usize),
        };
        if self.quotas.has_unsatisfied() {
            run.tops = Some(self.rank_tops(run.stage));
        }
        for at in candidates.iter() {
            if !self.quotas.has_unsatisfied() {
                break;
            }
            self.give_agent(&mut run, at);
        }
        let has_two_stages = !run.given.is_empty();
        run.stage = Stage::Fair;
        run.tops = None;
        if !self.quotas.is_empty() && candidates.len() >= MANY {
            run.tops = Some(self.rank_tops(run.stage));
        }
        for at in candidates.iter() {
            run.is_capped = false;
            self.give_agent(&mut run, at);
            if run.is_capped && !self.quotas.is_empty() {
                self.held_back.insert(at);
            }
        }
        if has_two_stages {
            merge(run.given)
        } else {
            run.given
        }
    }

    /// Framework ids are compared often and change seldom: their places in the order stand for them.
    fn rank_frameworks(&mut self) {
        if !std::mem::take(&mut self.has_new_framework) {
            return;
        }
        for (rank, known) in (0u32..).zip(self.frameworks.values()) {
            for client in known.clients.values() {
                let client = &mut self.tree.clients[*client as usize];
                if std::mem::replace(&mut client.rank, rank) != rank {
                    let node = client.node;
                    self.tree.outdate(node);
                }
            }
        }
    }

    fn rank_tops(&self, stage: Stage) -> Ranking {
        let tops = self.tree.tops().iter();
        let open = tops.filter(|top| self.is_open(stage, **top));
        let mut ranking = Ranking::default();
        ranking.fill(open.map(|top| (*top, self.tree.role_key(*top))));
        ranking
    }

    fn is_open(&self, stage: Stage, top: u32) -> bool {
        match stage {
            Stage::Guarantees => self.quotas.is_unsatisfied(top),
            Stage::Fair => !self.quotas.is_full(top, &self.tree.totals),
        }
    }

    fn give_agent(&mut self, run: &mut Run<'_>, at: u32) {
        let slot = self.slots.get(at);
        if !slot.is_active || slot.available.is_empty() {
            return;
        }
        self.hide(run, at);
        let is_plain = slot.is_plain && slot.is_scalar;
        let tops = run
            .tops
            .take_if(|_| is_plain || run.stage == Stage::Guarantees);
        let Some(mut tops) = tops else {
            self.tree.start(&mut run.cursor, super::tree::ROOT);
            self.give_roles(run, at);
            return;
        };
        run.tops_walk.restart();
        while let Some(place) = tops.next(&mut run.tops_walk)
            && !self.slots.get(at).available.is_empty()
        {
            let top = tops.number(place);
            let before = run.given.len();
            self.tree.start(&mut run.cursor, top);
            self.give_roles(run, at);
            if run.given.len() > before {
                let is_open = self.is_open(run.stage, top);
                tops.detach(&mut run.tops_walk);
                let key = is_open.then(|| self.tree.role_key(top));
                tops.update(place, key.unwrap_or(NOBODY));
            }
        }
        run.tops = Some(tops);
    }

    fn give_roles(&mut self, run: &mut Run<'_>, at: u32) {
        while let Some(role) = self.tree.next_role(&mut run.cursor) {
            self.give_role(run, at, role);
            if self.slots.get(at).available.is_empty() {
                return;
            }
        }
    }

    fn give_role(&mut self, run: &mut Run<'_>, at: u32, role: u32) {
        let mut share = self.share_of(run, at, role);
        run.is_capped |= !matches!(share, Share::Whole);
        if matches!(share, Share::Nothing) {
            return;
        }
        self.start_clients(run, at, role);
        while let Some(client) = self.next_client(run, role) {
            if self.hidden(run, at).contains(client) {
                continue;
            }
            let Some(part) = self.wanted(run, client, at, &share) else {
                continue;
            };
            let resources = match &share {
                Share::Nothing => return,
                Share::Whole => self.hold_all(client, at),
                Share::Part(_) => {
                    self.tree.detach(&mut run.cursor);
                    let order = &self.tree.nodes[role as usize].clients_order;
                    order.detach(&mut run.clients.walk);
                    self.hold(client, at, &part, Kind::Allocated);
                    run.note_shared(at, &part);
                    // More filters may hide what is left than hid all of it.
                    self.hide(run, at);
                    part
                }
            };
            self.tree.settle();
            run.given.push(self.allocation(client, at, resources));
            if self.slots.get(at).available.is_empty() {
                return;
            }
            share = self.share_of(run, at, role);
            run.is_capped |= !matches!(share, Share::Whole);
            if matches!(share, Share::Nothing) {
                return;
            }
        }
    }

    fn allocation(&self, client: u32, agent: u32, resources: Resources) -> Allocation {
        let identity = &self.identities[client as usize];
        Allocation {
            framework: identity.framework.clone(),
            role: identity.role.clone(),
            agent: self.slots.get(agent).id.clone(),
            resources,
            handle: Handle { client, agent },
        }
    }

    /// From whom all that is free on the agent is hidden: who refused it, and who cannot deal with such an agent.
    fn hide(&self, run: &mut Run<'_>, at: u32) {
        run.hidden.clear();
        run.hiding = None;
        let slot = self.slots.get(at);
        let mut is_merged = false;
        for (unfit, is_needed) in self.unfit.iter().zip(slot.needs(self.filter_gpu_resources)) {
            if is_needed && !unfit.is_empty() {
                run.hidden.extend(unfit);
                is_merged = true;
            }
        }
        let bundles = self.filters.bundles(at);
        for bundle in self.filters.hiding(at, &slot.available) {
            if let Some(first) = run.hiding.take() {
                run.hidden.extend(&bundles[first].clients);
                is_merged = true;
            }
            if is_merged {
                run.hidden.extend(&bundles[bundle].clients);
            } else {
                run.hiding = Some(bundle);
            }
        }
    }

    fn hidden<'a>(&'a self, run: &'a Run<'_>, at: u32) -> &'a Bits {
        run.hiding.map_or(&run.hidden, |bundle| {
            &self.filters.bundles(at)[bundle].clients
        })
    }

    /// A walk passes the hidden ones one by one. Once so few are left that a list of them is made faster, that is done.
    fn start_clients(&self, run: &mut Run<'_>, at: u32, role: u32) {
        let node = &self.tree.nodes[role as usize];
        let active = node.active_clients;
        run.clients.listed = None;
        let hidden = self.hidden(run, at);
        // Only what hides most of them is worth counting.
        let is_many = || match run.hiding {
            None => !hidden.is_empty(),
            Some(bundle) => 2 * self.filters.bundles(at)[bundle].len() > active as usize,
        };
        if active > 8 && is_many() {
            let open = node.clients.count_without(hidden);
            // One of active / open steps of a walk succeeds.
            if open.saturating_mul(open) < active {
                let order = &node.clients_order;
                let clients = node.clients.iter_without(hidden);
                let clients =
                    clients.filter(|client| self.tree.clients[*client as usize].is_active);
                let mut listed: Vec<_> = clients
                    .map(|client| {
                        let place = self.tree.clients[client as usize].place;
                        (order.key(place), place, client)
                    })
                    .collect();
                listed.sort_unstable_by(|one, other| other.cmp(one));
                let listed = listed.into_iter().map(|(_, _, client)| client);
                run.clients.listed = Some(listed.collect());
                return;
            }
        }
        run.clients.walk.restart();
    }

    fn next_client(&self, run: &mut Run<'_>, role: u32) -> Option<u32> {
        if let Some(listed) = &mut run.clients.listed {
            return listed.pop();
        }
        let order = &self.tree.nodes[role as usize].clients_order;
        let place = order.next(&mut run.clients.walk)?;
        Some(order.number(place))
    }
}

impl Run<'_> {
    fn note_shared(&mut self, at: u32, part: &Resources) {
        let shared = part.filter(|entry| entry.is_shared());
        if !shared.is_empty() {
            self.shared.entry(at).or_default().add(&shared);
        }
    }
}

/// Both stages may have given a client something of the same agent: that is one offer.
fn merge(given: Vec<Allocation>) -> Vec<Allocation> {
    let mut merged: BTreeMap<(u32, u32), Allocation> = BTreeMap::new();
    for allocation in given {
        let Handle { client, agent } = allocation.handle;
        match merged.get_mut(&(agent, client)) {
            Some(first) => first.resources.add(&allocation.resources),
            None => {
                merged.insert((agent, client), allocation);
            }
        }
    }
    merged.into_values().collect()
}
