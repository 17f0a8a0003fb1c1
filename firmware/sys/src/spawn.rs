//! Starting a daemon as PID 1 does: own session, clean signals, own out-of-memory score, output into a pipe.
//!
//! Called by `init::services`. Not for tasks (module `container`). Invariant: the caller reaps; nothing here waits
//! for the child beyond its `exec`.

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
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
    /// Where standard output and error go; `None` gives it the console, for a shell on the serial line.
    pub output: Option<BorrowedFd<'a>>,
}

/// Starts `daemon` and returns its process id. An error means that nothing runs.
pub fn start(daemon: &Daemon<'_>) -> io::Result<u32> {
    let mut command = Command::new(daemon.program);
    command
        .args(daemon.arguments)
        .envs(daemon.environment.iter().cloned())
        .current_dir("/");
    match daemon.output {
        Some(output) => {
            command
                .stdin(Stdio::null())
                .stdout(output.try_clone_to_owned()?)
                .stderr(output.try_clone_to_owned()?);
        }
        None => {
            let console = || {
                fs::OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open("/dev/console")
            };
            command
                .stdin(console()?)
                .stdout(console()?)
                .stderr(console()?);
        }
    }
    let score = format!("{}\n", daemon.oom_score.clamp(-1000, 1000));
    let on_console = daemon.output.is_none();
    // SAFETY: the closure runs between fork and exec of a single-threaded process and makes only system calls on
    // memory that was prepared before.
    unsafe {
        command.pre_exec(move || {
            libc::setsid();
            // The child inherits the mask that PID 1 needs for its signal descriptor: it would never see SIGTERM.
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            if on_console {
                libc::ioctl(0, libc::TIOCSCTTY as _, 1);
            }
            write_oom_score(score.as_bytes());
            Ok(())
        });
    }
    command.spawn().map(|child| child.id())
}

/// The pipe for a daemon's output: the reading end is non-blocking and stays here. The writing end serves every start
/// of the daemon, so that a child which outlives it still has somewhere to write.
pub fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    let reader = OwnedFd::from(reader);
    nix::fcntl::fcntl(
        &reader,
        nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
    )?;
    Ok((reader, OwnedFd::from(writer)))
}

/// Reads what is in the pipe; `None` when there is nothing now.
pub fn read_output(reader: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<usize> {
    nix::unistd::read(reader, buffer)
        .ok()
        .filter(|count| *count > 0)
}

/// Device and inode of a descriptor, as the variable JOURNAL_STREAM wants them: a program that finds its standard
/// error there knows that a journal reads it.
pub fn journal_stream(fd: BorrowedFd<'_>) -> Option<String> {
    let stat = nix::sys::stat::fstat(fd).ok()?;
    Some(format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Sets the out-of-memory score of this process.
pub fn set_own_oom_score(score: i32) -> io::Result<()> {
    fs::write(
        "/proc/self/oom_score_adj",
        format!("{}\n", score.clamp(-1000, 1000)),
    )
}

/// A child without its score still works, so a failure is ignored.
fn write_oom_score(score: &[u8]) {
    // SAFETY: the path is a C string, the buffer is valid for its length, and a failed open is not written to.
    unsafe {
        let fd = libc::open(
            c"/proc/self/oom_score_adj".as_ptr(),
            libc::O_WRONLY | libc::O_CLOEXEC,
        );
        if fd >= 0 {
            libc::write(fd, score.as_ptr().cast(), score.len());
            libc::close(fd);
        }
    }
}
