//! How a task ended, and which exit code that is.
//!
//! Mesos tells a command's exit code in a sentence only; this is where it is read. Called by the other parts of `run`.

use nesos_api::v1::TaskState;

/// What a shell says for "ended by Ctrl-C".
const INTERRUPTED: u8 = 130;
/// What a shell says for signal 0: signals are added.
const SIGNAL_BASE: u8 = 128;

/// How the task ended.
#[derive(Debug)]
pub(super) struct Ending {
    /// Mesos's state name.
    pub(super) state: TaskState,
    /// The agent's sentence.
    pub(super) message: String,
    /// Where it ran.
    pub(super) node: String,
    /// By Ctrl-C here.
    pub(super) interrupted: bool,
}

impl Ending {
    /// The task's own code, or what a shell would say for its end.
    pub(super) fn exit_code(&self) -> u8 {
        match self.state {
            TaskState::Finished => 0,
            TaskState::Killed if self.interrupted => INTERRUPTED,
            TaskState::Killed => exit_code_in(&self.message).unwrap_or(SIGNAL_BASE + 9),
            TaskState::Failed => exit_code_in(&self.message).unwrap_or(1),
            _ => 1,
        }
    }

    /// What the person should read, unless the exit code says it all.
    pub(super) fn explanation(&self) -> Option<String> {
        if self.state == TaskState::Finished
            || (self.state == TaskState::Failed && self.message.contains("exited with status"))
        {
            return None;
        }
        let state = self
            .state
            .name()
            .strip_prefix("TASK_")
            .unwrap_or_default()
            .to_lowercase();
        let place = if self.node.is_empty() {
            String::new()
        } else {
            format!(" on {}", self.node)
        };
        let text = if self.message.is_empty() {
            String::new()
        } else {
            format!(": {}", self.message)
        };
        Some(format!("task {state}{place}{text}"))
    }
}

/// The exit code in the agent's sentences: `Command exited with status 3`, `Command terminated by signal SIGKILL`, and
/// in those of Mesos's agents, `Command terminated with signal Killed`.
fn exit_code_in(message: &str) -> Option<u8> {
    // The kernel ends such a task with SIGKILL.
    if message.starts_with("Memory limit exceeded") {
        return SIGNAL_BASE.checked_add(9);
    }
    if let Some((_, rest)) = message.split_once("exited with status ") {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return digits.parse().ok();
    }
    let rest = ["terminated by signal ", "terminated with signal "]
        .iter()
        .find_map(|words| Some(message.split_once(words)?.1))?;
    let word = rest
        .split([' ', ',', ';', ':', '(', '.'])
        .next()
        .unwrap_or_default();
    let name = if word.starts_with("SIG") {
        word.to_owned()
    } else {
        format!("SIG{}", word.to_uppercase())
    };
    let number = match (
        word.parse::<i32>(),
        name.parse::<nix::sys::signal::Signal>(),
    ) {
        (Ok(number), _) => number,
        (_, Ok(signal)) => signal as i32,
        // strsignal(3)'s words, as Mesos prints them.
        _ if rest.starts_with("Killed") => 9,
        _ if rest.starts_with("Terminated") => 15,
        _ if rest.starts_with("Segmentation") => 11,
        _ if rest.starts_with("Aborted") => 6,
        _ => return None,
    };
    u8::try_from(number).ok()?.checked_add(SIGNAL_BASE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_come_from_mesoss_sentences() {
        assert_eq!(exit_code_in("Command exited with status 3"), Some(3));
        assert_eq!(
            exit_code_in("Command terminated with signal Killed"),
            Some(137)
        );
        assert_eq!(
            exit_code_in("Command terminated by signal SIGTERM"),
            Some(143)
        );
        assert_eq!(exit_code_in("Command terminated by signal 34"), Some(162));
        assert_eq!(
            exit_code_in("Memory limit exceeded: Requested: 32MB"),
            Some(137)
        );
        assert_eq!(exit_code_in("the disk is full"), None);
    }

    #[test]
    fn an_ending_has_a_code_and_speaks_only_if_needed() {
        let ending = |state, message: &str, interrupted| Ending {
            state,
            message: message.to_owned(),
            node: "board-2".to_owned(),
            interrupted,
        };
        let quiet = ending(TaskState::Failed, "Command exited with status 7", false);
        assert_eq!((quiet.exit_code(), quiet.explanation()), (7, None));
        let oom = ending(TaskState::Failed, "Memory limit exceeded", false);
        assert_eq!(
            oom.explanation().as_deref(),
            Some("task failed on board-2: Memory limit exceeded")
        );
        assert_eq!(ending(TaskState::Killed, "", true).exit_code(), INTERRUPTED);
        assert_eq!(ending(TaskState::Lost, "", false).exit_code(), 1);
    }
}
