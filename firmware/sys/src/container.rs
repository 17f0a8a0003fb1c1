//! Starting a process with clone3: namespaces, cgroup, user, files, then exec. Not for daemons of PID 1 (module `spawn`).
//!
//! Called by `agentd` for the executor helper and by `nesos-executor` for the task itself. The caller reaps.
//! Invariant: between clone and exec only system calls are made, on memory that was prepared before; everything that
//! can fail early (NUL bytes, opening files, looking up users) has failed before the clone.

mod child;
pub(crate) mod clone;
pub mod fork_server;
pub mod open_files;
mod rights;
mod signals;

use std::ffi::{CString, NulError};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::pidfd::PidFd;
use crate::user::Credentials;
use child::Prepared;
pub use child::Step;
pub use rights::{ResourceLimit, Rights};

/// Where a program without a slash is looked for when its environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Which namespaces the process gets anew; the others are shared with the caller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// The process is PID 1 of a new PID namespace.
    pub pid: bool,
    /// A copy of the mount table; see module `namespace` for what the process then does with it.
    pub mount: bool,
    /// A host name of its own.
    pub uts: bool,
    /// System V IPC and POSIX message queues of its own.
    pub ipc: bool,
}

impl Namespaces {
    /// No new namespace: a plain process.
    pub const NONE: Namespaces = Namespaces {
        pid: false,
        mount: false,
        uts: false,
        ipc: false,
    };
    /// What a task gets on the appliance.
    pub const TASK: Namespaces = Namespaces {
        pid: true,
        mount: true,
        uts: true,
        ipc: true,
    };

    /// As one byte, for the fork server.
    fn to_byte(self) -> u8 {
        let parts = [self.pid, self.mount, self.uts, self.ipc];
        parts
            .iter()
            .rev()
            .fold(0, |byte, part| byte << 1 | u8::from(*part))
    }

    fn of_byte(byte: u8) -> Namespaces {
        let part = |number: u8| byte >> number & 1 == 1;
        Namespaces {
            pid: part(0),
            mount: part(1),
            uts: part(2),
            ipc: part(3),
        }
    }

    fn flags(self) -> u64 {
        let flag = |wanted: bool, flag: libc::c_int| if wanted { flag as u64 } else { 0 };
        flag(self.pid, libc::CLONE_NEWPID)
            | flag(self.mount, libc::CLONE_NEWNS)
            | flag(self.uts, libc::CLONE_NEWUTS)
            | flag(self.ipc, libc::CLONE_NEWIPC)
    }
}

/// What a process takes for the root of all cgroups. Any other than the caller's needs CAP_SYS_ADMIN.
#[derive(Debug, Default)]
pub enum View {
    /// What the caller does.
    #[default]
    Callers,
    /// The cgroup it is born in.
    Own,
    /// What the process does of which this is `/proc/PID/ns/cgroup`.
    Of(OwnedFd),
}

/// What to start and how. The process always has its own session, default signal
/// handling, an empty signal mask, umask 022, and no descriptor above 2.
#[derive(Debug)]
pub struct SpawnPlan {
    /// A path, or a name to be looked for in the PATH of `environment`.
    pub program: String,
    /// argv; the first is argv[0].
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// Working directory, entered as the new user.
    pub directory: PathBuf,
    /// Namespaces to make; any needs CAP_SYS_ADMIN.
    pub namespaces: Namespaces,
    /// Directory of the cgroup v2 to be born in (`Cgroup::directory`); none: the caller's.
    pub cgroup: Option<OwnedFd>,
    /// Which cgroups it sees.
    pub cgroup_view: View,
    /// The user to become; none: the caller's, or root of the user namespace.
    pub user: Option<Credentials>,
    /// The user namespace to enter, in which `user` is one (module `user_namespace`); none: the caller's.
    pub user_namespace: Option<OwnedFd>,
    /// Standard input; none: /dev/null.
    pub stdin: Option<OwnedFd>,
    /// The standard input is a terminal, and becomes the one that controls the process.
    pub terminal: bool,
    /// Standard output; none: /dev/null.
    pub stdout: Option<OwnedFd>,
    /// Standard error; none: /dev/null.
    pub stderr: Option<OwnedFd>,
    /// Out-of-memory score, -1000 to 1000; silently left alone where the kernel does not permit it.
    pub oom_score: Option<i32>,
    /// SIGKILL as soon as the calling thread ends. Only for single-threaded callers.
    pub die_with_parent: bool,
    /// What it is left with.
    pub rights: Rights,
}

impl SpawnPlan {
    /// A plain process in `/` with empty environment and no output.
    pub fn new(program: impl Into<String>, arguments: Vec<String>) -> SpawnPlan {
        SpawnPlan {
            program: program.into(),
            arguments,
            environment: Vec::new(),
            directory: PathBuf::from("/"),
            namespaces: Namespaces::NONE,
            cgroup: None,
            cgroup_view: View::Callers,
            user: None,
            user_namespace: None,
            stdin: None,
            terminal: false,
            stdout: None,
            stderr: None,
            oom_score: None,
            die_with_parent: false,
            rights: Rights::default(),
        }
    }
}

/// A process that has reached its program.
#[derive(Debug)]
pub struct Spawned {
    /// Its process id in the caller's PID namespace.
    pub pid: u32,
    /// Its descriptor: readable when it has ended.
    pub pidfd: PidFd,
}

/// Why nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// A string has a NUL byte inside.
    #[error("start {program}: a NUL byte is inside {what}")]
    Nul {
        /// The program.
        program: String,
        /// Which string.
        what: &'static str,
    },
    /// Something could not be opened or made before the clone.
    #[error("start {program}: {operation}: {source}")]
    Prepare {
        /// The program.
        program: String,
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// clone3 failed.
    #[error("start {program}: create process: {errno}")]
    Clone {
        /// The program.
        program: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// A step of the new process failed; the process is gone and reaped.
    #[error("start {program}: {step}: {errno}")]
    Child {
        /// The program.
        program: String,
        /// Which step.
        step: Step,
        /// What the kernel said.
        errno: Errno,
    },
}

/// Starts the process and returns when its `exec` has succeeded or the reason why not is known.
pub fn spawn(plan: &SpawnPlan) -> Result<Spawned, SpawnError> {
    let prepare = |operation, source| SpawnError::Prepare {
        program: plan.program.clone(),
        operation,
        source,
    };
    let strings = Strings::new(plan)?;
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|e| prepare("open /dev/null", e))?;
    let (mut reader, writer) = io::pipe().map_err(|e| prepare("make a pipe", e))?;
    let null = null.as_raw_fd();
    let prepared = Prepared {
        candidates: &pointers(&strings.candidates),
        argv: &pointers(&strings.argv),
        envp: &pointers(&strings.envp),
        directory: &strings.directory,
        cgroup_view: match &plan.cgroup_view {
            View::Callers => child::CgroupView::Callers,
            View::Own => child::CgroupView::Own,
            View::Of(namespace) => child::CgroupView::Of(namespace.as_raw_fd()),
        },
        stdio: [&plan.stdin, &plan.stdout, &plan.stderr].map(|file| raw_or(file, null)),
        ignored: signals::ignored(),
        open_files: open_files::before(),
        terminal: plan.terminal,
        oom_score: strings.oom_score.as_deref(),
        user: plan.user.as_ref(),
        user_namespace: plan.user_namespace.as_ref().map(AsRawFd::as_raw_fd),
        rights: rights::Prepared::new(&plan.rights),
        parent: plan.die_with_parent.then(|| {
            if plan.namespaces.pid {
                0
            } else {
                std::process::id()
            }
        }),
        report: writer.as_raw_fd(),
    };
    let spawned = clone::clone(plan, &prepared).map_err(|errno| SpawnError::Clone {
        program: plan.program.clone(),
        errno,
    })?;
    drop(writer);
    let mut report = [0u8; child::REPORT_SIZE];
    match reader.read_exact(&mut report) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(spawned),
        Err(e) => Err(prepare("read the new process's report", e)),
        Ok(()) => {
            let (step, errno) = child::decode_report(report);
            // It is about to call _exit; without this the caller would reap a process it never knew of.
            let _ = spawned.pidfd.wait();
            Err(SpawnError::Child {
                program: plan.program.clone(),
                step,
                errno,
            })
        }
    }
}

/// The directory of a cgroup as [`SpawnPlan::cgroup`] wants it, from the path of its `cgroup.procs`.
pub fn cgroup_of_procs_file(procs: &Path) -> io::Result<OwnedFd> {
    let directory = match (procs.parent(), procs.file_name()) {
        (Some(directory), Some(name)) if name == "cgroup.procs" && procs.is_absolute() => directory,
        _ => return Err(io::Error::from(io::ErrorKind::InvalidInput)),
    };
    Ok(File::open(directory)?.into())
}

/// Every string of a plan in the form that the kernel takes.
struct Strings {
    candidates: Vec<CString>,
    argv: Vec<CString>,
    envp: Vec<CString>,
    directory: CString,
    oom_score: Option<String>,
}

impl Strings {
    fn new(plan: &SpawnPlan) -> Result<Strings, SpawnError> {
        let nul = |what| {
            move |_: NulError| SpawnError::Nul {
                program: plan.program.replace('\0', "?"),
                what,
            }
        };
        let mut candidates = Vec::new();
        for path in candidates_of(plan) {
            candidates.push(CString::new(path).map_err(nul("the program's path"))?);
        }
        let mut argv = Vec::with_capacity(plan.arguments.len());
        for argument in &plan.arguments {
            argv.push(CString::new(argument.as_str()).map_err(nul("an argument"))?);
        }
        let mut envp = Vec::with_capacity(plan.environment.len());
        for (name, value) in &plan.environment {
            envp.push(CString::new(format!("{name}={value}")).map_err(nul("the environment"))?);
        }
        let directory = CString::new(plan.directory.as_os_str().as_encoded_bytes())
            .map_err(nul("the directory"))?;
        let oom_score = plan
            .oom_score
            .map(|score| format!("{}\n", score.clamp(-1000, 1000)));
        Ok(Strings {
            candidates,
            argv,
            envp,
            directory,
            oom_score,
        })
    }
}

/// The paths to try, as execvp would.
fn candidates_of(plan: &SpawnPlan) -> Vec<String> {
    if plan.program.contains('/') || plan.program.is_empty() {
        return vec![plan.program.clone()];
    }
    let path = plan
        .environment
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map_or(DEFAULT_PATH, |(_, value)| value);
    let full = |directory: &str| match directory {
        "" => format!("./{}", plan.program),
        directory => format!("{directory}/{}", plan.program),
    };
    path.split(':').map(full).collect()
}

/// A null-terminated array for the kernel, valid as long as `strings`.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

fn raw_or(fd: &Option<OwnedFd>, otherwise: RawFd) -> RawFd {
    fd.as_ref().map_or(otherwise, |fd| fd.as_raw_fd())
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
