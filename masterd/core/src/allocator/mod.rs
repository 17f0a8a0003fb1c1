//! Who gets which agent's free resources.
//!
//! Knows shares, quota, filters and suppression; not offers (the master turns an [`Allocation`] into one) and not tasks.
//! Runs when something changed, on the agents concerned only: there is no periodic batch. Whatever is offered counts as
//! allocated at once, and the first eligible framework gets all that is free on an agent (coarse-grained, as in Mesos)
//! unless quota holds something back. Called by the master, the golden scripts and the benchmarks.
//!
//! Invariants: the tree's sums equal the sums over all slots' allocations; a slot's `available` is its total without its
//! allocations; with the same calls in the same order the same is given out.

mod bits;
mod books;
mod check;
mod clients;
mod few;
mod filters;
mod order;
mod quantities;
mod quota;
mod ranking;
mod run;
mod share;
mod slots;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nesos_base::time::{Duration, Instant};
use nesos_wire::resource::Resources;
use nesos_wire::{AgentId, FrameworkId};

use crate::recent::Recent;

use bits::Bits;
pub(crate) use books::is_same;
use filters::Filters;
use quantities::{Names, Quantities};
pub use quota::Quota;
use quota::Quotas;
pub use slots::AgentFacts;
use slots::Slots;
use tree::Tree;

/// Resources of one agent given to one role of one framework.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// To whom.
    pub framework: FrameworkId,
    /// In which of its roles.
    pub role: Arc<str>,
    /// Where.
    pub agent: AgentId,
    /// What.
    pub resources: Resources,
    /// Saves looking the names up when it comes back.
    pub handle: Handle,
}

impl Allocation {
    /// Whose it is.
    pub fn holder(&self) -> Holder<'_> {
        Holder {
            framework: &self.framework,
            role: &self.role,
            agent: &self.agent,
            handle: self.handle,
        }
    }
}

/// Whose an allocation is, and where.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    /// The framework.
    pub framework: &'a FrameworkId,
    /// Its role.
    pub role: &'a str,
    /// The agent.
    pub agent: &'a AgentId,
    /// Saves looking the names up.
    pub handle: Handle,
}

/// Where the allocator keeps the books of an allocation. Only a hint, which is checked against the names; the default
/// says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    client: u32,
    agent: u32,
}

impl Default for Handle {
    fn default() -> Self {
        Self {
            client: u32::MAX,
            agent: u32::MAX,
        }
    }
}

/// What holds for all.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Offers must hold one of these; none: anything goes (`--min_allocatable_resources`).
    pub min_allocatable: Vec<Resources>,
    /// Frameworks without GPU_RESOURCES get nothing from agents with gpus (`--filter_gpu_resources`).
    pub filter_gpu_resources: bool,
    /// Names that count in no share (`--fair_sharing_excluded_resource_names`).
    pub fair_sharing_excluded: Vec<String>,
}

/// What the allocator must know of a framework.
#[derive(Debug, Clone, Default)]
pub struct Subscription {
    /// Roles it is subscribed to.
    pub roles: BTreeSet<String>,
    /// Those that want no offers.
    pub suppressed: BTreeSet<String>,
    /// Per role, overrides [`Settings::min_allocatable`].
    pub min_allocatable: BTreeMap<String, Vec<Resources>>,
    /// Roles with offer constraints: for these [`Allocator::allocate_where`] asks before every offer.
    pub constrained: BTreeSet<String>,
    /// GPU_RESOURCES.
    pub wants_gpus: bool,
    /// REVOCABLE_RESOURCES.
    pub wants_revocable: bool,
    /// SHARED_RESOURCES.
    pub wants_shared: bool,
    /// RESERVATION_REFINEMENT.
    pub wants_refined: bool,
    /// REGION_AWARE.
    pub is_region_aware: bool,
    /// MULTI_ROLE.
    pub is_multi_role: bool,
    /// It is connected.
    pub active: bool,
}

#[derive(Debug, Default)]
struct Framework {
    subscription: Subscription,
    /// Its clients in the tree, by role.
    clients: BTreeMap<String, u32>,
}

/// What a client is in the world of names, beside its place in the tree.
#[derive(Debug, Default)]
struct Identity {
    framework: FrameworkId,
    role: Arc<str>,
    /// Of these the offer must contain one; `None`: those of the settings.
    minima: Option<Vec<Quantities>>,
    is_subscribed: bool,
    is_constrained: bool,
    wants_revocable: bool,
    wants_shared: bool,
    wants_refined: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Allocator {
    filter_gpu_resources: bool,
    minima: Vec<Quantities>,
    names: Names,
    slots: Slots,
    frameworks: BTreeMap<FrameworkId, Framework>,
    /// Indexed by client.
    identities: Vec<Identity>,
    tree: Tree,
    quotas: Quotas,
    filters: Filters,
    /// For each of [`Slot::needs`](slots::Slot::needs), the clients that cannot meet it.
    unfit: [Bits; 4],
    /// Agents that changed since the last run.
    candidates: Bits,
    /// Agents of which quota held something back in their last run: whatever changes elsewhere may set it free.
    held_back: Bits,
    has_new_framework: bool,
    resume_at: Option<usize>,
    /// What agents that came lately had free and in use.
    bags: Recent<Resources>,
}

impl Allocator {
    /// An allocator that knows nobody.
    pub fn new(settings: &Settings) -> Self {
        let mut names = Names::new(&settings.fair_sharing_excluded);
        let least = settings.min_allocatable.iter();
        Self {
            filter_gpu_resources: settings.filter_gpu_resources,
            minima: least.map(|least| names.least(least)).collect(),
            names,
            slots: Slots::default(),
            frameworks: BTreeMap::new(),
            identities: Vec::new(),
            tree: Tree::new(),
            quotas: Quotas::default(),
            filters: Filters::default(),
            unfit: Default::default(),
            candidates: Bits::default(),
            held_back: Bits::default(),
            has_new_framework: false,
            resume_at: None,
            bags: Recent::default(),
        }
    }

    /// A framework is new, or subscribes again: filters are forgotten, all agents are considered.
    pub fn put_framework(&mut self, id: &FrameworkId, subscription: Subscription) {
        self.clear_filters(id, None);
        self.replace_subscription(id, subscription);
        self.consider_all();
    }

    /// A subscribed framework changes: only the filters of roles that it leaves or wants offers for again are forgotten.
    pub fn update_framework(&mut self, id: &FrameworkId, subscription: Subscription) {
        let Some(known) = self.frameworks.get(id) else {
            return;
        };
        let suppressed = known
            .subscription
            .suppressed
            .difference(&subscription.suppressed);
        let revived: Vec<String> = suppressed.cloned().collect();
        for role in revived {
            self.clear_filters(id, Some(&role));
        }
        self.replace_subscription(id, subscription);
        self.consider_all();
    }

    /// The framework gets nothing until `put_framework`; what it has stays.
    pub fn deactivate_framework(&mut self, id: &FrameworkId) {
        self.clear_filters(id, None);
        let Some(known) = self.frameworks.get_mut(id) else {
            return;
        };
        known.subscription.active = false;
        for role in known.clients.keys().cloned().collect::<Vec<_>>() {
            self.refresh_client(id, &role);
        }
    }

    /// The framework is gone; whatever it still had is free.
    pub fn remove_framework(&mut self, id: &FrameworkId) {
        self.deactivate_framework(id);
        let Some(known) = self.frameworks.get_mut(id) else {
            return;
        };
        known.subscription = Subscription::default();
        let clients: Vec<(String, u32)> = known
            .clients
            .iter()
            .map(|(role, client)| (role.clone(), *client))
            .collect();
        for (role, client) in clients {
            for agent in self.slots.held_by(client) {
                self.release_all(client, agent);
            }
            self.refresh_client(id, &role);
        }
    }

    /// Forgets filters and suppression of these roles.
    pub fn revive(&mut self, framework: &FrameworkId, roles: &BTreeSet<String>) {
        for role in roles {
            self.clear_filters(framework, Some(role));
            if let Some(known) = self.frameworks.get_mut(framework) {
                known.subscription.suppressed.remove(role);
            }
            self.refresh_client(framework, role);
        }
        self.consider_all();
    }

    /// These roles want no offers until they revive.
    pub fn suppress(&mut self, framework: &FrameworkId, roles: &BTreeSet<String>) {
        for role in roles {
            if let Some(known) = self.frameworks.get_mut(framework) {
                known.subscription.suppressed.insert(role.clone());
            }
            self.refresh_client(framework, role);
        }
    }

    /// Sets a role's weight (its full path; default 1). Weights that are not above zero are taken as 1.
    pub fn set_weight(&mut self, role: &str, weight: f64) {
        let weight = if weight > 0.0 && weight.is_finite() {
            weight
        } else {
            1.0
        };
        self.tree.set_weight(role, weight);
        self.consider_all();
    }

    /// Lets filters end that are due.
    pub fn expire_filters(&mut self, now: Instant) {
        for agent in self.filters.expire(now) {
            self.candidates.insert(agent);
        }
    }

    /// When `expire_filters` has to be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.filters.next_expiry()
    }

    /// How many filters there are.
    pub fn active_filters(&self) -> usize {
        self.filters.len()
    }

    /// How many filters each role has; roles without any are left out.
    pub fn active_filters_of_roles(&self) -> BTreeMap<&str, usize> {
        let mut roles = BTreeMap::new();
        for (count, identity) in self.filters.counts().zip(&self.identities) {
            if count > 0 {
                *roles.entry(identity.role.as_ref()).or_default() += count;
            }
        }
        roles
    }

    /// Roles with at least one framework subscribed or holding something, sorted.
    pub fn roles(&self) -> BTreeSet<&str> {
        self.tree.roles()
    }

    /// A framework's dominant share within the cluster, 0 to 1 (above 1 when more is in use than there is).
    pub fn dominant_share(&self, role: &str, framework: &FrameworkId) -> f64 {
        self.client(framework, role).map_or(0.0, |client| {
            let held = &self.tree.clients[client as usize].held;
            self.names.scale(&self.tree.totals).share(&held.allocated)
        })
    }

    /// A role's dominant share, its sub-roles included, not weighted.
    pub fn role_share(&self, role: &str) -> f64 {
        self.tree.find(role).map_or(0.0, |node| {
            let held = &self.tree.nodes[node as usize].subtree;
            self.names.scale(&self.tree.totals).share(&held.allocated)
        })
    }

    /// Whether something changed since the last run.
    pub fn has_work(&self) -> bool {
        !self.candidates.is_empty() && self.resume_at.is_none()
    }

    /// Gives out nothing until this many agents are here or `resume` is called: after a failover with quota, the first
    /// agents to return must not be given away before the cluster's size is known.
    pub fn pause_until(&mut self, agents: usize) {
        self.resume_at = (agents > self.slots.len()).then_some(agents);
    }

    /// Ends `pause_until`.
    pub fn resume(&mut self) {
        self.resume_at = None;
    }

    fn consider_all(&mut self) {
        for agent in self.slots.numbers() {
            self.candidates.insert(agent);
        }
    }

    fn clear_filters(&mut self, id: &FrameworkId, role: Option<&str>) {
        let clients = self
            .frameworks
            .get(id)
            .into_iter()
            .flat_map(|known| &known.clients);
        for (of, client) in clients {
            if role.is_none_or(|role| role == of) {
                self.filters.clear_client(*client);
            }
        }
    }
}

/// How long a refusal lasts: `None` and nonsense mean Mesos's 5 s, at most 365 days.
pub(crate) fn refusal(seconds: Option<f64>) -> Duration {
    const DEFAULT: f64 = 5.0;
    let seconds = seconds.filter(|seconds| *seconds >= 0.0).unwrap_or(DEFAULT);
    nesos_base::time::seconds(seconds)
}
