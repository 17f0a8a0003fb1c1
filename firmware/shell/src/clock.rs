//! Reads the clocks for the cores: monotonic ticks since the process started, and the wall clock.
//!
//! Not a timer. Made once per process by `main`; invariant: `now` never goes backwards, whatever happens to the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use nesos_base::time::Instant;

/// A process's clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// Starts at one second, so that "some time ago" near the start does not underflow.
    const FIRST: u64 = 1_000_000;

    /// A clock that starts now.
    #[allow(clippy::new_without_default)] // Reading the clock is an effect; `default` would hide it.
    pub fn new() -> Self {
        Self {
            start: std::time::Instant::now(),
        }
    }

    /// Monotonic time for the cores.
    pub fn now(&self) -> Instant {
        let micros =
            u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX - Self::FIRST);
        Instant::from_micros(Self::FIRST + micros)
    }

    /// When a core's `deadline` is due, for `tokio::time::sleep_until`.
    pub fn deadline(&self, deadline: Instant) -> tokio::time::Instant {
        let after_start =
            std::time::Duration::from_micros(deadline.as_micros().saturating_sub(Self::FIRST));
        // A deadline too far away for the platform's clock is as good as one in thirty years.
        let far = std::time::Duration::from_secs(30 * 365 * 86_400);
        let at = self
            .start
            .checked_add(after_start)
            .unwrap_or_else(|| self.start + far);
        tokio::time::Instant::from_std(at)
    }

    /// Seconds since 1970 by the wall clock; zero if it stands before that.
    pub fn wall() -> f64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map(|d| d.as_secs_f64())
            .unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_convert_back() {
        let clock = Clock::new();
        let soon = clock.now() + nesos_base::time::Duration::from_secs(60);
        let wait = clock
            .deadline(soon)
            .duration_since(tokio::time::Instant::now());
        assert!(
            wait <= std::time::Duration::from_secs(60) && wait > std::time::Duration::from_secs(50)
        );
        let _ = clock.deadline(Instant::MAX);
    }
}
