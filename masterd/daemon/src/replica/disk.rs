//! The disk's own thread: whoever waits for a flush holds up nobody.
//!
//! Called by `replica`. Jobs are done in their order; one that the disk refuses is tried again until it takes it, and what
//! follows waits. Invariant: [`Done::Stored`] is said only of what a power cut does not lose.

use std::path::PathBuf;
use std::sync::mpsc as jobs;
use std::time::Duration;

use masterd_core::Registry;
use masterd_core::consensus::{Restored, Store as Batch};
use raft_proto::eraftpb::SnapshotMetadata;
use tokio::sync::mpsc;

use super::journal::{Journal, JournalError};
use super::store::{Changes, Found, Saved, Store, StoreError};

/// Jobs that wait: raft has one under way at a time, and saving the registry is another.
const MAX_JOBS: usize = 4;
/// How long until the disk is asked again that refused.
pub(crate) const RETRY: Duration = Duration::from_secs(1);
/// LMDB and the log need little of it.
const STACK: usize = 256 * 1024;

/// Why the disk is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    /// The saved registry.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The thread does not start.
    #[error("cannot start the disk's thread: {0}")]
    Thread(std::io::Error),
}

#[derive(Debug)]
enum Job {
    /// What raft wants stored; a snapshot with the rows it consists of.
    Store {
        batch: Box<Batch>,
        snapshot: Option<(Changes, SnapshotMetadata)>,
    },
    Save {
        changes: Changes,
        place: SnapshotMetadata,
    },
}

/// What the disk has done.
#[derive(Debug)]
pub(crate) enum Done {
    /// What raft wanted stored is.
    Stored,
    /// The registry is saved.
    Saved {
        /// Up to this index.
        index: u64,
        /// Bytes of all keys and values.
        size: u64,
    },
    /// The disk refuses, and is asked again every [`RETRY`].
    Refused(DiskError),
}

/// The way to the thread.
#[derive(Debug)]
pub(crate) struct Disk {
    jobs: jobs::SyncSender<Job>,
    done: mpsc::Receiver<Done>,
}

/// What a disk holds.
#[derive(Debug)]
pub(crate) struct Contents {
    /// The number of the master whose disk it is.
    pub(crate) member: u64,
    /// The registry as it was saved.
    pub(crate) registry: Registry,
    /// The log behind it.
    pub(crate) log: Restored,
    /// How long it took to read all of it.
    pub(crate) fetched: Duration,
    /// Bytes of all keys and values.
    pub(crate) size: u64,
}

impl Disk {
    /// Opens what is in `work_dir`. A new disk becomes that of master `number`, which founds a group or not.
    pub(crate) fn open(
        work_dir: PathBuf,
        number: u64,
        is_founder: bool,
    ) -> Result<(Self, Contents), DiskError> {
        let start = std::time::Instant::now();
        let (mut store, found) = Store::open(&work_dir)?;
        let Found { registry, saved } = found;
        let is_new = saved.is_none();
        let saved = saved.unwrap_or_else(|| Saved {
            member: number,
            place: match is_founder {
                true => Restored::founder(number).saved,
                false => SnapshotMetadata::default(),
            },
            first_segment: 0,
        });
        let mut log = Restored {
            saved: saved.place.clone(),
            ..Restored::default()
        };
        let journal = Journal::open(&work_dir.join("log"), saved.first_segment, &mut log)?;
        if is_new {
            // From now on this disk is this master's.
            store.save(&Changes::new(), &saved)?;
        }
        let contents = Contents {
            member: saved.member,
            registry,
            log,
            fetched: start.elapsed(),
            size: store.size(),
        };
        let (jobs, waiting) = jobs::sync_channel(MAX_JOBS);
        let (tell, done) = mpsc::channel(MAX_JOBS);
        let worker = Worker {
            store,
            journal,
            saved,
            tell,
        };
        std::thread::Builder::new()
            .name("disk".into())
            .stack_size(STACK)
            .spawn(move || worker.run(&waiting))
            .map_err(DiskError::Thread)?;
        Ok((Self { jobs, done }, contents))
    }

    /// Has this made durable. One at a time.
    pub(crate) fn store(&self, batch: Batch, snapshot: Option<(Changes, SnapshotMetadata)>) {
        let batch = Box::new(batch);
        self.put(Job::Store { batch, snapshot });
    }

    /// Has the registry saved. One at a time.
    pub(crate) fn save(&self, changes: Changes, place: SnapshotMetadata) {
        self.put(Job::Save { changes, place });
    }

    /// The next thing done. Loses nothing when dropped.
    pub(crate) async fn done(&mut self) -> Done {
        match self.done.recv().await {
            Some(done) => done,
            // The thread ends only with this value.
            None => std::future::pending().await,
        }
    }

    fn put(&self, job: Job) {
        // Room for all that may be under way; the thread lives as long as this does.
        if self.jobs.try_send(job).is_err() {
            tracing::error!("the disk's thread takes no job");
        }
    }
}

struct Worker {
    store: Store,
    journal: Journal,
    saved: Saved,
    tell: mpsc::Sender<Done>,
}

impl Worker {
    fn run(mut self, waiting: &jobs::Receiver<Job>) {
        while let Ok(job) = waiting.recv() {
            loop {
                match self.act(&job) {
                    Ok(done) => {
                        if self.tell.blocking_send(done).is_err() {
                            return;
                        }
                        break;
                    }
                    Err(error) => {
                        if self.tell.blocking_send(Done::Refused(error)).is_err() {
                            return;
                        }
                        std::thread::park_timeout(RETRY);
                    }
                }
            }
        }
    }

    fn act(&mut self, job: &Job) -> Result<Done, DiskError> {
        match job {
            Job::Store { batch, snapshot } => {
                if let Some((rows, place)) = snapshot {
                    self.replace(rows, place)?;
                }
                self.journal.append(batch)?;
                Ok(Done::Stored)
            }
            Job::Save { changes, place } => {
                let saved = Saved {
                    place: place.clone(),
                    ..self.saved.clone()
                };
                self.store.save(changes, &saved)?;
                self.journal.forget(place.index)?;
                self.saved = saved;
                Ok(Done::Saved {
                    index: place.index,
                    size: self.store.size(),
                })
            }
        }
    }

    /// The saved registry and the log's beginning change in one transaction; what is left of the old log is passed over
    /// then, and removed.
    fn replace(&mut self, rows: &Changes, place: &SnapshotMetadata) -> Result<(), DiskError> {
        if self.saved.place == *place {
            // Done, before the log refused.
            return Ok(());
        }
        let saved = Saved {
            place: place.clone(),
            first_segment: self.journal.next_segment(),
            ..self.saved.clone()
        };
        self.store.replace(rows, &saved)?;
        self.journal.restart()?;
        self.saved = saved;
        Ok(())
    }
}
