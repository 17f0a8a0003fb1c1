//! People's commands beside tasks, as nested containers that live as long as somebody listens (Mesos: sessions).
//!
//! Called by the operator API. Their processes are the helpers' (`container::beside`); here are their names, bytes and ends.
//! They do not outlive agentd. Terminals of tasks do, and are only passed on here (`terminal`). Invariants: a reader that does not read slows its command down and nobody else; of ended
//! sessions at most [`MAX_SESSIONS`] are remembered.

mod input;
mod output;
pub(crate) mod terminal;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use nesos_sys::terminal as pairs;
use nesos_wire::executor::{BesideSpec, Outcome};
use tokio::net::unix::pipe;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use crate::container::beside::{self, Beside, BesideError};
pub(crate) use input::Input;
pub(crate) use output::Output;

/// Most sessions at a time, and ended ones that are remembered until they are removed.
const MAX_SESSIONS: usize = 32;
/// Most that listen to one session.
const MAX_READERS: usize = 8;
/// Pieces that wait for one reader; each has at most 16 KB.
const MAX_PIECES: usize = 16;
/// Signals that wait for one session.
const MAX_SIGNALS: usize = 4;
/// How long a command that nobody wants may take to die of SIGKILL: a system call that cannot be interrupted.
const KILL_LIMIT: Duration = Duration::from_secs(2);
/// How long what a command wrote last may take to be read: nobody else can write any more.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("{MAX_SESSIONS} sessions run on this agent, which is the limit")]
    TooMany,
    #[error("make a terminal or pipes: {0}")]
    Files(#[from] io::Error),
    #[error(transparent)]
    Beside(#[from] BesideError),
}

/// A piece of what a command has written.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) is_error: bool,
    pub(crate) bytes: Bytes,
}

/// Where a command is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Runs,
    Heard(Outcome),
    /// It is over, and who could have said how is gone: its helper, or the time for it.
    Unheard,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    readers: RefCell<Vec<mpsc::Sender<Piece>>>,
    /// Taken by whoever writes to it, one at a time.
    input: RefCell<Option<Input>>,
    terminal: Option<OwnedFd>,
    signals: mpsc::Sender<u8>,
    abandoned: Notify,
    end: watch::Sender<End>,
    number: Cell<u64>,
}

/// All sessions, by their containers' ids.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    known: RefCell<BTreeMap<String, Rc<Session>>>,
    last: Cell<u64>,
    /// Of tasks, not of sessions.
    pub(crate) keyboards: terminal::Keyboards,
}

impl Sessions {
    pub(crate) fn get(&self, id: &str) -> Option<Rc<Session>> {
        self.known.borrow().get(id).cloned()
    }

    /// Starts a command beside the task of this run directory. `window`: with a terminal of so many rows and columns.
    pub(crate) async fn start(
        &self,
        id: String,
        run_directory: &Path,
        spec: &BesideSpec,
        window: Option<(u16, u16)>,
    ) -> Result<(Rc<Session>, mpsc::Receiver<Piece>), SessionError> {
        self.make_room()?;
        let (near, far) = match window {
            Some((rows, columns)) => on_terminal(rows, columns)?,
            None => on_pipes()?,
        };
        let beside = beside::start(run_directory, spec, window.is_some(), far).await?;
        let (signals, orders) = mpsc::channel(MAX_SIGNALS);
        let session = Rc::new(Session {
            readers: RefCell::default(),
            input: RefCell::new(Some(near.input)),
            terminal: near.terminal,
            signals,
            abandoned: Notify::new(),
            end: watch::Sender::new(End::Runs),
            number: Cell::new(self.last.get()),
        });
        self.last.set(self.last.get() + 1);
        let pieces = session.listen().unwrap_or_else(|| mpsc::channel(1).1);
        let pumps = near.sources.into_iter().map(|(source, is_error)| {
            tokio::task::spawn_local(output::pump(session.clone(), source, is_error))
        });
        let pumps = pumps.collect();
        tokio::task::spawn_local(session.clone().live(beside, orders, pumps));
        self.known.borrow_mut().insert(id, session.clone());
        Ok((session, pieces))
    }

    /// Forgets one that has ended; `false`: it runs, or there is none.
    pub(crate) fn remove(&self, id: &str) -> bool {
        let has_ended = self.get(id).is_some_and(|session| session.has_ended());
        has_ended && self.known.borrow_mut().remove(id).is_some()
    }

    fn make_room(&self) -> Result<(), SessionError> {
        let mut known = self.known.borrow_mut();
        if known.len() < MAX_SESSIONS {
            return Ok(());
        }
        let ended = known.iter().filter(|(_, session)| session.has_ended());
        let oldest = ended.min_by_key(|(_, session)| session.number.get());
        let oldest = oldest.map(|(id, _)| id.clone());
        known.remove(&oldest.ok_or(SessionError::TooMany)?);
        Ok(())
    }
}

impl Session {
    /// What it writes from now on; `None`: enough listen already, or it has ended.
    pub(crate) fn listen(&self) -> Option<mpsc::Receiver<Piece>> {
        let mut readers = self.readers.borrow_mut();
        readers.retain(|reader| !reader.is_closed());
        if self.has_ended() || readers.len() >= MAX_READERS {
            return None;
        }
        let (reader, pieces) = mpsc::channel(MAX_PIECES);
        readers.push(reader);
        Some(pieces)
    }

    /// Its input, unless somebody has it.
    pub(crate) fn take_input(&self) -> Option<Input> {
        self.input.borrow_mut().take()
    }

    pub(crate) fn give_input(&self, input: Input) {
        *self.input.borrow_mut() = Some(input);
    }

    /// Its window has another size. Without a terminal that means nothing.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        if let Some(near) = &self.terminal {
            // Fails only when the program is gone.
            let _ = pairs::resize(near, rows, columns);
        }
    }

    /// A signal to its command's process group.
    pub(crate) fn signal(&self, number: u8) {
        // Full: it has been told often enough.
        let _ = self.signals.try_send(number);
    }

    /// Nobody wants it any more.
    pub(crate) fn abandon(&self) {
        self.abandoned.notify_one();
    }

    pub(crate) fn has_ended(&self) -> bool {
        *self.end.borrow() != End::Runs
    }

    /// Waits for its end; how it has ended, if anybody has heard.
    pub(crate) async fn ended(&self) -> Option<Outcome> {
        let mut end = self.end.subscribe();
        // The sender is this session's own.
        let end = end.wait_for(|end| *end != End::Runs).await.ok()?;
        match &*end {
            End::Heard(outcome) => Some(outcome.clone()),
            End::Runs | End::Unheard => None,
        }
    }

    async fn tell(&self, piece: Piece) {
        let readers = self.readers.borrow().clone();
        for reader in readers {
            // One that is gone is forgotten with the next that comes.
            let _ = reader.send(piece.clone()).await;
        }
    }

    async fn live(
        self: Rc<Self>,
        mut beside: Beside,
        mut orders: mpsc::Receiver<u8>,
        pumps: Vec<JoinHandle<()>>,
    ) {
        let outcome = loop {
            tokio::select! {
                ended = beside.ended() => break ended,
                Some(number) = orders.recv() => beside.signal(number).await,
                () = self.abandoned.notified() => break put_down(&mut beside).await,
            }
        };
        // What is left of it is killed by its helper.
        drop(beside);
        let drain = async {
            for pump in pumps {
                let abort = pump.abort_handle();
                let _ = tokio::time::timeout(DRAIN_LIMIT, pump).await;
                abort.abort();
            }
        };
        drain.await;
        self.end
            .send_replace(outcome.map_or(End::Unheard, End::Heard));
        self.readers.borrow_mut().clear();
        self.input.borrow_mut().take();
    }
}

/// Ends what nobody wants any more; how it has ended, which may be by itself.
async fn put_down(beside: &mut Beside) -> Option<Outcome> {
    beside.signal(SIGKILL).await;
    let ended = tokio::time::timeout(KILL_LIMIT, beside.ended()).await;
    ended.ok().flatten()
}

const SIGKILL: u8 = 9;

/// This side of a command's files.
struct Near {
    input: Input,
    terminal: Option<OwnedFd>,
    /// And whether what comes from it is its standard error.
    sources: Vec<(pipe::Receiver, bool)>,
}

fn on_terminal(rows: u16, columns: u16) -> io::Result<(Near, [OwnedFd; 3])> {
    let (near, far) = pairs::pair(rows, columns)?;
    let files = [far.try_clone()?, far.try_clone()?, far];
    // Not pipes, but descriptors that can be waited for like pipes.
    let output = pipe::Receiver::from_file_unchecked(near.try_clone()?.into())?;
    let input = pipe::Sender::from_file_unchecked(near.try_clone()?.into())?;
    let near = Near {
        input: Input::new(input, true),
        sources: vec![(output, false)],
        terminal: Some(near),
    };
    Ok((near, files))
}

fn on_pipes() -> io::Result<(Near, [OwnedFd; 3])> {
    let (stdin, input) = io::pipe()?;
    let (output, stdout) = io::pipe()?;
    let (error, stderr) = io::pipe()?;
    let source = |end: io::PipeReader| pipe::Receiver::from_owned_fd(end.into());
    let near = Near {
        input: Input::new(pipe::Sender::from_owned_fd(input.into())?, false),
        terminal: None,
        sources: vec![(source(output)?, false), (source(error)?, true)],
    };
    Ok((near, [stdin.into(), stdout.into(), stderr.into()]))
}
