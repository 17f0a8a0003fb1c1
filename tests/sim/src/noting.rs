//! What each event adds to what was refused, and what it makes the master forget.
//!
//! Called by `master` before and after the core's step, with the core as it is then: what an ACCEPT leaves is seen from
//! the books, not worked out as the master does. Invariant: nothing else changes [`Refusals`].

use std::collections::BTreeSet;

use masterd_core::{Agent, AgentCondition, Call, Change, Event, LinkId, Master, Offer, Operation};
use masterd_core::{StreamId, Subscribe};
use nesos_base::time::{self, Duration, Instant};
use nesos_wire::message::{AgentToMaster, Hello};
use nesos_wire::resource::{Entry, Resources};
use nesos_wire::{AgentId, FrameworkId, OfferId};

use crate::refusals::{Client, Refusal, Refusals};

/// What a refusal lasts that does not say how long.
const REFUSAL: f64 = 5.0;

/// What was before an event of which only its outcome tells what it comes to.
#[derive(Debug)]
pub(crate) enum Pending {
    /// ACCEPT of good offers.
    Accept {
        client: Client,
        agent: AgentId,
        offered: Resources,
        total: Resources,
        used: Resources,
        refuse_seconds: Option<f64>,
        /// Without operations that keep what they make to themselves.
        is_certain: bool,
    },
    /// UPDATE_FRAMEWORK.
    Update {
        framework: FrameworkId,
        roles: BTreeSet<String>,
        suppressed: BTreeSet<String>,
    },
    /// SUBSCRIBE.
    Subscribe(StreamId),
    /// An agent says that it is not what it was.
    Changed(AgentId, LinkId),
}

impl Refusals {
    /// The master is about to take this in.
    pub(crate) fn before(&mut self, core: &Master, event: &Event, now: Instant) {
        self.pending = match event {
            Event::Call {
                framework, call, ..
            } => self.note(core, framework, call, now),
            Event::Subscribe(subscribe) => Some(subscribed(subscribe)),
            Event::AgentHello { link, hello } => changed(core, *link, hello),
            Event::AgentMessage {
                link,
                message: AgentToMaster::Lent { resources },
            } => lends_more(core, *link, resources),
            _ => None,
        };
    }

    /// It has.
    pub(crate) fn after(&mut self, core: &Master, now: Instant) {
        self.forget_absent(core);
        match self.pending.take() {
            None => {}
            Some(Pending::Subscribe(stream)) => {
                let mut frameworks = core.frameworks();
                if let Some(known) = frameworks.find(|known| known.stream == Some(stream)) {
                    self.forget(|client, _| client.0 == known.id);
                }
            }
            Some(Pending::Changed(agent, link)) => {
                let known = core.agent(&agent);
                if known.is_some_and(|known| known.condition == AgentCondition::Connected(link)) {
                    self.forget(|_, of| *of == agent);
                }
            }
            Some(Pending::Update {
                framework,
                roles,
                suppressed,
            }) => {
                let Some(known) = core.framework(&framework) else {
                    return;
                };
                let is_left = |role: &String| {
                    roles.contains(role) && !known.facts.roles.contains(role)
                        || suppressed.contains(role) && !known.suppressed.contains(role)
                };
                self.forget(|client, _| client.0 == framework && is_left(&client.1));
            }
            Some(accept) => self.accepted(core, accept, now),
        }
    }

    fn note(
        &mut self,
        core: &Master,
        framework: &FrameworkId,
        call: &Call,
        now: Instant,
    ) -> Option<Pending> {
        match call {
            Call::Decline {
                offers,
                refuse_seconds,
            } => {
                self.refuse_all(core, &own(core, framework, offers), *refuse_seconds, now);
                None
            }
            Call::Accept {
                offers,
                operations,
                refuse_seconds,
            } => {
                let good = own(core, framework, offers);
                if !is_one(offers, &good) {
                    self.refuse_all(core, &good, *refuse_seconds, now);
                    return None;
                }
                accepting(core, &good, operations, *refuse_seconds)
            }
            Call::Revive { roles } => {
                self.revive(core, framework, roles);
                None
            }
            Call::UpdateFramework(_) => {
                let known = core.framework(framework)?;
                Some(Pending::Update {
                    framework: framework.clone(),
                    roles: known.facts.roles.iter().cloned().collect(),
                    suppressed: known.suppressed.clone(),
                })
            }
            _ => None,
        }
    }

    /// Each for itself.
    fn refuse_all(
        &mut self,
        core: &Master,
        offers: &[&Offer],
        refuse_seconds: Option<f64>,
        now: Instant,
    ) {
        for offer in offers {
            let refusal = Refusal {
                resources: offer.resources.clone(),
                until: now + length(refuse_seconds).max(core.config().decline_pause),
                is_certain: true,
            };
            let client = (offer.framework.clone(), offer.role.clone());
            self.put(client, offer.agent.clone(), refusal, now);
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
            self.forget(|client, _| client.0 == *framework && is_meant(&client.1));
        }
    }

    /// What is left of the offers is what was there, with what was made of it and without what is used. Only what was
    /// offered is refused.
    fn accepted(&mut self, core: &Master, accept: Pending, now: Instant) {
        let Pending::Accept {
            client,
            agent,
            offered,
            total,
            used,
            refuse_seconds,
            is_certain,
        } = accept
        else {
            return;
        };
        let Some(known) = core.agent(&agent) else {
            return;
        };
        let mut left = offered.clone();
        left.add(&difference(&known.resources, &total));
        left.subtract(&difference(&total, &known.resources));
        left.subtract(&difference(&single(core, known), &used));
        let made = difference(&left, &offered);
        left.subtract(&made);
        let mut pause = length(refuse_seconds);
        if left == offered {
            pause = pause.max(core.config().decline_pause);
        }
        let refusal = Refusal {
            resources: left,
            until: now + pause,
            is_certain,
        };
        self.put(client, agent, refusal, now);
    }
}

fn subscribed(subscribe: &Subscribe) -> Pending {
    Pending::Subscribe(subscribe.stream)
}

fn changed(core: &Master, link: LinkId, hello: &Hello) -> Option<Pending> {
    let known = core.agents().find(|known| known.node == hello.node)?;
    let is_changed = known.resources != hello.resources
        || *known.attributes != *hello.attributes
        || known.domain != hello.domain;
    is_changed.then(|| Pending::Changed(known.id.clone(), link))
}

/// Of what is lent some was not there when it was refused.
fn lends_more(core: &Master, link: LinkId, lent: &Resources) -> Option<Pending> {
    let is_it = |known: &&Agent| known.condition == AgentCondition::Connected(link);
    let known = core.agents().find(is_it)?;
    let before = known.resources.filter(|entry| entry.terms().is_revocable);
    (!before.contains(lent)).then(|| Pending::Changed(known.id.clone(), link))
}

/// Those that are the framework's, once each.
fn own<'a>(core: &'a Master, framework: &FrameworkId, ids: &[OfferId]) -> Vec<&'a Offer> {
    let ids: BTreeSet<&OfferId> = ids.iter().collect();
    let offers = ids.into_iter().filter_map(|id| core.offer(id));
    offers
        .filter(|offer| offer.framework == *framework)
        .collect()
}

/// Whether these offers can be used together.
fn is_one(ids: &[OfferId], own: &[&Offer]) -> bool {
    let bundle = |offer: &Offer| (offer.agent.clone(), offer.role.clone());
    let bundles: BTreeSet<(AgentId, String)> = own.iter().map(|offer| bundle(offer)).collect();
    own.len() == ids.len() && bundles.len() == 1
}

fn accepting(
    core: &Master,
    offers: &[&Offer],
    operations: &[Operation],
    refuse_seconds: Option<f64>,
) -> Option<Pending> {
    let first = offers.first()?;
    let known = core.agent(&first.agent)?;
    let mut offered = Resources::new();
    offers
        .iter()
        .for_each(|offer| offered.add(&offer.resources));
    let keeps = |operation: &Operation| match operation {
        Operation::Convert(convert) => {
            matches!(convert.change, Change::Grow { .. } | Change::Shrink { .. })
        }
        _ => false,
    };
    Some(Pending::Accept {
        client: (first.framework.clone(), first.role.clone()),
        agent: first.agent.clone(),
        offered,
        total: known.resources.clone(),
        used: single(core, known),
        refuse_seconds,
        is_certain: !operations.iter().any(keeps),
    })
}

/// What tasks use of the agent, but for what is shared, of which there is no less for that.
fn single(core: &Master, agent: &Agent) -> Resources {
    core.used_resources(agent)
        .filter(|entry: &Entry| !entry.is_shared())
}

fn difference(one: &Resources, other: &Resources) -> Resources {
    let mut difference = one.clone();
    difference.subtract(other);
    difference
}

fn length(refuse_seconds: Option<f64>) -> Duration {
    let seconds = refuse_seconds.filter(|seconds| *seconds >= 0.0);
    time::seconds(seconds.unwrap_or(REFUSAL))
}
