//! A group of members in one thread: their disks, their network, their time, and who watches that nothing goes wrong.
//!
//! Called by the tests. Invariant: the same seed and the same calls make the same history.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use masterd_core::consensus::{Committed, Consensus, Restored, Store};

use crate::disk::Disk;
use crate::versions;
use nesos_base::time::{Duration, Instant};
use nesos_wire::version::{FIRST, Version};
use raft_proto::eraftpb::{ConfState, HardState, Message, SnapshotMetadata};

/// What makes a network and its disks bad.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Troubles {
    /// Of a thousand messages so many are lost.
    pub(crate) lost: u64,
    /// Longest way of a message, microseconds.
    pub(crate) way_us: u64,
    /// Longest time that a flush takes, microseconds; meanwhile the member goes on.
    pub(crate) flush_us: u64,
    /// Disks say that they have flushed, and have not.
    pub(crate) lying_disks: bool,
}

pub(crate) const QUIET: Troubles = Troubles {
    lost: 0,
    way_us: 200,
    flush_us: 0,
    lying_disks: false,
};

#[derive(Debug, Default)]
struct Member {
    running: Option<Consensus>,
    disk: Disk,
    /// Its disk is damaged: it does not start any more.
    pub(crate) is_damaged: bool,
    /// The state machine: what was applied, in order.
    state: Vec<u64>,
    applied: u64,
    wakeups: u64,
    /// What it makes durable, and when that is done.
    storing: Option<(Instant, Store)>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) now: Instant,
    pub(crate) troubles: Troubles,
    members: BTreeMap<u64, Member>,
    network: BTreeMap<(Instant, u64), Message>,
    /// Pairs that do not hear each other.
    pub(crate) cut: BTreeSet<(u64, u64)>,
    rng: u64,
    sent: u64,
    /// By index: what was applied there by whoever came first.
    history: BTreeMap<u64, (u64, Bytes)>,
    leaders: BTreeMap<u64, u64>,
    /// Proposed and not heard of yet: proposer, index, term.
    waiting: BTreeMap<u64, (u64, u64, u64)>,
    /// Of which a proposer knows that they are committed.
    pub(crate) known: BTreeSet<u64>,
    /// Asked whether they still lead: member, term, number, and up to where anybody had applied by then.
    asked: Vec<(u64, u64, u64, u64)>,
    /// Of those so many were answered with yes.
    pub(crate) confirmed: u64,
    /// So many had asked who had been deposed without knowing it, and would have told something old.
    pub(crate) deposed: u64,
    next_value: u64,
    /// Which wire version each member speaks, or spoke when it ran last.
    pub(crate) speaks: BTreeMap<u64, Version>,
    /// A sum of everything that happened.
    pub(crate) trace: u64,
}

impl Group {
    /// Members 1 to `count`; the first one founds the group, and the others are its voters already.
    pub(crate) fn new(count: u64, seed: u64, troubles: Troubles) -> Self {
        let mut group = Self {
            now: Instant::from_secs(1),
            troubles,
            members: BTreeMap::new(),
            network: BTreeMap::new(),
            cut: BTreeSet::new(),
            rng: seed,
            sent: 0,
            history: BTreeMap::new(),
            leaders: BTreeMap::new(),
            waiting: BTreeMap::new(),
            known: BTreeSet::new(),
            asked: Vec::new(),
            confirmed: 0,
            deposed: 0,
            next_value: 0,
            speaks: BTreeMap::new(),
            trace: 0,
        };
        for number in 1..=count {
            let mut log = Restored::founder(number);
            log.saved.conf_state = ConfState::from((1..=count, []));
            group.add(number, log);
        }
        group
    }

    /// A member with this log, or with none: a newcomer.
    pub(crate) fn add(&mut self, number: u64, log: Restored) {
        let member = Member {
            disk: Disk::new(&log),
            ..Member::default()
        };
        self.members.insert(number, member);
        self.start(number);
    }

    pub(crate) fn random(&mut self, below: u64) -> u64 {
        self.rng = self
            .rng
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.rng >> 33) % below
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.members.keys().copied().collect()
    }

    pub(crate) fn runs(&self, number: u64) -> bool {
        self.members[&number].running.is_some()
    }

    pub(crate) fn consensus(&mut self, number: u64) -> Option<&mut Consensus> {
        self.members.get_mut(&number)?.running.as_mut()
    }

    /// Has a member do something, and does what it then wants.
    pub(crate) fn order<T>(
        &mut self,
        number: u64,
        order: impl FnOnce(&mut Consensus) -> T,
    ) -> Option<T> {
        let done = self.consensus(number).map(order);
        self.settle(number);
        done
    }

    pub(crate) fn state(&self, number: u64) -> &[u64] {
        &self.members[&number].state
    }

    pub(crate) fn wakeups(&self, number: u64) -> u64 {
        self.members[&number].wakeups
    }

    /// The leader of the latest term that runs.
    pub(crate) fn leader(&self) -> Option<u64> {
        let running = self.members.iter();
        let roles =
            running.filter_map(|(number, member)| Some((*number, member.running.as_ref()?.role())));
        let leading = roles.filter(|(_, role)| role.leads);
        leading
            .max_by_key(|(_, role)| role.term)
            .map(|(number, _)| number)
    }

    /// As by a power cut: what was not flushed is gone. `notice`: the others see their connections break.
    pub(crate) fn crash(&mut self, number: u64, notice: bool) {
        let member = self.members.get_mut(&number).expect("a member");
        if member.running.take().is_none() {
            return;
        }
        member.storing = None;
        let torn = self.random(1001);
        let member = self.members.get_mut(&number).expect("a member");
        member.disk.lose_power(torn);
        self.waiting.retain(|_, (proposer, ..)| *proposer != number);
        if notice {
            for other in self.numbers() {
                let now = self.now;
                if let Some(consensus) = self.consensus(other) {
                    consensus.lost(number, now);
                    self.settle(other);
                }
            }
        }
    }

    /// Starts with what the disk has.
    pub(crate) fn start(&mut self, number: u64) {
        let (now, seed) = (self.now, self.rng ^ number);
        let member = self.members.get_mut(&number).expect("a member");
        let Ok((log, state)) = member.disk.mount() else {
            member.is_damaged = true;
            return;
        };
        (member.applied, member.state) = (log.saved.index, state);
        let started = Consensus::new(number, log, seed, now);
        member.running = Some(started.expect("what was stored makes sense"));
        self.settle(number);
    }

    /// Proposes something new to whoever leads. Whether anybody took it.
    pub(crate) fn propose(&mut self) -> bool {
        let Some(leader) = self.leader() else {
            return false;
        };
        self.propose_of(leader, 0)
    }

    /// Proposes something new to this member: `of` is the rest of it.
    pub(crate) fn propose_of(&mut self, leader: u64, of: u64) -> bool {
        let value = of | self.next_value;
        let Some(consensus) = self.consensus(leader) else {
            return false;
        };
        let Ok((index, term)) = consensus.propose(value.to_le_bytes().to_vec()) else {
            return false;
        };
        self.next_value += 1;
        self.waiting.insert(value, (leader, index, term));
        self.settle(leader);
        true
    }

    /// Everybody who believes to lead asks whether that is so.
    pub(crate) fn ask(&mut self) {
        let decided = self.history.keys().next_back().copied().unwrap_or(0);
        for number in self.numbers() {
            let applied = self.members[&number].applied;
            let Some(consensus) = self.consensus(number) else {
                continue;
            };
            if consensus.is_up_to_date_leader() {
                let term = consensus.role().term;
                let asked = (number, term, consensus.confirm(), decided);
                self.asked.push(asked);
                self.deposed += u64::from(applied < decided);
                self.settle(number);
            }
        }
    }

    /// Whoever learns that it still leads must have applied what anybody had when it asked.
    fn judge_answers(&mut self, number: u64) {
        let member = &self.members[&number];
        let Some(consensus) = &member.running else {
            self.asked.retain(|(of, ..)| *of != number);
            return;
        };
        let role = consensus.role();
        let (confirmed, applied) = (consensus.confirmed(), member.applied);
        let answers = &mut self.confirmed;
        self.asked.retain(|(of, term, question, decided)| {
            if *of != number {
                return true;
            }
            let is_same = role.leads && role.term == *term;
            if is_same && *question <= confirmed {
                assert!(
                    applied >= *decided,
                    "member {number} leads on, and has {applied} of {decided}"
                );
                *answers += 1;
            }
            is_same && *question > confirmed
        });
    }

    /// Saves a member's state machine, after which its log is forgotten.
    pub(crate) fn save(&mut self, number: u64) {
        let member = self.members.get_mut(&number).expect("a member");
        if member.storing.is_some() {
            return;
        }
        let applied = member.applied;
        let running = member.running.as_mut();
        let saved = running.and_then(|consensus| {
            let saved = consensus.to_be_saved(applied);
            consensus.forget(applied, 0);
            saved
        });
        let Some(saved) = saved else {
            return;
        };
        let (mut log, _) = member.disk.read().expect("it runs on it");
        log.entries.retain(|entry| entry.index > saved.index);
        log.saved = saved;
        member.disk.replace(&log, &member.state);
    }

    /// Damages the disk of one that does not run. Whether it could be.
    pub(crate) fn flip(&mut self, number: u64) -> bool {
        let place = self.random(1 << 30);
        let member = self.members.get_mut(&number).expect("a member");
        member.running.is_none() && member.disk.flip(place)
    }

    pub(crate) fn is_damaged(&self, number: u64) -> bool {
        self.members[&number].is_damaged
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until something is true; how long that took.
    pub(crate) fn until(
        &mut self,
        most: Duration,
        mut is_true: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let (start, end) = (self.now, self.now + most);
        while !is_true(self) {
            if !self.step(end) {
                return None;
            }
        }
        Some(self.now - start)
    }

    /// One thing happens, if one does before `end`.
    fn step(&mut self, end: Instant) -> bool {
        if let Some((at, number)) = self.next_stored()
            && at <= end
            && self
                .network
                .keys()
                .next()
                .is_none_or(|(arrival, _)| at <= *arrival)
        {
            self.now = self.now.max(at);
            self.stored(number);
            self.settle(number);
            return true;
        }
        let arrival = self.network.keys().next().copied();
        let running = self.members.iter();
        let alarms = running
            .filter_map(|(number, member)| Some((member.running.as_ref()?.deadline()?, *number)));
        let alarm = alarms.min();
        let (at, is_arrival) = match (arrival, alarm) {
            (Some((at, _)), Some((alarm, _))) if at <= alarm => (at, true),
            (_, Some((alarm, _))) => (alarm, false),
            (Some((at, _)), None) => (at, true),
            (None, None) => return false,
        };
        if at > end {
            return false;
        }
        self.now = self.now.max(at);
        let now = self.now;
        let number = match (is_arrival, arrival, alarm) {
            (true, Some(key), _) => {
                let message = self.network.remove(&key).expect("it was seen");
                let to = message.to;
                let is_there = self.runs(to);
                self.arrived(&message, is_there);
                if let Some(consensus) = self.consensus(to) {
                    consensus.receive(message, now);
                }
                to
            }
            (_, _, Some((_, number))) => {
                if let Some(consensus) = self.consensus(number) {
                    consensus.advance(now);
                }
                number
            }
            _ => return false,
        };
        if let Some(member) = self.members.get_mut(&number) {
            member.wakeups += 1;
        }
        self.settle(number);
        true
    }

    /// Does what a member wants done.
    fn settle(&mut self, number: u64) {
        while let Some(work) = self.consensus(number).and_then(Consensus::work) {
            self.send(work.send);
            self.apply(number, work.apply);
            let dies = self.troubles.lost > 0 && work.store.must_flush && self.random(500) == 0;
            // What need not be flushed is not written at all: the shell does the same.
            if work.store.snapshot.is_none() && work.store.must_flush {
                let member = self.members.get_mut(&number).expect("it runs");
                member.disk.append(&work.store);
            }
            if dies {
                self.crash(number, false);
                return;
            }
            let is_slow = self.troubles.flush_us > 0 && work.store.must_flush;
            let takes = if is_slow {
                self.random(self.troubles.flush_us)
            } else {
                0
            };
            let done = self.now + Duration::from_micros(takes);
            let member = self.members.get_mut(&number).expect("it runs");
            member.storing = Some((done, work.store));
            if is_slow {
                break;
            }
            self.stored(number);
        }
        self.judge_answers(number);
        if self.members[&number].storing.is_some() {
            return;
        }
        let Some(consensus) = self.consensus(number) else {
            return;
        };
        let role = consensus.role();
        let wanted = consensus.wants_snapshot();
        if role.leads {
            let known = *self.leaders.entry(role.term).or_insert(number);
            assert_eq!(known, number, "two leaders in term {}", role.term);
        }
        if wanted.is_some() {
            let member = self.members.get_mut(&number).expect("it runs");
            let data = postcard::to_allocvec(&member.state).expect("numbers");
            let applied = member.applied;
            if let Some(consensus) = &mut member.running {
                consensus.give_snapshot(applied, data.into());
            }
        }
    }

    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.trace = self
                .trace
                .wrapping_mul(31)
                .wrapping_add(message.index ^ message.term << 20 ^ message.to << 50);
            let (from, to) = (message.from, message.to);
            let is_lost = self.random(1000) < self.troubles.lost;
            if is_lost || self.cut.contains(&(from, to)) || !self.members.contains_key(&to) {
                self.arrived(&message, false);
                continue;
            }
            let way = 50 + self.random(self.troubles.way_us);
            self.sent += 1;
            let arrival = self.now + Duration::from_micros(way);
            self.network.insert((arrival, self.sent), message);
        }
    }

    /// Whoever sends a snapshot learns whether it has arrived, as by the end of a connection.
    fn arrived(&mut self, message: &Message, has_arrived: bool) {
        if !message.get_snapshot().is_empty()
            && let Some(consensus) = self.consensus(message.from)
        {
            consensus.sent_snapshot(message.to, has_arrived);
        }
    }

    fn next_stored(&self) -> Option<(Instant, u64)> {
        let storing = self.members.iter();
        let storing =
            storing.filter_map(|(number, member)| Some((member.storing.as_ref()?.0, *number)));
        storing.min()
    }

    /// What a member stores is durable, if its disk does not lie.
    fn stored(&mut self, number: u64) {
        let member = self.members.get_mut(&number).expect("it runs");
        let Some((_, store)) = member.storing.take() else {
            return;
        };
        self.flush(number, &store);
        let after = self.consensus(number).map(Consensus::stored);
        let after = after.expect("it runs");
        self.send(after.send);
        self.apply(number, after.apply);
    }

    fn flush(&mut self, number: u64, store: &Store) {
        let is_lying = self.troubles.lying_disks;
        let member = self.members.get_mut(&number).expect("it runs");
        if let Some(snapshot) = &store.snapshot {
            let (known, _) = member.disk.read().expect("it runs on it");
            let log = Restored {
                hard_state: store.hard_state.clone().unwrap_or(known.hard_state),
                saved: snapshot.get_metadata().clone(),
                entries: store.entries.clone(),
            };
            let state: Vec<u64> =
                postcard::from_bytes(snapshot.get_data()).expect("as it was made");
            member.disk.replace(&log, &state);
        } else if store.must_flush && !is_lying {
            member.disk.flush();
        }
    }

    fn apply(&mut self, number: u64, all: Vec<Committed>) {
        for committed in all {
            let index = match committed {
                Committed::Data { index, term, data } => {
                    self.data(number, index, term, data);
                    index
                }
                Committed::Members { index, .. } => index,
                Committed::Snapshot { saved, data } => {
                    let member = self.members.get_mut(&number).expect("it runs");
                    member.state = postcard::from_bytes(&data).expect("as it was made");
                    saved.index
                }
            };
            let member = self.members.get_mut(&number).expect("it runs");
            assert!(index > member.applied, "{index} after {}", member.applied);
            member.applied = index;
        }
    }

    fn data(&mut self, number: u64, index: u64, term: u64, data: Bytes) {
        let first = self
            .history
            .entry(index)
            .or_insert_with(|| (term, data.clone()));
        assert_eq!(
            *first,
            (term, data.clone()),
            "member {number} applies something else at {index}"
        );
        let value = u64::from_le_bytes(data.as_ref().try_into().expect("a number"));
        let speaks = self.speaks.get(&number).copied().unwrap_or(FIRST);
        assert!(
            versions::since(value) <= speaks,
            "member {number} is given what it cannot read"
        );
        let member = self.members.get_mut(&number).expect("it runs");
        member.state.push(value);
        if self.waiting.get(&value) == Some(&(number, index, term)) {
            self.waiting.remove(&value);
            self.known.insert(value);
        }
    }

    /// That all that is known to be committed is in the state of everybody who runs, once, in the same order.
    pub(crate) fn judge_states(&self) {
        let mut running = self
            .members
            .values()
            .filter(|member| member.running.is_some());
        let first = running.next().expect("somebody runs");
        for member in running {
            assert_eq!(
                member.state, first.state,
                "members have come to different states"
            );
        }
        let there: BTreeSet<u64> = first.state.iter().copied().collect();
        assert_eq!(
            there.len(),
            first.state.len(),
            "something was applied twice"
        );
        let lost: Vec<&u64> = self.known.difference(&there).collect();
        assert!(lost.is_empty(), "committed and lost: {lost:?}");
    }
}

/// What a hard state and a place of the log look like that contradict each other.
pub(crate) fn contradiction() -> Restored {
    Restored {
        hard_state: HardState {
            term: 1,
            vote: 0,
            commit: 9,
        },
        saved: SnapshotMetadata {
            index: 1,
            term: 1,
            conf_state: ConfState::from(([1], [])),
        },
        entries: Vec::new(),
    }
}
