//! One executor helper as agentd sees it: its socket, its exit record, its process.
//!
//! Called by `life`. Invariant: a record is believed only if its checksum is right.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nesos_shell::framed::{self, FrameReader};
use nesos_sys::container::Spawned;
use nesos_sys::fs::connect_unix;
use nesos_sys::pidfd::PidFd;
use nesos_wire::executor::{ExitRecord, FromExecutor, ToExecutor};
use nesos_wire::frame;
use nix::sys::signal::Signal;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{SignalKind, signal};

/// Largest message of a helper: an exit record with its reason.
const MAX_MESSAGE: usize = 16 * 1024;
/// Largest exit record file.
const MAX_RECORD: u64 = 64 * 1024;
/// First pause between two attempts to connect; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Most of a helper's own words that are shown.
const MAX_WORDS: u64 = 1000;
/// How long a started helper may take to open its socket: a board under load.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// Longest pause between two looks whether a helper has ended that has said its last word.
const REAP_LOOK: Duration = Duration::from_secs(1);
/// A helper that does not take a few bytes for this long does not read any more.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// A connection to a helper.
#[derive(Debug)]
pub(super) struct Connection {
    reader: FrameReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Connection {
    fn new(stream: StdStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(stream)?.into_split();
        Ok(Self {
            reader: FrameReader::with_limit(reader, MAX_MESSAGE),
            writer,
        })
    }

    /// The helper's next word; `None` when it is gone or talks nonsense. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<FromExecutor> {
        self.reader.read().await.ok().flatten()
    }

    /// SIGTERM now, SIGKILL later. A failure shows as the end of the connection.
    pub(super) async fn kill(&mut self, grace_ms: u32) {
        self.order(ToExecutor::Kill { grace_ms }).await;
    }

    /// A signal to the task's first process and its group.
    pub(super) async fn signal(&mut self, number: u8) {
        self.order(ToExecutor::SignalTask { number }).await;
    }

    async fn order(&mut self, order: ToExecutor) {
        let written = framed::write(&mut self.writer, &order);
        if !matches!(tokio::time::timeout(WRITE_LIMIT, written).await, Ok(Ok(()))) {
            tracing::warn!("an executor helper does not take orders");
        }
    }
}

/// The helper of one run directory.
#[derive(Debug)]
pub(super) struct Helper {
    directory: PathBuf,
    process: Option<PidFd>,
    pid: Option<u32>,
    /// The connection that it was started with.
    first: Option<StdStream>,
    /// Its standard error, as long as it may have to be told.
    words: Option<File>,
}

impl Helper {
    /// One that may or may not be there.
    pub(super) fn of(directory: PathBuf) -> Self {
        Self {
            directory,
            process: None,
            pid: None,
            first: None,
            words: None,
        }
    }

    /// One that was just started, with a connection, and a file for its words; or one of which nobody knows whether it was.
    pub(super) fn started(
        directory: PathBuf,
        spawned: Option<Spawned>,
        first: StdStream,
        words: File,
    ) -> Self {
        Self {
            directory,
            pid: spawned.as_ref().map(|spawned| spawned.pid),
            process: spawned.map(|spawned| spawned.pidfd),
            first: Some(first),
            words: Some(words),
        }
    }

    /// Nobody will ask for its words: it has done what it was started for.
    pub(super) fn forget_words(&mut self) {
        self.words = None;
    }

    /// What it has written to standard error, once.
    pub(super) fn take_words(&mut self) -> Option<String> {
        let mut words = self.words.take()?;
        let mut text = String::new();
        words.rewind().ok()?;
        words.take(MAX_WORDS).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Its process id, once it was started or connected to; another process's when it has ended.
    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Connects; waits for a helper that is just starting. `None`: nobody is there.
    pub(super) async fn connect(&mut self) -> Option<Connection> {
        let begin = tokio::time::Instant::now();
        let mut pause = FIRST_PAUSE;
        if let Some(first) = self.first.take()
            && let Ok(connection) = Connection::new(first)
        {
            return Some(connection);
        }
        loop {
            if let Some(connection) = self.try_connect() {
                return Some(connection);
            }
            let has_ended = self.process.as_ref().is_some_and(PidFd::has_ended);
            if has_ended
                || self.directory.join("exit").exists()
                || begin.elapsed() > self.open_limit()
            {
                return None;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// Without a process that is known to be starting, a socket that is missing or refuses stays so for long.
    fn open_limit(&self) -> Duration {
        if self.process.is_some() {
            OPEN_LIMIT
        } else {
            OPEN_LIMIT / 5
        }
    }

    fn try_connect(&mut self) -> Option<Connection> {
        let stream = connect_unix(&self.directory, "socket").ok()?;
        let connection = Connection::new(stream).ok()?;
        let pid = u32::try_from(connection.writer.as_ref().peer_cred().ok()?.pid()?).ok()?;
        self.pid = Some(pid);
        if self.process.is_none() {
            self.process = PidFd::open(pid).ok();
        }
        Some(connection)
    }

    /// What the helper left behind, if it has ended in order.
    pub(super) fn exit_record(&self) -> Option<ExitRecord> {
        read_record(&self.directory.join("exit"))
    }

    /// The helper itself dies, and with it the task's first process.
    pub(super) fn kill_process(&self) {
        if let Some(process) = &self.process {
            // ESRCH: it has just ended.
            let _ = process.send(Signal::SIGKILL);
        }
    }

    /// Waits for the helper's end, at most `limit`, and collects it if it is this process's child.
    pub(super) async fn reap(self, limit: Duration) {
        let Some(process) = self.process else { return };
        let collect = async {
            // Before the first look, so that no end falls between look and wait.
            let Ok(mut child_ended) = signal(SignalKind::child()) else {
                return;
            };
            // An error is ECHILD: it was adopted, and somebody else collects it.
            while let Ok(None) = process.try_wait() {
                // A look now and then costs less than a zombie for ever.
                let _ = tokio::time::timeout(REAP_LOOK, child_ended.recv()).await;
            }
        };
        // After the limit init collects it, when agentd ends.
        let _ = tokio::time::timeout(limit, collect).await;
    }
}

fn read_record(path: &Path) -> Option<ExitRecord> {
    let metadata = fs::metadata(path).ok()?;
    if metadata.len() > MAX_RECORD {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    let split = bytes.len().checked_sub(4)?;
    let (frame, checksum) = bytes.split_at(split);
    if crc32fast::hash(frame).to_le_bytes() != checksum {
        return None;
    }
    let (record, used) = frame::decode(frame)?.ok()?;
    (used == frame.len()).then_some(record)
}

#[cfg(test)]
mod unit {
    use super::*;
    use nesos_wire::executor::Outcome;

    #[test]
    fn a_damaged_record_is_none() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let path = folder.path().join("exit");
        let record = ExitRecord {
            outcome: Outcome::Exit(3),
            kill_requested: false,
            at_ms: 7,
        };
        let mut bytes = frame::encode(&record).expect("small");
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        fs::write(&path, &bytes).expect("write");
        assert_eq!(read_record(&path), Some(record));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).expect("write");
            assert_eq!(read_record(&path), None, "byte {at}");
            fs::write(&path, &bytes[..at]).expect("write");
            assert_eq!(read_record(&path), None, "cut at {at}");
        }
    }
}
