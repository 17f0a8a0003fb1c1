//! When something unacknowledged is sent (again): at once, then after growing pauses.
//!
//! Called by `stream` and `operations`. Invariant: between two sendings lie [`RETRY_FIRST`] to [`RETRY_LAST`], unless a
//! link was lost in between.

use nesos_base::time::{Duration, Instant};

/// First repetition of an unacknowledged status (Mesos: `STATUS_UPDATE_RETRY_INTERVAL_MIN`).
pub const RETRY_FIRST: Duration = Duration::from_secs(10);
/// Longest interval between repetitions (Mesos: `STATUS_UPDATE_RETRY_INTERVAL_MAX`).
pub const RETRY_LAST: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Flight {
    retry_at: Instant,
    interval: Duration,
}

/// The default: to be sent as soon as the link allows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Repeat(Option<Flight>);

impl Repeat {
    /// Whether it is to be sent now; if so the next repetition is armed.
    pub(crate) fn take_due(&mut self, now: Instant) -> bool {
        let interval = match self.0 {
            Some(flight) if now < flight.retry_at => return false,
            Some(flight) => (flight.interval * 2).min(RETRY_LAST),
            None => RETRY_FIRST,
        };
        self.0 = Some(Flight {
            retry_at: now + interval,
            interval,
        });
        true
    }

    /// When it wants to be sent. May lie in the past.
    pub(crate) fn deadline(&self) -> Instant {
        self.0.map_or(Instant::MIN, |flight| flight.retry_at)
    }

    /// The link is down, or what was handed out was not sent: it is sent again first thing.
    pub(crate) fn pause(&mut self) {
        self.0 = None;
    }
}
