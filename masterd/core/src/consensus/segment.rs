//! The log's bytes on disk: segments of a fixed size, made of zeros beforehand, to which one record is appended per flush.
//!
//! Not the files: the shell writes these bytes and reads them back. Called by the shell and the simulation. A record ends
//! where zeros begin, so that appending changes no length of a file and a flush writes nothing but data. Invariants: what was
//! flushed is read back, or the damage is told; only the last record can be torn, and then it was never flushed.
//!
//! Segment: [`MAGIC`], the version, its number, the number of its first record, a CRC-32 of all that. Record, at a multiple of
//! 8 bytes: length of the content, CRC-32 of number and content, the record's number, the content in postcard. All numbers
//! are little-endian. A damaged last record cannot be told from a torn one.

use raft::eraftpb::{Entry, HardState};
use serde::{Deserialize, Serialize};

use super::{Restored, Store};

/// Bytes of a segment: some thousand usual commands, and a fraction of a second to make on a card.
pub const SEGMENT: usize = 1 << 20;
/// The first bytes of a segment.
pub const MAGIC: [u8; 8] = *b"NESOSLOG";
/// Of this format.
const VERSION: u32 = 1;
/// Bytes of a segment's head; a multiple of [`ALIGNMENT`].
pub const HEAD: usize = 32;
/// Bytes before a record's content.
const RECORD_HEAD: usize = 16;
/// Where records may begin.
const ALIGNMENT: usize = 8;

/// What one flush makes durable.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Batch {
    entries: Vec<Entry>,
    hard_state: Option<HardState>,
}

/// Why a segment's bytes are not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The head is none of ours.
    #[error("segment {segment} has no valid head")]
    Head {
        /// Which segment was expected.
        segment: u64,
    },
    /// It was written by a later version of masterd.
    #[error("segment {segment} has format {version}, this masterd knows {VERSION}")]
    Version {
        /// Which segment.
        segment: u64,
        /// Its format.
        version: u32,
    },
    /// A record in the middle is damaged: what follows it was flushed, so it was, too.
    #[error("segment {segment} is damaged at byte {at}: record {record} is not what was written")]
    Record {
        /// Which segment.
        segment: u64,
        /// Where the record begins.
        at: usize,
        /// Its number.
        record: u64,
    },
}

/// A new segment's head. The rest of it is zeros.
pub fn head(segment: u64, first_record: u64) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[12..20].copy_from_slice(&segment.to_le_bytes());
    head[20..28].copy_from_slice(&first_record.to_le_bytes());
    let crc = crc32fast::hash(&head[..28]);
    head[28..].copy_from_slice(&crc.to_le_bytes());
    head
}

/// What is to be appended for a flush: one record. Nothing, if there is nothing to store but a snapshot.
pub fn record(number: u64, store: &Store) -> Option<Vec<u8>> {
    if store.entries.is_empty() && store.hard_state.is_none() {
        return None;
    }
    let batch = Batch {
        entries: store.entries.clone(),
        hard_state: store.hard_state.clone(),
    };
    let mut bytes = vec![0; RECORD_HEAD];
    // Plain data always can be written.
    bytes = postcard::to_extend(&batch, bytes).ok()?;
    let length = u32::try_from(bytes.len() - RECORD_HEAD).ok()?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    let crc = crc32fast::hash(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    Some(bytes)
}

/// Where reading has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Where the next record goes.
    pub at: usize,
    /// Its number.
    pub next_record: u64,
}

/// Reads one segment into what is known so far. Of the last segment the last record may be torn: it ends before that one.
pub fn read(
    bytes: &[u8],
    segment: u64,
    next_record: u64,
    is_last: bool,
    into: &mut Restored,
) -> Result<End, Damage> {
    let first = first_record(bytes, segment)?;
    if first != next_record {
        return Err(Damage::Head { segment });
    }
    let mut end = End {
        at: HEAD,
        next_record,
    };
    while let Some((number, content, next)) = record_at(bytes, end.at) {
        let damage = Damage::Record {
            segment,
            at: end.at,
            record: end.next_record,
        };
        let batch = postcard::from_bytes::<Batch>(content);
        match batch {
            Ok(batch) if number == end.next_record => add(batch, into).ok_or(damage)?,
            _ => return Err(damage),
        }
        end = End {
            at: next,
            next_record: number + 1,
        };
    }
    let rest = bytes.get(end.at..).unwrap_or_default();
    let is_torn = rest.iter().any(|byte| *byte != 0);
    if is_torn && (!is_last || has_record_behind(bytes, end)) {
        return Err(Damage::Record {
            segment,
            at: end.at,
            record: end.next_record,
        });
    }
    Ok(end)
}

/// The number of a segment's first record, by its head.
pub fn first_record(bytes: &[u8], segment: u64) -> Result<u64, Damage> {
    let head: &[u8; HEAD] = bytes.first_chunk().ok_or(Damage::Head { segment })?;
    let crc = crc32fast::hash(&head[..28]).to_le_bytes();
    if head[..8] != MAGIC || head[28..] != crc {
        return Err(Damage::Head { segment });
    }
    let version = number(&head[8..12]) as u32;
    if version != VERSION {
        return Err(Damage::Version { segment, version });
    }
    if number(&head[12..20]) != segment {
        return Err(Damage::Head { segment });
    }
    Ok(number(&head[20..28]))
}

/// The whole and right record at this place: its number, its content, and where the next one begins.
fn record_at(bytes: &[u8], at: usize) -> Option<(u64, &[u8], usize)> {
    let head: &[u8; RECORD_HEAD] = bytes.get(at..)?.first_chunk()?;
    let length = number(&head[..4]) as usize;
    let end = at.checked_add(RECORD_HEAD)?.checked_add(length)?;
    let checked = bytes.get(at + 8..end)?;
    let is_right = length > 0 && crc32fast::hash(checked).to_le_bytes() == head[4..8];
    is_right.then(|| {
        let content = &checked[RECORD_HEAD - 8..];
        (number(&head[8..]), content, end.next_multiple_of(ALIGNMENT))
    })
}

/// Whether anything was appended behind a place where no record is.
fn has_record_behind(bytes: &[u8], end: End) -> bool {
    let places = (end.at + ALIGNMENT..bytes.len()).step_by(ALIGNMENT);
    let mut found = places.filter_map(|at| record_at(bytes, at));
    found.any(|(number, ..)| number > end.next_record)
}

/// As raft wrote it: entries replace what was at their places and later. `None`: they do not follow what is there.
fn add(batch: Batch, into: &mut Restored) -> Option<()> {
    if let Some(hard_state) = batch.hard_state {
        into.hard_state = hard_state;
    }
    // Those that were saved since are not needed.
    let saved = into.saved.index;
    let mut entries = batch
        .entries
        .into_iter()
        .filter(|entry| entry.index > saved);
    let Some(first) = entries.next() else {
        return Some(());
    };
    let keep = usize::try_from(first.index - saved - 1).ok()?;
    if keep > into.entries.len() {
        return None;
    }
    into.entries.truncate(keep);
    into.entries.push(first);
    into.entries.extend(entries);
    Some(())
}

fn number(bytes: &[u8]) -> u64 {
    let bytes = bytes.iter().rev();
    bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const SMALL: usize = 4096;

    fn store(index: u64, term: u64, data: Vec<u8>) -> Store {
        Store {
            entries: vec![Entry {
                index,
                term,
                data: data.into(),
                ..Entry::default()
            }],
            hard_state: Some(HardState {
                term,
                vote: 1,
                commit: index - 1,
            }),
            must_flush: true,
            snapshot: None,
        }
    }

    /// A segment with these records, where each ends, and what is known after each.
    fn written(contents: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>, Vec<Restored>) {
        let mut bytes = head(4, 10).to_vec();
        let mut known = Restored::founder(1);
        let (mut ends, mut states) = (vec![bytes.len()], vec![known.clone()]);
        for (number, content) in (10u64..).zip(contents) {
            let store = store(number - 8, 2, content.clone());
            bytes.extend(record(number, &store).unwrap());
            known.entries.extend(store.entries);
            known.hard_state = store.hard_state.unwrap();
            ends.push(bytes.len());
            states.push(known.clone());
        }
        bytes.resize(SMALL.max(bytes.len()), 0);
        (bytes, ends, states)
    }

    fn read_back(bytes: &[u8], is_last: bool) -> Result<(End, Restored), Damage> {
        let mut known = Restored::founder(1);
        let end = read(bytes, 4, 10, is_last, &mut known)?;
        Ok((end, known))
    }

    proptest! {
        #[test]
        fn what_was_flushed_is_there_wherever_the_power_goes(
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..12),
            torn_at in any::<prop::sample::Index>(),
        ) {
            let (bytes, ends, states) = written(&contents);
            let (end, known) = read_back(&bytes, true).unwrap();
            prop_assert_eq!((end.at, end.next_record), (*ends.last().unwrap(), 10 + contents.len() as u64));
            prop_assert_eq!(&known, states.last().unwrap());
            // Torn behind the head: what is behind that place is still zero.
            let at = HEAD + torn_at.index(ends.last().unwrap() - HEAD + 1);
            let mut torn = bytes.clone();
            torn[at..].fill(0);
            let (_, known) = read_back(&torn, true).unwrap();
            let whole = ends.iter().filter(|end| **end <= at).count();
            let is_there = states[whole - 1..].iter().take(2).any(|state| *state == known);
            prop_assert!(is_there, "{at}: {known:?}");
        }

        #[test]
        fn a_flipped_bit_is_told_or_is_in_the_last_record(
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 2..12),
            place in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let (mut bytes, ends, states) = written(&contents);
            let at = place.index(*ends.last().unwrap());
            bytes[at] ^= 1u8 << bit;
            match read_back(&bytes, true) {
                Err(_) => {}
                // Padding between records says nothing.
                Ok((_, known)) if known == *states.last().unwrap() => {}
                Ok((end, known)) => {
                    prop_assert!(at >= ends[ends.len() - 2], "byte {at} went unnoticed");
                    prop_assert_eq!(end.at, ends[ends.len() - 2]);
                    prop_assert_eq!(&known, &states[states.len() - 2]);
                }
            }
            // Of a segment that is not the last even that is told.
            let is_known = read_back(&bytes, false).map(|(_, known)| known);
            prop_assert!(is_known.is_err() || is_known.unwrap() == *states.last().unwrap());
        }
    }

    #[test]
    fn another_leaders_entries_replace_what_was_not_committed() {
        let mut bytes = head(0, 0).to_vec();
        for (number, (index, term)) in [(2, 2), (3, 2), (4, 2), (3, 5)].into_iter().enumerate() {
            bytes.extend(record(number as u64, &store(index, term, vec![term as u8])).unwrap());
        }
        let mut known = Restored::founder(1);
        read(&bytes, 0, 0, true, &mut known).unwrap();
        let terms: Vec<_> = known
            .entries
            .iter()
            .map(|entry| (entry.index, entry.term))
            .collect();
        assert_eq!(terms, [(2, 2), (3, 5)]);
    }

    #[test]
    fn what_is_saved_is_skipped_and_a_gap_is_damage() {
        let mut bytes = head(0, 0).to_vec();
        bytes.extend(record(0, &store(5, 2, vec![1])).unwrap());
        let mut known = Restored::founder(1);
        let gap = read(&bytes, 0, 0, true, &mut known).unwrap_err();
        assert!(matches!(gap, Damage::Record { record: 0, .. }), "{gap}");
        known.saved.index = 5;
        known.entries.clear();
        read(&bytes, 0, 0, true, &mut known).unwrap();
        assert!(known.entries.is_empty());
    }

    #[test]
    fn a_strangers_or_a_later_versions_segment_is_refused() {
        let mut known = Restored::default();
        let wrong = Damage::Head { segment: 7 };
        assert_eq!(read(b"short", 7, 0, true, &mut known), Err(wrong.clone()));
        assert_eq!(
            read(&head(8, 0), 7, 0, true, &mut known),
            Err(wrong.clone())
        );
        assert_eq!(read(&head(7, 1), 7, 0, true, &mut known), Err(wrong));
        let mut later = head(7, 0);
        later[8] = 2;
        let crc = crc32fast::hash(&later[..28]).to_le_bytes();
        later[28..].copy_from_slice(&crc);
        let refused = read(&later, 7, 0, true, &mut known).unwrap_err();
        assert!(refused.to_string().contains("format 2"), "{refused}");
    }
}
