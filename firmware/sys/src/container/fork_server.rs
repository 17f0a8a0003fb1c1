//! A fork server: a small process of one thread that makes copies of itself, for who would else start its program anew each
//! time. A copy has no `exec`, no start of a runtime and hardly a page to be faulted in.
//!
//! Called by `agentd` ([`ForkServer`]) and `nesos-executor` ([`serve`]). Not for tasks, which are programs of their own (the
//! parent module). Invariants: a copy is the child of who asked, in the namespaces and the cgroup that were asked for; it has
//! its own session and three standard files, and no descriptor of the server's; the server ends with who asked.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};
use nix::sys::stat::{Mode, umask};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use super::{Namespaces, SpawnError, SpawnPlan, Spawned, clone, spawn};
use crate::passing::{receive, send};
use crate::pidfd::PidFd;

/// What makes the program a server.
pub const ARGUMENT: &str = "--fork-server";
/// Longest word of a copy, bytes: the kernel's limit of a path.
const MAX_WORD: usize = 4096;
/// Room for a copy's command line, bytes: a run directory with room to spare. What is longer is shown cut off.
const TITLE: usize = 256;
/// How long an answer may take, seconds: a copy takes far below a millisecond, a board may be out of memory.
const ANSWER_LIMIT: i64 = 5;
/// Beside the namespaces: one of the descriptors, the first behind the standard files, is a network to be entered.
const NETWORK: u8 = 1 << 7;
/// Bytes of an answer: the process id, or 0, and errno.
const ANSWER: usize = 8;

/// What one copy is to be.
#[derive(Debug)]
pub struct Order<'a> {
    /// What it is to work on, at most 4,096 bytes: the argument that the program would have been started with.
    pub word: &'a Path,
    /// Namespaces to make; any needs CAP_SYS_ADMIN.
    pub namespaces: Namespaces,
    /// Directory of the cgroup v2 to be born in; none: the server's.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The network namespace to be in; none: the server's. Needs CAP_SYS_ADMIN.
    pub network: Option<BorrowedFd<'a>>,
    /// Standard input, output and error.
    pub stdio: [BorrowedFd<'a>; 3],
}

/// Why there is no copy, or nothing known of it.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    /// The server was gone before it was asked.
    #[error("the fork server is gone: {0}")]
    Gone(io::Error),
    /// The server was asked and did not answer: there may be a copy or not. It has been killed.
    #[error("the fork server does not answer: {0}")]
    Lost(io::Error),
    /// The kernel refused.
    #[error("copy a process: {0}")]
    Clone(Errno),
}

/// The asking end.
#[derive(Debug)]
pub struct ForkServer {
    connection: UnixStream,
    process: PidFd,
}

impl ForkServer {
    /// Starts `program` as a server.
    pub fn start(program: &str, name: &str) -> Result<ForkServer, SpawnError> {
        let prepare = |operation, source| SpawnError::Prepare {
            program: program.to_owned(),
            operation,
            source,
        };
        // Messages keep their bounds: an order and its descriptors are one.
        let (here, there) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .map_err(|errno| prepare("make a connection", errno.into()))?;
        setsockopt(
            &here,
            sockopt::ReceiveTimeout,
            &TimeVal::seconds(ANSWER_LIMIT),
        )
        .map_err(|errno| prepare("bound the wait for answers", errno.into()))?;
        let arguments = vec![name.to_owned(), ARGUMENT.to_owned(), " ".repeat(TITLE)];
        let plan = SpawnPlan {
            stdin: Some(there),
            ..SpawnPlan::new(program, arguments)
        };
        let process = spawn(&plan)?.pidfd;
        Ok(ForkServer {
            connection: UnixStream::from(here),
            process,
        })
    }

    /// Has a copy made, which is this process's child. After [`ForkError::Gone`] and [`ForkError::Lost`] another server is
    /// needed.
    pub fn fork(&self, order: &Order<'_>) -> Result<Spawned, ForkError> {
        let network = if order.network.is_some() { NETWORK } else { 0 };
        let mut word = vec![order.namespaces.to_byte() | network];
        word.extend_from_slice(order.word.as_os_str().as_bytes());
        let [stdin, stdout, stderr] = order.stdio;
        let mut passed = vec![stdin, stdout, stderr];
        passed.extend(order.network);
        passed.extend(order.cgroup);
        send(&self.connection, &word, &passed).map_err(ForkError::Gone)?;
        let answer = self.answer();
        if matches!(answer, Err(ForkError::Lost(_))) {
            // So that a late answer cannot be taken for the next one's. ESRCH: it has ended.
            let _ = self.process.send(nix::sys::signal::Signal::SIGKILL);
        }
        answer
    }

    fn answer(&self) -> Result<Spawned, ForkError> {
        let mut bytes = [0; ANSWER];
        let (length, mut passed) = loop {
            match receive(&self.connection, &mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(ForkError::Lost)?,
            }
        };
        if length != ANSWER {
            return Err(ForkError::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
        let [pid, errno] = [&bytes[..4], &bytes[4..]].map(|half| {
            half.iter()
                .rev()
                .fold(0u32, |sum, byte| sum << 8 | u32::from(*byte))
        });
        match passed.pop() {
            Some(pidfd) => Ok(Spawned {
                pid,
                pidfd: PidFd::from(pidfd),
            }),
            None => Err(ForkError::Clone(Errno::from_raw(errno as i32))),
        }
    }
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        // It would end by itself, a moment later; so it can be collected here.
        let _ = self.process.send(nix::sys::signal::Signal::SIGKILL);
        let _ = self.process.wait();
    }
}

/// Who returns from [`serve`].
#[derive(Debug)]
pub enum Served {
    /// A copy, which is to work on this.
    Copy(PathBuf),
    /// The server itself: who asked is gone.
    End,
}

/// Makes copies for who is at the other end of standard input. Comes back once for each of them, and once for the server.
pub fn serve() -> io::Result<Served> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other(
            "a process of several threads cannot be copied",
        ));
    }
    let connection = UnixStream::from(nix::unistd::dup(io::stdin())?);
    let title = title_place();
    // Asked for now, so that no copy has to.
    super::signals::ignored();
    let mut bytes = [0; 1 + MAX_WORD];
    loop {
        let (length, mut passed) = match receive(&connection, &mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let ([namespaces, word @ ..], 3..) = (&bytes[..length], passed.len()) else {
            return Ok(Served::End);
        };
        let network = (namespaces & NETWORK != 0 && passed.len() > 3).then(|| passed.remove(3));
        let namespaces = Namespaces::of_byte(*namespaces);
        // SAFETY: see the check above; between it and here no thread was started.
        match unsafe { clone::copy(namespaces, passed.get(3).map(AsFd::as_fd)) } {
            Ok(None) => {
                drop(connection);
                let word = Path::new(OsStr::from_bytes(word));
                begin(&passed, network, title, word)?;
                return Ok(Served::Copy(word.to_owned()));
            }
            Ok(Some(copy)) => answer(&connection, copy.pid, 0, Some(copy.pidfd.as_fd()))?,
            Err(errno) => answer(&connection, 0, errno as i32, None)?,
        }
    }
}

fn answer(
    connection: &UnixStream,
    pid: u32,
    errno: i32,
    pidfd: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut bytes = [0; ANSWER];
    bytes[..4].copy_from_slice(&pid.to_le_bytes());
    bytes[4..].copy_from_slice(&errno.to_le_bytes());
    send(connection, &bytes, pidfd.as_slice())?;
    Ok(())
}

/// Makes a copy look like a process that was started anew.
fn begin(
    passed: &[OwnedFd],
    network: Option<OwnedFd>,
    title: Option<u64>,
    word: &Path,
) -> io::Result<()> {
    setsid()?;
    umask(Mode::from_bits_truncate(0o022));
    dup2_stdin(&passed[0])?;
    dup2_stdout(&passed[1])?;
    dup2_stderr(&passed[2])?;
    if let Some(network) = network {
        setns(network, CloneFlags::CLONE_NEWNET)?;
    }
    if let Some(place) = title {
        // SAFETY: `serve` has it from `title_place`; a program that has begun to serve has no use for its arguments.
        unsafe { set_title(place, word) };
    }
    Ok(())
}

/// Where the server's last argument is in memory, which is its copies' as well.
fn title_place() -> Option<u64> {
    // Field 48 by proc(5)'s count; what is behind the name begins with the third.
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, behind) = text.rsplit_once(')')?;
    let start: u64 = behind.split_ascii_whitespace().nth(45)?.parse().ok()?;
    let line = fs::read("/proc/self/cmdline").ok()?;
    let before = line.split(|byte| *byte == 0).next()?.len() + 1;
    (line.len() == before + ARGUMENT.len() + 1 + TITLE + 1).then_some(start + before as u64)
}

/// The command line becomes `NAME WORD`, as if the program had been started with it.
///
/// # Safety
/// `place` is where [`title_place`] has found the last argument of the server, of which this process is a copy, and nobody has
/// a reference to the arguments.
unsafe fn set_title(place: u64, word: &Path) {
    let mut title = [0; ARGUMENT.len() + 1 + TITLE];
    let word = word.as_os_str().as_bytes();
    let shown = word.len().min(title.len());
    title[..shown].copy_from_slice(&word[..shown]);
    let place = std::ptr::with_exposed_provenance_mut::<u8>(place as usize);
    // SAFETY: by the contract there are as many bytes of this process's own stack, which the kernel has put the arguments on.
    unsafe { std::ptr::copy_nonoverlapping(title.as_ptr(), place, title.len()) }
}
