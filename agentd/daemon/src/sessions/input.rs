//! What people say to a session.
//!
//! Invariant: it waits for a command that does not read, never in memory.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;

/// What a terminal takes for the end of input.
const END_OF_INPUT: [u8; 1] = [4];

/// The writing end of a command's standard input.
#[derive(Debug)]
pub(crate) struct Input {
    /// `None`: its end was said.
    end: Option<pipe::Sender>,
    is_terminal: bool,
}

/// The command does not take it.
#[derive(Debug, thiserror::Error)]
#[error("the command takes no input: {0}")]
pub(crate) struct InputError(#[from] io::Error);

impl Input {
    pub(super) fn new(end: pipe::Sender, is_terminal: bool) -> Self {
        Self {
            end: Some(end),
            is_terminal,
        }
    }

    /// Writes all of it; nothing means the end of input.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), InputError> {
        let Some(end) = &mut self.end else {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        };
        match (bytes, self.is_terminal) {
            ([], false) => self.end = None,
            ([], true) => end.write_all(&END_OF_INPUT).await?,
            (bytes, _) => end.write_all(bytes).await?,
        }
        Ok(())
    }
}
