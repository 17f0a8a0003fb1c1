//! When a supervised process that ended is started again.
//!
//! Pure: init tells what happened and when, and is told how long to wait. Invariant: a process is never given up, and
//! never started more often than once per [`MAX_DELAY`] in the long run if it keeps failing fast.

use crate::time::{Duration, Instant};

/// First delay: short, since most ends are one-off.
pub const FIRST_DELAY: Duration = Duration::from_millis(200);
/// Longest delay: a board whose daemon cannot start still tries twice a minute, and its console stays readable.
pub const MAX_DELAY: Duration = Duration::from_secs(30);
/// A process that lived this long is healthy: its next end starts with the first delay again.
pub const MIN_RUN_TIME: Duration = Duration::from_secs(60);

/// The restart state of one process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restart {
    fast_ends: u32,
    started: Option<Instant>,
}

impl Restart {
    /// The process was started at `now`.
    pub fn started(&mut self, now: Instant) {
        self.started = Some(now);
    }

    /// The process ended at `now`: how long to wait before starting it again.
    pub fn ended(&mut self, now: Instant) -> Duration {
        let lived = self
            .started
            .take()
            .and_then(|at| now.checked_duration_since(at))
            .unwrap_or_default();
        if lived >= MIN_RUN_TIME {
            self.fast_ends = 0;
        }
        let delay = FIRST_DELAY.as_micros() << self.fast_ends.min(10);
        self.fast_ends = self.fast_ends.saturating_add(1);
        Duration::from_micros(delay.min(MAX_DELAY.as_micros()))
    }

    /// How often in a row it ended before [`MIN_RUN_TIME`].
    pub fn fast_ends(&self) -> u32 {
        self.fast_ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_ends_back_off_and_a_long_life_forgives() {
        let mut restart = Restart::default();
        let mut now = Instant::from_secs(10);
        let mut delays = alloc::vec::Vec::new();
        for _ in 0..10 {
            restart.started(now);
            now += Duration::from_millis(10);
            delays.push(restart.ended(now).as_millis());
        }
        assert_eq!(delays[..4], [200, 400, 800, 1600]);
        assert_eq!(delays[9], 30_000);
        restart.started(now);
        assert_eq!(restart.ended(now + MIN_RUN_TIME), FIRST_DELAY);
    }
}
