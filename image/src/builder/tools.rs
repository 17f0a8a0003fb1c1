//! What the builder needs from the machine: other programs, the cache folder, and somewhere to report progress.
//!
//! Called by the other builder modules and xtask. Invariant: a failed program is reported with its command and the end of what it
//! printed, never with its exit code alone.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Lines of a failed program that are shown.
const LINES_SHOWN: usize = 15;

/// Receives what the builder does, one step at a time.
pub trait Progress {
    /// A step that may take a while begins.
    fn begin(&self, step: &str);
    /// The step that began last is done; `result` is one phrase such as a size.
    fn end(&self, result: &str);
    /// Something that the person has to know: the result is not what it could be.
    fn warn(&self, what: &str);
}

/// Reports nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _step: &str) {}
    fn end(&self, _result: &str) {}
    fn warn(&self, _what: &str) {}
}

/// A program that could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It did not start.
    #[error("start `{command}`: {source}; `scripts/setup` installs what is needed")]
    Start {
        /// Program and arguments.
        command: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// It reported failure.
    #[error("`{command}` failed ({status}):\n{output}")]
    Failed {
        /// Program and arguments.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of its output.
        output: String,
    },
    /// No place for the cache.
    #[error("neither XDG_CACHE_HOME nor HOME is set: no place for the build cache")]
    NoCache,
}

/// `$XDG_CACHE_HOME/nesos`, or `~/.cache/nesos`.
///
/// # Errors
/// Neither variable is set.
pub fn cache_folder() -> Result<PathBuf, ToolError> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value: &OsString| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("nesos"))
        .ok_or(ToolError::NoCache)
}

/// Runs a program to its end and returns its standard output.
///
/// # Errors
/// It does not start or does not exit with 0.
pub fn run(command: &mut Command) -> Result<Vec<u8>, ToolError> {
    run_with(command, Stdio::null())
}

/// The same with this standard input.
///
/// # Errors
/// As [`run`].
pub(super) fn run_with(command: &mut Command, input: Stdio) -> Result<Vec<u8>, ToolError> {
    let shown = describe(command);
    let output = command.stdin(input).output();
    let output = output.map_err(|source| ToolError::Start {
        command: shown.clone(),
        source,
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
    Err(ToolError::Failed {
        command: shown,
        status: output.status,
        output: end,
    })
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
