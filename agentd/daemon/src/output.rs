//! How much is kept of what tasks write: the agent's rule, and what a task says for itself in Mesos's words.
//!
//! Called by `settings` and at each launch. The files are turned over by the task's helper. Invariant: what has no bound was
//! asked for by name.

use nesos_shell::flags::{Values, parse_bytes};
use nesos_wire::executor::OutputLimits;
use nesos_wire::task::Command;

/// Flags, and with this before them in capitals variables of a task (Mesos's `LogrotateContainerLogger`).
const SIZES: [&str; 2] = ["max_stdout_size", "max_stderr_size"];
const PREFIX: &str = "CONTAINER_LOGGER_";

/// A size that is none.
#[derive(Debug, thiserror::Error)]
#[error("{name}: expected a size such as 10MB, or 0B for no bound, found '{value}'")]
pub(crate) struct SizeError {
    name: String,
    value: String,
}

/// What the agent was told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputRule(OutputLimits);

impl OutputRule {
    pub(crate) fn new(flags: &Values) -> Result<Self, SizeError> {
        let size = |name| bytes(format!("--{name}"), flags.text_or_empty(name));
        let files = flags.number("max_output_files").unwrap_or(1);
        Ok(Self(OutputLimits {
            stdout_bytes: size(SIZES[0])?,
            stderr_bytes: size(SIZES[1])?,
            files: u32::try_from(files).unwrap_or(u32::MAX),
        }))
    }

    /// For a task with this command. None: its files are not bounded.
    pub(crate) fn of(&self, command: &Command) -> Result<Option<OutputLimits>, SizeError> {
        let own = |flag: &str, agents: u64| {
            let name = format!("{PREFIX}{}", flag.to_ascii_uppercase());
            let mut variables = command.environment.iter().rev();
            match variables.find(|(known, _)| *known == name) {
                Some((_, value)) => bytes(name, value),
                None => Ok(agents),
            }
        };
        let limits = OutputLimits {
            stdout_bytes: own(SIZES[0], self.0.stdout_bytes)?,
            stderr_bytes: own(SIZES[1], self.0.stderr_bytes)?,
            ..self.0
        };
        let is_bounded = limits.stdout_bytes.min(limits.stderr_bytes) < u64::MAX;
        Ok(is_bounded.then_some(limits))
    }
}

/// Nothing stands for no bound.
fn bytes(name: String, value: &str) -> Result<u64, SizeError> {
    match parse_bytes(value) {
        Some(0) => Ok(u64::MAX),
        Some(bytes) => Ok(bytes),
        None => Err(SizeError {
            name,
            value: value.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_task_may_say_what_it_needs() {
        let agents = OutputLimits {
            stdout_bytes: 1000,
            stderr_bytes: u64::MAX,
            files: 2,
        };
        let of = |variables: &[(&str, &str)]| {
            let text = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
            OutputRule(agents).of(&Command {
                environment: variables.iter().map(text).collect(),
                ..Command::default()
            })
        };
        assert_eq!(of(&[]).unwrap(), Some(agents));
        let own = of(&[("CONTAINER_LOGGER_MAX_STDERR_SIZE", "3KB")]);
        let expected = OutputLimits {
            stderr_bytes: 3072,
            ..agents
        };
        assert_eq!(own.unwrap(), Some(expected));
        let none = of(&[("CONTAINER_LOGGER_MAX_STDOUT_SIZE", "0B")]);
        assert_eq!(none.unwrap(), None);
        let wrong = of(&[("CONTAINER_LOGGER_MAX_STDOUT_SIZE", "much")]).unwrap_err();
        assert!(
            wrong
                .to_string()
                .starts_with("CONTAINER_LOGGER_MAX_STDOUT_SIZE: expected a size"),
            "{wrong}"
        );
    }
}
