//! The fetcher's flags. Called by `settings`.

use std::path::{Path, PathBuf};

use nesos_shell::flags::{Values, parse_bytes};

use crate::settings::{SettingsError, program};

/// Where the cache is, below the work directory, unless `--fetcher_cache_dir` says otherwise.
const CACHE: &str = "fetch";

/// The program beside agentd.
const HELPER: &str = "nesos-fetcher";

/// What the fetcher was told.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// `nesos-fetcher`.
    pub(crate) program: PathBuf,
    pub(crate) cache_directory: PathBuf,
    pub(crate) cache_size: u64,
}

impl Options {
    pub(crate) fn new(flags: &Values, work_dir: &Path) -> Result<Self, SettingsError> {
        let text = flags.text_or_empty("fetcher_cache_size");
        let wrong = || {
            let reason = format!("expected a size such as 2GB or 500MB, found '{text}'");
            SettingsError::new("--fetcher_cache_size", reason)
        };
        let directory = flags.path("fetcher_cache_dir");
        let directory = directory.unwrap_or_else(|| work_dir.join(CACHE));
        Ok(Self {
            program: helper(flags)?,
            cache_directory: std::path::absolute(directory)
                .map_err(|e| SettingsError::new("--fetcher_cache_dir", e))?,
            cache_size: parse_bytes(text).ok_or_else(wrong)?,
        })
    }
}

/// Not looked for before it is needed, unless it was named: most tasks fetch nothing.
fn helper(flags: &Values) -> Result<PathBuf, SettingsError> {
    match flags.path("fetcher") {
        Some(_) => program(flags, "fetcher", HELPER),
        None => {
            let own = std::env::current_exe().map_err(|e| SettingsError::new("--fetcher", e))?;
            Ok(own.with_file_name(HELPER))
        }
    }
}
