//! Commands that run beside the task for a client: checks, and people who look inside. Called by `hold`.
//!
//! Each is a session of its own, started as the task was. Invariant: it ends with its client's connection, or with the task.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use nesos_sys::container::{SpawnPlan, View, spawn};
use nesos_sys::fs::give_to;
use nesos_wire::executor::BesideSpec;
use nesos_wire::frame::{HEADER, MAX_FRAME, decode};

use crate::tree::Tree;
use crate::{ids, run_directory, task};

/// Starts what the first of these descriptors says, with the other three as its standard ones. Its process id. `own`: the
/// task's spec.
pub(crate) fn start(
    own: &File,
    tree: &Tree,
    passed: Vec<OwnedFd>,
    terminal: bool,
) -> Result<u32, String> {
    let Ok([file, stdin, stdout, stderr]) = <[OwnedFd; 4]>::try_from(passed) else {
        return Err("four descriptors were expected".into());
    };
    let beside = read(file)?;
    let mut spec = run_directory::read_spec(own)?;
    spec.environment.extend(beside.environment);
    spec.environment = latest(spec.environment);
    spec.user = beside.user.or(spec.user);
    (spec.program, spec.arguments) = (beside.program, beside.arguments);
    let inside = Path::new(&beside.directory);
    if !inside
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return Err(format!(
            "{:?} is no directory of the sandbox",
            beside.directory
        ));
    }
    let directory = match beside.directory.as_str() {
        "" => task::directory(&spec),
        _ => task::sandbox(&spec).join(inside),
    };
    let hold = |fd: &Option<OwnedFd>| {
        let held = fd.as_ref().map(OwnedFd::try_clone).transpose();
        held.map_err(|error| format!("hold the task's cgroup or namespace: {error}"))
    };
    let cgroup = hold(&tree.birthplace)?;
    let cgroup_view = hold(&tree.cgroup_view)?.map(View::Of);
    let user_namespace = hold(&tree.user_namespace)?;
    let user = spec.user.clone().map(task::credentials);
    let outside = ids::outside(&spec, user.as_ref())?;
    if let (Some(user), true) = (&outside, user_namespace.is_some()) {
        ids::give_pipes([&stdin, &stdout, &stderr], user);
    }
    let in_place = task::plan(spec, cgroup);
    let plan = SpawnPlan {
        directory,
        stdin: Some(stdin),
        stdout: Some(stdout),
        stderr: Some(stderr),
        terminal,
        user_namespace,
        // Without the task's: one of its own, which shows the same.
        cgroup_view: cgroup_view.unwrap_or(in_place.cgroup_view),
        ..in_place
    };
    if let (true, Some(terminal), Some(user)) = (terminal, &plan.stdin, &outside) {
        // Only root can; without it the terminal is used as well, but cannot be opened once more.
        let _ = give_to(terminal, user.uid, user.gid);
    }
    let spawned = spawn(&plan).map_err(|error| error.to_string())?;
    Ok(spawned.pid)
}

fn read(file: OwnedFd) -> Result<BesideSpec, String> {
    let mut bytes = Vec::new();
    let limit = (HEADER + MAX_FRAME) as u64;
    let read = File::from(file).take(limit).read_to_end(&mut bytes);
    read.map_err(|error| format!("read what to run: {error}"))?;
    match decode::<BesideSpec>(&bytes) {
        Some(Ok((spec, _))) => Ok(spec),
        Some(Err(error)) => Err(format!("what to run is damaged: {error}")),
        None => Err(format!(
            "what to run is cut off after {} bytes",
            bytes.len()
        )),
    }
}

/// Of variables with the same name the last, where the first stood.
fn latest(variables: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut merged: Vec<(String, String)> = Vec::with_capacity(variables.len());
    for (name, value) in variables {
        match merged.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => merged.push((name, value)),
        }
    }
    merged
}
