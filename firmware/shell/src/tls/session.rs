//! What an agent keeps of its last link so that the next one costs less: one session ticket.
//!
//! The master's end is `tickets`. Called by rustls. Invariants: a ticket is shown once, never leaves this process's memory,
//! and only the newest is kept.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// The newest ticket. There is one server name, whichever master answers to it.
#[derive(Debug, Default)]
pub(super) struct LastSession(Mutex<Option<Tls13ClientSessionValue>>);

impl LastSession {
    fn lock(&self) -> MutexGuard<'_, Option<Tls13ClientSessionValue>> {
        // Whole at any moment, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for LastSession {
    // There is one group.
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    // TLS 1.2 is not spoken.
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        *self.lock() = Some(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.lock().take()
    }
}
