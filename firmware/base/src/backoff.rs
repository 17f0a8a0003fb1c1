//! Exponential back-off with jitter from a number the caller drew.
//!
//! Pure: the caller brings randomness and keeps the timer. Used for dialling, joining and restarting.

use crate::time::Duration;

/// Doubling delays between `first` and `last`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    failures: u32,
}

impl Backoff {
    /// The first delay is about `first`, none is longer than `last`.
    pub const fn new(first: Duration, last: Duration) -> Self {
        Self {
            first,
            last,
            failures: 0,
        }
    }

    /// It worked: start again with the first delay.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How many delays were handed out since the last reset.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The next delay: half fixed, half spread by `random`, so that a rack of boards does not dial in step.
    pub fn next(&mut self, random: u32) -> Duration {
        // Beyond 2^20 times any sensible first delay the cap has long been reached.
        let factor = 1u64 << self.failures.min(20);
        self.failures = self.failures.saturating_add(1);
        let full = (self.first.as_micros().saturating_mul(factor)).min(self.last.as_micros());
        let half = full / 2;
        Duration::from_micros(half + (half.saturating_mul(u64::from(random)) >> 32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_and_stop_at_the_cap() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8));
        let delays: alloc::vec::Vec<u64> = (0..6)
            .map(|_| backoff.next(u32::MAX).as_millis() / 100)
            .collect();
        assert_eq!(delays, [9, 19, 39, 79, 79, 79]);
        backoff.reset();
        assert_eq!(backoff.next(0), Duration::from_millis(500));
    }
}
