//! Ctrl-C and SIGTERM, which mean the same to this command.
//!
//! Called by the commands that go on for a while. Invariant: from [`Stop::new`] on neither signal ends the process by itself.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The wish to stop.
#[derive(Debug)]
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Listens from now on.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next time that somebody wishes it. Cancel-safe.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
