//! How long a service that keeps failing waits before it is started again.
//!
//! Called by `services`. Invariant: the wait never exceeds the service's own bound, and ends.

use nesos_base::time::{Duration, Instant};

/// An instance that ran this long has not failed to start; the next failure is a new one. As long as most programs need to find out
/// that they lack something.
const STABLE: Duration = Duration::from_secs(60);

/// How the waits grow.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// By how much each is longer than the one before, at least 1.
    pub factor: f64,
    /// The longest.
    pub most: Duration,
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(in crate::builtin) struct Delay {
    next: Option<Duration>,
    until: Option<Instant>,
}

impl Delay {
    /// An instance has failed after it ran so long.
    pub(in crate::builtin) fn failed(&mut self, backoff: &Backoff, ran: Duration, now: Instant) {
        if ran >= STABLE.max(self.next.unwrap_or(backoff.first)) {
            self.next = None;
        }
        let wait = self.next.unwrap_or(backoff.first).min(backoff.most);
        let longer = wait.as_micros() as f64 * backoff.factor.max(1.0);
        let longer = Duration::from_micros(longer.min(backoff.most.as_micros() as f64) as u64);
        self.next = Some(longer);
        let until = now + wait;
        self.until = Some(self.until.map_or(until, |before| before.max(until)));
    }

    /// Until when nothing is to be started, if that is not over.
    pub(in crate::builtin) fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_begin_anew_after_a_long_run() {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            factor: 2.0,
            most: Duration::from_secs(5),
        };
        let mut delay = Delay::default();
        let mut now = Instant::from_secs(1000);
        assert_eq!(delay.until(now), None);
        let mut waits = Vec::new();
        for ran in [0, 0, 0, 0, 100, 0] {
            delay.failed(&backoff, Duration::from_secs(ran), now);
            let until = delay.until(now).unwrap_or(now);
            waits.push((until - now).as_secs());
            now = until;
        }
        assert_eq!(waits, [1, 2, 4, 5, 1, 2]);
        assert_eq!(delay.until(now), None);
    }
}
