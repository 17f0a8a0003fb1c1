//! Time as the cores see it: values that somebody else read from a clock.
//!
//! The types are embassy-time's (microsecond ticks). `Instant::now` needs a time driver, which only PID 1 links: a core
//! that called it would not link into a daemon, and that is meant.

pub use embassy_time::{Duration, Instant};

/// Seconds to a duration: negative and NaN become zero, everything beyond 365 days becomes 365 days.
///
/// 365 days is Mesos's cap for filters and keeps every sum of an instant and a duration far from overflow.
pub fn seconds(value: f64) -> Duration {
    const YEAR: f64 = 365.0 * 24.0 * 3600.0;
    let clamped = if value.is_nan() {
        0.0
    } else {
        value.clamp(0.0, YEAR)
    };
    Duration::from_micros((clamped * 1_000_000.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_seconds_are_tamed() {
        assert_eq!(seconds(f64::NAN), Duration::from_secs(0));
        assert_eq!(seconds(-1.0), Duration::from_secs(0));
        assert_eq!(seconds(f64::INFINITY), Duration::from_secs(365 * 24 * 3600));
        assert_eq!(seconds(1.5), Duration::from_millis(1500));
    }
}
