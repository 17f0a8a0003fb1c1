//! Where a task's files are: Mesos's layout below the work directory, and nobody leaves it.
//!
//! Called by the containerizer, `files` and `gc`. Invariant: every path made here consists of ids that obey the id grammar,
//! so none contains a separator or `..`.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown, symlink};
use std::path::{Path, PathBuf};

use nesos_sys::disk;
use nesos_sys::user::Credentials;
use nesos_wire::task::TaskSpec;
use nesos_wire::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId, TaskKey};

const LATEST: &str = "latest";
/// In a pod's sandbox: those of its tasks, and links to them by task.
const CONTAINERS: &str = "containers";
const TASKS: &str = "tasks";
/// Most agent ids that this machine ever had: one, unless its cluster changed.
const MAX_AGENTS: usize = 64;

/// Why a sandbox cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    #[error("{0}")]
    Id(#[from] nesos_wire::IdError),
    #[error("cannot {operation} {path}: {source}", path = .path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// `slaves/<agent>/frameworks/<framework>/executors/<executor>/runs`.
pub(crate) fn runs(
    work_dir: &Path,
    agent: &str,
    framework: &FrameworkId,
    executor: &str,
) -> Result<PathBuf, nesos_wire::IdError> {
    AgentId::parse(agent)?;
    FrameworkId::parse(framework.as_str())?;
    ExecutorId::parse(executor)?;
    let path = work_dir
        .join("slaves")
        .join(agent)
        .join("frameworks")
        .join(framework.as_str());
    Ok(path.join("executors").join(executor).join("runs"))
}

/// Makes the sandbox of a new container. [`publish`] makes it the latest.
pub(crate) fn make(
    work_dir: &Path,
    agent: &AgentId,
    spec: &TaskSpec,
    container: &ContainerId,
    user: Option<&Credentials>,
) -> Result<PathBuf, SandboxError> {
    let runs = runs(
        work_dir,
        agent.as_str(),
        &spec.key.framework,
        spec.executor.as_str(),
    )?;
    create_runs(&runs)?;
    let sandbox = runs.join(container.as_str());
    make_one(&sandbox, user)?;
    Ok(sandbox)
}

/// Makes `latest` lead to the container's sandbox, or to that of the pod it is in. Not part of [`make`], because a task
/// can begin before its sandbox has this name too.
pub(crate) fn publish(
    work_dir: &Path,
    agent: &AgentId,
    spec: &TaskSpec,
    container: &ContainerId,
) -> Result<(), SandboxError> {
    let runs = runs(
        work_dir,
        agent.as_str(),
        &spec.key.framework,
        spec.executor.as_str(),
    )?;
    point(&runs.join(LATEST), Path::new(container.as_str()))
}

/// Makes the sandbox of a container inside a pod's: `containers/<container>`, also found as `tasks/<task>`.
pub(crate) fn make_inside(
    work_dir: &Path,
    agent: &AgentId,
    spec: &TaskSpec,
    container: &ContainerId,
    parent: &ContainerId,
    user: Option<&Credentials>,
) -> Result<PathBuf, SandboxError> {
    let runs = runs(
        work_dir,
        agent.as_str(),
        &spec.key.framework,
        spec.executor.as_str(),
    )?;
    let task = TaskId::parse(spec.key.task.as_str())?;
    let pod = runs.join(ContainerId::parse(parent.as_str())?.as_str());
    create_runs(&runs)?;
    // The tasks of a pod may have different users, and each must reach its own.
    create(&pod.join(CONTAINERS), 0o755)?;
    create(&pod.join(TASKS), 0o755)?;
    let sandbox = pod.join(CONTAINERS).join(container.as_str());
    make_one(&sandbox, user)?;
    let target = Path::new("..").join(CONTAINERS).join(container.as_str());
    point(&pod.join(TASKS).join(task.as_str()), &target)?;
    Ok(sandbox)
}

/// Where the sandbox of an operator's container is that is in no framework's.
pub(crate) fn standalone(work_dir: &Path) -> PathBuf {
    work_dir.join(CONTAINERS)
}

/// Makes the sandbox of an operator's container.
pub(crate) fn make_own(
    sandbox: &Path,
    user: Option<&Credentials>,
) -> Result<PathBuf, SandboxError> {
    if let Some(folder) = sandbox.parent() {
        create(folder, 0o755)?;
    }
    make_one(sandbox, user)?;
    Ok(sandbox.into())
}

/// Another name for one that is being removed; what a crash leaves there is collected like an old sandbox.
pub(crate) fn grave(sandbox: &Path, number: u64) -> PathBuf {
    let name = sandbox.file_name().unwrap_or_default().to_string_lossy();
    sandbox.with_file_name(format!(".{number}.{name}"))
}

/// Removes such a sandbox with all that is in it.
pub(crate) fn remove_own(sandbox: &Path) -> Result<(), SandboxError> {
    match fs::remove_dir_all(sandbox) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io("remove", sandbox)(error)),
        _ => Ok(()),
    }
}

/// Makes an executor's `runs`. Executors come and go, and what is made of one must not be held up by what was deleted of others:
/// see [`disk::spread`].
fn create_runs(runs: &Path) -> Result<(), SandboxError> {
    if let Some(executor) = runs.parent()
        // Nearly always it is missing and all above it is there: nothing is looked for before it is made.
        && let Err(error) = DirBuilder::new().mode(0o755).create(executor)
        && error.kind() == io::ErrorKind::NotFound
        && let Some(executors) = executor.parent()
    {
        create(executors, 0o755)?;
        // A file system that knows no such thing leaves it as it was made.
        let _ = disk::spread(executors);
    }
    create(runs, 0o755)
}

fn create(path: &Path, mode: u32) -> Result<(), SandboxError> {
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(mode).create(path);
    made.map_err(io("create", path))
}

fn make_one(sandbox: &Path, user: Option<&Credentials>) -> Result<(), SandboxError> {
    let made = DirBuilder::new().mode(0o750).create(sandbox);
    made.map_err(io("create", sandbox))?;
    match user {
        Some(user) => give(sandbox, user),
        None => Ok(()),
    }
}

/// Gives a sandbox that was made for agentd's own user to another.
pub(crate) fn give(sandbox: &Path, user: &Credentials) -> Result<(), SandboxError> {
    chown(sandbox, Some(user.uid), Some(user.gid)).map_err(io("give to its user", sandbox))
}

/// Makes `link` lead to `target`, whatever it led to before.
fn point(link: &Path, target: &Path) -> Result<(), SandboxError> {
    match symlink(target, link) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(self::io("link", link)(error)),
    }
    let name = link.file_name().unwrap_or_default();
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let new = link.with_file_name(hidden);
    // A leftover of a crash between the two calls below.
    let _ = fs::remove_file(&new);
    symlink(target, &new).map_err(io("link", &new))?;
    fs::rename(&new, link).map_err(io("link", link))
}

fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SandboxError {
    let path = path.to_path_buf();
    move |source| SandboxError::Io {
        operation,
        path,
        source,
    }
}

/// Where the sandbox of a container is that was made by [`make`], or with a parent by [`make_inside`].
pub(crate) fn of_container(
    work_dir: &Path,
    agent: &AgentId,
    spec: &TaskSpec,
    container: &ContainerId,
    parent: Option<&ContainerId>,
) -> Option<PathBuf> {
    let runs = runs(
        work_dir,
        agent.as_str(),
        &spec.key.framework,
        spec.executor.as_str(),
    )
    .ok()?;
    let container = ContainerId::parse(container.as_str()).ok()?;
    let folder = match parent {
        Some(parent) => runs
            .join(ContainerId::parse(parent.as_str()).ok()?.as_str())
            .join(CONTAINERS),
        None => runs,
    };
    Some(folder.join(container.as_str()))
}

/// The newest sandbox of a command task that the agent has forgotten, whatever agent id it ran under.
pub(crate) fn latest_of(work_dir: &Path, key: &TaskKey) -> Option<PathBuf> {
    let executor = ExecutorId::parse(key.task.as_str()).ok()?;
    latest_anywhere(work_dir, &key.framework, &executor)
}

/// The newest sandbox of an executor under this agent id.
pub(crate) fn latest_run(
    work_dir: &Path,
    agent: &str,
    framework: &FrameworkId,
    executor: &ExecutorId,
) -> Option<PathBuf> {
    let runs = runs(work_dir, agent, framework, executor.as_str()).ok()?;
    let target = fs::read_link(runs.join(LATEST)).ok()?;
    Some(runs.join(ContainerId::parse(target.to_str()?).ok()?.as_str()))
}

/// The newest sandbox of an executor, whatever agent id it ran under.
pub(crate) fn latest_anywhere(
    work_dir: &Path,
    framework: &FrameworkId,
    executor: &ExecutorId,
) -> Option<PathBuf> {
    let agents = fs::read_dir(work_dir.join("slaves"))
        .ok()?
        .flatten()
        .take(MAX_AGENTS);
    let candidates = agents.filter_map(|entry| {
        let sandbox = latest_run(work_dir, entry.file_name().to_str()?, framework, executor)?;
        let modified = fs::metadata(&sandbox)
            .and_then(|metadata| metadata.modified())
            .ok()?;
        Some((modified, sandbox))
    });
    candidates.max().map(|(_, sandbox)| sandbox)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_run_is_found_again_and_ids_cannot_climb() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let key = TaskKey {
            framework: FrameworkId::new("f"),
            task: TaskId::new("t"),
        };
        let spec = crate::container::tests::spec(&key);
        let agent = AgentId::new("m-S1");
        for container in ["c1", "c2"] {
            let container = ContainerId::new(container);
            make(folder.path(), &agent, &spec, &container, None).expect("made");
            publish(folder.path(), &agent, &spec, &container).expect("published");
        }
        let sandbox = latest_of(folder.path(), &key).expect("found");
        assert!(
            sandbox.ends_with("slaves/m-S1/frameworks/f/executors/t/runs/c2"),
            "{}",
            sandbox.display()
        );
        let hostile = TaskKey {
            framework: FrameworkId::new("../../f"),
            task: TaskId::new(".."),
        };
        assert_eq!(latest_of(folder.path(), &hostile), None);
        let mut spec = spec;
        spec.executor = ExecutorId::new("../x");
        assert!(make(folder.path(), &agent, &spec, &ContainerId::new("c3"), None).is_err());
    }
}
