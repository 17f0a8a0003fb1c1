//! `agentd`: the tokio shell around `agentd-core`. Reads flags and the disk, then obeys the core until it is told to stop.
//!
//! Decides nothing about tasks; not the executor helper (`nesos-executor`), which outlives this process. Started by init
//! on a board, by `nesos dev up` or a person elsewhere. Invariant: what the core wants persisted is on disk before anything
//! else of the same `Ready` happens.

mod accelerators;
mod clock;
mod container;
mod credentials;
mod dial;
mod executors;
mod fetcher;
mod files;
mod flags;
mod gc;
mod http;
mod identity;
mod images;
mod link;
mod output;
mod probe;
mod resources;
mod roots;
mod run;
mod sandbox;
mod sessions;
mod settings;
mod store;
mod update;
mod view;
mod volumes;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// A running task takes two: a connection and its process. The rest is links, executors' streams and people.
const MAX_OPEN_FILES: u64 = 16_384;

fn main() -> ExitCode {
    let values = flags::TABLE.from_process();
    let level = nesos_shell::log::Level::parse(values.text_or_empty("logging_level"));
    let Some(level) = level else {
        eprintln!(
            "agentd: --logging_level: expected {}",
            nesos_shell::log::Level::NAMES
        );
        return ExitCode::from(2);
    };
    nesos_shell::log::init("agentd", level);
    nesos_sys::container::open_files::raise(MAX_OPEN_FILES);
    match settings::Settings::new(values)
        .map_err(run::RunError::from)
        .and_then(run::run)
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("agentd cannot run: {error}");
            ExitCode::FAILURE
        }
    }
}
