//! Starting a daemon as PID 1 does: own session, clean signals, own out-of-memory score, output into a pipe.
//!
//! Called by `init::services`. Not for tasks (module `container`). Invariant: the caller reaps; nothing here waits
//! for the child beyond its `exec`.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// What to start and how.
#[derive(Debug, Clone)]
pub struct Daemon<'a> {
    /// The program's path.
    pub program: &'a str,
    /// Its arguments.
    pub arguments: &'a [String],
    /// Additions to the environment.
    pub environment: &'a [(String, String)],
    /// -1000 (never killed for memory) to 1000.
    pub oom_score: i32,
    /// The console instead of a pipe: for a shell on the serial line.
    pub on_console: bool,
}

/// A started daemon.
#[derive(Debug)]
pub struct Started {
    /// Its process id.
    pub pid: u32,
    /// What it writes to standard output and error; non-blocking. `None` on the console.
    pub output: Option<OwnedFd>,
}

/// Starts `daemon`. An error means that nothing runs.
pub fn start(daemon: &Daemon<'_>) -> io::Result<Started> {
    let mut command = Command::new(daemon.program);
    command.args(daemon.arguments).envs(daemon.environment.iter().cloned()).current_dir("/");
    let output = if daemon.on_console {
        let console = || fs::OpenOptions::new().read(true).write(true).open("/dev/console");
        command.stdin(console()?).stdout(console()?).stderr(console()?);
        None
    } else {
        let (reader, writer) = io::pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let reader = OwnedFd::from(reader);
        set_nonblocking(&reader)?;
        Some(reader)
    };
    let score = format!("{}\n", daemon.oom_score.clamp(-1000, 1000));
    let on_console = daemon.on_console;
    // SAFETY: the closure runs between fork and exec of a single-threaded process and makes only system calls on
    // memory that was prepared before; std resets signal mask and SIGPIPE of the child.
    unsafe {
        command.pre_exec(move || {
            libc::setsid();
            if on_console {
                libc::ioctl(0, libc::TIOCSCTTY as _, 1);
            }
            write_oom_score(score.as_bytes());
            Ok(())
        });
    }
    let child = command.spawn()?;
    Ok(Started { pid: child.id(), output })
}

/// Sets the out-of-memory score of this process.
pub fn set_own_oom_score(score: i32) -> io::Result<()> {
    fs::write("/proc/self/oom_score_adj", format!("{}\n", score.clamp(-1000, 1000)))
}

/// A child without its score still works, so a failure is ignored.
fn write_oom_score(score: &[u8]) {
    // SAFETY: the path is a C string, the buffer is valid for its length, and a failed open is not written to.
    unsafe {
        let fd = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd >= 0 {
            libc::write(fd, score.as_ptr().cast(), score.len());
            libc::close(fd);
        }
    }
}

fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    Ok(())
}
