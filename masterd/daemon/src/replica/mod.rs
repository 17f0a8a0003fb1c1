//! This master's part in the group: the registry as the group has agreed on it, its log, its disk, the links to the others.
//!
//! The shell around `masterd_core::consensus`; not the master that leads (`engine`), which proposes here and waits. Called by
//! the engine's loop. Invariants: what is applied is durable on a majority of the masters; one job of raft's is with the disk
//! at a time; the registry is only ever saved as it was applied.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use masterd_core::Registry;
use masterd_core::consensus::{Consensus, ProposeError, StartError, versions};
use nesos_base::time::{Duration, Instant};
use nesos_wire::command::Command;
use nesos_wire::masters::MasterRecord;
use nesos_wire::version::{FIRST, Version};
use rustls::ClientConfig;

mod applied;
mod care;
mod disk;
mod journal;
mod members;
mod peers;
pub(crate) mod recover;
mod store;

pub(crate) use disk::RETRY;
use disk::{Contents, Disk, DiskError, Done};
pub(crate) use members::{MemberError, MemberView, Standing};
pub(crate) use peers::Ear;
use peers::{Heard, Introduced, Peers};
use store::Changes;

/// Bytes of the log after which the registry is saved: half a second of a card's writing, and what a restart reads.
const SAVE_AFTER: usize = 1 << 20;
/// Bytes of the log that are kept for masters that follow slowly; one that needs older ones gets the whole registry.
const KEEP: usize = 4 << 20;

/// Why this master cannot take part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplicaError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The log.
    #[error(transparent)]
    Start(#[from] StartError),
    /// What the group has agreed on. A master that went on without it would have another registry than the others.
    #[error(
        "entry {index}, on which the masters have agreed, cannot be read ({reason}): was it written by a later masterd? Start that one here"
    )]
    Unreadable {
        /// Its place in the log; of a whole registry, up to where it goes.
        index: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The log is shorter than it was.
    #[error(
        "this master had confirmed entries of the log up to {confirmed}, which its disk has no more: it is an older copy, or has lost what was written. \
         On another master `nesos master remove` this one; move registry and log in its work folder away, and let it in anew"
    )]
    Forgotten {
        /// The last entry that it is known to have had.
        confirmed: u64,
    },
}

/// How to take part.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Folder of the registry and the log.
    pub(crate) work_dir: PathBuf,
    /// Number of a master that has none yet.
    pub(crate) new_number: u64,
    /// Spreads elections.
    pub(crate) seed: u64,
    /// Silence of the leader until others ask to be elected.
    pub(crate) election_timeout: Duration,
    /// This host's name.
    pub(crate) name: String,
    /// It founds a group, if it is not a member of one yet.
    pub(crate) is_founder: bool,
    /// Masters to ask for admission, if this one is not a member of a group yet.
    pub(crate) seeds: Vec<String>,
    /// Until how many masters it lets others in by itself.
    pub(crate) masters: usize,
}

/// What has happened.
#[derive(Debug)]
pub(crate) enum Happened {
    /// The disk is done with something.
    Done(Done),
    /// Another master has been heard.
    Heard(Heard),
}

/// See the module.
pub(crate) struct Replica {
    consensus: Consensus,
    registry: Registry,
    me: MasterRecord,
    disk: Disk,
    peers: Option<Peers>,
    seeds: Vec<String>,
    masters: usize,
    /// Of the registry, not saved yet.
    unsaved: Changes,
    /// What is being saved.
    saving: Option<u64>,
    is_storing: bool,
    /// The disk refuses to write.
    is_refused: bool,
    /// Bytes of the saved registry.
    size: u64,
    fetched: std::time::Duration,
    /// Not members, but connected and willing.
    candidates: BTreeMap<u64, Introduced>,
    /// Members that are connected, and what they said.
    present: BTreeMap<u64, Introduced>,
    /// Where in the log the records are corrected by what members said last.
    corrected: u64,
    /// What others say of the masters, for one that is none yet.
    hearsay: Vec<MasterRecord>,
    /// With whom links are kept.
    linked: Option<Vec<MasterRecord>>,
    /// In which term this master leads.
    led_term: Option<u64>,
    /// Up to where the registry has got.
    applied: u64,
    /// Bytes of the log since the registry was saved.
    grown: usize,
    /// Bytes of changes since then, those that took the place of others included.
    unsaved_bytes: usize,
    /// How often something was proposed here.
    proposed: u64,
    /// How often something of the log was made durable.
    flushes: u64,
    /// What was proposed here, with its place and term, and is not applied yet: applied as it is, the registry shares its
    /// records with the leading master instead of reading them anew. Bounded as what raft takes uncommitted.
    own: VecDeque<(u64, u64, Vec<Command>)>,
    /// Why this master has stopped taking part.
    unreadable: Option<ReplicaError>,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Replica").field(&self.consensus).finish()
    }
}

impl Replica {
    /// Takes up what is in the work folder. Nobody is dialled before [`connect`](Self::connect).
    pub(crate) fn open(settings: Settings, now: Instant) -> Result<Self, ReplicaError> {
        let opened = Disk::open(settings.work_dir, settings.new_number, settings.is_founder);
        let (disk, contents) = opened?;
        let Contents {
            member,
            registry,
            log,
            fetched,
            size,
        } = contents;
        let applied = log.saved.index;
        let grown = log.entries.iter().map(|entry| entry.data.len()).sum();
        let consensus = Consensus::new(member, log, settings.seed, now)?
            .with_election_timeout(settings.election_timeout);
        Ok(Self {
            consensus,
            registry,
            me: MasterRecord {
                number: member,
                name: settings.name,
                address: String::new(),
                is_to_vote: true,
            },
            disk,
            peers: None,
            seeds: settings.seeds,
            masters: settings.masters,
            unsaved: Changes::new(),
            saving: None,
            is_storing: false,
            is_refused: false,
            size,
            fetched,
            candidates: BTreeMap::new(),
            present: BTreeMap::new(),
            corrected: 0,
            hearsay: Vec::new(),
            linked: None,
            led_term: None,
            applied,
            grown,
            unsaved_bytes: 0,
            proposed: 0,
            flushes: 0,
            own: VecDeque::new(),
            unreadable: None,
        })
    }

    /// This master's number.
    pub(crate) fn number(&self) -> u64 {
        self.me.number
    }

    /// The term it knows of: one for each election that anybody won or stood for.
    pub(crate) fn term(&self) -> u64 {
        self.consensus.role().term
    }

    /// Dials the others from now on; `address` is where they reach this one, and `may_move` says that it is only what this host
    /// has at the moment.
    pub(crate) fn connect(
        &mut self,
        address: String,
        may_move: bool,
        cluster: String,
        config: Arc<ClientConfig>,
    ) -> Ear {
        self.me.address = address;
        let peers = Peers::new(self.me.clone(), may_move, cluster, config);
        let ear = peers.ear();
        self.peers = Some(peers);
        self.link();
        ear
    }

    /// Waits for the next thing that concerns this. Loses nothing when dropped.
    pub(crate) async fn happened(&mut self) -> Happened {
        let heard = async {
            match &mut self.peers {
                Some(peers) => peers.heard().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            done = self.disk.done() => Happened::Done(done),
            heard = heard => Happened::Heard(heard),
        }
    }

    /// Takes in what has happened, and what was heard meanwhile.
    pub(crate) fn take(&mut self, happened: Happened, now: Instant) {
        match happened {
            Happened::Done(done) => self.done(done),
            Happened::Heard(heard) => {
                self.hear(heard, now);
                while let Some(heard) = self.peers.as_mut().and_then(Peers::heard_already) {
                    self.hear(heard, now);
                }
            }
        }
    }

    /// Does all that can be done now.
    pub(crate) fn advance(&mut self, now: Instant) {
        if self
            .consensus
            .deadline()
            .is_some_and(|deadline| deadline <= now)
            && !self.is_refused
        {
            self.consensus.advance(now);
        }
        // Only now it is known what exactly is applied, if nothing is with the disk.
        self.save();
        self.tell_all();
        self.work();
        self.care_for_members();
        self.work();
        self.link();
    }

    /// When [`advance`](Self::advance) is due at the latest. None while the disk refuses: a leader that cannot write lets the
    /// others elect another one.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.consensus.deadline().filter(|_| !self.is_refused)
    }

    /// Proposes commands; they are agreed on once [`applied`](Self::applied) has come to this index. None that a member of the
    /// group could not read.
    pub(crate) fn propose(&mut self, commands: &[Command]) -> Result<u64, ProposeError> {
        let (needs, speaks) = (needs(commands), self.speaks());
        if needs > speaks {
            return Err(ProposeError::TooNew { needs, speaks });
        }
        // Plain data always can be written.
        let bytes = postcard::to_allocvec(commands).map_err(|_| ProposeError::NotNow)?;
        let (index, term) = self.consensus.propose(bytes)?;
        self.own.push_back((index, term, commands.to_vec()));
        self.proposed += 1;
        Ok(index)
    }

    /// What all members read, as far as is known: what they said when they came, before it is agreed on, counts already.
    fn speaks(&self) -> Version {
        let said = self.present.values().map(|member| member.version);
        versions::speaks(&self.registry, said)
    }

    /// How often something was proposed here.
    pub(crate) fn proposed(&self) -> u64 {
        self.proposed
    }

    /// How often something of the log was made durable.
    pub(crate) fn flushes(&self) -> u64 {
        self.flushes
    }

    /// Asks the group whether this master still leads, as [`Consensus::confirm`].
    pub(crate) fn confirm(&mut self) -> u64 {
        self.consensus.confirm()
    }

    /// What the group has confirmed, as [`Consensus::confirmed`].
    pub(crate) fn confirmed(&self) -> u64 {
        self.consensus.confirmed()
    }

    /// Up to where the registry has got.
    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    /// The registry as the group has agreed on it.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Whether it has stopped taking part, for good; [`ended`](Self::ended) says why.
    pub(crate) fn has_ended(&self) -> bool {
        self.unreadable.is_some()
    }

    /// Why it takes part no more.
    pub(crate) fn ended(&mut self) -> Result<(), ReplicaError> {
        self.unreadable.take().map_or(Ok(()), Err)
    }

    /// Whether the disk refuses to write.
    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// About how many bytes the registry has.
    pub(crate) fn size(&self) -> u64 {
        self.size + self.unsaved_bytes as u64
    }

    /// How long it took to read the registry.
    pub(crate) fn fetched(&self) -> std::time::Duration {
        self.fetched
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Stored => {
                self.recovered();
                self.flushes += 1;
                self.is_storing = false;
                let after = self.consensus.stored();
                self.send(after.send);
                self.apply(after.apply);
            }
            Done::Saved { index, size } => {
                self.recovered();
                self.saving = None;
                self.size = size;
                self.consensus.forget(index, KEEP);
            }
            Done::Refused(error) => {
                if !self.is_refused {
                    tracing::error!(
                        "{error}; nothing is agreed on until this works, trying again every {RETRY:?}"
                    );
                }
                self.is_refused = true;
            }
        }
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.is_refused) {
            tracing::info!("the disk takes writes again");
        }
    }

    fn hear(&mut self, heard: Heard, now: Instant) {
        match heard {
            Heard::Message(message) if self.is_refused => drop(message),
            Heard::Message(message) => match self.consensus.has_forgotten(&message) {
                Some(confirmed) => self.unreadable = Some(ReplicaError::Forgotten { confirmed }),
                None => self.consensus.receive(message, now),
            },
            Heard::Introduced(introduced) => self.introduced(introduced),
            Heard::Lost(number) => {
                self.present.remove(&number);
                self.candidates.remove(&number);
                self.consensus.lost(number, now);
            }
            // A snapshot that waited is lost with the rest.
            Heard::Connected(number) => self.consensus.sent_snapshot(number, false),
            Heard::Cut(number) => self.consensus.lost(number, now),
            Heard::Known(masters) => self.heard_of(masters),
            Heard::Moved(address) => self.moved(address),
        }
    }

    /// Obeys raft until it waits for the disk or for others.
    fn work(&mut self) {
        while !self.is_storing
            && !self.has_ended()
            && let Some(mut work) = self.consensus.work()
        {
            self.send(std::mem::take(&mut work.send));
            self.apply(work.apply);
            let snapshot = work.store.snapshot.take();
            if snapshot.is_none() && !work.store.must_flush {
                // How far the group has agreed may be forgotten: it is found out anew.
                let after = self.consensus.stored();
                self.send(after.send);
                self.apply(after.apply);
                continue;
            }
            let snapshot = match snapshot.map(applied::changes_of).transpose() {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    // Nothing of it may reach the disk.
                    self.unreadable = Some(error);
                    return;
                }
            };
            let entries = work.store.entries.iter();
            self.grown += entries.map(|entry| entry.data.len()).sum::<usize>();
            self.is_storing = true;
            self.disk.store(work.store, snapshot);
        }
    }

    fn send(&mut self, messages: Vec<raft_proto::eraftpb::Message>) {
        let missed = self.peers.as_ref().map(|peers| peers.send(messages));
        for number in missed.into_iter().flatten() {
            self.consensus.sent_snapshot(number, false);
        }
    }
}

/// Since which wire version all of these can be read.
fn needs(commands: &[Command]) -> Version {
    commands.iter().map(Command::since).max().unwrap_or(FIRST)
}
