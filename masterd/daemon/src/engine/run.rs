//! The loop that owns this master's part in the group and, while it leads, the master.
//!
//! Started by `main`, runs until it is told to stop. Not the leading itself (`lead`). Invariants: there is a [`Lead`] only
//! while the group has this master lead; while the disk refuses, or too much waits for it, no further event is taken in and
//! only questions are answered.

use std::sync::Arc;
use std::time::Duration;

use masterd_core::LinkId;
use nesos_base::time::Instant;
use nesos_shell::alarm::Alarm;
use nesos_shell::clock::Clock;
use nesos_wire::message::MasterToAgent;
use tokio::sync::watch;

use super::lead::Lead;
use super::watchers::Watching;
use super::{Input, Mailbox, Query, Times};
use crate::about::About;
use crate::link::Outbox;
use crate::replica::{Replica, ReplicaError, Standing};

/// Most events taken in before the core's wishes are carried out: offers are made once per batch.
const BATCH: usize = 256;
/// How long to wait when nothing has a deadline.
const IDLE: Duration = Duration::from_secs(3600);
/// How long another master may take to begin to lead when this one stops: an election would take as long.
const HAND_OVER: Duration = Duration::from_millis(500);

/// What all leaderships of a process share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) times: Arc<Times>,
    pub(super) watching: Arc<Watching>,
    pub(super) max_watchers: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Runner {
    config: masterd_core::Config,
    replica: Replica,
    lead: Option<Box<Lead>>,
    clock: Clock,
    alarm: Alarm,
    about: About,
    shared: Shared,
    mailbox: Mailbox,
    /// Told when there is something to do beside keeping up the group.
    busy: watch::Sender<()>,
    /// Up to where the registry had got when it was looked at last.
    applied: u64,
}

impl Runner {
    /// A master that takes up its part in the group.
    pub(crate) fn new(
        config: masterd_core::Config,
        replica: Replica,
        (clock, alarm): (Clock, Alarm),
        about: About,
        max_watchers: usize,
        mailbox: Mailbox,
    ) -> Self {
        let shared = Shared {
            times: Arc::clone(&mailbox.times),
            watching: Arc::clone(&mailbox.watching),
            max_watchers,
        };
        shared.times.fetch.note(replica.fetched());
        Self {
            config,
            replica,
            lead: None,
            clock,
            alarm,
            about,
            shared,
            mailbox,
            busy: watch::Sender::new(()),
            applied: 0,
        }
    }

    /// To be woken when there is something to do.
    pub(crate) fn follow_busy(&self) -> watch::Receiver<()> {
        self.busy.subscribe()
    }

    /// A master that is alone leads before anybody is let in, if its disk takes writes.
    pub(crate) async fn prepare(&mut self) {
        self.turn();
        while self.is_to_lead_alone() {
            let due = self.due();
            tokio::select! {
                happened = self.replica.happened() => self.replica.take(happened, self.clock.now()),
                () = tokio::time::sleep_until(due) => self.tick(),
            }
            self.turn();
        }
    }

    /// Whether it is alone and can lead, but has not yet done all that it begins with.
    fn is_to_lead_alone(&self) -> bool {
        if !self.replica.is_alone() || self.replica.is_refused() || self.replica.has_ended() {
            return false;
        }
        let has_begun = self.lead.as_ref().is_some_and(|lead| lead.is_settled());
        !has_begun || !self.replica.is_recorded()
    }

    /// Runs until `stop` completes.
    ///
    /// # Errors
    /// This master cannot take part any more.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), ReplicaError> {
        tokio::pin!(stop);
        self.turn();
        loop {
            self.replica.ended()?;
            let due = self.due();
            let is_stuck = self.is_stuck();
            tokio::select! {
                () = &mut stop => break,
                happened = self.replica.happened() => {
                    self.replica.take(happened, self.clock.now());
                    // What waits shares the next flush.
                    if !is_stuck && let Ok(input) = self.mailbox.inputs.try_recv() {
                        self.take_batch(input);
                    }
                }
                Some(query) = self.mailbox.queries.recv(), if !self.is_asked_enough() => self.ask(query),
                Some(input) = self.mailbox.inputs.recv(), if !is_stuck => self.take_batch(input),
                () = self.alarm.ring(due) => self.tick(),
            }
            self.turn();
        }
        self.leave().await;
        Ok(())
    }

    /// Time has passed, for the master if it is its turn.
    fn tick(&mut self) {
        let now = self.clock.now();
        let is_stuck = self.is_stuck();
        if let Some(lead) = &mut self.lead
            && lead.deadline().is_some_and(|deadline| deadline <= now)
            && !is_stuck
        {
            lead.tick();
        }
    }

    /// Whether no further event is taken in.
    fn is_stuck(&self) -> bool {
        self.replica.is_refused() || self.is_full()
    }

    fn is_asked_enough(&self) -> bool {
        self.lead
            .as_ref()
            .is_some_and(|lead| lead.is_asked_enough())
    }

    fn is_full(&self) -> bool {
        self.lead.as_ref().is_some_and(|lead| lead.is_full())
    }

    /// When something is to be done though nothing happens.
    fn due(&self) -> tokio::time::Instant {
        let lead = self.lead.as_ref().filter(|_| !self.is_stuck());
        let lead = lead.and_then(|lead| lead.deadline());
        let due: Option<Instant> = [lead, self.replica.deadline()].into_iter().flatten().min();
        due.map_or_else(
            || tokio::time::Instant::now() + IDLE,
            |due| self.clock.deadline(due),
        )
    }

    fn ask(&mut self, query: Query) {
        self.busy.send_replace(());
        match query {
            Query::Master(question) => {
                // Dropped, it says that there is no answer.
                if let Some(lead) = &mut self.lead {
                    lead.ask(question, &mut self.replica);
                }
            }
            Query::Look(look) => {
                if let Some(lead) = &mut self.lead {
                    lead.look(look, &mut self.replica);
                }
            }
            Query::Listen(reply) => {
                if let Some(lead) = &self.lead {
                    // The asker may have given up meanwhile.
                    let _ = reply.send(lead.listen());
                }
            }
            Query::Replica(wish) => wish(&mut self.replica),
        }
    }

    fn take_batch(&mut self, input: Input) {
        self.busy.send_replace(());
        if let Some(lead) = &mut self.lead {
            lead.begin_batch();
        }
        self.take(input);
        for _ in 1..BATCH {
            let Ok(input) = self.mailbox.inputs.try_recv() else {
                break;
            };
            self.take(input);
        }
    }

    fn take(&mut self, input: Input) {
        match (input, &mut self.lead) {
            (input, Some(lead)) => lead.take(input, &mut self.replica),
            (Input::Hello { link, outbox, .. }, None) => self.redirect(link, &outbox),
            // Dropped, it says that there is no answer.
            (_, None) => {}
        }
    }

    /// Tells an agent who leads; without a word it tries again by itself.
    fn redirect(&self, link: LinkId, outbox: &Outbox) {
        if let Standing::Follows {
            leader: Some(leader),
        } = self.replica.standing()
        {
            tracing::debug!("agent link {} belongs to the master at {leader}", link.0);
            // The link ends with it in any case.
            let _ = outbox.push(&MasterToAgent::Redirect { leader });
        }
    }

    /// Brings everything as far as it can be without waiting.
    fn turn(&mut self) {
        loop {
            self.replica.advance(self.clock.now());
            self.follow_leadership();
            let Some(lead) = &mut self.lead else { break };
            let before = self.replica.proposed();
            lead.tell_masters(&self.replica);
            lead.settle(&mut self.replica);
            lead.answer(&self.replica);
            if self.replica.proposed() == before {
                break;
            }
        }
        if std::mem::replace(&mut self.applied, self.replica.applied()) != self.replica.applied() {
            self.busy.send_replace(());
        }
        self.shared.times.flushes(self.replica.flushes());
        let standing = self.replica.standing();
        self.mailbox.standing.send_if_modified(|known| {
            let is_changed = *known != standing;
            *known = standing;
            is_changed
        });
    }

    fn follow_leadership(&mut self) {
        let term = self.replica.led_term();
        if self.lead.as_ref().map(|lead| lead.term()) == term {
            return;
        }
        if self.lead.take().is_some() {
            tracing::warn!(
                "this master leads no more: its agents and frameworks find the next one"
            );
        }
        if let Some(term) = term {
            if !self.replica.is_alone() {
                tracing::info!("this master leads from now on (term {term})");
            }
            self.lead = Some(Box::new(Lead::new(
                self.config.clone(),
                &self.replica,
                term,
                self.clock,
                self.about.clone(),
                self.shared.clone(),
            )));
        }
    }

    /// Has another master lead, if there is one, and waits for it.
    async fn leave(&mut self) {
        if !self.replica.leave(self.clock.now()) {
            return;
        }
        let waiting = async {
            while self.replica.led_term().is_some() {
                let due = self.due();
                tokio::select! {
                    happened = self.replica.happened() => self.replica.take(happened, self.clock.now()),
                    () = tokio::time::sleep_until(due) => {}
                }
                self.replica.advance(self.clock.now());
            }
        };
        match tokio::time::timeout(HAND_OVER, waiting).await {
            Ok(()) => tracing::info!("another master leads"),
            Err(_) => tracing::warn!("no other master began to lead within {HAND_OVER:?}"),
        }
    }
}
