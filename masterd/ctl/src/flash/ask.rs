//! What `nesos flash` asks of a person, and how far it is. Called by the parent.
//!
//! Invariant: questions and bars go to standard error; the end of standard input is no answer, and never a yes.

use std::io::{self, BufRead, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::FlashCommandError;

/// Asks a question whose answer must be `y` or `yes`.
pub(super) fn agree(question: &str) -> Result<(), FlashCommandError> {
    match line(&format!("{question} [y/N] "))?.as_deref() {
        Some("y" | "Y" | "yes") => Ok(()),
        Some(_) => Err(FlashCommandError::Declined),
        None => Err(FlashCommandError::Unasked("it".to_owned())),
    }
}

/// Waits for Enter.
pub(super) fn wait(text: &str) -> Result<(), FlashCommandError> {
    match line(&format!("{text} "))?.as_deref() {
        Some("q" | "Q") | None => Err(FlashCommandError::Declined),
        Some(_) => Ok(()),
    }
}

/// Asks without showing what is typed.
pub(super) fn password(question: &str) -> Result<String, FlashCommandError> {
    let stdin = io::stdin();
    let shown = tcgetattr(&stdin).ok();
    if let Some(shown) = &shown {
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // A terminal that will not hide it is no reason to take no password.
        let _ = tcsetattr(&stdin, OptionalActions::Flush, &hidden);
    }
    let answer = line(question);
    if let Some(shown) = &shown {
        let _ = tcsetattr(&stdin, OptionalActions::Flush, shown);
        eprintln!();
    }
    Ok(answer?.unwrap_or_default())
}

fn line(question: &str) -> Result<Option<String>, FlashCommandError> {
    eprint!("{}", crate::output::printable(question));
    io::stderr().flush().map_err(FlashCommandError::Ask)?;
    let mut answer = String::new();
    let count = io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(FlashCommandError::Ask)?;
    Ok((count > 0).then(|| answer.trim_end_matches(['\r', '\n']).to_owned()))
}

/// How far it is: a bar on a terminal, nothing elsewhere.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// Of `bytes` in all.
    pub(super) fn new(what: &'static str, bytes: u64) -> Self {
        if !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(bytes).with_message(what);
        let style = "{msg:13} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// This many bytes are done.
    pub(super) fn at(&mut self, bytes: u64) {
        self.0.set_position(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
