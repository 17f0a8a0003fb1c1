//! How many connections are open, and which to close when there are too many.
//!
//! Agent links do not count once they are authenticated. Called by the server for each accepted connection. Invariant: at
//! most [`MAX_CONNECTIONS`] tickets exist; a newcomer takes the place of the connection that has idled longest, so idle
//! ones need no timeout (Mesos has none, and clients keep a connection for hours between calls).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

/// HTTP connections and handshakes at a time: each costs some 20 KB, and processes have 1024 files by default.
pub(crate) const MAX_CONNECTIONS: usize = 512;

/// What others can do to a connection.
#[derive(Debug, Default)]
pub(crate) struct Control {
    cut: Notify,
    /// Since when no request has been under way; `None`: one is.
    idle: Mutex<Option<Instant>>,
    requests: AtomicU64,
    /// When the answer under way is to have been read.
    until: Mutex<Option<Instant>>,
}

impl Control {
    /// Closes it at once.
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }

    /// Completes when it is to be closed at once.
    pub(crate) async fn was_cut(&self) {
        self.cut.notified().await;
    }

    /// A request begins (`true`) or its answer has been handed over (`false`).
    pub(crate) fn set_busy(&self, is_busy: bool) {
        *lock(&self.idle) = if is_busy { None } else { Some(Instant::now()) };
        if is_busy {
            *lock(&self.until) = None;
        }
        self.requests
            .fetch_add(u64::from(is_busy), Ordering::Relaxed);
    }

    /// The answer is to have been read by then, its last bytes included.
    pub(crate) fn set_until(&self, until: Instant) {
        *lock(&self.until) = Some(until);
    }

    /// When the answer is to have been read, if that is limited.
    pub(crate) fn until(&self) -> Option<Instant> {
        *lock(&self.until)
    }

    /// How many requests have begun.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether a request is under way.
    pub(crate) fn is_busy(&self) -> bool {
        lock(&self.idle).is_none()
    }
}

/// All open connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, Arc<Control>>,
}

/// The right to be open; given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    gate: Gate,
    number: u64,
    /// This connection's.
    pub(crate) control: Arc<Control>,
}

impl Gate {
    /// Lets a connection in, if need be in the place of an idle one. `None`: all are busy.
    pub(crate) fn admit(&self) -> Option<Ticket> {
        let mut open = lock(&self.0);
        if open.connections.len() >= MAX_CONNECTIONS {
            let idle = open
                .connections
                .iter()
                .filter_map(|(number, control)| Some(((*lock(&control.idle))?, *number)));
            let (_, number) = idle.min()?;
            if let Some(control) = open.connections.remove(&number) {
                control.cut();
            }
        }
        let number = open.next;
        open.next += 1;
        let control = Arc::new(Control::default());
        control.set_busy(false);
        open.connections.insert(number, Arc::clone(&control));
        Some(Ticket {
            gate: self.clone(),
            number,
            control,
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.gate.0).connections.remove(&self.number);
    }
}

/// The values behind these locks are valid at any moment, so a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_longest_idle_connection_makes_room() {
        let gate = Gate::default();
        let tickets: Vec<Ticket> = (0..MAX_CONNECTIONS)
            .map(|_| gate.admit().unwrap())
            .collect();
        tickets
            .iter()
            .for_each(|ticket| ticket.control.set_busy(true));
        assert!(gate.admit().is_none());
        tickets[7].control.set_busy(false);
        tickets[3].control.set_busy(false);
        let newcomer = gate.admit().unwrap();
        let waited = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(async {
                let cut = tickets[7].control.was_cut();
                tokio::time::timeout(std::time::Duration::from_secs(5), cut).await
            });
        assert!(waited.is_ok());
        drop(newcomer);
        assert!(gate.admit().is_some());
    }
}
