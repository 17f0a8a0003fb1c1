//! Roles as people see them: who is in them, what they hold, what of it counts against quota.
//!
//! Reads the master's books; shares and filters are the allocator's. Called by the quota checks and by whoever shows roles.
//! Invariant: a role's sums include those of the roles below it, its frameworks do not.

use std::collections::{BTreeMap, BTreeSet};

use nesos_wire::FrameworkId;
use nesos_wire::resource::{Entry, Resources, Scalar};
use nesos_wire::role::DEFAULT;

use crate::master::Master;
use crate::state::AgentCondition;

/// Amounts by name.
pub type Amounts = BTreeMap<String, Scalar>;

/// What one role has.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RoleUsage {
    /// Those subscribed to it.
    pub frameworks: BTreeSet<FrameworkId>,
    /// What tasks and executors hold.
    pub allocated: Resources,
    /// What is on offer.
    pub offered: Resources,
    /// What is reserved, in use or not.
    pub reserved: Resources,
}

impl RoleUsage {
    /// What counts against the role's quota: reservations, and what tasks hold beside them. Offers do not.
    pub fn consumed(&self) -> Amounts {
        let mut consumed = amounts(&self.reserved.filter(counts));
        let unreserved = |entry: &Entry| entry.owner().is_none() && counts(entry);
        for (name, amount) in amounts(&self.allocated.filter(unreserved)) {
            add(&mut consumed, &name, amount);
        }
        consumed
    }
}

impl Master {
    /// Every role that is configured, subscribed to, in use or has reservations, quota or a weight, and all above these.
    pub fn roles(&self) -> BTreeMap<String, RoleUsage> {
        let mut roles = BTreeMap::new();
        let quotas = self.registry.quotas().map(|quota| quota.role.as_str());
        let weights = self.registry.weights().map(|(role, _)| role);
        let configured = self.config.roles.iter().map(String::as_str);
        for role in quotas.chain(weights).chain(configured).chain([DEFAULT]) {
            with_ancestors(&mut roles, role, |_| {});
        }
        for framework in self.frameworks.values() {
            for role in &framework.facts.roles {
                with_ancestors(&mut roles, role, |_| {});
                let own = roles.entry(role.clone()).or_default();
                own.frameworks.insert(framework.id.clone());
            }
            let tasks = framework.tasks.values();
            for task in tasks.filter(|task| task.is_using_resources()) {
                with_ancestors(&mut roles, &task.spec.role, |usage| {
                    usage.allocated.add(&task.spec.resources);
                });
            }
        }
        for (_, executor) in self.executors() {
            with_ancestors(&mut roles, &executor.role, |usage| {
                usage.allocated.add(&executor.resources);
            });
        }
        for offer in self.offers.values() {
            with_ancestors(&mut roles, &offer.role, |usage| {
                usage.offered.add(&offer.resources);
            });
        }
        let is_here = |condition: AgentCondition| {
            matches!(
                condition,
                AgentCondition::Connected(_) | AgentCondition::Disconnected
            )
        };
        for agent in self.agents.values().filter(|a| is_here(a.condition)) {
            for entry in agent.resources.entries() {
                let Some(owner) = entry.owner() else { continue };
                with_ancestors(&mut roles, owner, |usage| usage.reserved.put(entry.clone()));
            }
        }
        roles
    }

    /// How many decline filters are active.
    pub fn active_filters(&self) -> usize {
        self.allocator.active_filters()
    }

    /// How many decline filters each role has; roles without any are left out.
    pub fn active_filters_of_roles(&self) -> BTreeMap<&str, usize> {
        self.allocator.active_filters_of_roles()
    }

    /// The dominant share of each role that takes part in sharing, its sub-roles included, 0 to 1.
    pub fn role_shares(&self) -> BTreeMap<&str, f64> {
        let roles = self.allocator.roles().into_iter();
        roles
            .map(|role| (role, self.allocator.role_share(role)))
            .collect()
    }

    /// A framework's dominant share of the cluster, 0 to 1, in one role.
    pub fn dominant_share(&self, role: &str, framework: &FrameworkId) -> f64 {
        self.allocator.dominant_share(role, framework)
    }

    /// A role's weight.
    pub fn weight(&self, role: &str) -> f64 {
        self.registry.weight(role).unwrap_or(1.0)
    }
}

/// The scalars of a bag, summed by name.
pub fn amounts(bag: &Resources) -> Amounts {
    let mut sums = Amounts::new();
    for entry in bag.entries() {
        if entry.scalar() != Scalar(0) {
            add(&mut sums, entry.name(), entry.scalar());
        }
    }
    sums
}

/// The ancestor of a role, or itself, that can have quota.
pub(crate) fn top(role: &str) -> &str {
    role.split('/').next().unwrap_or_default()
}

/// Whether quota counts it.
pub(crate) fn counts(entry: &Entry) -> bool {
    !entry.terms().is_revocable
}

pub(crate) fn add(sums: &mut Amounts, name: &str, amount: Scalar) {
    match sums.get_mut(name) {
        Some(sum) => sum.0 = sum.0.saturating_add(amount.0),
        None => drop(sums.insert(name.to_owned(), amount)),
    }
}

fn with_ancestors(
    roles: &mut BTreeMap<String, RoleUsage>,
    role: &str,
    change: impl Fn(&mut RoleUsage),
) {
    let ends = role.match_indices('/').map(|(at, _)| at);
    for end in ends.chain([role.len()]) {
        match roles.get_mut(&role[..end]) {
            Some(usage) => change(usage),
            None => change(roles.entry(role[..end].to_owned()).or_default()),
        }
    }
}
