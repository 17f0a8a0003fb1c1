//! What frameworks refused, as the checkers remember it.
//!
//! Filled by `thinking` with the calls that reach the master, read by `fairness`. Invariant: it never holds less than the
//! master's filters do; what is certain is exactly what they hold.

use std::collections::BTreeMap;

use masterd_core::{Call, Master};
use nesos_base::time::{self, Duration, Instant};
use nesos_wire::resource::Resources;
use nesos_wire::{AgentId, FrameworkId};

use crate::fairness::RECOVERY;

/// How long after the end of a refusal the resources may still lie idle: the master's shell gathers for 3 ms at most.
const SETTLING: Duration = Duration::from_millis(10);
/// What a refusal lasts that does not say how long.
const REFUSAL: f64 = 5.0;
/// The master remembers so many refusals of one agent; beyond half of them it is not certain that it still knows all.
const CERTAIN: usize = 8;

/// Somebody who could be offered something: a role of a framework.
pub(crate) type Client = (FrameworkId, String);

#[derive(Debug)]
struct Refusal {
    resources: Resources,
    until: Instant,
    /// The master cannot have forgotten it.
    is_certain: bool,
}

/// What was refused.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    refused: BTreeMap<(FrameworkId, String, AgentId), Vec<Refusal>>,
    /// Until when the present master may wait for agents before it offers anything.
    early_until: Option<Instant>,
}

impl Refusals {
    /// A master starts.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.early_until = Some(now + RECOVERY + SETTLING);
    }

    /// Whether that was a moment ago.
    pub(crate) fn is_early(&self, now: Instant) -> bool {
        self.early_until.is_some_and(|until| now < until)
    }

    /// A call that the master is about to take in.
    pub(crate) fn note(
        &mut self,
        core: &Master,
        framework: &FrameworkId,
        call: &Call,
        now: Instant,
    ) {
        let (offers, seconds, is_decline) = match call {
            Call::Decline {
                offers,
                refuse_seconds,
            } => (offers, refuse_seconds, true),
            Call::Accept {
                offers,
                refuse_seconds,
                ..
            } => (offers, refuse_seconds, false),
            Call::Revive { roles } => return self.revive(core, framework, roles),
            Call::UpdateFramework(_) => return self.doubt(|known| known == framework),
            _ => return,
        };
        let seconds = seconds.filter(|seconds| *seconds >= 0.0).unwrap_or(REFUSAL);
        let pause = time::seconds(seconds).max(core.config().decline_pause);
        let own = offers
            .iter()
            .filter_map(|id| core.offer(id))
            .filter(|offer| offer.framework == *framework);
        let mut sums: BTreeMap<(FrameworkId, String, AgentId), Resources> = BTreeMap::new();
        for offer in own {
            let key = (framework.clone(), offer.role.clone(), offer.agent.clone());
            if is_decline {
                self.put(key, offer.resources.clone(), now + pause, now, true);
            } else {
                sums.entry(key).or_default().add(&offer.resources);
            }
        }
        // What an ACCEPT leaves of several offers is refused as one.
        for (key, sum) in sums {
            self.put(key, sum, now + pause, now, false);
        }
    }

    fn put(
        &mut self,
        key: (FrameworkId, String, AgentId),
        resources: Resources,
        until: Instant,
        now: Instant,
        is_certain: bool,
    ) {
        let refusals = self.refused.entry(key).or_default();
        refusals.retain(|known| known.until + SETTLING > now);
        if refusals.len() >= CERTAIN {
            refusals
                .iter_mut()
                .for_each(|known| known.is_certain = false);
        }
        refusals.push(Refusal {
            resources,
            until,
            is_certain,
        });
    }

    /// A framework subscribes, or (nobody named) an agent registers: the master may forget refusals.
    pub(crate) fn doubt(&mut self, is_meant: impl Fn(&FrameworkId) -> bool) {
        let meant = self
            .refused
            .iter_mut()
            .filter(|((framework, _, _), _)| is_meant(framework));
        for refusal in meant.flat_map(|(_, refusals)| refusals) {
            refusal.is_certain = false;
        }
    }

    /// One foreign role and the call is void.
    fn revive(&mut self, core: &Master, framework: &FrameworkId, roles: &[String]) {
        let own = core
            .framework(framework)
            .map_or(&[][..], |known| &known.facts.roles);
        if roles.iter().all(|role| own.contains(role)) {
            let is_meant =
                |role: &String| own.contains(role) && (roles.is_empty() || roles.contains(role));
            self.refused
                .retain(|(of, role, _), _| of != framework || !is_meant(role));
        }
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
        let key = (client.0.clone(), client.1.clone(), agent.clone());
        self.refused.get(&key).into_iter().flatten()
    }
}
