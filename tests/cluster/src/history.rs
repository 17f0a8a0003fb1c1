//! Whether what clients saw could have come from one register that does one thing at a time.
//!
//! Called by the tests with what several clients have done at the same time. The rule is that of Gibbons and Korach ("Testing
//! shared memories", 1997) for registers to which no value is written twice: what has to do with one value spans a zone of
//! time; zones in which the value must be there may not overlap, and none of the others may lie within one. Pure.

use std::collections::BTreeMap;

/// A moment, in any unit.
pub type Moment = u64;

/// What a client did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It wrote this, a value that nobody else writes.
    Write(u64),
    /// It read this; 0 is what was there at the beginning.
    Read(u64),
}

/// What a client did, and when.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// What.
    pub deed: Deed,
    /// When it asked.
    pub begin: Moment,
    /// When it was answered. None: never, and nobody knows whether it was done.
    pub end: Option<Moment>,
}

/// What has to do with one value.
#[derive(Debug, Default)]
struct Zone {
    written: Option<Moment>,
    is_read: bool,
    first_end: Option<Moment>,
    last_begin: Moment,
}

/// Looks for a contradiction.
///
/// # Errors
/// What cannot be, in words.
pub fn judge(operations: &[Operation]) -> Result<(), String> {
    let mut zones: BTreeMap<u64, Zone> = BTreeMap::new();
    let nothing = zones.entry(0).or_default();
    (nothing.written, nothing.first_end) = (Some(0), Some(0));
    for operation in operations {
        let (Deed::Write(value) | Deed::Read(value)) = operation.deed;
        let zone = zones.entry(value).or_default();
        match (operation.deed, operation.end) {
            (Deed::Write(_), _) => zone.written = Some(operation.begin),
            (Deed::Read(_), Some(_)) => zone.is_read = true,
            (Deed::Read(_), None) => continue,
        }
        let ends = [zone.first_end, operation.end];
        zone.first_end = ends.into_iter().flatten().min();
        zone.last_begin = zone.last_begin.max(operation.begin);
    }
    let (mut must, mut may) = (Vec::new(), Vec::new());
    for (value, zone) in zones {
        // Nobody knows of it.
        let Some(end) = zone.first_end else { continue };
        let begin = zone.written;
        let begin = begin.ok_or_else(|| format!("{value} was read and never written"))?;
        if end < begin {
            return Err(format!("{value} was read before it was written"));
        }
        match end < zone.last_begin {
            true => must.push((end, zone.last_begin, value)),
            false => may.push((zone.last_begin, end, value)),
        }
    }
    must.sort_unstable();
    for pair in must.windows(2) {
        let [(_, last, value), (first, _, next)] = pair else {
            continue;
        };
        if first < last {
            return Err(format!(
                "{value} was still there at {last}, {next} already at {first}"
            ));
        }
    }
    for (begin, end, value) in may {
        let around = must
            .iter()
            .find(|(first, last, _)| *first < begin && end < *last);
        if let Some((first, last, other)) = around {
            return Err(format!(
                "{value} was there between {begin} and {end}, though {other} was at {first} and at {last}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `w1 0-2` or `r1 3-4`, `w3 5-` if there was no answer.
    fn verdict(history: &str) -> Result<(), String> {
        let operations = history.split(", ").map(|text| {
            let (deed, times) = text.split_once(' ').expect("a deed and times");
            let value = deed[1..].parse().expect("a value");
            let (begin, end) = times.split_once('-').expect("a time");
            Operation {
                deed: match deed.starts_with('w') {
                    true => Deed::Write(value),
                    false => Deed::Read(value),
                },
                begin: begin.parse().expect("a time"),
                end: end.parse().ok(),
            }
        });
        judge(&operations.collect::<Vec<_>>())
    }

    #[test]
    fn what_can_be_is_taken() {
        for history in [
            "r0 1-2, w1 3-4, r1 5-6, w2 7-8, r2 9-10",
            // Whoever reads beside a write sees it or not.
            "w1 1-2, w2 3-9, r1 4-5, r2 6-7, r2 10-11",
            // A write without an answer is done at some time, or never.
            "w1 1-2, w2 3-, r1 8-9, r1 10-11",
            "w1 1-2, w2 3-, r1 8-9, r2 10-11",
            // Two at the same time.
            "w1 1-9, w2 1-9, r2 10-11",
            "w1 1-9, w2 1-9, r1 2-3, r2 4-5, r2 10-11",
        ] {
            assert_eq!(verdict(history), Ok(()), "{history}");
        }
    }

    #[test]
    fn what_cannot_be_is_found() {
        for (history, what) in [
            ("r7 1-2", "never written"),
            ("r1 1-2, w1 3-4", "before it was written"),
            ("w1 1-2, w2 3-4, r1 5-6", "though 1 was"),
            ("w1 1-2, r0 3-4", "though 0 was"),
            (
                "w1 1-9, w2 1-9, r1 2-3, r2 4-5, r1 6-7, r2 10-11",
                "still there",
            ),
            // Lost after it was seen.
            ("w1 1-2, w2 3-, r2 4-5, r1 6-7", "though 1 was"),
        ] {
            let found = verdict(history).expect_err(history);
            assert!(found.contains(what), "{history}: {found}");
        }
    }
}
