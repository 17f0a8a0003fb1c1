//! Simulated schedulers: what each is and knows, its process, and its streams.
//!
//! What one does with events stands in `hearing`, what it does of its own accord in `thinking`. Each keeps what it knows of
//! its tasks over its crashes, as real ones do on disk. Invariant: events of one stream stay in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use masterd_core::{Event, FrameworkEvent, Offer, StreamId, Subscribe};
use nesos_base::time::{Duration, Instant};
use nesos_wire::command::FrameworkFacts;
use nesos_wire::task::TaskState;
use nesos_wire::{AgentId, FrameworkId, OfferId, TaskId, Uuid};

use crate::converting::OperationBelief;
use crate::laws::Laws;
use crate::planned::Planned;
use crate::rng::Rng;
use crate::suiting::{avoiding, constraints, floors_by_role, wanting};
use crate::temper::Temper;
use crate::world::World;

/// Roles to be in. Some share a parent, one is a parent.
const ROLES: [&str; 6] = ["*", "a", "b", "eng", "eng/dev", "eng/ops"];
/// Smallest offers that some want: any, or so much of something.
const FLOORS: [&str; 4] = ["", "cpus:1", "mem:200", "cpus:2|mem:500"];
/// How many offers that are over a scheduler remembers, to use them again.
const PAST_OFFERS: usize = 16;

/// What a scheduler believes of one of its tasks.
#[derive(Debug, Clone)]
pub(crate) struct Belief {
    pub(crate) state: Option<TaskState>,
    pub(crate) agent: AgentId,
    /// Its end was acknowledged with a uuid: the id may be used again.
    pub(crate) is_closed: bool,
    /// The uuid of its end.
    pub(crate) end: Option<Uuid>,
}

/// A scheduler.
#[derive(Debug)]
pub(crate) struct Scheduler {
    pub(crate) index: usize,
    pub(crate) temper: Temper,
    pub(crate) facts: FrameworkFacts,
    pub(crate) id: Option<FrameworkId>,
    pub(crate) is_up: bool,
    pub(crate) stream: Option<StreamId>,
    pub(crate) is_subscribed: bool,
    pub(crate) heard: Instant,
    pub(crate) tasks: BTreeMap<TaskId, Belief>,
    /// With the time from which it looks at them.
    pub(crate) offers: BTreeMap<OfferId, (Instant, Offer)>,
    /// Operations with an id.
    pub(crate) operations: BTreeMap<String, OperationBelief>,
    /// Offers that it has used or lost.
    pub(crate) past_offers: VecDeque<OfferId>,
    pub(crate) next_task: u64,
    pub(crate) budget: u64,
    pub(crate) thinks: u64,
    last_event: Instant,
}

impl Scheduler {
    pub(crate) fn new(index: usize, laws: &Laws, rng: &mut Rng) -> Self {
        let temper = Temper::draw(rng);
        let mut capabilities = Vec::new();
        if rng.chance(50) {
            capabilities.push("PARTITION_AWARE".to_owned());
        }
        let talents = [
            ("REGION_AWARE", laws.has_domains),
            ("SHARED_RESOURCES", laws.has_operations),
            ("REVOCABLE_RESOURCES", true),
            ("GPU_RESOURCES", laws.has_gpus),
        ];
        for (talent, is_of_use) in talents {
            if is_of_use && rng.chance(50) {
                capabilities.push(talent.to_owned());
            }
        }
        let mut name = format!("scheduler{index}");
        if laws.has_floors && rng.chance(60) {
            name = wanting(&name, FLOORS[rng.between(0, 3) as usize]);
        }
        if rng.chance(15) {
            name = avoiding(&name, rng.between(0, 4) as usize);
        }
        let count = match temper {
            Temper::Moody => rng.between(1, 3),
            _ if rng.chance(20) => 2,
            _ => 1,
        };
        if count > 1 {
            capabilities.push("MULTI_ROLE".to_owned());
        }
        let roles: BTreeSet<&str> = (0..count)
            .map(|_| ROLES[rng.between(0, 5) as usize])
            .collect();
        Self {
            index,
            temper,
            facts: FrameworkFacts {
                name,
                user: "root".into(),
                roles: roles.into_iter().map(str::to_owned).collect(),
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
            operations: BTreeMap::new(),
            past_offers: VecDeque::new(),
            next_task: 0,
            budget: rng.between(5, 60),
            thinks: 0,
            last_event: Instant::from_secs(0),
        }
    }

    /// Offers are over, used or lost.
    pub(crate) fn let_go(&mut self, ids: impl IntoIterator<Item = OfferId>) {
        for id in ids {
            self.offers.remove(&id);
            self.past_offers.push_back(id);
            if self.past_offers.len() > PAST_OFFERS {
                self.past_offers.pop_front();
            }
        }
    }

    /// The stream is over, and all offers with it.
    fn let_go_all(&mut self) {
        let ids: Vec<OfferId> = self.offers.keys().cloned().collect();
        self.let_go(ids);
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

    pub(crate) fn some_scheduler(&mut self) -> usize {
        self.rng.between(0, self.schedulers.len() as u64 - 1) as usize
    }

    /// kill -9: calls that are under way may still arrive.
    pub(crate) fn scheduler_crash(&mut self, scheduler: usize) {
        let known = &mut self.schedulers[scheduler];
        if !std::mem::replace(&mut known.is_up, false) {
            return;
        }
        self.trace(&format!("scheduler {scheduler} crashes"));
        let known = &mut self.schedulers[scheduler];
        known.is_subscribed = false;
        known.let_go_all();
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

    pub(crate) fn close_stream_at_master(&mut self, stream: StreamId) {
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

    pub(crate) fn subscribe(&mut self, scheduler: usize) {
        let stream = StreamId(Uuid::from_random(self.rng.bytes()));
        let suppressed = self.suppressed_roles(scheduler);
        let known = &mut self.schedulers[scheduler];
        if let Some(old) = known.stream.replace(stream) {
            known.let_go_all();
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
            suppressed_roles: suppressed,
            min_allocatable: floors_by_role(&known.facts.name, &known.facts.roles),
            constraints: constraints(&known.facts.name, &known.facts.roles),
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

    pub(crate) fn send_event(&mut self, stream: StreamId, mut event: FrameworkEvent) {
        let Some(scheduler) = self.master.streams.get(&stream).copied() else {
            return;
        };
        self.spoil_news(scheduler, &mut event);
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
        known.let_go_all();
        known.heard = self.now;
    }
}
