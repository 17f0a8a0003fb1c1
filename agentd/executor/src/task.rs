//! From spec to running process: namespace, cgroup, user, output files, exec. Called once by `hold`.
//!
//! Invariant: an error is a sentence for the exit record, and then no process of the task exists.

use std::fs::File;
use std::path::{Path, PathBuf};

use nesos_sys::cgroup::Cgroup;
use nesos_sys::container::{SpawnPlan, cgroup_of_procs_file, spawn};
use nesos_sys::fs::{Access, give_to, open_beneath};
use nesos_sys::user::Credentials;
use nesos_sys::{namespace, process};
use nesos_wire::executor::ExecutorSpec;

use crate::tree::Tree;

/// The task's out-of-memory score: like any process, unlike the helper's.
const TASK_OOM_SCORE: i32 = 0;

/// Starts what the spec says.
pub(crate) fn start(spec: ExecutorSpec) -> Result<Tree, String> {
    let sandbox = PathBuf::from(&spec.sandbox);
    if !sandbox.is_absolute() {
        return Err(format!(
            "the sandbox {:?} is not an absolute path",
            spec.sandbox
        ));
    }
    let procs = spec.cgroup_procs.as_deref().map(Path::new);
    let cgroup_directory = match procs {
        Some(procs) => Some(
            cgroup_of_procs_file(procs)
                .map_err(|e| format!("open cgroup {}: {e}", procs.display()))?,
        ),
        None => None,
    };
    set_up_surroundings(&spec, &sandbox)?;
    let user = spec.user.map(|user| Credentials {
        uid: user.uid,
        gid: user.gid,
        groups: user.groups,
    });
    let plan = SpawnPlan {
        environment: spec.environment,
        cgroup: cgroup_directory,
        stdout: Some(output(&sandbox, "stdout", user.as_ref())?.into()),
        stderr: Some(output(&sandbox, "stderr", user.as_ref())?.into()),
        directory: sandbox,
        user,
        oom_score: Some(TASK_OOM_SCORE),
        // In a PID namespace the kernel does it anyway.
        die_with_parent: !spec.pid_namespace,
        ..SpawnPlan::new(spec.program, spec.arguments)
    };
    let spawned = spawn(&plan).map_err(|e| e.to_string())?;
    let cgroup = procs.and_then(Path::parent).map(Cgroup::at);
    Ok(Tree {
        main: spawned.pid,
        pid_namespace: spec.pid_namespace,
        cgroup,
    })
}

/// The helper's part of the isolation that agentd has begun with the namespaces.
fn set_up_surroundings(spec: &ExecutorSpec, sandbox: &Path) -> Result<(), String> {
    if spec.pid_namespace && std::process::id() != 1 {
        return Err("a PID namespace was asked for, but the helper is not PID 1 of one".to_owned());
    }
    if !spec.pid_namespace {
        process::become_subreaper()
            .map_err(|errno| format!("become the parent of orphans: {errno}"))?;
    }
    if !spec.pid_namespace && !spec.mount_namespace {
        return Ok(());
    }
    let set_up = || {
        namespace::enter_own_mounts()?;
        if spec.pid_namespace {
            namespace::mount_proc()?;
        }
        namespace::mount_private_tmp(sandbox)?;
        namespace::make_sys_read_only()
    };
    set_up().map_err(|error| format!("set up the task's namespace: {error}"))
}

/// One of the task's output files, appended to, and its user's own.
fn output(sandbox: &Path, name: &str, user: Option<&Credentials>) -> Result<File, String> {
    let file = open_beneath(sandbox, Path::new(name), Access::Append).map_err(|e| e.to_string())?;
    if let Some(user) = user {
        // Only root can; anybody else may only be "switched" to itself, and owns the file already.
        let _ = give_to(&file, user.uid, user.gid);
    }
    Ok(file)
}
