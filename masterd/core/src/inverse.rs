//! Inverse offers: frameworks are asked to leave agents whose machines will be maintained.
//!
//! Which machines those are is `maintenance`'s. Made after the offers of each batch, for whoever has something offered or
//! running there. Invariants: an inverse offer is in `Master::inverse_offers`, its agent's `Maintained::outstanding` and
//! its framework's set, or in none of the three; one per framework and agent; its agent and framework are connected.

use std::collections::{BTreeMap, BTreeSet};

use nesos_wire::{AgentId, FrameworkId, OfferId};

use crate::allocator::refusal;
use crate::maintenance::Stance;
use crate::master::Master;
use crate::outgoing::{FrameworkEvent, InverseOffer};
use crate::timers::Timer;

impl Master {
    /// Outstanding inverse offers, by id.
    pub fn inverse_offers(&self) -> impl Iterator<Item = &InverseOffer> {
        self.inverse_offers.values()
    }

    /// One outstanding inverse offer.
    pub fn inverse_offer(&self, id: &OfferId) -> Option<&InverseOffer> {
        self.inverse_offers.get(id)
    }

    /// Asks the frameworks of agents about which something changed, one INVERSE_OFFERS event per framework.
    pub(crate) fn make_inverse_offers(&mut self) {
        if self.inverse_due.is_empty() {
            return;
        }
        let mut by_framework: BTreeMap<FrameworkId, Vec<InverseOffer>> = BTreeMap::new();
        for agent in std::mem::take(&mut self.inverse_due) {
            for framework in self.to_be_asked(&agent) {
                if let Some(offer) = self.make_inverse_offer(&framework, &agent) {
                    by_framework.entry(framework).or_default().push(offer);
                }
            }
        }
        for (framework, offers) in by_framework {
            self.metrics.inverse_offers_sent += offers.len() as u64;
            self.send_framework(&framework, FrameworkEvent::InverseOffers(offers));
        }
    }

    /// Something changed about who holds what on the agent.
    pub(crate) fn ask_later(&mut self, agent: &AgentId) {
        if self.maintained.contains_key(agent) {
            self.inverse_due.insert(agent.clone());
        }
    }

    /// The framework says whether it will leave; it is asked again when its filter ends.
    pub(crate) fn answer_inverse_offers(
        &mut self,
        framework: &FrameworkId,
        offers: &[OfferId],
        accepts: bool,
        refuse_seconds: Option<f64>,
    ) {
        let until = self.now + refusal(refuse_seconds).max(self.config.decline_pause);
        let since = self.wall;
        for id in offers {
            let offer = self.inverse_offers.get(id);
            if offer.is_none_or(|offer| offer.framework != *framework) {
                continue;
            }
            let Some(offer) = self.take_inverse_offer(id) else {
                continue;
            };
            let Some(maintained) = self.maintained.get_mut(&offer.agent) else {
                continue;
            };
            let accepts = Some(accepts);
            let stance = Stance { accepts, since };
            maintained.stances.insert(framework.clone(), stance);
            maintained.filters.insert(framework.clone(), until);
            let timer = Timer::Inverse(offer.agent, framework.clone());
            self.timers.arm(until, timer);
        }
    }

    pub(crate) fn inverse_filter_due(&mut self, agent: AgentId, framework: &FrameworkId) {
        if let Some(maintained) = self.maintained.get_mut(&agent) {
            maintained.filters.remove(framework);
            self.inverse_due.insert(agent);
        }
    }

    /// The framework may be asked about anything now: it revives, or has a new stream.
    pub(crate) fn revive_inverse_offers(&mut self, framework: &FrameworkId) {
        for (agent, maintained) in &mut self.maintained {
            if let Some(until) = maintained.filters.remove(framework) {
                let timer = Timer::Inverse(agent.clone(), framework.clone());
                self.timers.disarm(until, timer);
            }
            self.inverse_due.insert(agent.clone());
        }
    }

    /// Forgets a framework's inverse offers without a word: it has no stream that knows them.
    pub(crate) fn discard_inverse_offers(&mut self, framework: &FrameworkId) {
        let known = self.frameworks.get(framework);
        let ids = known.map(|known| known.inverse_offers.clone());
        for id in ids.unwrap_or_default() {
            self.take_inverse_offer(&id);
        }
    }

    /// The framework has ended: what it said no longer matters.
    pub(crate) fn forget_stances(&mut self, framework: &FrameworkId) {
        for (agent, maintained) in &mut self.maintained {
            maintained.stances.remove(framework);
            if let Some(until) = maintained.filters.remove(framework) {
                let timer = Timer::Inverse(agent.clone(), framework.clone());
                self.timers.disarm(until, timer);
            }
        }
    }

    /// Takes back all inverse offers of an agent that went away or has another schedule.
    pub(crate) fn rescind_inverse_offers(&mut self, agent: &AgentId) {
        let Some(maintained) = self.maintained.get(agent) else {
            return;
        };
        for id in maintained.outstanding.values().cloned().collect::<Vec<_>>() {
            if let Some(offer) = self.take_inverse_offer(&id) {
                self.metrics.inverse_offers_rescinded += 1;
                self.send_framework(&offer.framework, FrameworkEvent::RescindInverseOffer(id));
            }
        }
    }

    pub(crate) fn clear_inverse_filters(&mut self, agent: &AgentId) {
        let Some(maintained) = self.maintained.get_mut(agent) else {
            return;
        };
        for (framework, until) in std::mem::take(&mut maintained.filters) {
            let timer = Timer::Inverse(agent.clone(), framework);
            self.timers.disarm(until, timer);
        }
    }

    /// The connected frameworks that hold something of an agent, and are neither being asked nor to be left alone.
    fn to_be_asked(&self, id: &AgentId) -> BTreeSet<FrameworkId> {
        let (Some(agent), Some(maintained)) = (self.agents.get(id), self.maintained.get(id)) else {
            return BTreeSet::new();
        };
        if !agent.is_connected() {
            return BTreeSet::new();
        }
        let tasks = agent.tasks.iter().filter_map(|key| self.task(key));
        let using = tasks.filter(|task| task.is_using_resources());
        let using = using.map(|task| &task.spec.key.framework);
        let executors = agent.held_by_executors().map(|(owner, _)| owner);
        let offers = agent.offers.iter().filter_map(|id| self.offers.get(id));
        let holders = using
            .chain(executors)
            .chain(offers.map(|offer| &offer.framework));
        let is_open = |framework: &&FrameworkId| {
            let known = self.frameworks.get(*framework);
            known.is_some_and(|known| known.is_connected())
                && !maintained.outstanding.contains_key(*framework)
                && !maintained.filters.contains_key(*framework)
        };
        holders.filter(is_open).cloned().collect()
    }

    fn make_inverse_offer(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
    ) -> Option<InverseOffer> {
        let id = self.allot_offer_id();
        let to = self.frameworks.get_mut(framework)?;
        let on = self.agents.get(agent)?;
        let maintained = self.maintained.get_mut(agent)?;
        let offer = InverseOffer {
            id: id.clone(),
            framework: framework.clone(),
            agent: agent.clone(),
            hostname: on.hostname.clone(),
            ip: on.ip.clone(),
            port: on.port,
            unavailability: maintained.unavailability,
        };
        to.inverse_offers.insert(id.clone());
        maintained.outstanding.insert(framework.clone(), id.clone());
        let unanswered = Stance {
            accepts: None,
            since: self.wall,
        };
        let stance = maintained.stances.entry(framework.clone());
        stance.or_insert(unanswered);
        self.inverse_offers.insert(id, offer.clone());
        Some(offer)
    }

    fn take_inverse_offer(&mut self, id: &OfferId) -> Option<InverseOffer> {
        let offer = self.inverse_offers.remove(id)?;
        if let Some(maintained) = self.maintained.get_mut(&offer.agent) {
            maintained.outstanding.remove(&offer.framework);
        }
        if let Some(framework) = self.frameworks.get_mut(&offer.framework) {
            framework.inverse_offers.remove(id);
        }
        Some(offer)
    }
}
