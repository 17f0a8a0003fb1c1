//! Connections that agents open when the master asks for them, for what is too much for their links.
//!
//! An agent may be behind a router that lets nobody in, so the master asks it over its link, with a token, to dial once more.
//! Called by HTTP, which expects, and by `link`, which finds such a connection among those of agents. Invariant: at most
//! [`MAX_EXPECTED`] are waited for; a token opens one connection.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nesos_wire::Uuid;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

/// Most connections that are waited for: a person needs four for a session, one after the other.
const MAX_EXPECTED: usize = 256;

/// A connection to an agent.
pub(crate) type Connection = Pin<Box<dyn Duplex>>;

/// What is read and written.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> Duplex for S {}

/// All that are waited for.
#[derive(Default)]
pub(crate) struct Callbacks(Mutex<BTreeMap<Uuid, oneshot::Sender<Connection>>>);

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Callbacks({})", self.lock().len())
    }
}

impl Callbacks {
    /// Waits for a connection with this token. `None`: too many do.
    pub(crate) fn expect(&self, token: Uuid) -> Option<oneshot::Receiver<Connection>> {
        let mut expected = self.lock();
        expected.retain(|_, waiting| !waiting.is_closed());
        if expected.len() >= MAX_EXPECTED {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        expected.insert(token, sender);
        Some(receiver)
    }

    /// It has come; false: nobody waits for it.
    pub(crate) fn hand_over(&self, token: Uuid, connection: Connection) -> bool {
        let waiting = self.lock().remove(&token);
        waiting.is_some_and(|waiting| waiting.send(connection).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, oneshot::Sender<Connection>>> {
        // What is behind it is valid at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_opens_one_connection() {
        let callbacks = Callbacks::default();
        let connection = || Box::pin(tokio::io::empty()) as Pin<Box<dyn Duplex>>;
        let token = Uuid([1; 16]);
        assert!(!callbacks.hand_over(token, connection()));
        let mut waiting = callbacks.expect(token).unwrap();
        assert!(callbacks.hand_over(token, connection()));
        assert!(waiting.try_recv().is_ok());
        assert!(!callbacks.hand_over(token, connection()));
    }

    #[test]
    fn those_who_have_gone_make_room() {
        let callbacks = Callbacks::default();
        let token = |number: usize| Uuid((number as u128).to_be_bytes());
        let waiting: Vec<_> = (0..MAX_EXPECTED)
            .map(|number| callbacks.expect(token(number)).unwrap())
            .collect();
        assert!(callbacks.expect(token(MAX_EXPECTED)).is_none());
        drop(waiting);
        assert!(callbacks.expect(token(MAX_EXPECTED)).is_some());
    }
}
