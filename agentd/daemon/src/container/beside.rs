//! Commands beside a running task: the helper starts them, this side holds the connection on which they live.
//!
//! Called for checks and by people's sessions. Invariant: when a [`Beside`] is dropped, what it ran is killed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use agentd_core::command::beside_spec;
use nesos_shell::framed::{self, FrameReader};
use nesos_sys::fs::connect_unix;
use nesos_sys::passing;
use nesos_sys::user::{self, UserError};
use nesos_wire::executor::{BesideSpec, FromExecutor, Outcome, TaskUser, ToExecutor};
use nesos_wire::frame;
use nesos_wire::task::Command;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// Largest word of a helper.
const MAX_MESSAGE: usize = 16 * 1024;
/// How long a helper may take to start a command: a board under load.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Why nothing runs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BesideError {
    #[error("the task's executor helper: {0}")]
    Helper(#[from] io::Error),
    #[error("the task's executor helper: {0}")]
    Socket(#[from] nesos_sys::fs::FsError),
    #[error("the command: {0}")]
    Frame(#[from] frame::FrameError),
    #[error("the task has ended")]
    Ended,
    #[error("{0}")]
    NotStarted(String),
}

/// A command that runs.
#[derive(Debug)]
pub(crate) struct Beside {
    reader: FrameReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

/// What the helper is to run. A user that the command names must be known here; none: the task's.
pub(crate) fn describe(command: &Command) -> Result<BesideSpec, UserError> {
    let name = command.user.as_deref().filter(|name| !name.is_empty());
    // Only root can switch.
    let name = name.filter(|_| nix::unistd::geteuid().is_root());
    let user = name.map(user::lookup).transpose()?.map(|user| TaskUser {
        uid: user.uid,
        gid: user.gid,
        groups: user.groups,
    });
    Ok(beside_spec(command, user))
}

/// Starts a command beside the task of this run directory. `files`: its standard input, output and error.
pub(crate) async fn start(
    run_directory: &Path,
    spec: &BesideSpec,
    terminal: bool,
    files: [OwnedFd; 3],
) -> Result<Beside, BesideError> {
    let stream = connect_unix(run_directory, "socket")?;
    let described = passing::file_of(&frame::encode(spec)?)?;
    let order = frame::encode(&ToExecutor::Beside { terminal })?;
    let [stdin, stdout, stderr] = &files;
    let passed = [
        described.as_fd(),
        stdin.as_fd(),
        stdout.as_fd(),
        stderr.as_fd(),
    ];
    // A few bytes into an empty buffer: they go at once, and together.
    passing::send(&stream, &order, &passed)?;
    drop(files);
    stream.set_nonblocking(true)?;
    let (reader, writer) = UnixStream::from_std(stream)?.into_split();
    let mut beside = Beside {
        reader: FrameReader::with_limit(reader, MAX_MESSAGE),
        writer,
    };
    match tokio::time::timeout(START_LIMIT, beside.next()).await {
        Ok(Some(FromExecutor::BesideRuns)) => Ok(beside),
        Ok(Some(FromExecutor::BesideEnded(Outcome::NotStarted(why)))) => {
            Err(BesideError::NotStarted(why))
        }
        Ok(_) => Err(BesideError::Ended),
        Err(_) => Err(BesideError::Helper(io::ErrorKind::TimedOut.into())),
    }
}

impl Beside {
    /// How the command ends; `None` if the task ended, and it with it. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> Option<Outcome> {
        loop {
            match self.next().await? {
                FromExecutor::BesideEnded(outcome) => return Some(outcome),
                FromExecutor::Exited(_) => return None,
                FromExecutor::BesideRuns
                | FromExecutor::Running { .. }
                | FromExecutor::Terminal => {}
            }
        }
    }

    async fn next(&mut self) -> Option<FromExecutor> {
        loop {
            match self.reader.read().await.ok().flatten()? {
                // The first word of every connection.
                FromExecutor::Running { .. } => {}
                word => return Some(word),
            }
        }
    }

    /// Sends a signal to it. A failure shows as its end.
    pub(crate) async fn signal(&mut self, number: u8) {
        let _ = framed::write(&mut self.writer, &ToExecutor::Signal { number }).await;
    }
}
