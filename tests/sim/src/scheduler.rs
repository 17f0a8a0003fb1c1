//! Simulated schedulers: they launch, acknowledge, kill, reconcile, fail, and come back.
//!
//! Each keeps what it knows of its tasks over its crashes, as real ones do on disk. Calls travel alone, so that they may
//! overtake each other; events of one stream stay in order.

use std::collections::{BTreeMap, BTreeSet};

use masterd_core::{
    Call, Event, FrameworkEvent, FrameworkUpdate, Offer, ReconcileTask, StreamId, Subscribe,
};
use nesos_base::time::{Duration, Instant};
use nesos_wire::command::FrameworkFacts;
use nesos_wire::task::{TaskState, TaskStatus};
use nesos_wire::{AgentId, FrameworkId, OfferId, TaskId, Uuid};

use crate::rng::Rng;
use crate::world::{Planned, World};

/// A stream without a word for this long is dead: twice and a half the heartbeat's interval, and a latency.
const SILENCE: Duration = Duration::from_secs(40);

/// What a scheduler believes of one of its tasks.
#[derive(Debug, Clone)]
pub(crate) struct Belief {
    pub(crate) state: Option<TaskState>,
    pub(crate) agent: AgentId,
    /// Its end was acknowledged with a uuid: the id may be used again.
    pub(crate) is_closed: bool,
}

/// A scheduler.
#[derive(Debug)]
pub(crate) struct Scheduler {
    index: usize,
    facts: FrameworkFacts,
    pub(crate) id: Option<FrameworkId>,
    is_up: bool,
    stream: Option<StreamId>,
    is_subscribed: bool,
    heard: Instant,
    pub(crate) tasks: BTreeMap<TaskId, Belief>,
    pub(crate) offers: BTreeMap<OfferId, Offer>,
    pub(crate) next_task: u64,
    pub(crate) budget: u64,
    thinks: u64,
    last_event: Instant,
}

impl Scheduler {
    pub(crate) fn new(index: usize, rng: &mut Rng) -> Self {
        let capabilities = if rng.chance(50) {
            vec!["PARTITION_AWARE".to_owned()]
        } else {
            Vec::new()
        };
        let role = ["*", "a", "b"][rng.between(0, 2) as usize];
        Self {
            index,
            facts: FrameworkFacts {
                name: format!("scheduler{index}"),
                user: "root".into(),
                roles: vec![role.to_owned()],
                principal: None,
                failover_timeout: [0.0, 5.0, 60.0, 3600.0][rng.between(0, 3) as usize],
                checkpoint: rng.chance(50),
                capabilities,
            },
            id: None,
            is_up: false,
            stream: None,
            is_subscribed: false,
            heard: Instant::from_secs(0),
            tasks: BTreeMap::new(),
            offers: BTreeMap::new(),
            next_task: 0,
            budget: rng.between(5, 60),
            thinks: 0,
            last_event: Instant::from_secs(0),
        }
    }
}

impl World {
    pub(crate) fn scheduler_start(&mut self, scheduler: usize) {
        let now = self.now;
        let known = &mut self.schedulers[scheduler];
        if std::mem::replace(&mut known.is_up, true) {
            return;
        }
        known.heard = now;
        self.subscribe(scheduler);
        self.plan(Duration::from_secs(1), Planned::Think { scheduler });
    }

    pub(crate) fn scheduler_crash(&mut self) {
        let scheduler = self.rng.between(0, self.schedulers.len() as u64 - 1) as usize;
        let known = &mut self.schedulers[scheduler];
        known.is_up = false;
        known.is_subscribed = false;
        known.offers.clear();
        if let Some(stream) = known.stream.take() {
            self.close_stream_at_master(stream);
        }
        let after = self.rng.millis(100, 30_000);
        self.plan(after, Planned::SchedulerStart { scheduler });
    }

    pub(crate) fn break_some_stream(&mut self) {
        let streams: Vec<(StreamId, usize)> =
            self.master.streams.iter().map(|(s, i)| (*s, *i)).collect();
        if streams.is_empty() {
            return;
        }
        let (stream, scheduler) = streams[self.rng.next() as usize % streams.len()];
        // From now on nothing gets through, whoever notices first.
        self.master.streams.remove(&stream);
        self.close_stream_at_master(stream);
        let after = self.rng.millis(0, 4000);
        self.plan(after, Planned::StreamEnds { scheduler, stream });
    }

    fn close_stream_at_master(&mut self, stream: StreamId) {
        self.master.streams.remove(&stream);
        let generation = self.master.generation;
        let after = self.rng.millis(0, 4000);
        self.plan(after, Planned::StreamGone { stream, generation });
    }

    pub(crate) fn stream_gone(&mut self, stream: StreamId, generation: u64) {
        if generation == self.master.generation {
            self.master_event(Event::StreamClosed { stream });
        }
    }

    fn subscribe(&mut self, scheduler: usize) {
        let stream = StreamId(Uuid::from_random(self.rng.bytes()));
        let known = &mut self.schedulers[scheduler];
        if let Some(old) = known.stream.replace(stream) {
            known.offers.clear();
            known.is_subscribed = false;
            self.close_stream_at_master(old);
        }
        let known = &mut self.schedulers[scheduler];
        known.heard = self.now;
        let subscribe = Subscribe {
            stream,
            framework: known.id.clone(),
            facts: known.facts.clone(),
            info: vec![known.index as u8],
            suppressed_roles: Vec::new(),
            min_allocatable: BTreeMap::new(),
            constraints: Default::default(),
        };
        let after = self.rng.latency();
        self.plan(
            after,
            Planned::Subscribe {
                scheduler,
                subscribe: Box::new(subscribe),
            },
        );
    }

    pub(crate) fn subscribe_arrives(&mut self, scheduler: usize, subscribe: Subscribe) {
        let stream = subscribe.stream;
        if self.schedulers[scheduler].stream != Some(stream) {
            return;
        }
        if self.master.core.is_none() || (!self.is_healed && self.rng.chance(5)) {
            let after = self.rng.latency();
            self.plan(after, Planned::StreamEnds { scheduler, stream });
            return;
        }
        self.trace(&format!(
            "scheduler {scheduler} subscribes as {:?}",
            subscribe.framework
        ));
        self.master.streams.insert(stream, scheduler);
        self.master_event(Event::Subscribe(Box::new(subscribe)));
    }

    pub(crate) fn send_event(&mut self, stream: StreamId, event: FrameworkEvent) {
        let Some(scheduler) = self.master.streams.get(&stream).copied() else {
            return;
        };
        let at = (self.now + self.rng.latency()).max(self.schedulers[scheduler].last_event);
        self.schedulers[scheduler].last_event = at;
        self.plan_at(
            at,
            Planned::ToScheduler {
                scheduler,
                stream,
                event: Box::new(event),
            },
        );
    }

    /// The master ends a stream: after what it sent on it.
    pub(crate) fn plan_stream_end(&mut self, scheduler: usize, stream: StreamId, after: Duration) {
        let at = (self.now + after).max(self.schedulers[scheduler].last_event);
        self.plan_at(at, Planned::StreamEnds { scheduler, stream });
    }

    pub(crate) fn stream_ends(&mut self, scheduler: usize, stream: StreamId) {
        let known = &mut self.schedulers[scheduler];
        if known.stream != Some(stream) {
            return;
        }
        // `subscribe` will not hang up on a stream that is over.
        known.stream = None;
        known.is_subscribed = false;
        known.offers.clear();
        known.heard = self.now;
    }

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
                known
                    .offers
                    .extend(offers.into_iter().map(|offer| (offer.id.clone(), offer)));
                if self.is_healed || self.rng.chance(80) {
                    self.use_offers(scheduler);
                }
            }
            FrameworkEvent::Rescind(id) => {
                known.offers.remove(&id);
            }
            FrameworkEvent::Update { key, status } => self.updated(scheduler, key.task, status),
            FrameworkEvent::Error(message) => {
                self.trace(&format!("scheduler {scheduler} < ERROR {message}"));
                if message.contains("removed") {
                    self.begin_anew(scheduler);
                }
            }
            FrameworkEvent::Heartbeat
            | FrameworkEvent::Failure { .. }
            | FrameworkEvent::Message { .. } => {}
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
    fn begin_anew(&mut self, scheduler: usize) {
        let known = &mut self.schedulers[scheduler];
        known.id = None;
        known.tasks.clear();
        known.offers.clear();
    }

    fn updated(&mut self, scheduler: usize, task: TaskId, status: TaskStatus) {
        let line = format!(
            "scheduler {scheduler} < {task} {:?} by {:?} {:?}",
            status.state, status.source, status.reason
        );
        self.trace(&line);
        let acknowledges = status.uuid.is_some() && (self.is_healed || self.rng.chance(85));
        let known = &mut self.schedulers[scheduler];
        let Some(framework) = known.id.clone() else {
            return;
        };
        let Some(belief) = known.tasks.get_mut(&task) else {
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
        if !self.is_healed {
            self.misbehave(scheduler);
        }
    }

    fn misbehave(&mut self, scheduler: usize) {
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
            20..22 => self.call(scheduler, Call::Suppress { roles: Vec::new() }),
            22..24 => self.change_roles(scheduler),
            24..34 => self.call(scheduler, Call::Revive { roles: Vec::new() }),
            34..37 => {
                let uuid = Uuid::from_random(self.rng.bytes());
                let agent = AgentId::new("nobody");
                self.call(
                    scheduler,
                    Call::Acknowledge {
                        agent,
                        task: TaskId::new("nothing"),
                        uuid,
                    },
                );
            }
            37 => {
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

    fn unfinished(&self, scheduler: usize) -> impl Iterator<Item = (&TaskId, &Belief)> {
        self.schedulers[scheduler]
            .tasks
            .iter()
            .filter(|(_, belief)| !belief.state.is_some_and(TaskState::is_terminal))
    }

    fn reconcile(&mut self, scheduler: usize) {
        let ask = |(task, belief): (&TaskId, &Belief)| ReconcileTask {
            task: task.clone(),
            agent: Some(belief.agent.clone()),
        };
        let tasks: Vec<ReconcileTask> = self.unfinished(scheduler).map(ask).collect();
        if !tasks.is_empty() {
            self.call(scheduler, Call::Reconcile { tasks });
        }
    }

    /// Joins or leaves a second role that it shares with other schedulers.
    fn change_roles(&mut self, scheduler: usize) {
        let known = &mut self.schedulers[scheduler];
        let facts = &mut known.facts;
        if facts.roles.len() == 1 {
            facts.roles.push("spare".into());
            if !facts.is_capable("MULTI_ROLE") {
                facts.capabilities.push("MULTI_ROLE".into());
            }
        } else {
            facts.roles.pop();
        }
        let update = FrameworkUpdate {
            facts: facts.clone(),
            info: vec![known.index as u8],
            suppressed_roles: Vec::new(),
            min_allocatable: BTreeMap::new(),
            constraints: Default::default(),
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

    /// Tasks that a living framework waits for.
    pub(crate) fn waiting(&self) -> BTreeSet<String> {
        let all = (0..self.schedulers.len()).flat_map(|scheduler| {
            self.unfinished(scheduler)
                .map(move |(id, belief)| format!("scheduler {scheduler}: {id} {:?}", belief.state))
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
        Call::Teardown => "TEARDOWN",
        Call::Message { .. } => "MESSAGE",
        Call::UpdateFramework(_) => "UPDATE_FRAMEWORK",
    }
}
