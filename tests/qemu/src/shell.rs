//! A shell on a board's serial console (`nesos.shell` on the kernel's command line).
//!
//! Called by the tests. Invariant: a command's output is what came between two marks that the typed line itself does not contain.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest wait for output: the emulated board is slow, not silent.
const LIMIT: Duration = Duration::from_secs(60);

/// The shell.
#[derive(Debug)]
pub struct Shell {
    socket: UnixStream,
    board: String,
    count: u32,
}

impl Shell {
    pub(crate) fn connect(path: &Path, board: &str) -> Self {
        let socket = UnixStream::connect(path)
            .unwrap_or_else(|error| panic!("the console of {board}: {error}"));
        socket.set_read_timeout(Some(LIMIT)).expect("a timeout");
        Self {
            socket,
            board: board.to_owned(),
            count: 0,
        }
    }

    /// Types `command`, whose end nobody waits for.
    ///
    /// # Panics
    /// The console is gone.
    pub fn say(&mut self, command: &str) {
        self.socket
            .write_all(format!("{command}\n").as_bytes())
            .expect("write to the console");
    }

    /// Runs `command`; its output and exit code.
    ///
    /// # Panics
    /// The board does not answer.
    pub fn run(&mut self, command: &str) -> (String, i32) {
        self.count += 1;
        let (begin, end) = (
            format!("<begin {}>", self.count),
            format!("<end {} ", self.count),
        );
        // The quotes keep the echo of the typed line from looking like the marks.
        let line = format!(
            "echo '<''begin {0}>'; {command}; echo \"<\"\"end {0} $?>\"\n",
            self.count
        );
        self.socket
            .write_all(line.as_bytes())
            .expect("write to the console");
        let mut seen = String::new();
        let mut buffer = [0; 4096];
        loop {
            if let Some((_, rest)) = seen.split_once(&begin)
                && let Some((output, tail)) = rest.split_once(&end)
                && let Some((code, _)) = tail.split_once('>')
            {
                let output = output.replace('\r', "");
                return (
                    output.trim_matches('\n').to_owned(),
                    code.parse().expect("an exit code"),
                );
            }
            let count = self.socket.read(&mut buffer).unwrap_or_else(|error| {
                panic!(
                    "{} does not answer {command:?}: {error}; it said {seen:?}",
                    self.board
                );
            });
            assert!(count > 0, "{} is off; it said {seen:?}", self.board);
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }
}
