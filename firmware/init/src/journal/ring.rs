//! The bounded memory of log lines, and the brake between it and the serial console. Pure; called by `journal`.
//!
//! Invariant: never more than [`RING_BYTES`]; the oldest lines go first; places only grow.

use embassy_time::{Duration, Instant};
use std::collections::VecDeque;

/// Bytes kept: some six hundred lines, within PID 1's half megabyte. One allocation, so that it never fragments.
pub(crate) const RING_BYTES: usize = 64 * 1024;
/// Every line is stored behind its length.
const LENGTH_BYTES: usize = 2;

/// The newest lines of the board. Places in it are counted in bytes since the beginning of time.
#[derive(Debug)]
pub(crate) struct Ring {
    bytes: VecDeque<u8>,
    head: u64,
}

impl Ring {
    /// An empty one; its memory is used as it fills.
    pub(crate) fn new() -> Ring {
        Ring {
            bytes: VecDeque::with_capacity(RING_BYTES),
            head: 0,
        }
    }

    /// Adds a line, dropping old ones as needed. Callers keep lines short (`record::LINE_MAX`); a longer one is cut.
    pub(crate) fn push(&mut self, line: &str) {
        let length = line.len().min(usize::from(u16::MAX)).min(RING_BYTES / 4);
        while self.bytes.len() + LENGTH_BYTES + length > RING_BYTES {
            let gone = LENGTH_BYTES + self.length_at(0).unwrap_or(0);
            self.bytes.drain(..gone.min(self.bytes.len()));
            self.head += gone as u64;
        }
        self.bytes.extend((length as u16).to_le_bytes());
        self.bytes.extend(&line.as_bytes()[..length]);
    }

    /// The first kept line at `place` or later, and the place behind it.
    pub(crate) fn line_at(&self, place: u64) -> Option<(Vec<u8>, u64)> {
        let place = place.max(self.head);
        let start = usize::try_from(place - self.head).ok()?;
        let length = self.length_at(start)?;
        let text = self
            .bytes
            .range(start + LENGTH_BYTES..start + LENGTH_BYTES + length)
            .copied()
            .collect();
        Some((text, place + (LENGTH_BYTES + length) as u64))
    }

    /// The place of the next line.
    pub(crate) fn end(&self) -> u64 {
        self.head + self.bytes.len() as u64
    }

    fn length_at(&self, start: usize) -> Option<usize> {
        let (low, high) = (*self.bytes.get(start)?, *self.bytes.get(start + 1)?);
        Some(usize::from(u16::from_le_bytes([low, high])))
    }
}

/// Lines that may go to the console at once. At 115200 baud one long line takes 10 ms of PID 1's time.
const BURST: u32 = 30;
/// Time after which one more line may go.
const REFILL: Duration = Duration::from_millis(200);

/// Lets a few lines through and counts the rest.
#[derive(Debug)]
pub(crate) struct Brake {
    left: u32,
    refilled: Instant,
    held_back: u32,
}

impl Brake {
    /// Full at `now`.
    pub(crate) fn new(now: Instant) -> Brake {
        Brake {
            left: BURST,
            refilled: now,
            held_back: 0,
        }
    }

    /// Whether a line may pass at `now`: `None` if not, else how many were held back since the last one.
    pub(crate) fn pass(&mut self, now: Instant) -> Option<u32> {
        let periods = now.saturating_duration_since(self.refilled).as_micros() / REFILL.as_micros();
        if periods > 0 {
            self.left = BURST.min(
                self.left
                    .saturating_add(u32::try_from(periods).unwrap_or(BURST)),
            );
            self.refilled = now;
        }
        if self.left == 0 {
            self.held_back = self.held_back.saturating_add(1);
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_ring_keeps_the_newest_lines_within_its_bytes() {
        let mut ring = Ring::new();
        for number in 0..10_000u32 {
            ring.push(&format!(
                "line {number} {}",
                "x".repeat(number as usize % 200)
            ));
            assert!(ring.bytes.len() <= RING_BYTES);
        }
        assert_eq!(ring.bytes.capacity(), RING_BYTES);
        let (mut place, mut lines) = (0, Vec::new());
        while let Some((line, next)) = ring.line_at(place) {
            lines.push(String::from_utf8(line).unwrap());
            place = next;
        }
        assert_eq!(place, ring.end());
        assert!(lines.len() > 300);
        let first = 10_000 - lines.len();
        assert!(
            lines
                .iter()
                .enumerate()
                .all(|(i, l)| l.starts_with(&format!("line {} ", first + i)))
        );
    }

    #[test]
    fn a_line_longer_than_the_ring_is_cut() {
        let mut ring = Ring::new();
        ring.push(&"x".repeat(2 * RING_BYTES));
        ring.push("short");
        assert_eq!(ring.line_at(0).unwrap().0.len(), RING_BYTES / 4);
    }

    #[test]
    fn the_brake_counts_what_it_holds_back() {
        let mut brake = Brake::new(Instant::from_secs(1));
        for _ in 0..BURST {
            assert_eq!(brake.pass(Instant::from_secs(1)), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(brake.pass(Instant::from_secs(1)), None);
        }
        assert_eq!(brake.pass(Instant::from_millis(1200)), Some(7));
        assert_eq!(brake.pass(Instant::from_millis(1200)), None);
    }
}
