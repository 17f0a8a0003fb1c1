//! Where executor helpers come from: the fork server of `nesos-executor`, started with the first of them.
//!
//! Called by `launch`. Invariant: a helper that was begun is begun once; a server that fails is replaced with the next one.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;

use nesos_sys::container::fork_server::{ForkError, ForkServer, Order};
use nesos_sys::container::{SpawnError, Spawned};

/// Its name in lists of processes, and its copies'.
const NAME: &str = "nesos-executor";

/// Why there is no helper.
#[derive(Debug, thiserror::Error)]
pub(super) enum NurseryError {
    #[error(transparent)]
    Start(#[from] SpawnError),
    #[error(transparent)]
    Fork(#[from] ForkError),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Nursery {
    program: PathBuf,
    server: RefCell<Option<ForkServer>>,
}

impl Nursery {
    pub(super) fn new(program: PathBuf) -> Self {
        Self {
            program,
            server: RefCell::default(),
        }
    }

    /// Begins a helper. `None`: the server died over it, and only the helper's connection tells whether there is one.
    pub(super) fn begin(&self, order: &Order<'_>) -> Result<Option<Spawned>, NurseryError> {
        let mut server = self.server.borrow_mut();
        // One that was killed since the last time is found out by the first attempt.
        let mut answer = match server.as_ref() {
            Some(server) => server.fork(order),
            None => Err(ForkError::Gone(io::ErrorKind::NotConnected.into())),
        };
        if matches!(answer, Err(ForkError::Gone(_))) {
            let started = ForkServer::start(&self.program.display().to_string(), NAME)?;
            answer = server.insert(started).fork(order);
        }
        match answer {
            Ok(spawned) => Ok(Some(spawned)),
            Err(ForkError::Lost(error)) => {
                tracing::warn!("the executor helpers' fork server does not answer: {error}");
                *server = None;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}
