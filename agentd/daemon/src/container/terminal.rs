//! The terminal of a task, of which the helper holds the near end: how others come to it.
//!
//! Called for people who attach to a container. Invariant: what is held here can be dropped at any time; the task does not
//! notice.

use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::time::Duration;

use nesos_api::v1;
use nesos_sys::fs::connect_unix;
use nesos_sys::passing;
use nesos_wire::executor::{FromExecutor, ToExecutor};
use nesos_wire::frame;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// A window whose size nobody has told.
const WINDOW: (u16, u16) = (24, 80);
/// How long a helper may take to answer: a board under load.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Room for what a helper says on such a connection: what runs, the answer, how it ended.
const BUFFER: usize = 4096;

/// Why nobody can be attached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    #[error("the executor helper: {0}")]
    Helper(#[from] io::Error),
    #[error("the executor helper: {0}")]
    Socket(#[from] nesos_sys::fs::FsError),
    #[error("the executor helper: {0}")]
    Frame(#[from] frame::FrameError),
    #[error("it has ended")]
    Ended,
    #[error(
        "it is on no terminal ('container.tty_info'), or too many listen to it already: there is nothing to attach to"
    )]
    NoTerminal,
}

/// A way to the terminal of a container that runs.
#[derive(Debug)]
pub(crate) struct Attached {
    /// To be written to, and to be given another size.
    pub(crate) near: OwnedFd,
    /// The end of a pipe with what its programs write from now on.
    pub(crate) output: Option<OwnedFd>,
    /// How its end is noticed.
    pub(crate) held: Held,
}

/// The connection to a helper, which goes when its container has ended.
#[derive(Debug)]
pub(crate) struct Held {
    stream: UnixStream,
    /// The same, for what comes with descriptors.
    raw: StdStream,
}

/// Rows and columns that are asked for.
pub(crate) fn window(terminal: &v1::TTYInfo) -> (u16, u16) {
    let fit = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let size = terminal.window_size.as_ref();
    size.map_or(WINDOW, |size| (fit(size.rows), fit(size.columns)))
}

/// Asks the helper of this run directory for the near end; to `listen`, for what is written, too.
pub(crate) async fn attach(run_directory: &Path, listen: bool) -> Result<Attached, AttachError> {
    let mut stream = connect_unix(run_directory, "socket")?;
    let order = frame::encode(&ToExecutor::Terminal { listen })?;
    // A few bytes into an empty buffer: they go at once.
    stream.write_all(&order)?;
    stream.set_nonblocking(true)?;
    let raw = stream.try_clone()?;
    let stream = UnixStream::from_std(stream)?;
    let held = Held { stream, raw };
    let answer = tokio::time::timeout(ANSWER_LIMIT, held.answer());
    let ends = answer
        .await
        .map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
    let mut ends = ends.into_iter();
    match (ends.next(), ends.next()) {
        (Some(near), output) if output.is_some() == listen => Ok(Attached { near, output, held }),
        _ => Err(AttachError::NoTerminal),
    }
}

impl Held {
    /// Waits for the end of the container. Cancel-safe.
    pub(crate) async fn ended(&self) {
        let mut buffer = [0; BUFFER];
        // The next word is the last one.
        let _ = self.receive(&mut buffer).await;
    }

    async fn answer(&self) -> Result<Vec<OwnedFd>, AttachError> {
        let (mut buffer, mut filled, mut ends) = ([0; BUFFER], 0, Vec::new());
        loop {
            let (length, passed) = self.receive(&mut buffer[filled..]).await?;
            ends.extend(passed);
            filled += length;
            if length == 0 {
                return Err(AttachError::Ended);
            }
            let mut at = 0;
            while let Some(word) = frame::decode(&buffer[at..filled]) {
                let (word, used) = word?;
                at += used;
                match word {
                    FromExecutor::Terminal => return Ok(ends),
                    FromExecutor::Exited(_) => return Err(AttachError::Ended),
                    // The first word of every connection.
                    _ => {}
                }
            }
            buffer.copy_within(at..filled, 0);
            filled -= at;
        }
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let receive = || passing::receive(&self.raw, &mut *buffer);
        self.stream.async_io(Interest::READABLE, receive).await
    }
}
