//! What a scheduler does with the events of its stream.
//!
//! Called when an event reaches it. Invariant: what it was told of a task with a uuid is what the task's agent said, a task
//! ends once, and after its acknowledged end nothing is heard of it but repetitions.

use masterd_core::{Call, FrameworkEvent, StreamId};
use nesos_wire::task::{TaskState, TaskStatus};
use nesos_wire::{FrameworkId, TaskId, TaskKey};

use crate::temper::Temper;
use crate::world::World;

impl World {
    pub(crate) fn scheduler_hears(
        &mut self,
        scheduler: usize,
        stream: StreamId,
        event: FrameworkEvent,
    ) {
        let known = &mut self.schedulers[scheduler];
        if !known.is_up || known.stream != Some(stream) {
            return;
        }
        known.heard = self.now;
        match event {
            FrameworkEvent::Subscribed { framework, .. } => self.subscribed(scheduler, framework),
            FrameworkEvent::Offers(offers) => {
                let temper = known.temper;
                for offer in offers {
                    let ripe = self.now + temper.hesitation(&mut self.rng);
                    let known = &mut self.schedulers[scheduler];
                    known.offers.insert(offer.id.clone(), (ripe, offer));
                }
                self.use_offers(scheduler);
            }
            FrameworkEvent::InverseOffers(offers) => {
                let answer = Call::AnswerInverseOffers {
                    offers: offers.into_iter().map(|offer| offer.id).collect(),
                    accepts: self.rng.chance(50),
                    refuse_seconds: Some(self.rng.between(0, 20) as f64),
                };
                self.call(scheduler, answer);
            }
            FrameworkEvent::Rescind(id) => known.let_go([id]),
            FrameworkEvent::Update { key, status } => self.updated(scheduler, key.task, status),
            FrameworkEvent::Error(message) => {
                self.trace(&format!("scheduler {scheduler} < ERROR {message}"));
                if message.contains("removed") {
                    self.begin_anew(scheduler);
                }
            }
            FrameworkEvent::Operation(update) => self.operated(scheduler, update),
            FrameworkEvent::Heartbeat
            | FrameworkEvent::Failure { .. }
            | FrameworkEvent::Message { .. }
            | FrameworkEvent::RescindInverseOffer(_) => {}
        }
    }

    fn subscribed(&mut self, scheduler: usize, framework: FrameworkId) {
        self.trace(&format!("scheduler {scheduler} < SUBSCRIBED {framework}"));
        let known = &mut self.schedulers[scheduler];
        known.is_subscribed = true;
        if known.id.as_ref().is_some_and(|id| *id != framework) {
            self.fail(format!(
                "scheduler {scheduler} was given the id {framework}"
            ));
        }
        self.schedulers[scheduler].id = Some(framework);
        // As the manuals say: whoever subscribes again asks what became of the tasks.
        self.reconcile(scheduler);
    }

    /// The framework has ended; the scheduler starts as a new one.
    pub(crate) fn begin_anew(&mut self, scheduler: usize) {
        let known = &mut self.schedulers[scheduler];
        known.id = None;
        known.tasks.clear();
        known.operations.clear();
        known.offers.clear();
    }

    fn updated(&mut self, scheduler: usize, task: TaskId, status: TaskStatus) {
        let line = format!(
            "scheduler {scheduler} < {task} {:?} by {:?} {:?}",
            status.state, status.source, status.reason
        );
        self.trace(&line);
        self.check_story(scheduler, &task, &status);
        let acknowledges = status.uuid.is_some() && (self.is_healed || self.rng.chance(85));
        let known = &mut self.schedulers[scheduler];
        let Some(framework) = known.id.clone() else {
            return;
        };
        let Some(belief) = known.tasks.get_mut(&task) else {
            // It asked for it.
            if known.temper == Temper::Hostile && status.uuid.is_none() {
                return;
            }
            return self.fail(format!("scheduler {scheduler} never launched {task}"));
        };
        if let (Some(uuid), Some(agent)) = (status.uuid, status.agent.clone()) {
            let seen = self.acknowledged.entry(framework.clone()).or_default();
            // A repetition: of this launch, or of an earlier one with the same id. It is acknowledged once more.
            let is_repetition = seen.contains(&uuid);
            if belief.is_closed && !is_repetition {
                let what = format!(
                    "{task} of {framework} says {:?} after its acknowledged end",
                    status.state
                );
                return self.fail(what);
            }
            if status.state.is_terminal() && !is_repetition {
                let known = belief.end.replace(uuid);
                if known.is_some_and(|known| known != uuid) {
                    return self.fail(format!("{task} of {framework} ends twice"));
                }
            }
            if acknowledges {
                seen.insert(uuid);
                belief.is_closed |= status.state.is_terminal() && !is_repetition;
                self.call(
                    scheduler,
                    Call::Acknowledge {
                        agent,
                        task: task.clone(),
                        uuid,
                    },
                );
            }
            if is_repetition {
                return;
            }
        }
        let Some(belief) = self.schedulers[scheduler].tasks.get_mut(&task) else {
            return;
        };
        // A late answer of the master does not bring an ended task back.
        if !belief.is_closed || status.state.is_terminal() {
            belief.state = Some(status.state);
        }
    }

    /// Word for word what the agent said, or it is no status of an agent.
    fn check_story(&mut self, scheduler: usize, task: &TaskId, status: &TaskStatus) {
        let (Some(uuid), Some(framework)) = (status.uuid, self.schedulers[scheduler].id.clone())
        else {
            return;
        };
        let key = TaskKey {
            framework,
            task: task.clone(),
        };
        // Of a draining agent the master says why, and GONE_BY_OPERATOR for KILLED.
        let is_told = self.said.get(&uuid).is_some_and(|(said, state)| {
            *said == key
                && (*state == status.state
                    || (*state == TaskState::Killed && status.state == TaskState::GoneByOperator))
        });
        if !is_told {
            let what = format!("{:?} of {key} is not what its agent said", status.state);
            self.fail(what);
        }
    }
}
