//! What a scheduler does of its own accord, and its calls' way to the master.
//!
//! Called by its own clock. Calls travel alone, so that they may overtake each other and get lost.

use std::collections::BTreeSet;

use masterd_core::{Call, Event, FrameworkUpdate, ReconcileTask, StreamId};
use nesos_base::time::Duration;
use nesos_wire::task::TaskState;
use nesos_wire::{FrameworkId, TaskId};

use crate::planned::Planned;
use crate::scheduler::Belief;
use crate::suiting::{constraints, floors_by_role};
use crate::temper::Temper;
use crate::world::World;

/// A stream without a word for this long is dead: twice and a half the heartbeat's interval, and a latency.
const SILENCE: Duration = Duration::from_secs(40);

impl World {
    pub(crate) fn think(&mut self, scheduler: usize) {
        if !self.schedulers[scheduler].is_up {
            return;
        }
        let after = self.rng.millis(500, 3000);
        self.plan(after, Planned::Think { scheduler });
        let now = self.now;
        let known = &mut self.schedulers[scheduler];
        known.thinks += 1;
        let is_silent = now.saturating_duration_since(known.heard) > SILENCE;
        if known.stream.is_none() || is_silent {
            return self.subscribe(scheduler);
        }
        if !known.is_subscribed {
            return;
        }
        if known.thinks.is_multiple_of(12) {
            self.reconcile(scheduler);
        }
        self.use_offers(scheduler);
        match self.is_healed {
            true => self.dismiss(scheduler),
            false => self.misbehave(scheduler),
        }
    }

    fn misbehave(&mut self, scheduler: usize) {
        let temper = self.schedulers[scheduler].temper;
        if self.rng.chance(temper.moodiness()) {
            self.change_mood(scheduler);
        }
        if temper == Temper::Hostile && self.rng.chance(60) {
            self.be_hostile(scheduler);
        }
        match self.rng.between(0, 99) {
            0..15 => {
                let running: Vec<TaskId> = self
                    .unfinished(scheduler)
                    .map(|(id, _)| id.clone())
                    .collect();
                if !running.is_empty() {
                    let task = running[self.rng.next() as usize % running.len()].clone();
                    self.call(
                        scheduler,
                        Call::Kill {
                            task,
                            agent: None,
                            grace_ms: Some(1000),
                        },
                    );
                }
            }
            15..20 => self.call(scheduler, Call::Reconcile { tasks: Vec::new() }),
            20 => {
                self.call(scheduler, Call::Teardown);
                self.begin_anew(scheduler);
                let known = &mut self.schedulers[scheduler];
                known.is_subscribed = false;
                if let Some(stream) = known.stream.take() {
                    // May arrive before the call, which then fails: the framework ends by its failover timeout.
                    self.close_stream_at_master(stream);
                }
            }
            _ => {}
        }
    }

    /// Suppresses or revives some of its roles or all, or changes them.
    fn change_mood(&mut self, scheduler: usize) {
        let roles = match self.rng.chance(50) {
            true => Vec::new(),
            false => self.some_roles(scheduler),
        };
        let call = match self.rng.between(0, 9) {
            0..=2 => Call::Suppress { roles },
            3..=7 => Call::Revive { roles },
            _ => return self.change_roles(scheduler),
        };
        self.call(scheduler, call);
    }

    fn some_roles(&mut self, scheduler: usize) -> Vec<String> {
        let mut roles = self.schedulers[scheduler].facts.roles.clone();
        roles.retain(|_| self.rng.chance(50));
        roles
    }

    /// Roles for which it wants nothing when it subscribes.
    pub(crate) fn suppressed_roles(&mut self, scheduler: usize) -> Vec<String> {
        match self.schedulers[scheduler].temper {
            Temper::Moody if !self.is_healed && self.rng.chance(30) => self.some_roles(scheduler),
            _ => Vec::new(),
        }
    }

    fn unfinished(&self, scheduler: usize) -> impl Iterator<Item = (&TaskId, &Belief)> {
        self.schedulers[scheduler]
            .tasks
            .iter()
            .filter(|(_, belief)| !belief.state.is_some_and(|state| self.is_over(state)))
    }

    /// Of a task of an agent that has left nobody knows anything. Once all who can come back are back, that is its end.
    fn is_over(&self, state: TaskState) -> bool {
        state.is_terminal() || (self.is_healed && state == TaskState::Unknown)
    }

    pub(crate) fn reconcile(&mut self, scheduler: usize) {
        let ask = |(task, belief): (&TaskId, &Belief)| ReconcileTask {
            task: task.clone(),
            agent: Some(belief.agent.clone()),
        };
        let tasks: Vec<ReconcileTask> = self.unfinished(scheduler).map(ask).collect();
        if !tasks.is_empty() {
            self.call(scheduler, Call::Reconcile { tasks });
        }
        self.reconcile_operations(scheduler);
    }

    /// Joins or leaves a role that it shares with other schedulers.
    fn change_roles(&mut self, scheduler: usize) {
        let suppressed_roles = self.suppressed_roles(scheduler);
        let known = &mut self.schedulers[scheduler];
        let facts = &mut known.facts;
        match facts.roles.iter().position(|role| role == "spare") {
            Some(at) => {
                facts.roles.remove(at);
            }
            None => facts.roles.push("spare".into()),
        }
        if !facts.is_capable("MULTI_ROLE") {
            facts.capabilities.push("MULTI_ROLE".into());
        }
        let update = FrameworkUpdate {
            suppressed_roles: suppressed_roles
                .into_iter()
                .filter(|role| facts.roles.contains(role))
                .collect(),
            facts: facts.clone(),
            info: vec![known.index as u8],
            min_allocatable: floors_by_role(&facts.name, &facts.roles),
            constraints: constraints(&facts.name, &facts.roles),
        };
        self.call(scheduler, Call::UpdateFramework(Box::new(update)));
    }

    pub(crate) fn call(&mut self, scheduler: usize, call: Call) {
        let known = &self.schedulers[scheduler];
        let (Some(framework), Some(stream)) = (known.id.clone(), known.stream) else {
            return;
        };
        if !self.is_healed && self.rng.once_in(50) {
            return;
        }
        let after = self.rng.latency();
        self.plan(
            after,
            Planned::Call {
                scheduler,
                framework,
                stream,
                call: Box::new(call),
            },
        );
    }

    pub(crate) fn call_arrives(
        &mut self,
        scheduler: usize,
        framework: FrameworkId,
        stream: StreamId,
        call: Call,
    ) {
        let Some(core) = &self.master.core else {
            return;
        };
        match core.check_call(&framework, Some(stream), None) {
            Ok(()) => {
                self.trace(&format!("scheduler {scheduler} > {}", name(&call)));
                self.master_event(Event::Call {
                    framework,
                    stream,
                    call,
                });
            }
            Err(refusal) => self.trace(&format!(
                "scheduler {scheduler} > {} refused: {refusal}",
                name(&call)
            )),
        }
    }

    /// Tasks and operations that a living framework waits for.
    pub(crate) fn waiting(&self) -> BTreeSet<String> {
        let all = (0..self.schedulers.len()).flat_map(|scheduler| {
            let tasks = self
                .unfinished(scheduler)
                .map(move |(id, belief)| format!("scheduler {scheduler}: {id} {:?}", belief.state));
            let operations = self
                .open_operations(scheduler)
                .map(move |(id, belief)| format!("scheduler {scheduler}: {id} {:?}", belief.state));
            tasks.chain(operations)
        });
        all.collect()
    }
}

fn name(call: &Call) -> &'static str {
    match call {
        Call::Accept { .. } => "ACCEPT",
        Call::Decline { .. } => "DECLINE",
        Call::Revive { .. } => "REVIVE",
        Call::Suppress { .. } => "SUPPRESS",
        Call::Acknowledge { .. } => "ACKNOWLEDGE",
        Call::Kill { .. } => "KILL",
        Call::Reconcile { .. } => "RECONCILE",
        Call::AcknowledgeOperation { .. } => "ACKNOWLEDGE_OPERATION_STATUS",
        Call::ReconcileOperations(_) => "RECONCILE_OPERATIONS",
        Call::Request => "REQUEST",
        Call::Teardown => "TEARDOWN",
        Call::Message { .. } => "MESSAGE",
        Call::ShutDownExecutor { .. } => "SHUTDOWN",
        Call::AnswerInverseOffers { accepts: true, .. } => "ACCEPT_INVERSE_OFFERS",
        Call::AnswerInverseOffers { .. } => "DECLINE_INVERSE_OFFERS",
        Call::UpdateFramework(_) => "UPDATE_FRAMEWORK",
    }
}
