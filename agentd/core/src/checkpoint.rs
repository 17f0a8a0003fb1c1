//! What an agent keeps on disk, and the log it is kept in.
//!
//! Pure: bytes to records and back; files are the shell's. A log is a sequence of entries: magic, body length, CRC-32 of
//! length and body, postcard body. Append-only enum: old logs decode for ever. Invariant: whatever the bytes,
//! [`replay`] returns every entry that is whole, skips the rest and says how much that was.

use nesos_wire::framework_executor::FrameworkExecutor;
use nesos_wire::operation::OperationReport;
use nesos_wire::resource::Resources;
use nesos_wire::task::{TaskSpec, TaskStatus};
use nesos_wire::{AgentId, Attempt, ContainerId, ExecutorKey, TaskKey, Uuid};
use serde::{Deserialize, Serialize};

use crate::reconfiguration::Configuration;

/// One change of the agent's durable state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// The agent's id, given by the master.
    Admitted {
        /// For ever.
        agent: AgentId,
    },
    /// The agent runs under this boot of the board.
    Boot {
        /// Kernel boot id.
        boot_id: String,
    },
    /// A task is about to be launched. Comes before its container exists.
    Launched {
        /// What.
        spec: Box<TaskSpec>,
        /// Where.
        container: ContainerId,
    },
    /// A kill was asked for.
    KillRequested {
        /// Of which task.
        key: TaskKey,
        /// Milliseconds from SIGTERM to SIGKILL.
        grace_ms: u32,
    },
    /// A status was appended to the task's stream.
    Updated {
        /// Whose.
        key: TaskKey,
        /// What.
        status: Box<TaskStatus>,
    },
    /// The head of the task's stream was acknowledged.
    Acknowledged {
        /// Whose.
        key: TaskKey,
        /// The head's.
        uuid: Uuid,
    },
    /// The task's record is gone.
    Forgotten {
        /// Which.
        key: TaskKey,
        /// Which launch of it.
        attempt: Attempt,
    },
    /// What operations have made of the agent's resources: dynamic reservations and volumes, all of them.
    Made {
        /// Instead of what was there before.
        made: Resources,
    },
    /// An operation was carried out.
    Applied {
        /// What, with its end.
        report: Box<OperationReport>,
        /// As in `Made`.
        made: Resources,
    },
    /// The end of an operation was acknowledged.
    OperationAcknowledged {
        /// The operation's.
        operation: Uuid,
    },
    /// An executor of a framework is about to be started. Comes before its container exists.
    ExecutorLaunched {
        /// What.
        executor: Box<FrameworkExecutor>,
        /// Where.
        container: ContainerId,
    },
    /// A custom executor has subscribed for the first time: from now on it may have tasks.
    ExecutorSubscribed {
        /// Which.
        key: ExecutorKey,
    },
    /// An executor was told to end.
    ExecutorShutdown {
        /// Which.
        key: ExecutorKey,
    },
    /// An executor is no more.
    ExecutorEnded {
        /// Which.
        key: ExecutorKey,
        /// Which run of it.
        attempt: Attempt,
    },
    /// A task is about to be given to its executor.
    Given {
        /// What.
        spec: Box<TaskSpec>,
        /// Its own container, or that of its custom executor.
        container: ContainerId,
        /// The container around its own, if it is of a pod.
        parent: Option<ContainerId>,
        /// Which group it belongs to, if any.
        group: Option<Attempt>,
    },
    /// Statuses of a custom executor's task that were acknowledged: it may repeat them.
    Seen {
        /// Whose.
        key: TaskKey,
        /// Which, oldest first.
        uuids: Vec<Uuid>,
    },
    /// What the agent is configured with from now on.
    Configured {
        /// All of it.
        configuration: Box<Configuration>,
    },
    /// A container is being ended because what was lent to it is wanted back.
    Preempted {
        /// Which.
        container: ContainerId,
        /// What is told of it.
        text: String,
    },
    /// Where masters are, as the last one said: where to look for another one.
    Masters {
        /// `host:port` of each.
        addresses: Vec<String>,
    },
}

impl Record {
    /// Whether it must have reached the disk before the rest of its `Ready` is done. The others may be lost with the
    /// power: what they tell of processes is over then anyway, and who launched them is told so by the master, as this agent
    /// does not know them; an acknowledged status is told again, which frameworks must bear in any case. The end of a task
    /// is kept: a framework that has heard of it must not hear of another one; so is that the agent has forgotten one at its
    /// own end, or by order, with statuses that nobody has acknowledged: they must not come back.
    pub fn must_sync(&self) -> bool {
        match self {
            Self::Admitted { .. }
            | Self::Boot { .. }
            | Self::Configured { .. }
            | Self::Made { .. }
            | Self::Applied { .. }
            | Self::OperationAcknowledged { .. }
            | Self::Forgotten { .. } => true,
            Self::Updated { status, .. } => status.state.is_terminal(),
            Self::Launched { .. }
            | Self::KillRequested { .. }
            | Self::Acknowledged { .. }
            | Self::ExecutorLaunched { .. }
            | Self::ExecutorSubscribed { .. }
            | Self::ExecutorShutdown { .. }
            | Self::ExecutorEnded { .. }
            | Self::Given { .. }
            | Self::Seen { .. }
            | Self::Preempted { .. }
            | Self::Masters { .. } => false,
        }
    }
}

/// First bytes of an entry: what a reader looks for behind a damaged one.
const MAGIC: [u8; 4] = *b"nRc1";
/// Magic, length, CRC.
const HEADER: usize = 12;
/// Largest body: a spec with the largest `info` fits into one wire frame, and so into this.
pub const MAX_RECORD: usize = nesos_wire::frame::MAX_FRAME;

/// Why a record cannot become bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Larger than [`MAX_RECORD`].
    #[error("a checkpoint record of {0} bytes exceeds {MAX_RECORD}")]
    TooLarge(usize),
    /// postcard's word.
    #[error("cannot encode a checkpoint record: {0}")]
    Encode(postcard::Error),
}

/// What a log held.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Replay {
    /// All whole records, in order.
    pub records: Vec<Record>,
    /// Bytes that belong to no whole entry, a torn tail included.
    pub skipped: usize,
    /// Where the last whole entry ends: a writer cuts the file here before it appends.
    pub end: usize,
}

/// Appends `record` to `log`.
pub fn append(log: &mut Vec<u8>, record: &Record) -> Result<(), EncodeError> {
    let body = postcard::to_allocvec(record).map_err(EncodeError::Encode)?;
    if body.len() > MAX_RECORD {
        return Err(EncodeError::TooLarge(body.len()));
    }
    let length = (body.len() as u32).to_le_bytes();
    log.extend_from_slice(&MAGIC);
    log.extend_from_slice(&length);
    log.extend_from_slice(&checksum(length, &body).to_le_bytes());
    log.extend_from_slice(&body);
    Ok(())
}

/// Reads a log, skipping what is torn or damaged.
pub fn replay(log: &[u8]) -> Replay {
    let mut replay = Replay::default();
    let mut at = 0;
    while at < log.len() {
        match entry(&log[at..]) {
            Some((record, used)) => {
                at += used;
                replay.records.push(record);
                replay.end = at;
            }
            None => {
                let next = log[at + 1..]
                    .windows(MAGIC.len())
                    .position(|window| window == MAGIC);
                let next = next.map_or(log.len(), |found| at + 1 + found);
                replay.skipped += next - at;
                at = next;
            }
        }
    }
    replay
}

fn entry(bytes: &[u8]) -> Option<(Record, usize)> {
    let header = bytes.get(..HEADER)?;
    if header[..4] != MAGIC {
        return None;
    }
    let length: [u8; 4] = header[4..8].try_into().ok()?;
    let crc = u32::from_le_bytes(header[8..12].try_into().ok()?);
    let end = HEADER.checked_add(u32::from_le_bytes(length) as usize)?;
    let body = bytes.get(HEADER..end)?;
    if checksum(length, body) != crc {
        return None;
    }
    let (record, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some((record, end))
}

fn checksum(length: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boot(text: &str) -> Record {
        Record::Boot {
            boot_id: text.into(),
        }
    }

    fn log_of(records: &[Record]) -> Vec<u8> {
        let mut log = Vec::new();
        for record in records {
            append(&mut log, record).expect("small");
        }
        log
    }

    /// Logs of released versions must be read for ever: these bytes never change, new variants get new lines.
    #[test]
    fn bytes_are_pinned() {
        let key = crate::tests::key("t");
        let records = [
            Record::Admitted {
                agent: AgentId::new("m-S1"),
            },
            boot("b"),
            Record::KillRequested {
                key: key.clone(),
                grace_ms: 300,
            },
            Record::Acknowledged {
                key: key.clone(),
                uuid: Uuid([7; 16]),
            },
            Record::Forgotten {
                key,
                attempt: Attempt(1 << 32),
            },
        ];
        let bodies: Vec<String> = records
            .iter()
            .map(|record| nesos_base::token::hex(&postcard::to_allocvec(record).expect("small")))
            .collect();
        let pinned = [
            "00046d2d5331",
            "010162",
            "0301660174ac02",
            "050166017407070707070707070707070707070707",
            "06016601748080808010",
        ];
        assert_eq!(bodies, pinned);
        // Launched and Updated hold wire types, which are pinned there; here only their numbers.
        let spec = Box::new(crate::tests::spec("t", 1));
        let launched = Record::Launched {
            spec,
            container: ContainerId::new("c"),
        };
        assert_eq!(postcard::to_allocvec(&launched).expect("small")[0], 2);
    }

    #[test]
    fn torn_tail_is_cut_off() {
        let records = [boot("a"), boot("b")];
        let log = log_of(&records);
        let whole = log_of(&records[..1]).len();
        for cut in whole..log.len() {
            let replay = replay(&log[..cut]);
            assert_eq!(
                (replay.records.as_slice(), replay.end),
                (&records[..1], whole)
            );
            assert_eq!(replay.skipped, cut - whole);
        }
    }

    proptest! {
        #[test]
        fn one_damaged_byte_costs_one_record(at in 0usize..10_000, bit in 0u8..8) {
            let records: Vec<Record> = (0..5).map(|n| boot(&format!("boot {n}"))).collect();
            let mut log = log_of(&records);
            let at = at % log.len();
            log[at] ^= 1 << bit;
            let damaged = at / (log.len() / 5);
            let left: Vec<Record> = records.iter().enumerate().filter(|(n, _)| *n != damaged).map(|(_, r)| r.clone()).collect();
            prop_assert_eq!(replay(&log).records, left);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let replay = replay(&bytes);
            prop_assert!(replay.skipped <= bytes.len());
        }
    }
}
