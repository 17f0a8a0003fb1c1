//! What frameworks refused, as the checkers remember it.
//!
//! Filled by `noting` with what reaches the master, read by `fairness` and `quota`. Invariant: it holds what the master's
//! filters hold, no more and no less, but for the few of which the master may have forgotten the one that ends first.

use std::collections::BTreeMap;

use masterd_core::Master;
use nesos_base::time::{Duration, Instant};
use nesos_wire::resource::Resources;
use nesos_wire::{AgentId, FrameworkId};

use crate::fairness::RECOVERY;
use crate::noting::Pending;

/// How long after the end of a refusal the resources may still lie idle: the master's shell gathers for 3 ms at most.
const SETTLING: Duration = Duration::from_millis(10);
/// The master remembers so many refusals of one agent; beyond half of them it is not certain that it still knows all.
const CERTAIN: usize = 8;

/// Somebody who could be offered something: a role of a framework.
pub(crate) type Client = (FrameworkId, String);

#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) resources: Resources,
    pub(crate) until: Instant,
    /// The master cannot have forgotten it.
    pub(crate) is_certain: bool,
}

/// What was refused.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    refused: BTreeMap<(Client, AgentId), Vec<Refusal>>,
    /// Until when the present master may wait for agents before it offers anything.
    early_until: Option<Instant>,
    has_quota: bool,
    /// What the master is taking in.
    pub(crate) pending: Option<Pending>,
}

impl Refusals {
    /// A master starts: it knows of no refusal. If it finds quotas it waits for agents, whatever becomes of the quotas.
    pub(crate) fn begin(&mut self, now: Instant, has_quota: bool) {
        *self = Self {
            early_until: Some(now + RECOVERY + SETTLING),
            has_quota,
            ..Self::default()
        };
    }

    /// Whether that was a moment ago.
    pub(crate) fn is_early(&self, now: Instant) -> bool {
        self.early_until.is_some_and(|until| now < until)
    }

    /// Whether it may be waiting for agents.
    pub(crate) fn is_waiting(&self, now: Instant) -> bool {
        self.has_quota && self.is_early(now)
    }

    pub(crate) fn put(&mut self, client: Client, agent: AgentId, refusal: Refusal, now: Instant) {
        if refusal.resources.is_empty() || refusal.until <= now {
            return;
        }
        let refusals = self.refused.entry((client, agent)).or_default();
        refusals.retain(|known| known.until + SETTLING > now);
        if refusals.len() >= CERTAIN {
            refusals
                .iter_mut()
                .for_each(|known| known.is_certain = false);
        }
        refusals.push(refusal);
    }

    /// The master has forgotten some.
    pub(crate) fn forget(&mut self, is_meant: impl Fn(&Client, &AgentId) -> bool) {
        self.refused
            .retain(|(client, agent), _| !is_meant(client, agent));
    }

    /// Those of agents that have left, too.
    pub(crate) fn forget_absent(&mut self, core: &Master) {
        let is_absent = |agent: &AgentId| !core.agent(agent).is_some_and(crate::fairness::is_here);
        self.forget(|_, agent| is_absent(agent));
    }

    /// Whether the master may hide this from the client.
    pub(crate) fn hide(
        &self,
        client: &Client,
        agent: &AgentId,
        resources: &Resources,
        now: Instant,
    ) -> bool {
        self.find(client, agent)
            .any(|known| known.until + SETTLING > now && known.resources.contains(resources))
    }

    /// Whether it must.
    pub(crate) fn forbid(
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
        let key = (client.clone(), agent.clone());
        self.refused.get(&key).into_iter().flatten()
    }
}
