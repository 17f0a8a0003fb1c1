//! How several masters agree on one sequence of commands: raft, driven without a clock, a disk, a socket or chance.
//!
//! Wraps the crate `raft`; not the state machine (`registry`) and not the storage. Called by the shell and the simulation.
//! The contract: after any number of calls take [`Consensus::work`] until there is none; send what it says, make durable
//! what it says, then call [`Consensus::stored`] and treat what that says likewise. Invariants: nothing is applied that a
//! majority has not made durable; with the same calls at the same times the same happens.

pub mod admission;
mod hearing;
mod log;
pub mod segment;
pub mod versions;
mod work;

use bytes::Bytes;
use nesos_base::time::{Duration, Instant};
use protobuf::Message as _;
use raft::eraftpb::{
    ConfChangeV2, ConfState, Entry, EntryType, Message, MessageType, Snapshot, SnapshotMetadata,
};
use raft::{Config, RawNode, ReadState, SnapshotStatus, StateRole};

use hearing::Hearing;
use log::Log;
pub use log::Restored;
pub use work::{After, Committed, ProposeError, Role, StartError, Store, Work};

/// The unit in which raft counts time: fine enough to spread elections, and nobody wakes up for it.
const TICK: Duration = Duration::from_millis(10);
/// Ticks between a leader's heartbeats: what followers of an idle group wake up for.
const HEARTBEAT: usize = 10;
/// Ticks without a word of the leader until an election may begin: two lost heartbeats and some more.
const ELECTION: usize = 25;
/// Elections begin within so many ticks more, spread by chance.
const SPREAD: usize = 20;
/// Ticks without an answer until a leader takes another member for one that is away: as long as an election may take to begin
/// twice over, five heartbeats.
const SILENT: usize = 2 * ELECTION;
/// After a sleep so many ticks are counted at most: an election's worth says all.
const MOST_TICKS: u64 = 2 * (ELECTION + SPREAD) as u64;
/// A follower that has lost its connection to the leader asks to be elected within this time, spread by chance, and again
/// so long after the others had time to answer.
const HURRY_US: u64 = 20_000;
/// For so long; then the leader's silence counts as any other.
const HURRY_LIMIT: Duration = Duration::from_millis(300);
/// Bytes of entries in one message: a fraction of the bound of frames between masters.
const MESSAGE_BYTES: u64 = 256 * 1024;
/// Appends on their way to one follower.
const IN_FLIGHT: usize = 64;
/// Bytes proposed and not committed; more is refused, and tried again when some is.
const UNCOMMITTED_BYTES: u64 = 8 << 20;

/// One member's view of the group.
pub struct Consensus {
    node: RawNode<Log>,
    seed: u64,
    /// Elections it has begun: timeouts differ from one to the next.
    campaigns: u64,
    was_candidate: bool,
    /// Length of a tick.
    tick: Duration,
    /// Until when ticks are counted.
    ticked: Instant,
    /// When to ask for an election before the leader's silence would have it, and until when that is worth while.
    hurry: Option<(Instant, Instant)>,
    /// What the shell is making durable.
    storing: Option<Storing>,
    confirmations: Confirmations,
    hearing: Hearing,
}

/// Questions whether this member still leads. One at a time is with the others; what is asked meanwhile shares the next one.
#[derive(Debug, Default)]
struct Confirmations {
    /// The last that anybody waits for.
    wanted: u64,
    /// With the others, and in which term.
    asked: Option<(u64, u64)>,
    confirmed: u64,
}

/// What waits until something is durable.
struct Storing {
    /// raft's.
    number: u64,
    snapshot: Option<Snapshot>,
    send: Vec<Message>,
    /// Committed, with a change of the members among them: applied when it is durable that they are committed. A member that
    /// forgot who the others are by now might lead without them.
    deferred: Vec<Entry>,
}

impl std::fmt::Debug for Consensus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let role = self.role();
        write!(f, "Consensus({}, {role:?})", self.node.raft.id)
    }
}

impl Consensus {
    /// A member with what was durable when it stopped; the state machine is what was saved with `restored.saved`. `seed` spreads
    /// elections, and should differ from member to member.
    pub fn new(
        member: u64,
        mut restored: Restored,
        seed: u64,
        now: Instant,
    ) -> Result<Self, StartError> {
        // How far the group had agreed is not always written down, but what was saved it had agreed on.
        let hard_state = &mut restored.hard_state;
        hard_state.commit = hard_state.commit.max(restored.saved.index);
        hard_state.term = hard_state.term.max(restored.saved.term);
        let applied = restored.saved.index;
        let config = Config {
            id: member,
            election_tick: ELECTION,
            heartbeat_tick: HEARTBEAT,
            min_election_tick: ELECTION,
            max_election_tick: ELECTION + SPREAD,
            applied,
            max_size_per_msg: MESSAGE_BYTES,
            max_inflight_msgs: IN_FLIGHT,
            check_quorum: true,
            pre_vote: true,
            max_uncommitted_size: UNCOMMITTED_BYTES,
            // raft 0.7 adds entries to a message that waits and is empty, whatever place that one names; the simulation found it.
            batch_append: false,
            ..Config::default()
        };
        let failed = |reason: String| StartError { member, reason };
        restored.check(member).map_err(failed)?;
        // raft says much that nobody needs; what matters shows in roles.
        let silent = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&config, Log::new(restored), &silent)
            .map_err(|error| failed(error.to_string()))?;
        let mut consensus = Self {
            node,
            seed,
            campaigns: 0,
            was_candidate: false,
            tick: TICK,
            ticked: now,
            hurry: None,
            storing: None,
            confirmations: Confirmations::default(),
            hearing: Hearing::new(now),
        };
        let members = &consensus.node.store().members;
        if members.voters == [member] && members.voters_outgoing.is_empty() {
            // Nobody else could lead, nobody is to be asked.
            consensus.hurry = Some((now, now));
        }
        consensus.settle();
        Ok(consensus)
    }

    /// From now on the leader must be silent for so long until others ask to be elected, instead of 250 ms; it says that it is
    /// there in two fifths of that. For machines or networks that are slower than that. From 25 us.
    #[must_use]
    pub fn with_election_timeout(mut self, timeout: Duration) -> Self {
        let tick = timeout.as_ticks() / ELECTION as u64;
        self.tick = Duration::from_ticks(tick.max(1));
        self
    }

    /// A message of another member.
    pub fn receive(&mut self, message: Message, now: Instant) {
        self.advance(now);
        self.hearing.heard(message.from, now);
        // An error means that the sender is no member any more, or that it is about what is over.
        let _ = self.node.step(message);
        self.settle();
    }

    /// Whether `message` shows that this member has forgotten what it had confirmed, and up to which entry of the log that went: a leader
    /// tells nobody in a heartbeat of more than that one has confirmed. What is behind may have been agreed on with this member's voice,
    /// so it must not speak again as if it had never had it; raft panics over such a message.
    pub fn has_forgotten(&self, message: &Message) -> Option<u64> {
        let log = &self.node.raft.raft_log;
        let is_heartbeat = message.msg_type == MessageType::MsgHeartbeat;
        (is_heartbeat && message.commit > log.last_index()).then_some(message.commit)
    }

    /// Time has passed.
    pub fn advance(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.ticked).as_ticks() / self.tick.as_ticks();
        self.ticked += self.tick * u32::try_from(late).unwrap_or(u32::MAX);
        for _ in 0..late.min(MOST_TICKS) {
            self.node.tick();
            self.settle();
        }
        if let Some((at, until)) = self.hurry
            && at <= now
        {
            // raft does not ask whether it votes: of a group in which nobody does yet anybody would be elected.
            if self.node.raft.promotable() {
                // An error means that it leads.
                let _ = self.node.campaign();
            }
            self.settle();
            let again = now + Duration::from_micros(HURRY_US + self.pause());
            self.hurry = self.hurry.and((again <= until).then_some((again, until)));
        }
        let role = self.role();
        self.hearing.advance(role.leads.then_some(role.term), now);
    }

    /// Whether another member has not answered this leader for so long that it is off, stopped or cut off, whatever its
    /// connection looks like: nothing closes the connections of a board without power.
    pub fn is_silent(&self, member: u64) -> bool {
        let limit = self.tick * SILENT as u32;
        member != self.node.raft.id && self.hearing.is_silent(member, limit)
    }

    /// When [`advance`](Self::advance) has to be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let raft = &self.node.raft;
        let members = &self.node.store().members;
        if raft.state == StateRole::Leader && has_alone(members, raft.id) {
            // Nobody to be heard by and nobody to miss.
            return None;
        }
        let left = match raft.state {
            // What else it does by the clock can wait for that.
            StateRole::Leader => HEARTBEAT.saturating_sub(raft.heartbeat_elapsed()),
            // It cannot be elected.
            _ if !raft.promotable() => return None,
            _ => raft
                .randomized_election_timeout()
                .saturating_sub(raft.election_elapsed),
        };
        let tick = self.ticked + self.tick * left.max(1) as u32;
        Some(self.hurry.map_or(tick, |(hurry, _)| hurry.min(tick)))
    }

    /// The connection to another member broke. If that one leads, waiting for its silence to be noticed is a waste; if it
    /// does lead, the others know and will not elect anybody.
    pub fn lost(&mut self, member: u64, now: Instant) {
        self.advance(now);
        self.node.report_unreachable(member);
        self.sent_snapshot(member, false);
        let raft = &mut self.node.raft;
        if raft.leader_id == member && raft.state == StateRole::Follower {
            raft.become_follower(raft.term, raft::INVALID_ID);
            let first = now + Duration::from_micros(self.pause());
            self.hurry = Some((first, now + HURRY_LIMIT));
        }
        self.settle();
    }

    /// A snapshot has reached another member, or not.
    pub fn sent_snapshot(&mut self, member: u64, has_arrived: bool) {
        let status = match has_arrived {
            true => SnapshotStatus::Finish,
            false => SnapshotStatus::Failure,
        };
        self.node.report_snapshot(member, status);
    }

    /// Proposes something; says where in the log it stands if it is committed: index and term.
    pub fn propose(&mut self, data: Vec<u8>) -> Result<(u64, u64), ProposeError> {
        self.must_lead()?;
        self.node
            .propose(Vec::new(), data)
            .map_err(|_| ProposeError::NotNow)?;
        Ok(self.last())
    }

    /// Proposes other members; one change at a time.
    pub fn propose_members(
        &mut self,
        change: ConfChangeV2,
        context: Vec<u8>,
    ) -> Result<(u64, u64), ProposeError> {
        self.must_lead()?;
        if self.node.raft.has_pending_conf() {
            return Err(ProposeError::NotNow);
        }
        self.node
            .propose_conf_change(context, change)
            .map_err(|_| ProposeError::NotNow)?;
        Ok(self.last())
    }

    /// Hands the leadership over; it shows in the role when that was done.
    pub fn hand_over(&mut self, to: u64) {
        self.node.transfer_leader(to);
        self.settle();
    }

    /// What this member is.
    pub fn role(&self) -> Role {
        let raft = &self.node.raft;
        Role {
            leads: raft.state == StateRole::Leader,
            leader: (raft.leader_id != raft::INVALID_ID).then_some(raft.leader_id),
            term: raft.term,
        }
    }

    /// Whether it leads and has handed out all that was committed before: its state machine is the group's.
    pub fn is_up_to_date_leader(&self) -> bool {
        let log = &self.node.raft.raft_log;
        self.role().leads && self.node.raft.commit_to_current_term() && log.applied == log.committed
    }

    /// Asks the others whether this member still leads, for an answer that must not be older than what another leader may have
    /// decided meanwhile: it is true once [`confirmed`](Self::confirmed) has come to this number, in the same leadership. A
    /// member alone is sure at once. (The read index of the raft thesis, 6.4, as `raft` has it.)
    pub fn confirm(&mut self) -> u64 {
        let asked = self.confirmations.asked.map_or(0, |(number, _)| number);
        self.confirmations.wanted = asked.max(self.confirmations.confirmed) + 1;
        self.ask();
        self.confirmations.wanted
    }

    /// The last question that a majority has answered with yes.
    pub fn confirmed(&self) -> u64 {
        self.confirmations.confirmed
    }

    /// Up to where the state machine has got, once what was handed out is applied.
    pub fn applied_index(&self) -> u64 {
        self.node.raft.raft_log.applied
    }

    /// Up to where the group has agreed, as far as this member knows.
    pub fn committed_index(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    /// Who the members are, as far as that was applied.
    pub fn members(&self) -> &ConfState {
        &self.node.store().members
    }

    /// How far another member has followed, if this one leads: the last index that it has.
    pub fn progress(&self, member: u64) -> Option<u64> {
        let raft = &self.node.raft;
        (raft.state == StateRole::Leader)
            .then(|| raft.prs().get(member).map(|progress| progress.matched))
            .flatten()
    }

    /// What is to be done now. `None`: nothing, until something else is called. Whoever calls it again has applied what it was
    /// given before.
    pub fn work(&mut self) -> Option<Work> {
        let defers = |storing: &Storing| storing.snapshot.is_some() || !storing.deferred.is_empty();
        if !self.storing.as_ref().is_some_and(defers) {
            self.node.advance_apply();
        }
        self.ask();
        if self.storing.is_some() || !self.node.has_ready() {
            return None;
        }
        let mut ready = self.node.ready();
        self.answered(&ready.take_read_states());
        let snapshot = (!ready.snapshot().is_empty()).then(|| ready.snapshot().clone());
        let mut committed = ready.take_committed_entries();
        let is_about_members = |entry: &Entry| entry.entry_type != EntryType::EntryNormal;
        let changes_members = committed.iter().any(is_about_members);
        let deferred = match changes_members {
            true => std::mem::take(&mut committed),
            false => Vec::new(),
        };
        let store = Store {
            snapshot: snapshot.clone(),
            entries: ready.take_entries(),
            hard_state: match changes_members {
                true => Some(self.node.raft.hard_state()),
                false => ready.hs().cloned(),
            },
            must_flush: ready.must_sync() || changes_members,
        };
        let log = self.node.mut_store();
        if let Some(snapshot) = &snapshot {
            log.restart_at(snapshot.get_metadata());
        }
        log.append(&store.entries);
        if let Some(hard_state) = &store.hard_state {
            log.set_hard_state(hard_state.clone());
        }
        let send = ready.take_messages();
        self.storing = Some(Storing {
            number: ready.number(),
            snapshot,
            send: ready.take_persisted_messages(),
            deferred,
        });
        // From now on raft counts it as written, but not as durable.
        self.node.advance_append_async(ready);
        Some(Work {
            send,
            store,
            apply: self.applied(committed),
        })
    }

    /// The last work is durable.
    pub fn stored(&mut self) -> After {
        let Some(storing) = self.storing.take() else {
            return After::default();
        };
        self.node.on_persist_ready(storing.number);
        self.settle();
        let replaced = storing.snapshot.map(|snapshot| Committed::Snapshot {
            saved: snapshot.metadata,
            data: snapshot.data,
        });
        let mut apply: Vec<Committed> = replaced.into_iter().collect();
        apply.extend(self.applied(storing.deferred));
        After {
            send: storing.send,
            apply,
        }
    }

    /// A member has fallen behind what is left of the log: it needs the state machine, up to at least this index.
    pub fn wants_snapshot(&self) -> Option<u64> {
        self.node.store().wanted.get()
    }

    /// The state machine as it is at `index`, for members that have fallen behind.
    pub fn give_snapshot(&mut self, index: u64, data: Bytes) {
        let log = self.node.mut_store();
        let Ok(term) = raft::Storage::term(log, index) else {
            return;
        };
        log.wanted.set(None);
        log.snapshot = Some(Snapshot {
            data,
            metadata: SnapshotMetadata {
                conf_state: log.members.clone(),
                index,
                term,
            },
        });
    }

    /// What is to be saved with the state machine as it is at `index`, which is the last that was applied.
    pub fn to_be_saved(&self, index: u64) -> Option<SnapshotMetadata> {
        let log = self.node.store();
        Some(SnapshotMetadata {
            conf_state: log.members.clone(),
            index,
            term: raft::Storage::term(log, index).ok()?,
        })
    }

    /// The state machine up to `index` is saved: the log may forget what is before it. What members that follow still need is
    /// kept while it has no more than `keep_bytes`.
    pub fn forget(&mut self, index: u64, keep_bytes: usize) {
        let raft = &self.node.raft;
        let others = raft.prs().iter().filter(|(id, _)| **id != raft.id);
        let needed = others
            .filter(|(_, progress)| progress.recent_active)
            .map(|(_, progress)| progress.matched)
            .min();
        let is_kept = raft.state == StateRole::Leader && self.log_bytes() <= keep_bytes;
        let index = needed
            .filter(|_| is_kept)
            .map_or(index, |needed| needed.min(index));
        let log = self.node.mut_store();
        log.forget(index);
        log.snapshot = None;
    }

    /// Bytes of the log in memory: what the shell bounds by [`forget`](Self::forget).
    pub fn log_bytes(&self) -> usize {
        self.node.store().bytes()
    }

    /// Sends the next question, if one is wanted and none is under way.
    fn ask(&mut self) {
        let raft = &self.node.raft;
        let term = raft.term;
        let Confirmations {
            wanted,
            asked,
            confirmed,
        } = &mut self.confirmations;
        if raft.state == StateRole::Leader && has_alone(&self.node.store().members, raft.id) {
            // There is nobody to ask.
            (*confirmed, *asked) = (*wanted, None);
        }
        // What was asked in an earlier term is forgotten by raft, and what is asked too early it drops.
        asked.take_if(|(_, of)| *of != term);
        let can_ask = raft.state == StateRole::Leader && raft.commit_to_current_term();
        if can_ask && asked.is_none() && *wanted > *confirmed {
            *asked = Some((*wanted, term));
            self.node.read_index(wanted.to_le_bytes().to_vec());
        }
    }

    fn answered(&mut self, answers: &[ReadState]) {
        for answer in answers {
            let number = answer.request_ctx.as_slice().try_into();
            let number = number.map_or(0, u64::from_le_bytes);
            if let Some((asked, _)) = self.confirmations.asked
                && asked == number
            {
                self.confirmations.confirmed = number;
                self.confirmations.asked = None;
            }
        }
        self.ask();
    }

    fn must_lead(&self) -> Result<(), ProposeError> {
        let role = self.role();
        match role.leads {
            true => Ok(()),
            false => Err(ProposeError::NotLeader {
                leader: role.leader,
            }),
        }
    }

    fn last(&self) -> (u64, u64) {
        let raft = &self.node.raft;
        (raft.raft_log.last_index(), raft.term)
    }

    /// Entries to be applied; those that change the members are applied here.
    fn applied(&mut self, entries: Vec<Entry>) -> Vec<Committed> {
        let mut applied = Vec::new();
        for entry in entries {
            match entry.entry_type {
                // A leader begins with an empty one.
                EntryType::EntryNormal if entry.data.is_empty() => {}
                EntryType::EntryNormal => applied.push(Committed::Data {
                    index: entry.index,
                    term: entry.term,
                    data: entry.data,
                }),
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    if let Some(members) = self.change_members(&entry) {
                        applied.push(Committed::Members {
                            index: entry.index,
                            members,
                            context: entry.context,
                        });
                    }
                }
            }
        }
        applied
    }

    /// `None`: the change was refused, by everybody alike.
    fn change_members(&mut self, entry: &Entry) -> Option<ConfState> {
        let mut change = ConfChangeV2::default();
        change.merge_from_bytes(&entry.data).ok()?;
        let members = self.node.apply_conf_change(&change).ok()?;
        let log = self.node.mut_store();
        log.members.clone_from(&members);
        // A newcomer refuses one that does not name it.
        log.snapshot = None;
        Some(members)
    }

    /// raft draws its timeouts by chance. These depend on nothing but the seed, the term and the elections begun.
    fn settle(&mut self) {
        let raft = &mut self.node.raft;
        let is_candidate = matches!(raft.state, StateRole::PreCandidate | StateRole::Candidate);
        self.campaigns += u64::from(is_candidate && !self.was_candidate);
        self.was_candidate = is_candidate;
        let drawn = mix(self.seed ^ mix(raft.term) ^ self.campaigns) % SPREAD as u64;
        raft.set_randomized_election_timeout(ELECTION + drawn as usize);
        if raft.leader_id != raft::INVALID_ID {
            self.hurry = None;
        }
    }

    fn pause(&self) -> u64 {
        mix(self.seed.rotate_left(32) ^ mix(self.node.raft.term) ^ self.campaigns) % HURRY_US
    }
}

fn has_alone(members: &ConfState, member: u64) -> bool {
    members.voters == [member]
        && members.voters_outgoing.is_empty()
        && members.learners.is_empty()
        && members.learners_next.is_empty()
}

/// SplitMix64's last step.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
