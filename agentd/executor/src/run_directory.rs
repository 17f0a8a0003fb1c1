//! The run directory: taking possession of it, reading the spec. Called once by `hold`.
//!
//! Invariant: whoever has bound `socket` owns the directory; everybody after that is turned away before it has touched
//! anything. All names are relative to the working directory, which is the run directory from here on: the kernel's
//! limit for a socket's path is 107 bytes.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nesos_wire::executor::ExecutorSpec;
use nesos_wire::frame::{HEADER, MAX_FRAME, decode};
use nix::sys::stat::{Mode, umask};
use nix::unistd::dup2_stdout;

/// Only the helper's own user may give orders.
const SOCKET_UMASK: Mode = Mode::from_bits_truncate(0o177);

/// A failure with what was tried.
#[derive(Debug)]
pub(crate) struct Failure {
    operation: &'static str,
    source: io::Error,
}

impl Failure {
    pub(crate) fn of(operation: &'static str) -> impl Fn(io::Error) -> Failure {
        move |source| Failure { operation, source }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.source)
    }
}

/// Enters the directory and makes it this process's own. Standard output is closed when that is done: whoever waits to
/// connect reads its end.
pub(crate) fn take(directory: &Path) -> Result<UnixListener, Failure> {
    std::env::set_current_dir(directory).map_err(Failure::of("enter the run directory"))?;
    let before = umask(SOCKET_UMASK);
    let bound = UnixListener::bind("socket");
    umask(before);
    let listener = bound.map_err(Failure::of(
        "bind `socket` (has this directory been used before?)",
    ))?;
    listener
        .set_nonblocking(true)
        .map_err(Failure::of("make `socket` non-blocking"))?;
    let null = OpenOptions::new().write(true).open("/dev/null");
    let null = null.map_err(Failure::of("open /dev/null"))?;
    dup2_stdout(null).map_err(|errno| Failure::of("close standard output")(errno.into()))?;
    Ok(listener)
}

/// Reads the spec; the sentence says why it cannot be used.
pub(crate) fn read_spec() -> Result<ExecutorSpec, String> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells too long from just long enough.
    let limit = (HEADER + MAX_FRAME + 1) as u64;
    let read = File::open("spec").and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| format!("read the file spec: {error}"))?;
    match decode::<ExecutorSpec>(&bytes) {
        None => Err(format!(
            "the file spec is cut off after {} bytes",
            bytes.len()
        )),
        Some(Err(error)) => Err(format!("the file spec is damaged: {error}")),
        Some(Ok((_, used))) if used != bytes.len() => {
            Err("the file spec has bytes behind its frame".to_owned())
        }
        Some(Ok((spec, _))) => Ok(spec),
    }
}
