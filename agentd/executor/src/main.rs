//! `nesos-executor RUN_DIRECTORY`: holds one task and outlives agentd. `nesos-executor --fork-server`: makes copies of itself
//! that do so, and ends with agentd.
//!
//! Started by `agentd` (a copy per task), told what to run through standard input, spoken to over standard output, if that is a
//! socket, and over the unix socket `socket` of its run directory. Not a supervisor: it never restarts the task. Invariants: at most one helper ever runs
//! a task for a run directory; the file `exit` appears there before anybody is told that the task has ended.

mod beside;
mod client;
mod files;
mod hold;
mod ids;
mod life;
mod output;
mod record;
mod run_directory;
mod task;
mod terminal;
mod tree;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use nesos_sys::container::fork_server::{self, Served, serve};

/// Copies find its memory in place; musl's would map and unmap some for each of them, again and again.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Exit code for a wrong command line.
const USAGE: u8 = 2;
/// Own out-of-memory score: nearly last to be chosen, because it holds the only exit status of the task.
const OWN_OOM_SCORE: i32 = -999;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    let is_server = first.as_deref() == Some(OsStr::new(fork_server::ARGUMENT));
    // A server's second argument is room for its copies' command lines.
    let (Some(directory), true) = (first, is_server || arguments.next().is_none()) else {
        eprintln!("usage: nesos-executor RUN_DIRECTORY");
        return ExitCode::from(USAGE);
    };
    // Not permitted without rights; then the kernel chooses by size, and this is a small process.
    let _ = nesos_sys::spawn::set_own_oom_score(OWN_OOM_SCORE);
    if !is_server {
        return hold(Path::new(&directory));
    }
    match serve() {
        Ok(Served::Copy(directory)) => hold(&directory),
        Ok(Served::End) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nesos-executor: cannot serve: {error}");
            ExitCode::FAILURE
        }
    }
}

fn hold(directory: &Path) -> ExitCode {
    match hold::run(directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nesos-executor {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}
