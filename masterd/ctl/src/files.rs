//! Files of a task's sandbox, read through the master a piece at a time.
//!
//! Called by `run` and `logs`. Invariant: bytes come in order, none twice, none left out.

use std::io::{self, Write};
use std::time::Duration;

use hyper::StatusCode;

use crate::http::{Client, HttpError, segment};

/// Bytes asked for at once: what one frame of the agent link carries.
const PIECE: usize = 64 << 10;
/// How often a growing file is looked at: fast enough for a person, and a board answers in a few ms.
pub(crate) const POLL: Duration = Duration::from_millis(150);

/// Where in one file a reader is.
#[derive(Debug)]
pub(crate) struct Follower {
    path: String,
    offset: u64,
}

impl Follower {
    /// At the beginning of `file` in the sandbox of a task.
    pub(crate) fn new(framework: &str, task: &str, file: &str) -> Self {
        Self {
            path: format!(
                "/nesos/v1/tasks/{}/{}/files/{file}",
                segment(framework),
                segment(task)
            ),
            offset: 0,
        }
    }

    /// Reads to the present end of the file. A sandbox or file that is not there yet is an empty one; one that is there no
    /// more is an error (a master that has just started does not know the task until its agent is back).
    pub(crate) async fn read_to_end(
        &mut self,
        client: &Client,
        out: &mut dyn Write,
    ) -> Result<(), FileReadError> {
        loop {
            let path = format!("{}?offset={}&length={PIECE}", self.path, self.offset);
            let bytes = match client.bytes(&path).await {
                Ok((_, bytes)) => bytes,
                Err(error) if error.status() == Some(StatusCode::NOT_FOUND) && self.offset == 0 => {
                    return Ok(());
                }
                Err(error) => return Err(FileReadError::Http(error)),
            };
            if bytes.is_empty() {
                return Ok(());
            }
            out.write_all(&bytes)
                .and_then(|()| out.flush())
                .map_err(FileReadError::Output)?;
            self.offset += bytes.len() as u64;
        }
    }
}

/// Why a file's bytes did not get through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileReadError {
    /// On the way here.
    #[error(transparent)]
    Http(HttpError),
    /// On the way out.
    #[error("write the task's output: {0}")]
    Output(io::Error),
}
