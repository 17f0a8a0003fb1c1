//! The task's user namespace: found or made, and what the task's users are called outside of it. Called by `task`, `files`
//! and `beside`.
//!
//! A container with a network of its own has a namespace already, to which that network belongs and which the tasks of a pod
//! share; any other gets one here. Invariant: nothing starts for a user whom the namespace does not know.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nesos_sys::fs::{Access, give_to, open_inside};
use nesos_sys::new_root::Ids;
use nesos_sys::user::Credentials;
use nesos_sys::user_namespace::{IdMap, make, owner_of_network};
use nesos_wire::executor::ExecutorSpec;

/// The namespace that a spec asks for.
pub(crate) fn of(spec: &ExecutorSpec) -> Result<Option<Ids>, String> {
    let Some(map) = map(spec) else {
        return Ok(None);
    };
    let Some(files) = &spec.file_system else {
        return Err("a user namespace was asked for without files of its own".to_owned());
    };
    let of_network = match files.network {
        Some(_) => owner_of_network().map_err(|error| error.to_string())?,
        None => None,
    };
    let namespace = match of_network {
        Some(namespace) => namespace,
        None => make(map).map_err(|error| error.to_string())?,
    };
    Ok(Some(Ids::new(map, namespace)))
}

/// Who a user of the task is to what is not shown with the task's ids: the host's own, without a namespace.
pub(crate) fn outside(
    spec: &ExecutorSpec,
    user: Option<&Credentials>,
) -> Result<Option<Credentials>, String> {
    let Some(map) = map(spec) else {
        return Ok(user.cloned());
    };
    let root = Credentials {
        uid: 0,
        gid: 0,
        groups: Vec::new(),
    };
    let user = user.unwrap_or(&root);
    let outside = |id: u32| {
        map.outside(id).ok_or_else(|| {
            format!(
                "user or group {id} is none of the {} of its user namespace",
                map.count
            )
        })
    };
    let groups = user.groups.iter().map(|group| outside(*group));
    Ok(Some(Credentials {
        uid: outside(user.uid)?,
        gid: outside(user.gid)?,
        groups: groups.collect::<Result<_, _>>()?,
    }))
}

/// One of the task's output files, opened so that the task can open it again.
pub(crate) fn reopened(ids: &Ids, sandbox: &Path, name: &str) -> Result<File, String> {
    let folder = ids.folder(sandbox).map_err(|error| error.to_string())?;
    open_inside(&folder, Path::new(name), Access::Append).map_err(|error| error.to_string())
}

/// Gives the pipes among a command's standard files to who runs it, so that it can open them by name.
pub(crate) fn give_pipes(files: [&OwnedFd; 3], user: &Credentials) {
    use std::os::unix::fs::FileTypeExt;
    for file in files {
        let copy = file.try_clone().map(File::from);
        let kind = copy.and_then(|file| Ok(file.metadata()?.file_type()));
        if kind.is_ok_and(|kind| kind.is_fifo()) {
            // Without it, it is used as well.
            let _ = give_to(file.as_fd(), user.uid, user.gid);
        }
    }
}

fn map(spec: &ExecutorSpec) -> Option<IdMap> {
    spec.rights.ids.map(|ids| IdMap {
        first: ids.first,
        count: ids.count,
    })
}
