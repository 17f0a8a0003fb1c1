//! The task's output, copied here while it runs.
//!
//! Called by `run` beside the scheduler. Invariant: after the task's end both files are read to their ends before
//! [`copy`] returns, or the person is told that output is missing.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{RunError, Stage};
use crate::files::{FileReadError, Follower, GAP, POLL};
use crate::http::Client;
use crate::output::Progress;

/// How long the rest of the output is tried to be read after the task's end: an agent that restarts needs a few seconds,
/// a board that reboots does not come back with the output's reader still interested.
const REST_LIMIT: Duration = Duration::from_secs(30);

/// Copies standard output and standard error until the task has ended and both are complete.
pub(super) async fn copy(
    client: &Client,
    mut stage: watch::Receiver<Stage>,
    progress: &RefCell<Progress>,
) -> Result<(), RunError> {
    let begun = stage
        .wait_for(|stage| !stage.is_waiting())
        .await
        .ok()
        .and_then(|stage| stage.sandbox.clone());
    let Some((framework, task)) = begun else {
        return Ok(());
    };
    let mut files = [
        (
            Follower::new(&framework, &task, "stdout"),
            Box::new(io::stdout()) as Box<dyn io::Write>,
        ),
        (
            Follower::new(&framework, &task, "stderr"),
            Box::new(io::stderr()),
        ),
    ];
    let mut ended_at = None;
    loop {
        // Looked at before reading: an ended task's files are complete, so what is read then is everything.
        let ended = stage.borrow().ended;
        let mut complete = true;
        for (file, out) in &mut files {
            let mut out = Output {
                progress,
                out: out.as_mut(),
            };
            let read = file.read_to_end(client, &mut out).await;
            if file.take_gap() {
                progress.borrow().note(GAP);
            }
            match read {
                Ok(()) => {}
                Err(FileReadError::Output(source)) => return Err(RunError::Output { source }),
                Err(FileReadError::Http(error)) => {
                    complete = false;
                    let since = *ended_at.get_or_insert_with(Instant::now);
                    if ended && since.elapsed() > REST_LIMIT {
                        progress
                            .borrow()
                            .note(&format!("output may be incomplete: {error}"));
                        return Ok(());
                    }
                }
            }
        }
        if !ended {
            ended_at = None;
        }
        if ended && complete {
            return Ok(());
        }
        tokio::select! {
            _ = stage.changed(), if !ended => {}
            () = tokio::time::sleep(POLL) => {}
            // Before the end, Ctrl-C is the scheduler's business.
            _ = tokio::signal::ctrl_c(), if ended => return Ok(()),
        }
    }
}

/// Takes the spinner away before the first byte.
struct Output<'a> {
    progress: &'a RefCell<Progress>,
    out: &'a mut dyn io::Write,
}

impl io::Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.progress.borrow_mut().clear();
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
