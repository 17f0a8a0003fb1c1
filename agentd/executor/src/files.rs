//! The task's files: from their description to a root of their own that this process, and the task after it, live in.
//!
//! Called by `task`, in the last moment before the task starts: from then on no path of the host leads anywhere. Invariants:
//! nothing is mounted where anybody else sees it; a path that a task or framework names is resolved inside its directory.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nesos_sys::namespace::{NamespaceError, enter_own_mounts};
use nesos_sys::new_root::{self, Ids, Kernel, NewRoot, Restrictions, RootError};
use nesos_sys::user_namespace::{Guise, UserNamespaceError};
use nesos_wire::executor::ExecutorSpec;
use nesos_wire::file_system::{FileSystem, Mount, MountSource, Names, Root, SharedMemory};

use crate::task::Who;

/// Where the tree is put together: in the run directory.
const STAGING: &str = "root";
/// Where secrets, and files of /etc, are put before they are shown, in memory.
const SECRETS: &str = "secrets";
/// Where images are put together before they are shown; a number follows.
const IMAGE: &str = "image";

/// Why the task has no files.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    #[error(transparent)]
    Ids(#[from] UserNamespaceError),
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("cannot make {path}: {source}")]
    Make {
        path: String,
        source: std::io::Error,
    },
    #[error("the volume at {target:?}: {source}")]
    Mount { target: String, source: RootError },
}

/// Makes the tree and enters it. The working directory stays the run directory.
pub(crate) fn enter(
    spec: &ExecutorSpec,
    files: &FileSystem,
    who: &Who<'_>,
) -> Result<(), FilesError> {
    enter_own_mounts()?;
    // What is made in the tree is the task's root's.
    let guise = who.ids.map(|ids| Guise::take(ids.map().first));
    let _guise = guise.transpose()?;
    let staging = fresh(STAGING)?;
    let mut root = base(&files.root, &staging, who.ids)?;
    let own_size;
    let shared_memory = match files.shared_memory {
        SharedMemory::Host => None,
        SharedMemory::Own { megabytes } => {
            own_size = megabytes.map_or("mode=1777".into(), |mb| format!("mode=1777,size={mb}m"));
            Some(own_size.as_str())
        }
    };
    let procs = spec.cgroup_procs.as_deref().map(Path::new);
    root.show_kernel(&Kernel {
        own_processes: spec.pid_namespace,
        cgroup: procs.and_then(Path::parent),
        own_network: files.network.is_some(),
        shared_memory,
        devices: &files.devices,
    })?;
    match (&files.root, &files.network) {
        (Root::Overlay { .. }, None) => root.bring_names()?,
        (Root::Overlay { .. }, Some(names)) => root.write_names(&files_of(names))?,
        (_, Some(names)) => cover(&root, names)?,
        (_, None) => {}
    }
    let sandbox = Path::new(&files.sandbox);
    if let Root::Host { hidden, .. } = &files.root {
        for path in hidden.iter().map(Path::new) {
            match sandbox.starts_with(path) && root.tree().has(path) {
                true => root.make_room(path)?,
                false => root.hide(path)?,
            }
        }
    }
    // Opened by name, once: what is shown is the sandbox that agentd made.
    let source = new_root::open(Path::new(&spec.sandbox))?;
    show_folder(&mut root, &source, sandbox, who.ids)?;
    for (index, mount) in files.mounts.iter().enumerate() {
        show(&mut root, sandbox, mount, index, who).map_err(|source| match source {
            FilesError::Root(source) => FilesError::Mount {
                target: mount.target.clone(),
                source,
            },
            other => other,
        })?;
    }
    root.enter()?;
    // Nothing is on them any more in any mount table; the run directory is removed sooner without them.
    let images = (0..files.mounts.len()).map(|index| format!("{IMAGE}{index}"));
    for folder in [STAGING.into(), SECRETS.into()].into_iter().chain(images) {
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

/// What the tree begins as.
fn base(root: &Root, staging: &Path, ids: Option<&Ids>) -> Result<NewRoot, RootError> {
    match root {
        Root::Host { system, .. } => {
            let system: Vec<PathBuf> = system.iter().map(PathBuf::from).collect();
            NewRoot::of_host(&system, staging)
        }
        Root::Directory(directory) => NewRoot::of_directory(Path::new(directory), staging, ids),
        Root::Overlay {
            layers,
            upper,
            work,
        } => {
            let layers: Vec<PathBuf> = layers.iter().map(PathBuf::from).collect();
            NewRoot::of_layers(&layers, Path::new(upper), Path::new(work), staging, ids)
        }
    }
}

fn show(
    root: &mut NewRoot,
    sandbox: &Path,
    mount: &Mount,
    index: usize,
    who: &Who<'_>,
) -> Result<(), FilesError> {
    let (source, is_tree, ids) = match &mount.source {
        // The host's own, which are nobody's in a user namespace.
        MountSource::Host(path) => (new_root::open(Path::new(path))?, true, None),
        MountSource::Volume(path) => (new_root::open(Path::new(path))?, true, who.ids),
        MountSource::Inside { directory, path } => {
            let user = who.user.map(|user| (user.uid, user.gid));
            let owner = user.or(who.ids.map(|_| (0, 0)));
            let inside = new_root::open_inside(Path::new(directory), Path::new(path), owner)?;
            (inside, false, who.ids)
        }
        MountSource::Secret(bytes) => {
            let owner = who.outside.map(|user| (user.uid, user.gid));
            (secret(bytes, index, owner)?, false, None)
        }
        MountSource::Overlay {
            layers,
            upper,
            work,
        } => {
            let staging = fresh(&format!("{IMAGE}{index}"))?;
            let layers: Vec<PathBuf> = layers.iter().map(PathBuf::from).collect();
            let (upper, work) = (Path::new(upper), Path::new(work));
            let image = new_root::mount_layers(&layers, upper, work, &staging, who.ids)?;
            // Its layers are shown with the task's ids already.
            (image, false, None)
        }
    };
    let restrictions = Restrictions {
        read_only: mount.is_read_only,
        ..Restrictions::DATA
    };
    let target = Path::new(&mount.target);
    if target.is_relative() {
        let corner = root.corner(sandbox)?;
        return Ok(corner.show_with(&source, target, is_tree, restrictions, ids)?);
    }
    let tree = root.tree();
    Ok(tree.show_with(&source, target, is_tree, restrictions, ids)?)
}

fn files_of(names: &Names) -> [(&'static str, Vec<u8>); 3] {
    [
        ("hostname", &names.hostname),
        ("hosts", &names.hosts),
        ("resolv.conf", &names.resolv_conf),
    ]
    .map(|(name, text)| (name, text.clone().into_bytes()))
}

/// Shows files in the place of the host's, as far as the host has them: its /etc is read-only.
fn cover(root: &NewRoot, names: &Names) -> Result<(), FilesError> {
    let folder = memory()?;
    for (name, text) in files_of(names) {
        let target = Path::new("/etc").join(name);
        if root.tree().has(&target) {
            let source = new_root::plain_file(&folder.join(name), &text)?;
            root.tree()
                .show(&source, &target, false, Restrictions::DATA)?;
        }
    }
    Ok(())
}

/// Shows a folder of the host where it lies on the host, whether or not there is something.
fn show_folder(
    root: &mut NewRoot,
    source: &OwnedFd,
    target: &Path,
    ids: Option<&Ids>,
) -> Result<(), RootError> {
    if root.tree().directory(target, None).is_err() {
        root.make_room(target)?;
    }
    let tree = root.tree();
    tree.show_with(source, target, false, Restrictions::DATA, ids)
}

/// A file in memory that only the task's user can read.
fn secret(bytes: &[u8], index: usize, owner: Option<(u32, u32)>) -> Result<OwnedFd, FilesError> {
    let path = memory()?.join(index.to_string());
    Ok(new_root::secret_file(&path, bytes, owner)?)
}

/// Where files are that are in memory only.
fn memory() -> Result<PathBuf, FilesError> {
    let folder = PathBuf::from(SECRETS);
    if !folder.exists() {
        new_root::memory_folder(&fresh(SECRETS)?)?;
    }
    Ok(folder)
}

fn fresh(path: &str) -> Result<PathBuf, FilesError> {
    let made = fs::create_dir(path);
    made.map_err(|source| FilesError::Make {
        path: path.into(),
        source,
    })?;
    Ok(path.into())
}
