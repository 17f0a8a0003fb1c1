//! Who gets which agent's free resources.
//!
//! Knows shares, filters and suppression; not offers (`offers` turns an allocation into one) and not tasks. Runs when
//! something changed, on the agents concerned only: there is no periodic batch. Whatever is offered counts as allocated
//! at once, and the first eligible framework gets all that is free on an agent (coarse-grained, as in Mesos).
//! Invariant: the sorters' sums equal the sums over all slots' allocations.

mod check;
mod drf;
mod filters;

use std::collections::{BTreeMap, BTreeSet};

use nesos_base::time::{Duration, Instant};
use nesos_wire::resource::{Resources, Scalar};
use nesos_wire::{AgentId, FrameworkId};

use crate::config::Config;
use drf::Sorter;
use filters::Filters;

/// Resources of one agent given to one role of one framework.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allocation {
    pub(crate) framework: FrameworkId,
    pub(crate) role: String,
    pub(crate) agent: AgentId,
    pub(crate) resources: Resources,
}

/// What the allocator must know of a framework.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subscription {
    pub(crate) roles: BTreeSet<String>,
    pub(crate) suppressed: BTreeSet<String>,
    pub(crate) min_allocatable: BTreeMap<String, Vec<Resources>>,
    pub(crate) wants_gpus: bool,
    pub(crate) active: bool,
}

#[derive(Debug, Default)]
struct Slot {
    total: Resources,
    active: bool,
    allocations: BTreeMap<(FrameworkId, String), Resources>,
}

impl Slot {
    fn available(&self) -> Resources {
        let mut available = self.total.clone();
        for resources in self.allocations.values() {
            available.subtract(resources);
        }
        available
    }
}

#[derive(Debug)]
pub(crate) struct Allocator {
    min_allocatable: Vec<Resources>,
    filter_gpu_resources: bool,
    agents: BTreeMap<AgentId, Slot>,
    frameworks: BTreeMap<FrameworkId, Subscription>,
    roles: Sorter<String>,
    clients: BTreeMap<String, Sorter<FrameworkId>>,
    filters: Filters,
    candidates: BTreeSet<AgentId>,
}

impl Allocator {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            min_allocatable: config.min_allocatable.clone(),
            filter_gpu_resources: config.filter_gpu_resources,
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            roles: Sorter::default(),
            clients: BTreeMap::new(),
            filters: Filters::default(),
            candidates: BTreeSet::new(),
        }
    }

    /// A framework is new, or subscribes again: filters are forgotten, all agents are considered.
    pub(crate) fn put_framework(&mut self, id: &FrameworkId, subscription: Subscription) {
        self.filters.clear_framework(id, None);
        self.replace(id, subscription);
    }

    /// A subscribed framework changes: only the filters of roles that it leaves or wants offers for again are forgotten.
    pub(crate) fn update_framework(&mut self, id: &FrameworkId, subscription: Subscription) {
        let Some(old) = self.frameworks.get(id) else {
            return;
        };
        let left = old.roles.difference(&subscription.roles);
        let revived = old.suppressed.difference(&subscription.suppressed);
        for role in left.chain(revived) {
            self.filters.clear_framework(id, Some(role));
        }
        self.replace(id, subscription);
    }

    /// The framework gets nothing until `put_framework`; what it has stays.
    pub(crate) fn deactivate_framework(&mut self, id: &FrameworkId) {
        self.filters.clear_framework(id, None);
        let Some(known) = self.frameworks.get_mut(id) else {
            return;
        };
        known.active = false;
        for role in known.roles.clone() {
            self.refresh_client(id, &role);
        }
    }

    /// The framework is gone; whatever it still had is free.
    pub(crate) fn remove_framework(&mut self, id: &FrameworkId) {
        self.deactivate_framework(id);
        let agents: Vec<AgentId> = self.agents.keys().cloned().collect();
        for agent in agents {
            let Some(slot) = self.agents.get(&agent) else {
                continue;
            };
            let held = slot
                .allocations
                .iter()
                .filter(|((framework, _), _)| framework == id);
            let held: Vec<(String, Resources)> = held
                .map(|((_, role), held)| (role.clone(), held.clone()))
                .collect();
            for (role, resources) in held {
                self.recover(id, &role, &agent, &resources);
            }
        }
        let roles = self
            .frameworks
            .remove(id)
            .map(|known| known.roles)
            .unwrap_or_default();
        for role in roles {
            self.refresh_client(id, &role);
        }
    }

    /// An agent is here; it was not before.
    pub(crate) fn add_agent(&mut self, id: &AgentId, total: Resources) {
        self.remove_agent(id);
        self.add_total(&total);
        self.agents.insert(
            id.clone(),
            Slot {
                total,
                active: true,
                allocations: BTreeMap::new(),
            },
        );
        self.candidates.insert(id.clone());
    }

    /// The agent has other resources than before.
    pub(crate) fn update_agent(&mut self, id: &AgentId, total: Resources) {
        let Some(slot) = self.agents.get_mut(id) else {
            return;
        };
        if slot.total != total {
            let old = std::mem::replace(&mut slot.total, total.clone());
            self.remove_total(&old);
            self.add_total(&total);
        }
        self.candidates.insert(id.clone());
    }

    pub(crate) fn has_agent(&self, id: &AgentId) -> bool {
        self.agents.contains_key(id)
    }

    pub(crate) fn set_agent_active(&mut self, id: &AgentId, active: bool) {
        if let Some(slot) = self.agents.get_mut(id) {
            slot.active = active;
            self.candidates.insert(id.clone());
        }
    }

    /// The agent changed so much that old refusals mean nothing.
    pub(crate) fn clear_agent_filters(&mut self, id: &AgentId) {
        self.filters.clear_agent(id);
    }

    /// The agent is gone with everything allocated on it.
    pub(crate) fn remove_agent(&mut self, id: &AgentId) {
        let Some(slot) = self.agents.remove(id) else {
            return;
        };
        for ((framework, role), resources) in &slot.allocations {
            self.unallocate(framework, role, resources);
        }
        self.remove_total(&slot.total);
        self.filters.clear_agent(id);
        self.candidates.remove(id);
    }

    /// Something is in use that the allocator did not give out: a task the agent brought along.
    pub(crate) fn allocated(
        &mut self,
        framework: &FrameworkId,
        role: &str,
        agent: &AgentId,
        resources: &Resources,
    ) {
        let Some(slot) = self.agents.get_mut(agent) else {
            return;
        };
        slot.allocations
            .entry((framework.clone(), role.to_owned()))
            .or_default()
            .add(resources);
        self.ensure_client(framework, role);
        self.roles.allocated(&role.to_owned(), resources);
        if let Some(sorter) = self.clients.get_mut(role) {
            sorter.allocated(framework, resources);
        }
    }

    /// Something is free again. On an agent that is gone: nothing to do, it went with the agent.
    pub(crate) fn recover(
        &mut self,
        framework: &FrameworkId,
        role: &str,
        agent: &AgentId,
        resources: &Resources,
    ) {
        let Some(slot) = self.agents.get_mut(agent) else {
            return;
        };
        let key = (framework.clone(), role.to_owned());
        let Some(held) = slot.allocations.get_mut(&key) else {
            return;
        };
        held.subtract(resources);
        if held.is_empty() {
            slot.allocations.remove(&key);
        }
        self.unallocate(framework, role, resources);
        self.refresh_client(framework, role);
        self.candidates.insert(agent.clone());
    }

    /// Hides these resources of the agent from the framework's role for a while.
    pub(crate) fn refuse(&mut self, refused: Allocation, until: Instant) {
        if self.agents.contains_key(&refused.agent) {
            self.filters.add(
                &refused.framework,
                &refused.role,
                &refused.agent,
                refused.resources,
                until,
            );
        }
    }

    /// Forgets filters and suppression of these roles.
    pub(crate) fn revive(&mut self, framework: &FrameworkId, roles: &BTreeSet<String>) {
        for role in roles {
            self.filters.clear_framework(framework, Some(role));
            if let Some(known) = self.frameworks.get_mut(framework) {
                known.suppressed.remove(role);
            }
            self.refresh_client(framework, role);
        }
        self.consider_all();
    }

    pub(crate) fn suppress(&mut self, framework: &FrameworkId, roles: &BTreeSet<String>) {
        for role in roles {
            if let Some(known) = self.frameworks.get_mut(framework) {
                known.suppressed.insert(role.clone());
            }
            self.refresh_client(framework, role);
        }
    }

    pub(crate) fn expire_filters(&mut self, now: Instant) {
        self.candidates.extend(self.filters.expire(now));
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.filters.next_expiry()
    }

    pub(crate) fn active_filters(&self) -> usize {
        self.filters.len()
    }

    pub(crate) fn dominant_share(&self, role: &str, framework: &FrameworkId) -> f64 {
        self.clients
            .get(role)
            .map_or(0.0, |sorter| sorter.share(framework))
    }

    /// Whether something changed since the last run.
    pub(crate) fn has_work(&self) -> bool {
        !self.candidates.is_empty()
    }

    /// Gives out what is free on the agents that changed.
    pub(crate) fn allocate(&mut self) -> Vec<Allocation> {
        self.roles.refresh();
        for sorter in self.clients.values_mut() {
            sorter.refresh();
        }
        let mut allocations = Vec::new();
        for agent in std::mem::take(&mut self.candidates) {
            let Some(slot) = self.agents.get(&agent).filter(|slot| slot.active) else {
                continue;
            };
            let resources = slot.available();
            if resources.is_empty() {
                continue;
            }
            let Some((framework, role)) = self.first_eligible(&agent, &resources, slot) else {
                continue;
            };
            self.allocated(&framework, &role, &agent, &resources);
            allocations.push(Allocation {
                framework,
                role,
                agent,
                resources,
            });
        }
        allocations
    }

    fn first_eligible(
        &self,
        agent: &AgentId,
        free: &Resources,
        slot: &Slot,
    ) -> Option<(FrameworkId, String)> {
        let has_gpus = slot.total.scalar("gpus") > Scalar(0);
        for role in self.roles.ranked() {
            for framework in self.clients.get(role)?.ranked() {
                let Some(known) = self.frameworks.get(framework) else {
                    continue;
                };
                let may_have_gpus = !self.filter_gpu_resources || known.wants_gpus;
                let minimum = known
                    .min_allocatable
                    .get(role)
                    .unwrap_or(&self.min_allocatable);
                let is_enough =
                    minimum.is_empty() || minimum.iter().any(|least| free.contains(least));
                if is_enough
                    && (!has_gpus || may_have_gpus)
                    && !self.filters.hides(framework, role, agent, free)
                {
                    return Some((framework.clone(), role.clone()));
                }
            }
        }
        None
    }

    fn consider_all(&mut self) {
        self.candidates.extend(self.agents.keys().cloned());
    }

    fn add_total(&mut self, total: &Resources) {
        self.roles.add_total(total);
        for sorter in self.clients.values_mut() {
            sorter.add_total(total);
        }
    }

    fn remove_total(&mut self, total: &Resources) {
        self.roles.remove_total(total);
        for sorter in self.clients.values_mut() {
            sorter.remove_total(total);
        }
    }

    fn ensure_client(&mut self, framework: &FrameworkId, role: &str) {
        self.roles.add(&role.to_owned());
        let roles = &self.roles;
        let sorter = self
            .clients
            .entry(role.to_owned())
            .or_insert_with(|| Sorter::with_total_of(roles));
        sorter.add(framework);
    }

    fn unallocate(&mut self, framework: &FrameworkId, role: &str, resources: &Resources) {
        self.roles.unallocated(&role.to_owned(), resources);
        if let Some(sorter) = self.clients.get_mut(role) {
            sorter.unallocated(framework, resources);
        }
    }

    fn replace(&mut self, id: &FrameworkId, subscription: Subscription) {
        let new = subscription.roles.clone();
        let old = self.frameworks.insert(id.clone(), subscription);
        for role in old.unwrap_or_default().roles.union(&new) {
            self.refresh_client(id, role);
        }
        self.consider_all();
    }

    /// Puts a framework in or out of a role's sorter, as its subscription and its allocations say.
    fn refresh_client(&mut self, framework: &FrameworkId, role: &str) {
        let known = self
            .frameworks
            .get(framework)
            .filter(|known| known.roles.contains(role));
        let (is_subscribed, active) = known.map_or((false, false), |known| {
            (true, known.active && !known.suppressed.contains(role))
        });
        let keeps = is_subscribed
            || self
                .clients
                .get(role)
                .is_some_and(|sorter| sorter.has_allocation(framework));
        if keeps {
            self.ensure_client(framework, role);
        }
        let Some(sorter) = self.clients.get_mut(role) else {
            return;
        };
        if keeps {
            sorter.set_active(framework, active);
        } else {
            sorter.remove(framework);
        }
        let has_active = sorter.has_active();
        if sorter.is_empty() {
            self.clients.remove(role);
            self.roles.remove(&role.to_owned());
        } else {
            self.roles.set_active(&role.to_owned(), has_active);
        }
    }
}

/// How long a refusal lasts: `None` and nonsense mean Mesos's 5 s, at most 365 days.
pub(crate) fn refusal(seconds: Option<f64>) -> Duration {
    const DEFAULT: f64 = 5.0;
    let seconds = seconds.filter(|seconds| *seconds >= 0.0).unwrap_or(DEFAULT);
    nesos_base::time::seconds(seconds)
}
