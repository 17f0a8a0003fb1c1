//! Clients: each role of each framework, as long as it is subscribed or holds something.
//!
//! Called by the allocator's other parts; what a client holds is in `books`, where it stands in `order`. Invariant: a client
//! is in its framework's list, in the tree and in `identities`, or in none of the three.

use nesos_wire::FrameworkId;

use super::{Allocator, Holder, Identity, Subscription};

impl Allocator {
    pub(super) fn client(&self, framework: &FrameworkId, role: &str) -> Option<u32> {
        self.frameworks.get(framework)?.clients.get(role).copied()
    }

    /// The client and the agent of these names.
    pub(super) fn look_up(&self, of: Holder<'_>) -> Option<(u32, u32)> {
        let known = self.identities.get(of.handle.client as usize);
        let is_client = known
            .is_some_and(|known| known.framework == *of.framework && is_same(&known.role, of.role));
        let slot = self.slots.slots.get(of.handle.agent as usize);
        let is_agent = slot.is_some_and(|slot| slot.id == *of.agent);
        let client = match is_client {
            true => of.handle.client,
            false => self.client(of.framework, of.role)?,
        };
        let agent = match is_agent {
            true => of.handle.agent,
            false => self.slots.find(of.agent)?,
        };
        Some((client, agent))
    }

    pub(super) fn replace_subscription(&mut self, id: &FrameworkId, subscription: Subscription) {
        let roles = subscription.roles.clone();
        self.has_new_framework |= !self.frameworks.contains_key(id);
        let known = self.frameworks.entry(id.clone()).or_default();
        known.subscription = subscription;
        let known: Vec<String> = known.clients.keys().cloned().collect();
        for role in roles
            .iter()
            .chain(known.iter().filter(|role| !roles.contains(*role)))
        {
            self.refresh_client(id, role);
        }
    }

    pub(super) fn ensure_client(&mut self, framework: &FrameworkId, role: &str) -> u32 {
        if let Some(client) = self.client(framework, role) {
            return client;
        }
        self.has_new_framework = true;
        let client = self.tree.add_client(role);
        if self.identities.len() <= client as usize {
            self.identities
                .resize_with(client as usize + 1, Identity::default);
        }
        self.identities[client as usize] = Identity {
            framework: framework.clone(),
            role: role.into(),
            ..Identity::default()
        };
        let known = self.frameworks.entry(framework.clone()).or_default();
        known.clients.insert(role.to_owned(), client);
        client
    }

    /// Puts a framework in or out of a role, as its subscription and its allocations say.
    pub(super) fn refresh_client(&mut self, id: &FrameworkId, role: &str) {
        let is_subscribed = self
            .frameworks
            .get(id)
            .is_some_and(|known| known.subscription.roles.contains(role));
        if is_subscribed {
            self.ensure_client(id, role);
        }
        let Some(client) = self.client(id, role) else {
            return;
        };
        if let Some(known) = self.frameworks.get(id).filter(|_| is_subscribed) {
            let subscription = &known.subscription;
            let identity = &mut self.identities[client as usize];
            let minima = subscription.min_allocatable.get(role);
            let names = &mut self.names;
            identity.minima =
                minima.map(|minima| minima.iter().map(|least| names.least(least)).collect());
            identity.is_subscribed = true;
            identity.is_constrained = subscription.constrained.contains(role);
            identity.wants_revocable = subscription.wants_revocable;
            identity.wants_shared = subscription.wants_shared;
            identity.wants_refined = subscription.wants_refined;
            let is_unfit = [
                !subscription.wants_gpus,
                !subscription.is_region_aware,
                subscription.is_multi_role,
                role.contains('/'),
            ];
            for (unfit, is_unfit) in self.unfit.iter_mut().zip(is_unfit) {
                if is_unfit {
                    unfit.insert(client);
                } else {
                    unfit.remove(client);
                }
            }
            let is_active = subscription.active && !subscription.suppressed.contains(role);
            self.tree.set_active(client, is_active);
            return;
        }
        self.identities[client as usize].is_subscribed = false;
        self.tree.set_active(client, false);
        self.filters.clear_client(client);
        self.forget_if_idle(client);
    }

    /// Drops a client that is neither subscribed nor holds anything.
    pub(super) fn forget_if_idle(&mut self, client: u32) {
        let identity = &self.identities[client as usize];
        if identity.is_subscribed || self.tree.clients[client as usize].agents > 0 {
            return;
        }
        let (framework, role) = (identity.framework.clone(), identity.role.clone());
        self.forget_client(&framework, &role, client);
    }

    pub(super) fn forget_client(&mut self, id: &FrameworkId, role: &str, client: u32) {
        let node = self.tree.clients[client as usize].node;
        self.tree.remove_client(client);
        let quotas = &self.quotas;
        self.tree.collapse(node, |path| quotas.has(path));
        self.identities[client as usize] = Identity::default();
        if let Some(known) = self.frameworks.get_mut(id) {
            known.clients.remove(role);
            if known.clients.is_empty() {
                self.frameworks.remove(id);
            }
        }
    }
}

/// Mostly it is the very same text, which need not be read then.
fn is_same(one: &str, other: &str) -> bool {
    std::ptr::eq(one, other) || one == other
}
