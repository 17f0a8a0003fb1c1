//! The bounded memory of log lines, and the brake between it and the serial console. Pure; called by `journal`.
//!
//! Invariant: never more than [`RING_BYTES`]; the oldest lines go first; line numbers only grow.

use embassy_time::{Duration, Instant};
use std::collections::VecDeque;

/// Bytes of text and bookkeeping kept: about a thousand lines, within PID 1's half megabyte.
pub(crate) const RING_BYTES: usize = 96 * 1024;
/// What a line costs beyond its text.
const LINE_OVERHEAD: usize = 32;

/// The newest lines of the board.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    lines: VecDeque<Box<str>>,
    bytes: usize,
    first: u64,
}

impl Ring {
    /// Adds a line, dropping old ones as needed.
    pub(crate) fn push(&mut self, line: &str) {
        self.bytes += line.len() + LINE_OVERHEAD;
        self.lines.push_back(line.into());
        while self.bytes > RING_BYTES
            && let Some(old) = self.lines.pop_front()
        {
            self.bytes -= old.len() + LINE_OVERHEAD;
            self.first += 1;
        }
    }

    /// The first kept line with a number of at least `number`, and its number.
    pub(crate) fn line_from(&self, number: u64) -> Option<(u64, &str)> {
        let number = number.max(self.first);
        let index = usize::try_from(number - self.first).ok()?;
        self.lines.get(index).map(|line| (number, line.as_ref()))
    }

    /// The number that the next line gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.first + self.lines.len() as u64
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
        Brake { left: BURST, refilled: now, held_back: 0 }
    }

    /// Whether a line may pass at `now`: `None` if not, else how many were held back since the last one.
    pub(crate) fn pass(&mut self, now: Instant) -> Option<u32> {
        let periods = now.saturating_duration_since(self.refilled).as_micros() / REFILL.as_micros();
        if periods > 0 {
            self.left = BURST.min(self.left.saturating_add(u32::try_from(periods).unwrap_or(BURST)));
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
        let mut ring = Ring::default();
        for number in 0..10_000u32 {
            ring.push(&format!("line {number} {}", "x".repeat(number as usize % 200)));
            assert!(ring.bytes <= RING_BYTES);
        }
        assert_eq!(ring.next_number(), 10_000);
        let (first, _) = ring.line_from(0).unwrap();
        assert!(first > 0);
        assert!(ring.line_from(9_999).unwrap().1.starts_with("line 9999"));
        assert_eq!(ring.line_from(10_000), None);
        assert_eq!(ring.bytes, ring.lines.iter().map(|l| l.len() + LINE_OVERHEAD).sum::<usize>());
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
