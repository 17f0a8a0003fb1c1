//! `nesos-executor RUN_DIRECTORY`: holds one task and outlives agentd.
//!
//! Started by `agentd` (one per task), told what to run through standard input, spoken to over standard output, if that is a
//! socket, and over the unix socket `socket` of its run directory. Not a supervisor: it never restarts the task. Invariants: at most one helper ever runs
//! a task for a run directory; the file `exit` appears there before anybody is told that the task has ended.

mod beside;
mod client;
mod files;
mod hold;
mod life;
mod output;
mod record;
mod run_directory;
mod task;
mod tree;

use std::path::Path;
use std::process::ExitCode;

/// Exit code for a wrong command line.
const USAGE: u8 = 2;
/// Own out-of-memory score: nearly last to be chosen, because it holds the only exit status of the task.
const OWN_OOM_SCORE: i32 = -999;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(directory), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: nesos-executor RUN_DIRECTORY");
        return ExitCode::from(USAGE);
    };
    // Not permitted without rights; then the kernel chooses by size, and this is a small process.
    let _ = nesos_sys::spawn::set_own_oom_score(OWN_OOM_SCORE);
    match hold::run(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nesos-executor {}: {error}", directory.to_string_lossy());
            ExitCode::FAILURE
        }
    }
}
