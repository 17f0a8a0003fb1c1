//! Clusters that are broken on purpose, one promise each, so that the checkers show that they notice.
//!
//! Each mutant spoils what passes between the parts, never the checkers or their books. Called where it passes;
//! `tests/mutants.rs` runs them all and knows the sentence with which each is found. Invariant: without a mutant nothing here
//! changes anything, nor draws a random number.

use masterd_core::{Call, Event, FrameworkEvent, Master, Offer, Ready};
use nesos_wire::Uuid;
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::task::TaskState;

use crate::world::World;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The master hides nothing that was refused.
    ForgetsRefusals,
    /// The master never hears REVIVE.
    IsDeafToRevive,
    /// Offers of a batch go to each other's frameworks.
    SwapsOffers,
    /// Once there are quotas, offers hold twice as much, whatever the limit.
    OffersTwice,
    /// A change of the registry does not reach the disk.
    LosesRegistry,
    /// What an agent makes of resources is more than what it is made of.
    MakesResources,
    /// No update leaves its agent but with a `Hello`.
    SwallowsUpdates,
    /// Ends are told twice, with another uuid.
    EndsTwice,
    /// A task that has finished is said to have failed.
    AltersUpdates,
    /// Agents take each update for acknowledged at once.
    AcknowledgesItself,
    /// A launch is carried out twice.
    LaunchesTwice,
    /// Executors are handed each task twice.
    HandsOverTwice,
    /// Processes outlive what is said to be their end.
    LeaksProcesses,
    /// Boards start what they have no room for.
    Overcommits,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::ForgetsRefusals,
        Self::IsDeafToRevive,
        Self::SwapsOffers,
        Self::OffersTwice,
        Self::LosesRegistry,
        Self::MakesResources,
        Self::SwallowsUpdates,
        Self::EndsTwice,
        Self::AltersUpdates,
        Self::AcknowledgesItself,
        Self::LaunchesTwice,
        Self::HandsOverTwice,
        Self::LeaksProcesses,
        Self::Overcommits,
    ];
}

/// What the master hears, after the checkers have.
pub(crate) fn spoil_event(mutant: Option<Mutant>, mut event: Event) -> Event {
    if let Event::Call { call, .. } = &mut event {
        match (mutant, &mut *call) {
            (
                Some(Mutant::ForgetsRefusals),
                Call::Decline { refuse_seconds, .. } | Call::Accept { refuse_seconds, .. },
            ) => *refuse_seconds = Some(0.0),
            (Some(Mutant::IsDeafToRevive), Call::Revive { .. }) => *call = Call::Request,
            _ => {}
        }
    }
    event
}

/// What the master does, before the checkers look.
pub(crate) fn spoil_ready(mutant: Option<Mutant>, core: &Master, ready: &mut Ready) {
    let has_quota = core.registry().quotas().next().is_some();
    let offers = ready.to_frameworks.iter_mut();
    let offers = offers.filter_map(|(_, event)| match event {
        FrameworkEvent::Offers(offers) => Some(offers),
        _ => None,
    });
    match mutant {
        Some(Mutant::SwapsOffers) => swap(offers.flatten().collect()),
        Some(Mutant::OffersTwice) if has_quota => {
            for offer in offers.flatten() {
                let again = offer.resources.clone();
                offer.resources.add(&again);
            }
        }
        _ => {}
    }
}

/// The first goes to whom the last was for, and the other way round.
fn swap(mut offers: Vec<&mut Offer>) {
    if let [first, .., last] = offers.as_mut_slice() {
        std::mem::swap(&mut first.framework, &mut last.framework);
        std::mem::swap(&mut first.role, &mut last.role);
    }
}

/// What an agent is told.
pub(crate) fn spoil_order(mutant: Option<Mutant>, order: &mut MasterToAgent) {
    if let (Some(Mutant::MakesResources), MasterToAgent::Apply(spec)) = (mutant, order) {
        let again = spec.converted.clone();
        spec.converted.add(&again);
    }
}

/// What a framework is told.
pub(crate) fn spoil_news(mutant: Option<Mutant>, news: &mut FrameworkEvent) {
    if let (Some(Mutant::AltersUpdates), FrameworkEvent::Update { status, .. }) = (mutant, news)
        && status.state == TaskState::Finished
        && status.uuid.is_some()
    {
        status.state = TaskState::Failed;
    }
}

impl World {
    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// What an agent says: what is said instead.
    pub(crate) fn spoil_message(&mut self, message: AgentToMaster) -> Vec<AgentToMaster> {
        let AgentToMaster::Update(update) = &message else {
            return vec![message];
        };
        match self.mutant {
            Some(Mutant::SwallowsUpdates) => Vec::new(),
            Some(Mutant::EndsTwice)
                if update.status.state.is_terminal() && update.status.uuid.is_some() =>
            {
                let mut again = update.clone();
                again.status.uuid = Some(Uuid::from_random(self.rng.bytes()));
                vec![message, AgentToMaster::Update(again)]
            }
            _ => vec![message],
        }
    }
}
