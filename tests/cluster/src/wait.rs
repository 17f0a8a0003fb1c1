//! Waiting for a condition with a deadline.
//!
//! Called by the tests.

use std::time::Duration;

use tokio::time::Instant;

/// Pause between looks.
const POLL: Duration = Duration::from_millis(25);

/// Looks at `condition` until it gives a value.
///
/// # Panics
/// After `limit`, naming `what`.
pub fn eventually<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            begin.elapsed() < limit,
            "not within {} s: {what}",
            limit.as_secs()
        );
        std::thread::park_timeout(POLL);
    }
}
