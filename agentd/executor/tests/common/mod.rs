//! What the tests of the helper share: start one on a scratch run directory, talk to it, wait for its end.
//!
//! Invariant: every wait has a deadline, and a dropped [`Helper`] leaves no process behind.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)] // Each test binary uses its own part.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use nesos_sys::container::fork_server::{ForkServer, Order};
use nesos_sys::container::{Namespaces, SpawnPlan, Spawned, spawn};
use nesos_sys::fs::connect_unix;
use nesos_sys::mount_table::MountTable;
use nesos_sys::signal::Signal;
use nesos_wire::executor::{ExecutorSpec, ExitRecord, FromExecutor, Outcome, TaskUser, ToExecutor};
use nesos_wire::file_system::FileSystem;
use nesos_wire::frame;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Longest wait for anything; generous, because the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The helper: the one built with these tests, or the one that the environment names (in a guest the build folder does
/// not exist).
pub fn program() -> String {
    std::env::var("NESOS_EXECUTOR")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_nesos-executor").to_owned())
}

/// Whether this machine lets us make namespaces.
pub fn allowed() -> bool {
    let plan = SpawnPlan {
        namespaces: Namespaces::TASK,
        ..SpawnPlan::new("true", vec!["true".to_owned()])
    };
    let allowed = spawn(&plan)
        .map(|spawned| spawned.pidfd.wait().unwrap())
        .is_ok();
    if !allowed {
        eprintln!("not allowed to make namespaces here: nothing tested");
    }
    allowed
}

/// Run directory and sandbox in a scratch folder.
pub struct Place {
    pub folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("run")).unwrap();
        fs::create_dir(folder.path().join("sandbox")).unwrap();
        Place { folder }
    }

    pub fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    pub fn sandbox(&self) -> PathBuf {
        self.folder.path().join("sandbox")
    }

    /// A spec for a shell text.
    pub fn shell(&self, text: &str) -> ExecutorSpec {
        ExecutorSpec {
            program: "/bin/sh".to_owned(),
            arguments: ["sh", "-c", text].map(str::to_owned).to_vec(),
            environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            sandbox: self.sandbox().to_str().unwrap().to_owned(),
            user: None,
            cgroup_procs: None,
            pid_namespace: false,
            cgroup_namespace: false,
            file_system: None,
            hostname: None,
            rights: Default::default(),
            kill_grace_ms: 3000,
            output: None,
            terminal: None,
        }
    }

    pub fn start(self, spec: &ExecutorSpec) -> Helper {
        self.start_raw(&frame::encode(spec).unwrap(), namespaces_of(spec))
    }

    /// Starts a helper on any bytes as its spec.
    pub fn start_raw(self, spec: &[u8], namespaces: Namespaces) -> Helper {
        fs::write(self.run().join("spec"), spec).unwrap();
        let spawned = spawn_in(&self, namespaces, None);
        Helper {
            place: self,
            spawned,
        }
    }
}

/// Files of its own, of the host's kind, and a PID namespace if `pid`.
pub fn isolate(spec: &mut ExecutorSpec, pid: bool) {
    spec.pid_namespace = pid;
    spec.file_system = Some(host_files(&spec.sandbox));
}

/// The host's files as agentd describes them.
pub fn host_files(sandbox: &str) -> FileSystem {
    let mut mounts = MountTable::open().unwrap();
    let system = mounts.system().unwrap().iter();
    let system = system.map(|path| path.to_str().unwrap().to_owned());
    FileSystem::host(sandbox, Vec::new(), system.collect())
}

/// Lets the task run as nobody, who may then enter its scratch folder: that is root's alone, where a real sandbox
/// belongs to the user.
pub fn become_nobody(spec: &mut ExecutorSpec) {
    let nobody = nesos_sys::user::lookup("nobody").unwrap();
    spec.user = Some(TaskUser {
        uid: nobody.uid,
        gid: nobody.gid,
        groups: nobody.groups,
    });
    for folder in [spec.sandbox.clone(), format!("{}/..", spec.sandbox)] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder, mode).unwrap();
    }
}

/// The namespaces that agentd makes for this spec.
pub fn namespaces_of(spec: &ExecutorSpec) -> Namespaces {
    Namespaces {
        pid: spec.pid_namespace,
        ..Namespaces::NONE
    }
}

/// Starts the helper as agentd does.
pub fn spawn_in(place: &Place, namespaces: Namespaces, cgroup: Option<OwnedFd>) -> Spawned {
    static SERVER: OnceLock<Mutex<ForkServer>> = OnceLock::new();
    let server = SERVER
        .get_or_init(|| Mutex::new(ForkServer::start(&program(), "nesos-executor").unwrap()))
        .lock()
        .unwrap();
    let open = |name: &str| {
        let mut options = fs::OpenOptions::new();
        options.read(true).append(true).create(true);
        options.open(place.run().join(name)).unwrap()
    };
    let (spec, null, log) = (
        open("spec"),
        fs::File::open("/dev/null").unwrap(),
        open("log"),
    );
    let order = Order {
        word: &place.run(),
        namespaces,
        cgroup: cgroup.as_ref().map(AsFd::as_fd),
        network: None,
        stdio: [spec.as_fd(), null.as_fd(), log.as_fd()],
    };
    server.fork(&order).unwrap()
}

/// A running helper.
pub struct Helper {
    pub place: Place,
    pub spawned: Spawned,
}

impl Helper {
    /// Connects as soon as the socket is there.
    pub fn connect(&self) -> Client {
        let mut stream = None;
        until("the helper's socket", || {
            stream = connect_unix(&self.place.run(), "socket").ok();
            stream.is_some()
        });
        let stream = stream.unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Client { stream }
    }

    /// Waits for the helper's end and reads the record.
    pub fn record(&self) -> ExitRecord {
        self.wait();
        let bytes = fs::read(self.place.run().join("exit"))
            .unwrap_or_else(|e| panic!("{e}; log: {}", self.log()));
        let (frame_bytes, checksum) = bytes.split_at(bytes.len() - 4);
        assert_eq!(checksum, crc32fast::hash(frame_bytes).to_le_bytes());
        frame::decode::<ExitRecord>(frame_bytes).unwrap().unwrap().0
    }

    pub fn wait(&self) {
        let mut fds = [PollFd::new(self.spawned.pidfd.as_fd(), PollFlags::POLLIN)];
        let ended = poll(&mut fds, PollTimeout::try_from(DEADLINE).unwrap()).unwrap();
        assert_eq!(ended, 1, "the helper did not end; log: {}", self.log());
    }

    pub fn output(&self, name: &str) -> String {
        fs::read_to_string(self.place.sandbox().join(name)).unwrap_or_default()
    }

    /// Waits until the task has written a whole line to standard output; the text so far.
    pub fn first_line(&self) -> String {
        until("output of the task", || {
            self.output("stdout").contains('\n')
        });
        self.output("stdout")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.place.run().join("log")).unwrap_or_default()
    }

    pub fn reason(&self) -> String {
        match self.record().outcome {
            Outcome::NotStarted(reason) => reason,
            other => panic!("started: {other:?}"),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.spawned.pidfd.send(Signal::SIGKILL);
        let _ = self.spawned.pidfd.wait();
    }
}

/// agentd's side of a connection.
pub struct Client {
    pub stream: UnixStream,
}

impl Client {
    /// The next message, `None` at the end of the connection.
    pub fn next(&mut self) -> Option<FromExecutor> {
        let mut header = [0; frame::HEADER];
        self.stream.read_exact(&mut header).ok()?;
        let mut body = vec![0; frame::body_len(header).unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        Some(frame::decode_body(&body).unwrap())
    }

    pub fn expect_running(&mut self) {
        let message = self.next();
        assert!(
            matches!(message, Some(FromExecutor::Running { .. })),
            "{message:?}"
        );
    }

    pub fn expect_exited(&mut self) -> ExitRecord {
        match self.next() {
            Some(FromExecutor::Exited(record)) => record,
            other => panic!("{other:?}"),
        }
    }

    pub fn kill(&mut self, grace: Duration) {
        let message = ToExecutor::Kill {
            grace_ms: grace.as_millis() as u32,
        };
        self.stream
            .write_all(&frame::encode(&message).unwrap())
            .unwrap();
    }
}

/// Waits for a condition.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited in vain for {what}");
        // Leaves the processor to those who are waited for.
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Whether a process of this id lives (a zombie does not).
pub fn lives(pid: u32) -> bool {
    nesos_sys::process::stat(pid).is_ok_and(|stat| !matches!(stat.state, b'Z' | b'X'))
}
