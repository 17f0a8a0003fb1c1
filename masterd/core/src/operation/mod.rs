//! Operations on resources: from ACCEPT and from operators to the agent, and the word of what became of them back.
//!
//! The rules of each are in [`change`]; how its end is told is in [`feedback`]. An operation is taken to succeed: the books
//! change at once and the agent is told; should it refuse, its next `Hello` puts the books right. Called by `launch` and
//! `order`. Invariant: the agent's resources, as the master has them, change only by a conversion that is sent to it.

pub(crate) mod change;
mod feedback;

use nesos_wire::message::MasterToAgent;
use nesos_wire::operation::{OperationReport, OperationSpec, OperationState, OperationStatus};
use nesos_wire::resource::{Entry, Resources};
use nesos_wire::{AgentId, FrameworkId, OfferId, Uuid, resource_text};

use crate::allocator::is_same;
use crate::call::Convert;
use crate::master::Master;
use crate::order::ChangeOrder;
use crate::outgoing::Offer;
use crate::ready::Answer;
use change::{Asker, Change, Conversion, volumes};

/// Operations per agent whose end nobody has acknowledged: a framework that never does must not fill a board's disk.
pub const MAX_OPERATIONS: usize = 1000;

/// What the offers of one ACCEPT still hold.
pub(crate) struct Remains {
    /// For the next operations of the same ACCEPT.
    pub(crate) usable: Resources,
    /// Made of a volume that changed its size: only for the next offer, as in Mesos.
    pub(crate) kept: Resources,
}

impl Master {
    /// One operation of an ACCEPT.
    pub(crate) fn convert(&mut self, offer: &Offer, request: Convert, remains: &mut Remains) {
        let conversion = match self.check_convert(offer, &request, remains) {
            Ok(conversion) => conversion,
            Err(message) => {
                self.refuse_operation(
                    &offer.framework,
                    Some(&offer.agent),
                    request.id,
                    OperationState::Error,
                    message,
                );
                return;
            }
        };
        self.rescind_shared(&offer.agent, &conversion);
        self.allocator.update_allocation(
            offer.holder(),
            &conversion.consumed,
            &conversion.converted,
        );
        remains.usable.subtract(&conversion.consumed);
        match request.change {
            Change::Grow { .. } | Change::Shrink { .. } => {
                remains.kept.add(&conversion.converted);
            }
            _ => remains.usable.add(&conversion.converted),
        }
        let framework = Some(offer.framework.clone());
        self.apply(
            &offer.agent,
            conversion,
            framework,
            request.id,
            request.info,
        );
    }

    /// An operator changes free resources, or such as are only on offer.
    pub(crate) fn change(&mut self, order: ChangeOrder) -> Answer {
        let id = order.agent;
        let Some(agent) = self.agents.get(&id) else {
            return Answer::Invalid(format!("No agent found with ID {id}"));
        };
        if !agent.is_connected() {
            return Answer::Conflict(format!("Agent {id} is not connected"));
        }
        let asker = Asker {
            role: None,
            principal: order.principal.as_deref(),
            can_share: true,
        };
        let checked = order.change.conversion(&asker).and_then(|conversion| {
            self.check_volumes(&id, &order.change, &conversion)
                .map(|()| conversion)
        });
        let conversion = match checked {
            Ok(conversion) => conversion,
            Err(message) => return Answer::Invalid(format!("Invalid operation: {message}")),
        };
        if !self.make_free(&id, &conversion.consumed) {
            return Answer::Conflict(format!(
                "{} is not free on agent {id}",
                resource_text::text(&conversion.consumed)
            ));
        }
        self.rescind_shared(&id, &conversion);
        self.allocator
            .update_available(&id, &conversion.consumed, &conversion.converted);
        self.apply(&id, conversion, None, None, order.info);
        Answer::Done
    }

    fn check_convert(
        &self,
        offer: &Offer,
        request: &Convert,
        remains: &Remains,
    ) -> Result<Conversion, String> {
        if let Some(invalid) = &request.invalid {
            return Err(invalid.clone());
        }
        if let Some(role) = request.role.as_ref().filter(|role| **role != offer.role) {
            return Err(format!(
                "its resources are allocated to role {role}, the offer's to role {}",
                offer.role
            ));
        }
        let framework = self.frameworks.get(&offer.framework);
        let facts = framework.map(|framework| &framework.facts);
        let asker = Asker {
            role: Some(&offer.role),
            principal: facts.and_then(|facts| facts.principal.as_deref()),
            can_share: facts.is_some_and(|facts| facts.is_capable("SHARED_RESOURCES")),
        };
        let conversion = request.change.conversion(&asker)?;
        if !remains.usable.contains(&conversion.consumed) {
            return Err(format!(
                "{} is not contained in what the offers still hold, {}",
                resource_text::text(&conversion.consumed),
                resource_text::text(&remains.usable)
            ));
        }
        self.check_volumes(&offer.agent, &request.change, &conversion)?;
        check_copies(&conversion, remains)?;
        Ok(conversion)
    }

    /// What needs the agent's books: ids are unique, what is in use stays, and there is room for one more operation.
    fn check_volumes(
        &self,
        agent: &AgentId,
        change: &Change,
        conversion: &Conversion,
    ) -> Result<(), String> {
        let Some(agent) = self.agents.get(agent) else {
            return Err("its agent is gone".to_owned());
        };
        if agent.operations.len() >= MAX_OPERATIONS {
            return Err(format!(
                "{MAX_OPERATIONS} operations on this agent are waiting for their acknowledgement, which is the limit"
            ));
        }
        match change {
            Change::Create(created) => {
                let mut seen: Vec<(&str, &str)> = volumes(&agent.resources).collect();
                for volume in volumes(created) {
                    if seen.contains(&volume) {
                        return Err(format!(
                            "persistent volume {} of role {} exists already",
                            volume.1, volume.0
                        ));
                    }
                    seen.push(volume);
                }
                Ok(())
            }
            Change::Destroy(destroyed) => {
                let used = self.used_resources(agent);
                match volumes(destroyed).find(|volume| volumes(&used).any(|used| used == *volume)) {
                    Some((role, id)) => Err(format!(
                        "persistent volume {id} of role {role} is in use by a task"
                    )),
                    None => conversion_is_known(&agent.resources, conversion),
                }
            }
            _ => Ok(()),
        }
    }

    /// A shared volume that is destroyed may stand in other offers too.
    fn rescind_shared(&mut self, agent: &AgentId, conversion: &Conversion) {
        let shared = conversion.consumed.filter(Entry::is_shared);
        if shared.is_empty() {
            return;
        }
        for id in self.offers_with(agent, &shared) {
            self.rescind(&id);
        }
    }

    fn offers_with(&self, agent: &AgentId, any: &Resources) -> Vec<OfferId> {
        let has_any = |id: &&OfferId| {
            let held = self.offers.get(*id).map(|offer| &offer.resources);
            held.is_some_and(|held| {
                any.entries().iter().any(|entry| {
                    let mut entries = held.entries().iter();
                    entries.any(|have| is_same(have, entry))
                })
            })
        };
        let offers = self.agents.get(agent).into_iter().flat_map(|a| &a.offers);
        offers.filter(has_any).cloned().collect()
    }

    /// Takes offers of the agent back, no more than needed, until `wanted` is free; nothing if that cannot be.
    fn make_free(&mut self, agent: &AgentId, wanted: &Resources) -> bool {
        let Some(known) = self.agents.get(agent) else {
            return false;
        };
        let mut reachable = self.allocator.available(agent).cloned().unwrap_or_default();
        reachable.add(&self.offered_resources(known));
        if !reachable.contains(wanted) {
            return false;
        }
        for id in self.offers_with(agent, wanted) {
            if self.is_free(agent, wanted) {
                break;
            }
            self.rescind(&id);
        }
        self.is_free(agent, wanted)
    }

    fn is_free(&self, agent: &AgentId, wanted: &Resources) -> bool {
        self.allocator
            .available(agent)
            .is_some_and(|free| free.contains(wanted))
    }

    /// Changes the agent's books and tells the agent. The allocator knows already.
    fn apply(
        &mut self,
        agent: &AgentId,
        conversion: Conversion,
        framework: Option<FrameworkId>,
        id: Option<String>,
        info: Vec<u8>,
    ) {
        let uuid = self.allot_operation();
        let Some(known) = self.agents.get_mut(agent) else {
            return;
        };
        known.resources.subtract(&conversion.consumed);
        known.resources.add(&conversion.converted);
        let spec = OperationSpec {
            uuid,
            framework,
            id,
            kind: conversion.kind,
            consumed: conversion.consumed,
            converted: conversion.converted,
            info,
        };
        let status = OperationStatus {
            state: OperationState::Pending,
            message: String::new(),
            uuid: None,
        };
        let report = OperationReport {
            spec: spec.clone(),
            status,
        };
        known.operations.insert(uuid, report);
        self.send_agent(agent, MasterToAgent::Apply(spec));
    }

    /// A new operation's identity: of the same numbers as a launch's attempt, so unique over all starts of all masters.
    fn allot_operation(&mut self) -> Uuid {
        let number = self.allot_attempt().0;
        let mut bytes = *b"operation.......";
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        Uuid::from_random(bytes)
    }
}

/// A shared volume may stand in several of the offers: whoever gives only some of these copies up cannot destroy it, as in
/// Mesos, for the rest of them would be of a volume that is gone.
fn check_copies(conversion: &Conversion, remains: &Remains) -> Result<(), String> {
    let shared = conversion.consumed.filter(Entry::is_shared);
    let mut left = remains.usable.clone();
    left.subtract(&shared);
    let mut copies = shared.entries().iter();
    match copies.find(|entry| left.entries().iter().any(|have| is_same(have, entry))) {
        Some(entry) => Err(format!(
            "the offers hold further copies of {}",
            resource_text::text(&[entry.clone()].into_iter().collect())
        )),
        None => Ok(()),
    }
}

fn conversion_is_known(total: &Resources, conversion: &Conversion) -> Result<(), String> {
    if total.contains(&conversion.consumed) {
        Ok(())
    } else {
        Err(format!(
            "{} does not exist on this agent",
            resource_text::text(&conversion.consumed)
        ))
    }
}
