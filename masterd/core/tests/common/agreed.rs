//! Reads any bytes as a master's log and as a backup of the registry. Shared by a test and the fuzz target `agreed`.

use masterd_core::consensus::{Consensus, Restored, segment};
use masterd_core::registry::backup;
use nesos_base::time::{Duration, Instant};

const SEGMENT: u64 = 1;
/// Of a record: length, checksum, number.
const RECORD_HEAD: usize = 16;
/// Magic, format, checksum.
const BACKUP_HEAD: usize = 16;

/// As they are, and behind the checksums that keep a card's damages out. Nothing may panic, and what is read of a backup
/// must survive being written again.
pub(crate) fn agreed(bytes: &[u8]) {
    follow(bytes);
    let behind_head = [&segment::head(SEGMENT, 0), bytes].concat();
    follow(&behind_head);
    follow(&records(bytes));
    restore(bytes);
    restore(&summed(bytes));
}

/// A member that starts with this log is refused, or starts and gets somewhere.
fn follow(bytes: &[u8]) {
    for is_last in [true, false] {
        let mut restored = Restored::founder(1);
        if segment::read(bytes, SEGMENT, 0, is_last, &mut restored).is_err() {
            continue;
        }
        let mut now = Instant::from_secs(1);
        let Ok(mut member) = Consensus::new(1, restored, 7, now) else {
            continue;
        };
        for _ in 0..50 {
            while member.work().is_some() {
                member.stored();
            }
            now += Duration::from_millis(20);
            member.advance(now);
        }
    }
}

fn restore(bytes: &[u8]) {
    if let Ok(registry) = backup::read(bytes) {
        let again = backup::read(&backup::write(&registry)).map(|again| again.rows());
        assert_eq!(again, Ok(registry.rows()));
    }
}

/// A segment with records that are right but for their contents, each with its length in one byte before it.
fn records(bytes: &[u8]) -> Vec<u8> {
    let mut log = segment::head(SEGMENT, 0).to_vec();
    let (mut rest, mut number) = (bytes, 0_u64);
    while let Some((length, body)) = rest.split_first() {
        let length = usize::from(*length).min(body.len());
        let content = &body[..length];
        let mut record = vec![0; RECORD_HEAD];
        record.extend(content);
        record[..4].copy_from_slice(&(length as u32).to_le_bytes());
        record[8..16].copy_from_slice(&number.to_le_bytes());
        let sum = crc32fast::hash(&record[8..]);
        record[4..8].copy_from_slice(&sum.to_le_bytes());
        record.resize(record.len().next_multiple_of(8), 0);
        log.extend(record);
        rest = &body[length..];
        number += 1;
    }
    log
}

/// A backup with these bytes for rows.
fn summed(rows: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; BACKUP_HEAD];
    bytes[..8].copy_from_slice(&backup::MAGIC);
    bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
    bytes[12..].copy_from_slice(&crc32fast::hash(rows).to_le_bytes());
    bytes.extend(rows);
    bytes
}
