//! Offers: from an allocation to a framework's stream, and back.
//!
//! Which framework gets what is the allocator's; using offers is `launch`'s. Invariant: an offer is in `Master::offers`,
//! its agent's and its framework's set, or in none of the three.

use std::collections::{BTreeMap, BTreeSet};

use nesos_wire::resource::Resources;
use nesos_wire::{AgentId, ExecutorId, FrameworkId, OfferId};

use crate::allocator::{Allocation, refusal};
use crate::constraints::Properties;
use crate::master::Master;
use crate::outgoing::{FrameworkEvent, Offer};
use crate::state::Agent;
use crate::timers::Timer;

impl Master {
    /// Runs the allocator on what changed and sends the offers, one OFFERS event per framework.
    pub(crate) fn make_offers(&mut self) {
        if !self.allocator.has_work() {
            return;
        }
        self.metrics.allocation_runs += 1;
        let mut by_framework: BTreeMap<FrameworkId, Vec<Offer>> = BTreeMap::new();
        for allocation in self.allocate() {
            if let Some(offer) = self.make_offer(allocation) {
                by_framework
                    .entry(offer.framework.clone())
                    .or_default()
                    .push(offer);
            }
        }
        for (framework, offers) in by_framework {
            self.metrics.offers_sent += offers.len() as u64;
            self.note_offers(&framework, "sent", offers.len() as u64);
            self.send_framework(&framework, FrameworkEvent::Offers(offers));
        }
    }

    pub(crate) fn decline(
        &mut self,
        framework: &FrameworkId,
        offers: &[OfferId],
        refuse_seconds: Option<f64>,
    ) {
        self.metrics.messages_decline_offers += 1;
        for id in offers {
            if self
                .offers
                .get(id)
                .is_some_and(|offer| offer.framework == *framework)
                && let Some(offer) = self.take_offer(id)
            {
                self.give_back(&offer, &offer.resources, refuse_seconds, false);
                self.note_offers(framework, "declined", 1);
            }
        }
    }

    pub(crate) fn revive(&mut self, framework: &FrameworkId, roles: Vec<String>) {
        self.metrics.messages_revive_offers += 1;
        let Some(roles) = self.subscribed_roles(framework, roles) else {
            return;
        };
        self.allocator.revive(framework, &roles);
        self.revive_inverse_offers(framework);
        if let Some(known) = self.frameworks.get_mut(framework) {
            known.suppressed.retain(|role| !roles.contains(role));
        }
    }

    pub(crate) fn suppress(&mut self, framework: &FrameworkId, roles: Vec<String>) {
        self.metrics.messages_suppress_offers += 1;
        let Some(roles) = self.subscribed_roles(framework, roles) else {
            return;
        };
        self.allocator.suppress(framework, &roles);
        if let Some(known) = self.frameworks.get_mut(framework) {
            known.suppressed.extend(roles);
        }
    }

    /// Frees unused resources of an offer and hides them from the framework for a while. After real use `refuse_seconds`
    /// 0 hides nothing; a refusal of everything is always hidden for `Config::decline_pause` at least.
    pub(crate) fn give_back(
        &mut self,
        offer: &Offer,
        unused: &Resources,
        refuse_seconds: Option<f64>,
        was_used: bool,
    ) {
        if unused.is_empty() {
            return;
        }
        self.allocator.give_back(offer.holder(), unused);
        let mut duration = refusal(refuse_seconds);
        if !was_used {
            duration = duration.max(self.config.decline_pause);
        }
        if duration.as_ticks() > 0 {
            let until = self.now + duration;
            self.allocator.refuse(offer.holder(), unused.clone(), until);
        }
    }

    /// Takes an offer out of all books but the allocator's.
    pub(crate) fn take_offer(&mut self, id: &OfferId) -> Option<Offer> {
        let offer = self.offers.remove(id)?;
        if let Some(at) = self.offer_deadlines.remove(id) {
            self.timers.disarm(at, Timer::Offer(id.clone()));
        }
        if let Some(agent) = self.agents.get_mut(&offer.agent) {
            agent.offers.remove(id);
        }
        if let Some(framework) = self.frameworks.get_mut(&offer.framework) {
            framework.offers.remove(id);
        }
        Some(offer)
    }

    /// Forgets a framework's offers without a word: it has no stream that knows them.
    pub(crate) fn discard_framework_offers(&mut self, framework: &FrameworkId) {
        let ids = self
            .frameworks
            .get(framework)
            .map(|known| known.offers.clone())
            .unwrap_or_default();
        for id in ids {
            if let Some(offer) = self.take_offer(&id) {
                self.allocator.give_back(offer.holder(), &offer.resources);
            }
        }
    }

    /// Takes back all offers of an agent that went away or changed.
    pub(crate) fn rescind_agent_offers(&mut self, agent: &AgentId) {
        let ids = self
            .agents
            .get(agent)
            .map(|known| known.offers.clone())
            .unwrap_or_default();
        ids.iter().for_each(|id| self.rescind(id));
    }

    /// Takes an offer back and says so.
    pub(crate) fn rescind(&mut self, id: &OfferId) {
        let Some(offer) = self.take_offer(id) else {
            return;
        };
        self.allocator.give_back(offer.holder(), &offer.resources);
        self.metrics.offers_rescinded += 1;
        self.note_offers(&offer.framework, "rescinded", 1);
        self.send_framework(&offer.framework, FrameworkEvent::Rescind(id.clone()));
    }

    fn allocate(&mut self) -> Vec<Allocation> {
        let (frameworks, agents) = (&self.frameworks, &self.agents);
        self.allocator.allocate_where(|framework, role, agent| {
            match (frameworks.get(framework), agents.get(agent)) {
                (Some(to), Some(on)) => to.constraints.accept(role, &Properties::from(on)),
                _ => true,
            }
        })
    }

    fn make_offer(&mut self, allocation: Allocation) -> Option<Offer> {
        let Allocation {
            framework,
            role,
            agent,
            resources,
            handle,
        } = allocation;
        let id = self.allot_offer_id();
        let (Some(to), Some(on)) = (
            self.frameworks.get_mut(&framework),
            self.agents.get_mut(&agent),
        ) else {
            // The allocator knows only what the master knows; should they ever differ, nothing may leak.
            self.allocator
                .recover(&framework, &role, &agent, &resources);
            return None;
        };
        let maintained = self.maintained.get(&agent);
        let unavailability = maintained.map(|maintained| maintained.unavailability);
        if unavailability.is_some() {
            self.inverse_due.insert(agent.clone());
        }
        let offer = Offer {
            id: id.clone(),
            framework: framework.clone(),
            role: role.as_ref().to_owned(),
            handle,
            agent: agent.clone(),
            hostname: on.hostname.clone(),
            ip: on.ip.clone(),
            port: on.port,
            resources,
            attributes: on.attributes.clone(),
            domain: on.domain.clone(),
            executors: executor_ids(on, &framework),
            unavailability,
            multi_role: to.facts.is_capable("MULTI_ROLE"),
        };
        if let Some(timeout) = self.config.offer_timeout {
            let at = self.now + timeout;
            self.timers.arm(at, Timer::Offer(id.clone()));
            self.offer_deadlines.insert(id.clone(), at);
        }
        to.offers.insert(id.clone());
        on.offers.insert(id.clone());
        self.offers.insert(id, offer.clone());
        Some(offer)
    }

    /// The next offer's or inverse offer's id.
    pub(crate) fn allot_offer_id(&mut self) -> OfferId {
        let id = OfferId::new(format!("{}-O{}", self.config.master, self.next_offer));
        self.next_offer += 1;
        id
    }

    /// The roles a REVIVE or SUPPRESS means; none if it names one that the framework is not subscribed to.
    fn subscribed_roles(
        &self,
        framework: &FrameworkId,
        roles: Vec<String>,
    ) -> Option<BTreeSet<String>> {
        let own: BTreeSet<String> = self
            .frameworks
            .get(framework)?
            .facts
            .roles
            .iter()
            .cloned()
            .collect();
        if roles.is_empty() {
            return Some(own);
        }
        let roles: BTreeSet<String> = roles.into_iter().collect();
        roles.is_subset(&own).then_some(roles)
    }
}

/// The ids of a framework's executors on an agent.
fn executor_ids(on: &Agent, framework: &FrameworkId) -> Vec<ExecutorId> {
    let own = on.executors_of(framework);
    own.map(|executor| executor.key.executor.clone()).collect()
}
