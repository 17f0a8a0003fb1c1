//! Logging more for a while, as Mesos's `/logging/toggle` and SET_LOGGING_LEVEL do.
//!
//! Called by the daemons' HTTP handlers, inside a tokio runtime. Invariant: at most one change waits to be taken back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

/// The change that waits to be taken back.
#[derive(Debug, Default)]
pub struct Toggle(Mutex<Option<AbortHandle>>);

impl Toggle {
    /// Logs so many levels more from now on, and as the flags say again after `duration`.
    pub fn set(&self, level: u32, duration: Duration) {
        super::set_verbosity(level);
        let restoring = tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            super::set_verbosity(0);
        });
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(earlier) = waiting.replace(restoring.abort_handle()) {
            earlier.abort();
        }
    }
}
