//! From spec to running process: namespace, cgroup, user, output files, exec. Called once by `hold`.
//!
//! Invariant: an error is a sentence for the exit record, and then no process of the task exists.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nesos_sys::cgroup::Cgroup;
use nesos_sys::container::{ResourceLimit, Rights, SpawnPlan, View, cgroup_of_procs_file, spawn};
use nesos_sys::fs::{Access, give_to, open_beneath};
use nesos_sys::new_root::Ids;
use nesos_sys::user::Credentials;
use nesos_sys::{namespace, process};
use nesos_wire::executor::{ExecutorSpec, TaskUser};

use crate::output::Outputs;
use crate::terminal::Screen;
use crate::tree::Tree;
use crate::{files, ids};

/// The task's out-of-memory score: like any process, unlike the helper's.
const TASK_OOM_SCORE: i32 = 0;

/// Starts what the spec says.
pub(crate) fn start(spec: ExecutorSpec) -> Result<(Tree, Outputs), String> {
    let sandbox = PathBuf::from(&spec.sandbox);
    if !sandbox.is_absolute() {
        return Err(format!(
            "the sandbox {:?} is not an absolute path",
            spec.sandbox
        ));
    }
    let cgroup = spec.cgroup_procs.as_deref().map(Path::new);
    let cgroup = cgroup.and_then(Path::parent).map(Cgroup::at);
    let pid_namespace = spec.pid_namespace;
    let user = spec.user.clone().map(credentials);
    let outside = ids::outside(&spec, user.as_ref())?;
    // Before the task's own files hide the way to them.
    let ids = ids::of(&spec)?;
    let in_place = plan(spec.clone(), open_cgroup(&spec)?);
    let who = Who {
        user: user.as_ref(),
        outside: outside.as_ref(),
        ids: ids.as_ref(),
    };
    let files = Files::open(&spec, &sandbox, &who)?;
    set_up_surroundings(&spec, &who)?;
    let (outputs, [stdin, stdout, stderr]) = files.begin(who.outside)?;
    let namespace = || ids.as_ref().map(|ids| ids.namespace().try_clone());
    let hold = |error| format!("hold the user namespace: {error}");
    let plan = SpawnPlan {
        stdin,
        stdout,
        stderr,
        terminal: spec.terminal.is_some(),
        directory: directory(&spec),
        user_namespace: namespace().transpose().map_err(hold)?,
        ..in_place
    };
    let spawned = spawn(&plan).map_err(|e| e.to_string())?;
    // Open as long as anything may begin beside the task, which sees what it sees. A task that has ended already shows none.
    let view = matches!(plan.cgroup_view, View::Own)
        .then(|| File::open(format!("/proc/{}/ns/cgroup", spawned.pid)).ok())
        .flatten();
    let tree = Tree {
        main: spawned.pid,
        pid_namespace,
        cgroup,
        birthplace: plan.cgroup,
        cgroup_view: view.map(OwnedFd::from),
        user_namespace: plan.user_namespace,
    };
    Ok((tree, outputs))
}

/// Whose the task's files are.
pub(crate) struct Who<'a> {
    /// In its sandbox and on its volumes; none: this process's.
    pub user: Option<&'a Credentials>,
    /// Elsewhere.
    pub outside: Option<&'a Credentials>,
    /// The user namespace that tells the two apart, if it has one.
    pub ids: Option<&'a Ids>,
}

/// What will be its standard files, opened before the task's own hide the way to them.
enum Files {
    Screen(Screen, (u16, u16)),
    Ready(Outputs, [OwnedFd; 2]),
}

impl Files {
    fn open(spec: &ExecutorSpec, sandbox: &Path, who: &Who<'_>) -> Result<Files, String> {
        let limits = spec.output.as_ref();
        if let Some(window) = spec.terminal {
            let screen = Screen::new(sandbox, limits, who.user)?;
            return Ok(Files::Screen(screen, window));
        }
        let (outputs, ends) = match limits {
            Some(limits) => Outputs::new(sandbox, limits, who.user, who.outside)?,
            None => {
                let file = |name| output(sandbox, name, who).map(OwnedFd::from);
                (Outputs::default(), [file("stdout")?, file("stderr")?])
            }
        };
        Ok(Files::Ready(outputs, ends))
    }

    fn begin(self, user: Option<&Credentials>) -> Result<(Outputs, [Option<OwnedFd>; 3]), String> {
        match self {
            Files::Ready(outputs, [stdout, stderr]) => {
                Ok((outputs, [None, Some(stdout), Some(stderr)]))
            }
            Files::Screen(screen, window) => {
                let (terminal, files) = screen.light(window, user)?;
                Ok((Outputs::of(terminal), files.map(Some)))
            }
        }
    }
}

/// What a spec says of any process in the task's place, but for its directory and files.
pub(crate) fn plan(spec: ExecutorSpec, cgroup: Option<OwnedFd>) -> SpawnPlan {
    SpawnPlan {
        environment: spec.environment,
        cgroup_view: match spec.cgroup_namespace {
            true if cgroup.is_some() => View::Own,
            _ => View::Callers,
        },
        cgroup,
        user: spec.user.map(credentials),
        oom_score: Some(TASK_OOM_SCORE),
        // In a PID namespace the kernel does it anyway.
        die_with_parent: !spec.pid_namespace,
        rights: rights(spec.rights),
        ..SpawnPlan::new(spec.program, spec.arguments)
    }
}

/// The directory of the task's cgroup, which has no path any more once the task's files are entered.
fn open_cgroup(spec: &ExecutorSpec) -> Result<Option<OwnedFd>, String> {
    let procs = spec.cgroup_procs.as_deref().map(Path::new);
    let open = |procs: &Path| {
        cgroup_of_procs_file(procs).map_err(|e| format!("open cgroup {}: {e}", procs.display()))
    };
    procs.map(open).transpose()
}

/// Where the task begins: in its sandbox, unless its image has another place for it.
pub(crate) fn directory(spec: &ExecutorSpec) -> PathBuf {
    let files = spec.file_system.as_ref();
    match files.and_then(|files| files.directory.as_deref()) {
        Some(directory) => directory.into(),
        None => sandbox(spec),
    }
}

/// Where the task sees its sandbox.
pub(crate) fn sandbox(spec: &ExecutorSpec) -> PathBuf {
    match &spec.file_system {
        Some(file_system) => file_system.sandbox.as_str().into(),
        None => spec.sandbox.as_str().into(),
    }
}

/// The user a spec names.
pub(crate) fn credentials(user: TaskUser) -> Credentials {
    Credentials {
        uid: user.uid,
        gid: user.gid,
        groups: user.groups,
    }
}

/// The helper's part of the isolation that agentd has begun with the namespaces.
fn set_up_surroundings(spec: &ExecutorSpec, who: &Who<'_>) -> Result<(), String> {
    if spec.pid_namespace && std::process::id() != 1 {
        return Err("a PID namespace was asked for, but the helper is not PID 1 of one".to_owned());
    }
    if spec.pid_namespace && spec.file_system.is_none() {
        return Err("a PID namespace was asked for without files of its own".to_owned());
    }
    if !spec.pid_namespace {
        process::become_subreaper()
            .map_err(|errno| format!("become the parent of orphans: {errno}"))?;
    }
    if let Some(name) = &spec.hostname {
        namespace::set_hostname(name).map_err(|error| format!("{name}: {error}"))?;
    }
    match &spec.file_system {
        Some(file_system) => files::enter(spec, file_system, who)
            .map_err(|error| format!("make the task's files: {error}")),
        None => Ok(()),
    }
}

fn rights(rights: nesos_wire::rights::Rights) -> Rights {
    let limits = rights.limits.iter().map(|limit| ResourceLimit {
        resource: limit.resource.into(),
        soft: limit.soft,
        hard: limit.hard,
    });
    Rights {
        limits: limits.collect(),
        bounding: rights.bounding,
        effective: rights.effective,
        no_new_privileges: rights.no_new_privileges,
        is_filtered: rights.is_filtered,
    }
}

/// One of the task's output files, appended to, and its user's own.
fn output(sandbox: &Path, name: &str, who: &Who<'_>) -> Result<File, String> {
    let file = open_beneath(sandbox, Path::new(name), Access::Append).map_err(|e| e.to_string())?;
    if let Some(user) = who.user {
        // Only root can; anybody else may only be "switched" to itself, and owns the file already.
        let _ = give_to(&file, user.uid, user.gid);
    }
    match who.ids {
        Some(ids) => ids::reopened(ids, sandbox, name),
        None => Ok(file),
    }
}
