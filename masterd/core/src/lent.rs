//! What agents lend beside what they have: revocable, more or less from one moment to the next.
//!
//! Called by `agents`. Invariant: only revocable resources change here; an offer that holds some is taken back first, so that
//! nobody accepts what is not lent any more. Tasks that run on it are the agent's business.

use nesos_wire::AgentId;
use nesos_wire::resource::{Entry, Resources};

use crate::master::Master;

impl Master {
    pub(crate) fn lent(&mut self, id: &AgentId, lent: &Resources) {
        let is_revocable = |entry: &Entry| entry.terms().is_revocable;
        let Some(agent) = self.agents.get(id) else {
            return;
        };
        let before = agent.resources.filter(is_revocable);
        // A reservation or a volume of it would be another kind of thing.
        let lent = lent.filter(|entry| is_revocable(entry) && !entry.is_made());
        if lent == before {
            return;
        }
        let mut resources = agent.resources.filter(|entry| !is_revocable(entry));
        resources.add(&lent);
        let holds_some = |offer: &Resources| offer.entries().iter().any(is_revocable);
        let stale = agent.offers.iter().filter(|offer| {
            let offer = self.offers.get(*offer);
            offer.is_some_and(|offer| holds_some(&offer.resources))
        });
        let stale: Vec<_> = stale.cloned().collect();
        stale.iter().for_each(|offer| self.rescind(offer));
        let resources = self.kinds.resources.share(resources);
        if let Some(agent) = self.agents.get_mut(id) {
            agent.resources = resources.clone();
        }
        self.allocator.update_agent(id, resources);
        if !before.contains(&lent) {
            // Whoever declined has not seen this.
            self.allocator.clear_agent_filters(id);
        }
    }
}
