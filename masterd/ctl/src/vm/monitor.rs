//! An emulator's monitor (QMP): pressing a board's power button, opening one more way in.
//!
//! Called by `board` and `switch`. One connection per errand. Invariant: an emulator that does not answer is an error
//! after [`LIMIT`], not a wait.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// How long an emulator may take to answer.
const LIMIT: Duration = Duration::from_secs(2);
/// Lines read for one answer: events come between, of which an idle emulator has few.
const MAX_LINES: usize = 100;

/// A connection that takes commands.
#[derive(Debug)]
pub(super) struct Monitor {
    socket: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects to the socket at `path`.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixStream::connect(path)?;
        socket.set_read_timeout(Some(LIMIT))?;
        let answers = BufReader::new(socket.try_clone()?);
        let mut monitor = Self { socket, answers };
        monitor.execute("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    /// Runs one command; what it returns.
    pub(super) fn execute(&mut self, command: &str, arguments: Value) -> io::Result<Value> {
        let request = json!({"execute": command, "arguments": arguments});
        self.socket.write_all(format!("{request}\n").as_bytes())?;
        for _ in 0..MAX_LINES {
            let mut line = String::new();
            if self.answers.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut answer: Value = serde_json::from_str(&line)?;
            if let Some(error) = answer.get("error") {
                return Err(io::Error::other(error.to_string()));
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
        Err(io::Error::other("events without end"))
    }

    /// Runs a command of the monitor for people, whose answer is text: none if it went well.
    pub(super) fn order(&mut self, line: &str) -> io::Result<()> {
        let arguments = json!({"command-line": line});
        let said = self.execute("human-monitor-command", arguments)?;
        match said.as_str().map(str::trim) {
            None | Some("") => Ok(()),
            Some(words) => Err(io::Error::other(words.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::net::UnixListener;

    use super::*;

    /// An emulator that greets, and answers each line that comes with the next of `answers`.
    fn emulator(folder: &Path, answers: &'static [&'static str]) -> std::path::PathBuf {
        let path = folder.join("qmp.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.write_all(b"{\"QMP\": {}}\n").unwrap();
            let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
            for answer in answers {
                let _ = lines.next().unwrap().unwrap();
                socket.write_all(answer.as_bytes()).unwrap();
            }
        });
        path
    }

    #[test]
    fn greetings_and_events_are_no_answers_and_words_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = emulator(
            folder.path(),
            &[
                "{\"return\": {}}\n",
                "{\"event\": \"POWERDOWN\"}\n{\"return\": {\"a\": 1}}\n",
                "{\"return\": \"\"}\n",
                "{\"return\": \"could not set up\\r\\n\"}\n",
                "{\"error\": {\"class\": \"GenericError\"}}\n",
            ],
        );
        let mut monitor = Monitor::connect(&path).unwrap();
        let value = monitor.execute("system_powerdown", json!({})).unwrap();
        assert_eq!(value, json!({"a": 1}));
        monitor.order("hostfwd_add x").unwrap();
        let refused = monitor.order("hostfwd_add y").unwrap_err();
        assert_eq!(refused.to_string(), "could not set up");
        assert!(monitor.execute("quit", json!({})).is_err());
        assert!(monitor.execute("quit", json!({})).is_err(), "it is gone");
    }
}
