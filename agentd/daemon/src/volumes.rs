//! Persistent volumes on disk: made, shown to tasks, deleted.
//!
//! A task finds its volume by a symbolic link in its sandbox or, where it has files of its own, as a mount there. Deleting is
//! a rename at once and the removal of the data in the background: the name is free again immediately. Called by the loop and by the
//! containerizer. Invariant: no path leads out of the disk's root or the sandbox.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown, symlink};
use std::path::{Path, PathBuf};

use agentd_core::VolumePlace;
use nesos_sys::user::Credentials;
use nesos_wire::file_system::{Mount, MountSource};
use nesos_wire::resource::{DiskSource, Resources, Volume};
use nesos_wire::{PersistenceId, role};

/// Where volumes are, below the disk's root.
const VOLUMES: &str = "volumes";
/// Where deleted volumes wait for their removal, below the disk's root.
const REMOVED: &str = "volumes/.removed";
/// Most volumes that wait there under names of their own; the first free one is taken.
const MAX_REMOVED: usize = 10_000;

/// Why a volume is not to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error("volume {id} of role {role}: {reason}")]
    Name {
        id: String,
        role: String,
        reason: String,
    },
    #[error("cannot {operation} {path}: {source}", path = .path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// The volume's directory.
pub(crate) fn path(work_dir: &Path, place: &VolumePlace) -> Result<PathBuf, VolumeError> {
    let fail = |reason: String| VolumeError::Name {
        id: place.id.clone(),
        role: place.role.clone(),
        reason,
    };
    PersistenceId::parse(&place.id).map_err(|e| fail(e.to_string()))?;
    role::check(&place.role).map_err(|e| fail(e.to_string()))?;
    Ok(root(work_dir, place).join(place.relative()))
}

/// Makes the directory if it is not there.
pub(crate) fn create(work_dir: &Path, place: &VolumePlace) -> Result<PathBuf, VolumeError> {
    let path = path(work_dir, place)?;
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o755).create(&path);
    made.map_err(io("create", &path))?;
    Ok(path)
}

/// Takes the volume away; returns where its data wait for [`sweep`].
pub(crate) fn remove(work_dir: &Path, place: &VolumePlace) -> Result<PathBuf, VolumeError> {
    let path = path(work_dir, place)?;
    let grave = grave(&root(work_dir, place))?;
    if !place.is_whole_disk {
        fs::rename(&path, &grave).map_err(io("remove", &path))?;
        return Ok(grave);
    }
    fs::create_dir(&grave).map_err(io("create", &grave))?;
    for entry in fs::read_dir(&path).map_err(io("read", &path))?.flatten() {
        if entry.file_name() != "volumes" {
            let target = grave.join(entry.file_name());
            fs::rename(entry.path(), target).map_err(io("remove", &entry.path()))?;
        }
    }
    Ok(grave)
}

/// Deletes what [`remove`] took away, or a crash left. Can take long.
pub(crate) fn sweep(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("cannot delete {}: {error}", path.display());
    }
}

/// Everything that waits for its removal on these disks.
pub(crate) fn leftovers(work_dir: &Path, resources: &Resources) -> Vec<PathBuf> {
    let places = agentd_core::volume_places(resources);
    let mut roots: Vec<PathBuf> = places.map(|place| root(work_dir, &place)).collect();
    roots.push(work_dir.into());
    roots.sort();
    roots.dedup();
    roots.iter().map(|root| root.join(REMOVED)).collect()
}

/// Links the task's volumes into its sandbox, and gives them to its user. Links that are there already stay.
pub(crate) fn link(
    work_dir: &Path,
    resources: &Resources,
    sandbox: &Path,
    user: Option<&Credentials>,
) -> Result<(), VolumeError> {
    for (directory, volume) in ready(work_dir, resources, user)? {
        let link = sandbox.join(&volume.container_path);
        if fs::read_link(&link).is_ok_and(|target| target == directory) {
            continue;
        }
        if let Some(parent) = link.parent() {
            fs::create_dir_all(parent).map_err(io("create", parent))?;
        }
        symlink(&directory, &link).map_err(io("link", &link))?;
    }
    Ok(())
}

/// What is mounted in the sandbox of a task that has files of its own; given to its user.
pub(crate) fn mounts(
    work_dir: &Path,
    resources: &Resources,
    user: Option<&Credentials>,
) -> Result<Vec<Mount>, VolumeError> {
    let ready = ready(work_dir, resources, user)?.into_iter();
    let mounts = ready.map(|(directory, volume)| Mount {
        source: MountSource::Volume(directory.display().to_string()),
        target: volume.container_path.clone(),
        is_read_only: volume.is_read_only,
    });
    Ok(mounts.collect())
}

/// Where the volumes of all disks are, to be seen by executors, whose volumes come and go while they run.
pub(crate) fn everywhere(
    work_dir: &Path,
    resources: &Resources,
) -> Result<Vec<Mount>, VolumeError> {
    let disks = resources.entries().iter();
    let disks = disks.filter_map(|entry| entry.terms().disk.as_ref()?.source.as_ref());
    let of_disk = |disk: &DiskSource| match disk {
        DiskSource::Path(root) => root.as_ref().map(|root| work_dir.join(root).join(VOLUMES)),
        DiskSource::Mount(root) => root.as_ref().map(|root| work_dir.join(root)),
    };
    let mut folders: Vec<PathBuf> = disks.filter_map(of_disk).collect();
    folders.push(work_dir.join(VOLUMES));
    folders.sort();
    folders.dedup();
    let mount = |folder: PathBuf| {
        fs::create_dir_all(&folder).map_err(io("create", &folder))?;
        let folder = folder.display().to_string();
        Ok(Mount {
            source: MountSource::Volume(folder.clone()),
            target: folder,
            is_read_only: false,
        })
    };
    folders.into_iter().map(mount).collect()
}

/// The volumes among resources with their directories, made and given to their user.
fn ready<'a>(
    work_dir: &Path,
    resources: &'a Resources,
    user: Option<&Credentials>,
) -> Result<Vec<(PathBuf, &'a Volume)>, VolumeError> {
    let mut ready = Vec::new();
    for entry in resources.entries() {
        let (Some(place), Some(volume)) = (VolumePlace::of(entry), entry.terms().volume()) else {
            continue;
        };
        volume.check_path().map_err(|reason| VolumeError::Name {
            id: place.id.clone(),
            role: place.role.clone(),
            reason,
        })?;
        let directory = create(work_dir, &place)?;
        if let Some(user) = user {
            chown(&directory, Some(user.uid), Some(user.gid))
                .map_err(io("give to its user", &directory))?;
        }
        ready.push((directory, volume));
    }
    Ok(ready)
}

fn root(work_dir: &Path, place: &VolumePlace) -> PathBuf {
    place.root.as_ref().map_or_else(
        || work_dir.to_path_buf(),
        |root| work_dir.join(root), // absolute ones replace it
    )
}

/// A free name among the removed.
fn grave(root: &Path) -> Result<PathBuf, VolumeError> {
    let folder = root.join(REMOVED);
    fs::create_dir_all(&folder).map_err(io("create", &folder))?;
    let mut names = (0..MAX_REMOVED).map(|number| folder.join(number.to_string()));
    names
        .find(|path| !path.exists())
        .ok_or_else(|| io("remove to", &folder)(io::ErrorKind::StorageFull.into()))
}

fn io(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> VolumeError {
    let path = path.to_path_buf();
    move |source| VolumeError::Io {
        operation,
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn place(role: &str, id: &str) -> VolumePlace {
        VolumePlace {
            root: None,
            is_whole_disk: false,
            role: role.into(),
            id: id.into(),
        }
    }

    #[test]
    fn a_removed_volume_is_gone_at_once_and_can_be_made_again_empty() {
        let folder = tempfile::tempdir().unwrap();
        let place = place("lab/east", "v1");
        let made = create(folder.path(), &place).unwrap();
        assert!(made.ends_with("volumes/roles/lab east/v1"));
        fs::write(made.join("data"), "kept").unwrap();
        assert_eq!(create(folder.path(), &place).unwrap(), made);
        assert!(made.join("data").exists());
        let grave = remove(folder.path(), &place).unwrap();
        assert!(!made.exists() && grave.join("data").exists());
        create(folder.path(), &place).unwrap();
        assert!(!made.join("data").exists());
        let left = leftovers(folder.path(), &Resources::new());
        left.iter().for_each(|path| sweep(path));
        assert!(!grave.exists() && made.exists());
    }

    #[test]
    fn a_whole_disk_is_emptied_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = VolumePlace {
            root: Some(folder.path().display().to_string()),
            is_whole_disk: true,
            ..place("a", "v")
        };
        fs::write(folder.path().join("data"), "x").unwrap();
        let grave = remove(Path::new("/nowhere"), &place).unwrap();
        assert!(folder.path().exists() && !folder.path().join("data").exists());
        sweep(&grave);
    }

    #[test]
    fn names_cannot_climb() {
        for (role, id) in [("..", "v"), ("a", ".."), ("a", "x/y"), ("a/../b", "v")] {
            assert!(
                create(Path::new("/nowhere"), &place(role, id)).is_err(),
                "{role} {id}"
            );
        }
    }
}
