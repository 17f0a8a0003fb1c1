//! The loop that holds a task: reap, obey, record, tell. Called by `main`.
//!
//! One thread, one `poll`. Invariant: the record is written before a client hears of the end; if it cannot be stored,
//! clients hear of it all the same and storing is tried again until one of them has taken it.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nesos_sys::reap::{Reaped, reap_one};
use nesos_sys::signal::{Signal, Signals};
use nesos_wire::executor::{ExitRecord, FromExecutor, Outcome, ToExecutor};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::beside;
use crate::client::{Client, Clients};
use crate::life::{Act, Life};
use crate::output::Outputs;
use crate::record::{self, Reserved};
use crate::run_directory::{self, Failure};
use crate::task;
use crate::tree::Tree;

/// How long the helper stays after the record is stored, for a client that is just connecting. Later ones read the
/// record.
const LINGER: Duration = Duration::from_millis(500);
/// Pause between two attempts to store the record (a full disk may be emptied).
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// Holds the task of this run directory until all is over.
pub(crate) fn run(directory: &Path) -> Result<(), Failure> {
    let listener = run_directory::take(directory)?;
    let mut clients = Clients::default();
    if let Some(first) = run_directory::first_client() {
        clients.begin(first);
    }
    let file = run_directory::spec_file()?;
    let spec = run_directory::read_spec(&file);
    run_directory::close_standard_files()?;
    let reserved = record::reserve().map_err(Failure::of("create `exit.tmp`"))?;
    // SIGHUP and SIGINT are taken to be ignored: the task's end is not decided by a terminal.
    let taken = [
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGINT,
    ];
    let signals =
        Signals::take(&taken).map_err(|errno| Failure::of("take signals")(errno.into()))?;
    let mut door = Door {
        listener,
        signals,
        clients,
    };
    let record = match spec {
        Ok(spec) => {
            let grace = Duration::from_millis(spec.kill_grace_ms.into());
            match task::start(spec) {
                Ok((tree, outputs)) => {
                    hold(&mut door, &ManuallyDrop::new(tree), outputs, &file, grace)
                }
                Err(reason) => record_of(record::not_started(reason), false),
            }
        }
        Err(reason) => record_of(record::not_started(reason), false),
    };
    finish(&mut door, &reserved, record);
    // What is left ends with the process, at once, which somebody waits for.
    std::mem::forget((door, reserved, file));
    Ok(())
}

/// What the loop listens to.
struct Door {
    listener: UnixListener,
    signals: Signals,
    clients: Clients,
}

impl Door {
    /// Sleeps until something happens or `deadline` is there.
    fn wait<'a>(
        &'a self,
        more: impl Iterator<Item = (BorrowedFd<'a>, PollFlags)>,
        deadline: Option<Instant>,
    ) {
        let fixed = [self.listener.as_fd(), self.signals.as_fd()].into_iter();
        let mut fds: Vec<PollFd<'_>> = fixed
            .chain(self.clients.descriptors())
            .map(|fd| (fd, PollFlags::POLLIN))
            .chain(more)
            .map(|(fd, flags)| PollFd::new(fd, flags))
            .collect();
        let timeout = match deadline {
            // Rounded up, so that it does not wake just before the deadline again and again.
            Some(at) => {
                let millis = at
                    .saturating_duration_since(Instant::now())
                    .as_micros()
                    .div_ceil(1000);
                PollTimeout::try_from(millis.min(i32::MAX as u128) as i32)
                    .unwrap_or(PollTimeout::ZERO)
            }
            None => PollTimeout::NONE,
        };
        // An interrupted wait is a short one; the loop looks at everything anyway.
        let _ = poll(&mut fds, timeout);
    }
}

/// From the task's start to its last process's end.
fn hold(
    door: &mut Door,
    tree: &Tree,
    outputs: Outputs,
    spec: &File,
    default_grace: Duration,
) -> ExitRecord {
    let mut outputs = ManuallyDrop::new(outputs);
    let mut life = Life::new(tree.main);
    let running = FromExecutor::Running { pid: tree.main };
    door.clients.tell(&running);
    loop {
        let now = Instant::now();
        let mut graces = Vec::new();
        while let Some(signal) = door.signals.next() {
            if signal == Signal::SIGTERM {
                graces.push(default_grace);
            }
        }
        door.clients.accept(&door.listener, &running);
        // Nobody has been reaped since this was so.
        let main = life.main_exists().then_some(tree.main);
        let orphans = door.clients.read(|order, client| match order {
            ToExecutor::Kill { grace_ms } => graces.push(Duration::from_millis(grace_ms.into())),
            ToExecutor::Beside { terminal } => begin_beside(client, spec, tree, terminal),
            ToExecutor::Signal { number } => tree.signal_group(client.beside(), number),
            ToExecutor::SignalTask { number } => tree.signal_group(main, number),
            ToExecutor::Terminal { listen } => {
                let terminal = outputs.terminal();
                let attached = terminal.and_then(|terminal| terminal.attach(listen).ok());
                client.give_terminal(&attached.unwrap_or_default());
            }
        });
        // Before anybody is reaped: their numbers are still their own.
        tree.kill_beside(&orphans);
        // Reaped first: a kill that comes after the end is not what ended it.
        let (children, ended) = reap_all(&mut life, &mut door.clients, now);
        tree.kill_left(&ended);
        for grace in graces {
            if life.ask_to_end(now, grace) {
                tree.terminate();
            }
        }
        match life.next(now, children) {
            Act::Finish(outcome) => {
                outputs.finish();
                return record_of(outcome, life.kill_requested());
            }
            Act::KillAll => tree.kill(life.main_exists()),
            Act::Wait => {}
        }
        outputs.store();
        let deadline = [life.deadline(), outputs.deadline()];
        door.wait(outputs.descriptors(), deadline.into_iter().flatten().min());
    }
}

/// One command at a time for each client.
fn begin_beside(client: &mut Client, spec: &File, tree: &Tree, terminal: bool) {
    let passed = client.take_passed();
    client.began(match client.beside() {
        None => beside::start(spec, tree, passed, terminal),
        Some(_) => Err("this connection has a command already".into()),
    });
}

/// Collects whoever has ended; whether anybody is left, and which of them ran beside the task.
fn reap_all(life: &mut Life, clients: &mut Clients, now: Instant) -> (bool, Vec<u32>) {
    let mut ended = Vec::new();
    loop {
        match reap_one() {
            Reaped::Child { pid, exit } => {
                life.reaped(now, pid, exit);
                if clients.reaped(pid, exit) {
                    ended.push(pid);
                }
            }
            Reaped::NoneEnded => return (true, ended),
            Reaped::NoChildren => return (false, ended),
        }
    }
}

/// Stores and tells; ends when somebody has heard of it, or the record is stored and nobody has come.
fn finish(door: &mut Door, reserved: &Reserved, record: ExitRecord) {
    let mut stored = store(reserved, &record, true);
    let state = FromExecutor::Exited(record.clone());
    let linger_until = Instant::now() + LINGER;
    let mut told = door.clients.tell(&state);
    loop {
        while door.signals.next().is_some() {}
        told += door.clients.accept(&door.listener, &state);
        // Late orders are read because unread ones would turn the close into a reset that swallows our last message.
        door.clients.read(|_, _| {});
        let now = Instant::now();
        if told > 0 || (stored && now >= linger_until) {
            return;
        }
        let next = match stored {
            true => linger_until,
            false => now + STORE_AGAIN,
        };
        door.wait(std::iter::empty(), Some(next));
        stored = stored || store(reserved, &record, false);
    }
}

/// Whether nothing is left to be stored. What goes wrong is said once: it may for as long as a disk is full.
fn store(reserved: &Reserved, record: &ExitRecord, is_first: bool) -> bool {
    match reserved.store(record) {
        Ok(()) => true,
        // Nobody will look for it there.
        Err(_) if run_directory::is_gone() => true,
        Err(error) => {
            if is_first {
                eprintln!("nesos-executor: store the exit record: {error}");
            }
            false
        }
    }
}

fn record_of(outcome: Outcome, kill_requested: bool) -> ExitRecord {
    let at_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    ExitRecord {
        outcome,
        kill_requested,
        at_ms,
    }
}
