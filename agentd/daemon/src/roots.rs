//! The files that `/files/*`, LIST_FILES and READ_FILE show, by the virtual paths of Mesos: the log and the sandboxes.
//!
//! Called by `http`. Synchronous: one listing or at most 64 KB at a time, mostly from the page cache. Invariant: nothing
//! outside the sandboxes is opened, whatever the path says and whatever links a task has planted.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use agentd_core::fetch::is_plain_path;
use nesos_shell::http::Refusal;
use nesos_shell::http::files::{Entry, Part, Piece, missing};
use nesos_sys::fs::{Access, FsError, list_beneath, open_beneath};
use nesos_sys::user::Names;
use nesos_wire::{AgentId, ContainerId, ExecutorId, FrameworkId};
use nix::errno::Errno;

use crate::sandbox;

/// Where the agent's log is found.
pub(crate) const LOG: &str = "/slave/log";
/// Most entries of a directory that are listed: half a megabyte of JSON.
const MAX_ENTRIES: usize = 4096;

/// What a virtual path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The log.
    Log,
    /// Something in a sandbox.
    Inside {
        /// The sandbox.
        sandbox: PathBuf,
        /// Relative to it; empty: itself.
        path: String,
    },
}

impl Place {
    /// What `path` names: [`LOG`], `WORK_DIR/slaves/A/frameworks/F/executors/E/runs/C/…` or, for the newest run under
    /// whatever agent id, `/frameworks/F/executors/E/runs/latest/…`; `WORK_DIR/containers/C/…`, what an operator has started.
    /// What he has started inside a container is found inside that one's, as in Mesos, wherever it is.
    pub(crate) fn find(work_dir: &Path, path: &str) -> Result<Self, Refusal> {
        if path == LOG {
            return Ok(Self::Log);
        }
        let of_work_dir = path.strip_prefix(work_dir.to_str().ok_or_else(missing)?);
        if let Some(rest) = of_work_dir.and_then(|rest| rest.strip_prefix("/containers/")) {
            let (container, inner) = rest.split_once('/').unwrap_or((rest, ""));
            let sandbox = standalone(work_dir, container).ok_or_else(missing)?;
            return Self::within(sandbox, inner);
        }
        let absolute = of_work_dir.and_then(|rest| rest.strip_prefix("/slaves/"));
        let (agent, rest) = match absolute {
            Some(rest) => {
                let (agent, rest) = rest.split_once("/frameworks/").ok_or_else(missing)?;
                (Some(agent), rest)
            }
            None => (None, path.strip_prefix("/frameworks/").ok_or_else(missing)?),
        };
        let mut parts = rest.splitn(6, '/');
        let mut next = || parts.next().unwrap_or_default();
        let (framework, executors, executor, runs, run) = (next(), next(), next(), next(), next());
        let inner = parts.next().unwrap_or_default();
        if executors != "executors" || runs != "runs" || run.is_empty() {
            return Err(missing());
        }
        let sandbox = sandbox_of(work_dir, agent, framework, executor, run).ok_or_else(missing)?;
        Self::within(sandbox, inner)
    }

    fn within(sandbox: PathBuf, inner: &str) -> Result<Self, Refusal> {
        let (sandbox, inner) = own_inside(&sandbox, inner).unwrap_or((sandbox, inner));
        if !inner.is_empty() && !is_plain_path(inner) {
            return Err(Refusal::bad(format!("'{inner}' leaves the sandbox.")));
        }
        Ok(Self::Inside {
            sandbox,
            path: inner.into(),
        })
    }

    /// What the directory holds; nothing if it is a file, as in Mesos. `path` is what was asked for.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<Entry>, Refusal> {
        let Self::Inside {
            sandbox,
            path: inner,
        } = self
        else {
            return Ok(Vec::new());
        };
        let listed = match list_beneath(sandbox, Path::new(inner), MAX_ENTRIES) {
            Ok(listed) => listed,
            Err(FsError::Io { source, .. })
                if source.raw_os_error() == Some(Errno::ENOTDIR as i32) =>
            {
                self.open()?;
                return Ok(Vec::new());
            }
            Err(error) => return Err(refusal(&error)),
        };
        let names = Names::read();
        let entry = |one: nesos_sys::fs::Listed| Entry {
            path: format!("{path}/{}", one.name),
            nlink: one.metadata.nlink(),
            size: one.metadata.size(),
            mtime: one.metadata.mtime(),
            mode: one.metadata.mode(),
            uid: names.user(one.metadata.uid()),
            gid: names.group(one.metadata.gid()),
        };
        Ok(listed.into_iter().map(entry).collect())
    }

    /// Part of the file.
    pub(crate) fn read(&self, part: Part) -> Result<Piece, Refusal> {
        match self {
            Self::Log => Ok(Piece::of_log(part)),
            Self::Inside { .. } => {
                read_part(&self.open()?, part).map_err(|error| failure(&error.to_string()))
            }
        }
    }

    /// The file itself; not for the log.
    pub(crate) fn open(&self) -> Result<File, Refusal> {
        let Self::Inside { sandbox, path } = self else {
            return Err(missing());
        };
        if path.is_empty() {
            return Err(Refusal::bad("Cannot read a directory."));
        }
        open_beneath(sandbox, Path::new(path), Access::Read).map_err(|error| refusal(&error))
    }
}

/// A part of an open file. A file that is cut short meanwhile yields less.
pub(crate) fn read_part(file: &File, part: Part) -> std::io::Result<Piece> {
    let size = file.metadata()?.len();
    let Some(offset) = part.offset else {
        return Ok(Piece {
            size,
            data: Vec::new(),
        });
    };
    let wanted = part.length.min(size.saturating_sub(offset));
    let mut data = vec![0; wanted as usize];
    let mut filled = 0;
    while filled < data.len() {
        match file.read_at(&mut data[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    data.truncate(filled);
    Ok(Piece { size, data })
}

fn sandbox_of(
    work_dir: &Path,
    agent: Option<&str>,
    framework: &str,
    executor: &str,
    run: &str,
) -> Option<PathBuf> {
    let framework = FrameworkId::parse(framework).ok()?;
    let executor = ExecutorId::parse(executor).ok()?;
    let sandbox = match (agent, run) {
        (Some(agent), "latest") => {
            let agent = AgentId::parse(agent).ok()?;
            sandbox::latest_run(work_dir, agent.as_str(), &framework, &executor)?
        }
        (None, "latest") => sandbox::latest_anywhere(work_dir, &framework, &executor)?,
        (Some(agent), run) => {
            let runs = sandbox::runs(work_dir, agent, &framework, executor.as_str()).ok()?;
            runs.join(ContainerId::parse(run).ok()?.as_str())
        }
        (None, _) => return None,
    };
    is_folder(&sandbox).then_some(sandbox)
}

fn standalone(work_dir: &Path, container: &str) -> Option<PathBuf> {
    let container = ContainerId::parse(container).ok()?;
    let sandbox = sandbox::standalone(work_dir).join(container.as_str());
    is_folder(&sandbox).then_some(sandbox)
}

/// What an operator has started inside the container of this sandbox: its own, and the rest of `inner`. It does not lie in
/// that one, whose task could lead elsewhere, but beside it as `CONTAINER.NAME`.
fn own_inside<'a>(sandbox: &Path, inner: &'a str) -> Option<(PathBuf, &'a str)> {
    let runs = sandbox.parent()?;
    let mut names = vec![sandbox.file_name()?.to_str()?];
    let (mut rest, mut found) = (inner, None);
    while let Some(after) = rest.strip_prefix("containers/") {
        let (name, tail) = after.split_once('/').unwrap_or((after, ""));
        names.push(name);
        rest = tail;
        // A task of a pod has an id of its own.
        for of_pod in 0..names.len() - 1 {
            let id = ContainerId::parse(&names[of_pod..].join(".")).ok()?;
            let own = runs.join(id.as_str());
            if is_folder(&own) {
                found = Some((own, rest));
            }
        }
    }
    found
}

/// Not a link: whoever could plant one there is the agent's own user.
fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn refusal(error: &FsError) -> Refusal {
    match error {
        FsError::NotAFile { .. } => Refusal::bad("Cannot read what is not a regular file."),
        FsError::Io { source, .. } => match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT | Errno::ENOTDIR) => missing(),
            // What openat2 says to links that lead out.
            Some(Errno::EXDEV | Errno::ELOOP) => Refusal::bad("The path leaves the sandbox."),
            _ => failure(&source.to_string()),
        },
    }
}

fn failure(reason: &str) -> Refusal {
    Refusal::new(
        hyper::StatusCode::INTERNAL_SERVER_ERROR,
        format!("Cannot read the file: {reason}"),
    )
}
