//! The run directory: taking possession of it, reading the spec. Called once by `hold`.
//!
//! Invariant: whoever has bound `socket` owns the directory; everybody after that is turned away before it has touched
//! anything. All names are relative to the working directory, which is the run directory from here on: the kernel's
//! limit for a socket's path is 107 bytes.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, stdin, stdout};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nesos_wire::executor::ExecutorSpec;
use nesos_wire::frame::{HEADER, MAX_FRAME, decode};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{dup, dup2_stdin, dup2_stdout};

/// Only the helper's own user may give orders.
const SOCKET_UMASK: Mode = Mode::from_bits_truncate(0o177);

/// Room for nearly every spec, bytes: it is read at once.
const USUAL_SPEC: usize = 2048;

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

/// Enters the directory and makes it this process's own.
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
    Ok(listener)
}

/// The connection that was brought along as standard output, if it is one: who started this process need not wait for
/// the socket.
pub(crate) fn first_client() -> Option<UnixStream> {
    let stream = UnixStream::from(dup(stdout()).ok()?);
    let is_socket = stream.local_addr().is_ok();
    (is_socket && stream.set_nonblocking(true).is_ok()).then_some(stream)
}

/// Whether somebody has removed it.
pub(crate) fn is_gone() -> bool {
    fs::metadata(".").is_ok_and(|directory| directory.nlink() == 0)
}

/// What was needed of standard input and output has been taken: neither memory nor a connection is held by them any more.
pub(crate) fn close_standard_files() -> Result<(), Failure> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.map_err(Failure::of("open /dev/null"))?;
    let closed = dup2_stdin(&null).and_then(|()| dup2_stdout(&null));
    closed.map_err(|errno| Failure::of("close standard input and output")(errno.into()))
}

/// Standard input, where the spec is. Kept for commands beside the task: it is a page of memory.
pub(crate) fn spec_file() -> Result<File, Failure> {
    // A descriptor of its own: the standard library's would keep a buffer for ever.
    let file = dup(stdin()).map_err(|errno| Failure::of("hold the spec")(errno.into()))?;
    Ok(File::from(file))
}

/// Reads the spec; the sentence says why it cannot be used. A file can be read again and again, a pipe once.
pub(crate) fn read_spec(mut file: &File) -> Result<ExecutorSpec, String> {
    let mut bytes = Vec::with_capacity(USUAL_SPEC);
    // One byte more than allowed tells too long from just long enough.
    let limit = (HEADER + MAX_FRAME + 1) as u64;
    // Fails for a pipe, which is where it is the first time.
    let _ = file.rewind();
    let read = file.take(limit).read_to_end(&mut bytes);
    read.map_err(|error| format!("read the spec: {error}"))?;
    match decode::<ExecutorSpec>(&bytes) {
        None => Err(format!("the spec is cut off after {} bytes", bytes.len())),
        Some(Err(error)) => Err(format!("the spec is damaged: {error}")),
        Some(Ok((_, used))) if used != bytes.len() => {
            Err("the spec has bytes behind its frame".to_owned())
        }
        Some(Ok((spec, _))) => Ok(spec),
    }
}
