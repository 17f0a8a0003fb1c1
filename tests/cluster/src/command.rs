//! Running the `nesos` command as a person would, with a home of its own.
//!
//! Called by the tests. Invariant: a command that does not end is killed with the test.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::eventually;

/// The `nesos` command for one master, or for none yet.
#[derive(Debug, Clone)]
pub struct Nesos {
    home: PathBuf,
    master: Option<String>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; 128 + signal if it was killed.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A command that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
    what: String,
}

/// The built program `name`: beside the test's own binary, or in `NESOS_BIN_DIR`.
///
/// # Panics
/// It is not built.
pub fn binary(name: &str) -> PathBuf {
    let folder = std::env::var_os("NESOS_BIN_DIR")
        .map(PathBuf::from)
        .or_else(|| {
            // target/debug/deps/<test>
            let own = std::env::current_exe().ok()?;
            Some(own.parent()?.parent()?.to_owned())
        });
    let file = folder.expect("this test's own path").join(name);
    assert!(
        file.is_file(),
        "{} is not built: run `cargo build --workspace --bins`",
        file.display()
    );
    file
}

impl Nesos {
    /// With state in `home`; finds no master by itself.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self {
            home: home.to_owned(),
            master: None,
        }
    }

    /// For the master at `host:port`.
    #[must_use]
    pub fn with_master(mut self, master: &str) -> Self {
        self.master = Some(master.to_owned());
        self
    }

    /// The command with `arguments`, to be started by the caller.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("nesos"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("NESOS_") && text != "NESOS_BIN_DIR" && text != "NESOS_IMAGES" {
                command.env_remove(name);
            }
        }
        command
            .env("XDG_STATE_HOME", &self.home)
            .env("NESOS_MDNS", "off")
            .args(arguments);
        if let Some(master) = &self.master {
            command.env("NESOS_MASTER", master);
        }
        command
    }

    /// Runs to the end.
    ///
    /// # Panics
    /// It takes longer than `limit`.
    #[must_use]
    pub fn run_within(&self, limit: Duration, arguments: &[&str]) -> Ended {
        self.start(arguments).wait(limit)
    }

    /// Runs to the end, within a minute.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.run_within(Duration::from_secs(60), arguments)
    }

    /// The JSON lines that the command prints.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let mut all = vec!["--output", "json"];
        all.extend(arguments);
        let ended = self.run(&all);
        assert_eq!(
            ended.code,
            0,
            "nesos {}: {}",
            arguments.join(" "),
            ended.stderr
        );
        ended
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    /// Starts the command.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::start(
            self.command(arguments),
            &format!("nesos {}", arguments.join(" ")),
        )
    }
}

impl Running {
    /// Starts `command`, called `what` in messages.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(mut command: Command, what: &str) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("start {what}: {error}"));
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stdout.take().expect("a pipe"), &stdout),
            collect(child.stderr.take().expect("a pipe"), &stderr),
        ];
        Self {
            child,
            stdout,
            stderr,
            readers,
            what: what.to_owned(),
        }
    }

    /// What it has printed so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// What it has complained about so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Waits until it has printed `wanted`.
    ///
    /// # Panics
    /// It ends or `limit` passes before.
    pub fn wait_for(&mut self, wanted: &str, limit: Duration) {
        self.wait_until(wanted, limit, Self::stdout);
    }

    /// Waits until it has complained with `wanted`.
    ///
    /// # Panics
    /// It ends or `limit` passes before.
    pub fn wait_for_complaint(&mut self, wanted: &str, limit: Duration) {
        self.wait_until(wanted, limit, Self::stderr);
    }

    fn wait_until(&mut self, wanted: &str, limit: Duration, output: fn(&Self) -> String) {
        let what = format!("{} prints {wanted:?}", self.what);
        eventually(&what, limit, || {
            let ended = self.child.try_wait().expect("wait");
            // Read after the look at the process: what an ended one has printed is complete but for its readers.
            let found = output(self).contains(wanted);
            assert!(
                found || ended.is_none(),
                "{what}, but it ended ({ended:?}): {}{}",
                self.stdout(),
                self.stderr()
            );
            found.then_some(())
        });
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// There is no such process any more.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("signal");
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// It takes longer than `limit`.
    #[must_use]
    pub fn wait(mut self, limit: Duration) -> Ended {
        use std::os::unix::process::ExitStatusExt;
        let begin = tokio::time::Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            if begin.elapsed() > limit {
                panic!(
                    "{} does not end within {} s: {}{}",
                    self.what,
                    limit.as_secs(),
                    self.stdout(),
                    self.stderr()
                );
            }
            std::thread::park_timeout(Duration::from_millis(10));
        };
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader");
        }
        let code = status
            .code()
            .or_else(|| Some(128 + status.signal()?))
            .expect("a code or a signal");
        Ended {
            code,
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already ended in the good case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut from: impl Read + Send + 'static, into: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            into.lock()
                .expect("no panic while reading")
                .extend_from_slice(&buffer[..count]);
        }
    })
}

fn text(bytes: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.lock().expect("no panic while reading")).into_owned()
}
