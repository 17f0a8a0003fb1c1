//! Clusters that are broken on purpose, one promise each, so that the checkers show that they notice.
//!
//! Each mutant spoils what passes between the parts, never the checkers or their books. Called where it passes;
//! `tests/mutants.rs` runs them all and knows the sentence with which each is found. Invariant: without a mutant nothing here
//! changes anything, nor draws a random number.

use std::collections::BTreeSet;

use masterd_core::{Call, Config, Event, FrameworkEvent, Master, Offer, Ready};
use nesos_wire::message::{AgentToMaster, MasterToAgent, TaskUpdate};
use nesos_wire::resource::{Entry, Reservation, Resources, Scalar, Terms, Value};
use nesos_wire::task::TaskState;
use nesos_wire::{AgentId, FrameworkId, TaskId, Uuid};

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
    /// Offers are of an agent that there is not.
    OffersNowhere,
    /// Once there are quotas, offers hold twice as much, whatever the limit.
    OffersTwice,
    /// A change of the registry does not reach the disk.
    LosesRegistry,
    /// What an agent makes of resources is more than what it is made of.
    MakesResources,
    /// An agent believes to have less than its board has.
    StartsWithLess,
    /// An agent tells its master of more than it has.
    Boasts,
    /// An agent reserves for another role than the master thinks.
    MisplacesReservations,
    /// Schedulers hear of operations that nobody asked for.
    RenamesOperations,
    /// Each repetition of an operation's end is another end.
    EndsOperationsAnew,
    /// Schedulers that return are given other ids.
    RenamesFrameworks,
    /// What the master says of tasks by itself it says of others.
    RenamesTasks,
    /// Each repetition of an unacknowledged end is another end.
    EndsAnew,
    /// An agent says again what its master has said that it was acknowledged.
    RepeatsUpdates,
    /// Operators are answered twice.
    AnswersTwice,
    /// Operators are not answered.
    SwallowsAnswers,
    /// The master never hears that an executor has ended but with a `Hello`.
    SwallowsEnds,
    /// Executors keep what their ended tasks had.
    KeepsSizes,
    /// What is left of a container is never removed.
    LeavesRemains,
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
    /// The master of the next version understands nothing older.
    RefusesEarlier,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::ForgetsRefusals,
        Self::IsDeafToRevive,
        Self::SwapsOffers,
        Self::OffersNowhere,
        Self::OffersTwice,
        Self::LosesRegistry,
        Self::MakesResources,
        Self::StartsWithLess,
        Self::Boasts,
        Self::MisplacesReservations,
        Self::RenamesOperations,
        Self::EndsOperationsAnew,
        Self::RenamesFrameworks,
        Self::RenamesTasks,
        Self::EndsAnew,
        Self::RepeatsUpdates,
        Self::AnswersTwice,
        Self::SwallowsAnswers,
        Self::SwallowsEnds,
        Self::KeepsSizes,
        Self::LeavesRemains,
        Self::SwallowsUpdates,
        Self::EndsTwice,
        Self::AltersUpdates,
        Self::AcknowledgesItself,
        Self::LaunchesTwice,
        Self::HandsOverTwice,
        Self::LeaksProcesses,
        Self::Overcommits,
        Self::RefusesEarlier,
    ];
}

/// What the master is told at its start.
pub(crate) fn spoil_config(mutant: Option<Mutant>, config: &mut Config) {
    if mutant == Some(Mutant::RefusesEarlier) {
        config.versions.min = config.versions.current;
    }
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
        Some(Mutant::OffersNowhere) => offers
            .flatten()
            .for_each(|offer| offer.agent = AgentId::new("nowhere")),
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
    let MasterToAgent::Apply(spec) = order else {
        return;
    };
    match mutant {
        Some(Mutant::MakesResources) => {
            let again = spec.converted.clone();
            spec.converted.add(&again);
        }
        Some(Mutant::MisplacesReservations) => {
            let entries = spec.converted.entries().iter();
            spec.converted = entries.map(elsewhere).collect();
        }
        _ => {}
    }
}

/// The same, reserved for nobody that there is.
fn elsewhere(entry: &Entry) -> Entry {
    let mut terms = entry.terms().clone();
    if let Some(last) = terms.reservations.last_mut() {
        *last = Reservation::dynamic("elsewhere", None);
    }
    entry.under(terms)
}

/// What an agent is started with.
pub(crate) fn spoil_resources(mutant: Option<Mutant>, resources: &mut Resources) {
    if mutant == Some(Mutant::StartsWithLess) {
        let less = Value::Scalar(Scalar(100));
        resources.subtract(
            &[Entry::new("cpus", Terms::default(), less)]
                .into_iter()
                .collect(),
        );
    }
}

impl World {
    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// What a framework is told.
    pub(crate) fn spoil_news(&mut self, scheduler: usize, news: &mut FrameworkEvent) {
        let is_back = self.schedulers[scheduler].id.is_some();
        match (self.mutant, news) {
            (Some(Mutant::AltersUpdates), FrameworkEvent::Update { status, .. })
                if status.state == TaskState::Finished && status.uuid.is_some() =>
            {
                status.state = TaskState::Failed;
            }
            (Some(Mutant::RenamesTasks), FrameworkEvent::Update { key, status })
                if status.uuid.is_none() =>
            {
                key.task = TaskId::new("stray");
            }
            (Some(Mutant::RenamesFrameworks), FrameworkEvent::Subscribed { framework, .. })
                if is_back =>
            {
                *framework = FrameworkId::new("another");
            }
            (Some(Mutant::RenamesOperations), FrameworkEvent::Operation(update)) => {
                update.id = "stray".into();
            }
            (Some(Mutant::EndsOperationsAnew), FrameworkEvent::Operation(update)) => {
                let known = update.status.uuid.is_some();
                update.status.uuid = known.then(|| Uuid::from_random(self.rng.bytes()));
            }
            _ => {}
        }
    }

    /// What an agent says: what is said instead.
    pub(crate) fn spoil_message(&mut self, mut message: AgentToMaster) -> Vec<AgentToMaster> {
        match (self.mutant, &mut message) {
            (Some(Mutant::Boasts), AgentToMaster::Hello(hello)) => {
                let again = hello.resources.clone();
                hello.resources.add(&again);
                vec![message]
            }
            (Some(Mutant::SwallowsEnds), AgentToMaster::ExecutorEnded { .. }) => Vec::new(),
            (Some(Mutant::RepeatsUpdates), _) => {
                let before = self.last_update.take();
                if let AgentToMaster::Update(update) = &message {
                    self.last_update = Some(update.clone());
                }
                let before = before.map(AgentToMaster::Update);
                [message].into_iter().chain(before).collect()
            }
            (Some(mutant), AgentToMaster::Update(update)) => {
                let instead = self.spoil_update(mutant, update);
                instead.into_iter().map(AgentToMaster::Update).collect()
            }
            _ => vec![message],
        }
    }

    fn spoil_update(&mut self, mutant: Mutant, update: &TaskUpdate) -> Vec<TaskUpdate> {
        let is_end = update.status.state.is_terminal() && update.status.uuid.is_some();
        let said_before = update
            .status
            .uuid
            .filter(|uuid| self.said.contains_key(uuid));
        let is_new_to =
            |seen: &BTreeSet<Uuid>| said_before.is_some_and(|uuid| !seen.contains(&uuid));
        let seen = self.acknowledged.get(&update.key.framework);
        let is_unseen = seen.map_or(said_before.is_some(), is_new_to);
        let mut again = update.clone();
        again.status.uuid = Some(Uuid::from_random(self.rng.bytes()));
        match mutant {
            Mutant::SwallowsUpdates => Vec::new(),
            Mutant::EndsTwice if is_end => vec![update.clone(), again],
            Mutant::EndsAnew if is_end && is_unseen => vec![again],
            _ => vec![update.clone()],
        }
    }
}
