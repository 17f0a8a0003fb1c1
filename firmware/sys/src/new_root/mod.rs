//! A task's file tree while it is put together, and the step into it.
//!
//! Called by `nesos-executor` in a mount namespace of its own ([`crate::namespace::enter_own_mounts`]). Invariants: no path is
//! resolved beyond the new tree, whatever links a task or an image has planted in it; after [`NewRoot::enter`] nothing of the
//! old tree can be reached but through descriptors that were open before.

mod corner;
mod ids;
mod system;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{fchdir, pivot_root};

pub use crate::detached::Restrictions;
use crate::detached::restrict;
use crate::fs::Resolve;
pub use corner::Corner;
use corner::{is_directory, show_on};
pub use ids::Ids;
pub use system::Kernel;

/// Options of a small tmpfs that only holds mount points.
const HOLDER: &str = "mode=755,size=64k";

/// Why the tree could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path}: {errno}", path = .path.display())]
pub struct RootError {
    /// What was tried.
    pub operation: &'static str,
    /// With what.
    pub path: PathBuf,
    /// What the kernel said.
    pub errno: Errno,
}

/// The tree to be.
#[derive(Debug)]
pub struct NewRoot {
    tree: Corner,
    /// Tops of tmpfs that hold mount points, to be made read-only at the end.
    holders: Vec<(OwnedFd, PathBuf)>,
    /// An empty folder that is shown, read-only, wherever one is to be hidden, once there is one.
    empty: Option<OwnedFd>,
}

impl NewRoot {
    /// The host's root file system, read-only, with those of the host's mounts that belong to its system; nothing else that
    /// is mounted on the host. Put together at `staging`, an empty directory. `system`: of [`crate::mount_table`].
    pub fn of_host(system: &[PathBuf], staging: &Path) -> Result<NewRoot, RootError> {
        let restrictions = Restrictions {
            read_only: true,
            no_dev: true,
            ..Restrictions::default()
        };
        let root = NewRoot::of_copy(Path::new("/"), staging, restrictions, None)?;
        for point in system {
            // One that cannot be opened is covered by a later one, and one that is not found in the new tree lies inside a
            // mount that is left out.
            if root.tree.has(point)
                && let Ok(source) = open(point)
            {
                root.tree.show(&source, point, false, restrictions)?;
            }
        }
        Ok(root)
    }

    /// A directory as it is, with the ids of the task.
    pub fn of_directory(
        directory: &Path,
        staging: &Path,
        ids: Option<&Ids>,
    ) -> Result<NewRoot, RootError> {
        let restrictions = Restrictions {
            no_dev: true,
            ..Restrictions::default()
        };
        NewRoot::of_copy(directory, staging, restrictions, ids)
    }

    /// [Layers](mount_layers).
    pub fn of_layers(
        layers: &[PathBuf],
        upper: &Path,
        work: &Path,
        staging: &Path,
        ids: Option<&Ids>,
    ) -> Result<NewRoot, RootError> {
        let top = mount_layers(layers, upper, work, staging, ids)?;
        Ok(NewRoot::at(top))
    }

    /// The tree, to show things in it.
    pub fn tree(&self) -> &Corner {
        &self.tree
    }

    /// The directory `path` of the tree as a place of its own, of which no link leads out; made if it is missing.
    pub fn corner(&self, path: &Path) -> Result<Corner, RootError> {
        Ok(Corner::new(
            self.tree.directory(path, None)?,
            Resolve::Inside,
        ))
    }

    /// An empty, read-only folder or file in the place of what is there, if something is.
    pub fn hide(&mut self, path: &Path) -> Result<(), RootError> {
        let Ok(place) = self.tree.find(path) else {
            return Ok(());
        };
        let fail = failed("hide", path);
        if !is_directory(&place).map_err(&fail)? {
            let null = open(Path::new("/dev/null"))?;
            let restrictions = Restrictions {
                read_only: true,
                ..Restrictions::default()
            };
            return show_on(&place, &null, false, restrictions, None).map_err(fail);
        }
        if let Some(empty) = &self.empty {
            return show_on(&place, empty, false, Restrictions::SHOWN, None).map_err(fail);
        }
        Corner::tmpfs(&place, path, HOLDER)?;
        let top = self.tree.find(path).map_err(fail)?;
        seal(&top, path)?;
        self.empty = Some(top);
        Ok(())
    }

    /// Hides what is at `path` and makes it a place for mount points; so too if nothing is there.
    pub fn make_room(&mut self, path: &Path) -> Result<(), RootError> {
        let mut ancestors = path.ancestors();
        let fail = failed("find room for", path);
        let exists =
            ancestors.find_map(|ancestor| Some((ancestor, self.tree.find(ancestor).ok()?)));
        let (exists, place) = exists
            .filter(|(ancestor, _)| *ancestor != Path::new("/"))
            .ok_or_else(|| fail(Errno::EROFS))?;
        Corner::tmpfs(&place, exists, HOLDER)?;
        let top = self.tree.find(exists).map_err(fail)?;
        self.tree.directory(path, None)?;
        self.holders.push((top, exists.to_owned()));
        Ok(())
    }

    /// Makes this tree the process's `/`. The working directory stays what it is, out of reach of paths.
    pub fn enter(self) -> Result<(), RootError> {
        for (top, path) in &self.holders {
            seal(top, path)?;
        }
        let slash = Path::new("/");
        let (directory, old) = (open(Path::new("."))?, open(slash)?);
        let fail = failed("make the new tree the root", slash);
        fchdir(self.tree.top()).map_err(&fail)?;
        // Both on the same place: the old root then lies on the new one, and the name of neither is needed.
        pivot_root(".", ".").map_err(&fail)?;
        fchdir(&old).map_err(&fail)?;
        umount2(".", MntFlags::MNT_DETACH).map_err(&fail)?;
        fchdir(&directory).map_err(fail)
    }

    fn of_copy(
        source: &Path,
        staging: &Path,
        restrictions: Restrictions,
        ids: Option<&Ids>,
    ) -> Result<NewRoot, RootError> {
        show_on(&open(staging)?, &open(source)?, false, restrictions, ids)
            .map_err(failed("copy the mount", source))?;
        Ok(NewRoot::at(open(staging)?))
    }

    fn at(top: OwnedFd) -> NewRoot {
        NewRoot {
            tree: Corner::new(top, Resolve::InRoot),
            holders: Vec::new(),
            empty: None,
        }
    }
}

/// Read-only layers, the topmost first, below a writable directory, at an empty one. Opaque directories are marked by
/// `user.overlay.*`, which is written without power over the machine. With `ids` the layers are shown with those of a task,
/// and the upper directory is made its root's: what is written there belongs to whom it does outside.
pub fn mount_layers(
    layers: &[PathBuf],
    upper: &Path,
    work: &Path,
    staging: &Path,
    ids: Option<&Ids>,
) -> Result<OwnedFd, RootError> {
    if let Some(ids) = ids {
        layers.iter().try_for_each(|layer| ids.cover(layer))?;
    }
    let opened = layers.iter().map(|layer| open(layer));
    let opened = opened.collect::<Result<Vec<_>, _>>()?;
    let (top, work) = (open(upper)?, open(work)?);
    if let Some(ids) = ids {
        ids.give(&top, upper)?;
    }
    // By descriptor: the kernel takes 4096 bytes of options, and paths may have colons inside.
    let lower: Vec<String> = opened.iter().map(by_descriptor).collect();
    let options = format!(
        "userxattr,lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        by_descriptor(&top),
        by_descriptor(&work)
    );
    let kind = Some("overlay");
    let flags = MsFlags::MS_NODEV;
    mount(kind, staging, kind, flags, Some(options.as_str()))
        .map_err(failed("mount layers at", staging))?;
    open(staging)
}

/// A descriptor that stands for a place of the host.
pub fn open(path: &Path) -> Result<OwnedFd, RootError> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty()).map_err(failed("open", path))
}

/// A place inside `directory` that tasks can write to; a folder is made, for `owner`, if nothing is there. No links.
pub fn open_inside(
    directory: &Path,
    path: &Path,
    owner: Option<(u32, u32)>,
) -> Result<OwnedFd, RootError> {
    let corner = Corner::new(open(directory)?, Resolve::Inside);
    match corner.find(path) {
        Ok(place) => Ok(place),
        Err(Errno::ENOENT) => corner.directory(path, owner),
        Err(errno) => Err(failed("open", path)(errno)),
    }
}

/// An empty file system in memory on `folder`, for [`secret_file`].
pub fn memory_folder(folder: &Path) -> Result<(), RootError> {
    let kind = Some("tmpfs");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(kind, folder, kind, flags, Some("mode=700")).map_err(failed("mount memory at", folder))
}

/// A new file that only `owner` can read; it stands for itself wherever it is shown.
pub fn secret_file(
    path: &Path,
    bytes: &[u8],
    owner: Option<(u32, u32)>,
) -> Result<OwnedFd, RootError> {
    new_file(path, bytes, 0o400, owner)
}

/// A new file that everybody can read.
pub fn plain_file(path: &Path, bytes: &[u8]) -> Result<OwnedFd, RootError> {
    new_file(path, bytes, 0o644, None)
}

fn new_file(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    owner: Option<(u32, u32)>,
) -> Result<OwnedFd, RootError> {
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?;
        file.write_all(bytes)?;
        match owner {
            Some((uid, gid)) => fchown(&file, Some(uid), Some(gid)),
            None => Ok(()),
        }
    };
    write().map_err(|e: io::Error| failed_io("write", path, &e))?;
    open(path)
}

fn seal(top: &OwnedFd, path: &Path) -> Result<(), RootError> {
    restrict(top, Restrictions::SHOWN, false).map_err(failed("make read-only", path))
}

/// The place by a short path. Not for what tasks could have closed or replaced: the descriptor is this process's.
fn by_descriptor(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(Errno) -> RootError {
    let path = path.to_owned();
    move |errno| RootError {
        operation,
        path: path.clone(),
        errno,
    }
}

fn failed_io(operation: &'static str, path: &Path, error: &io::Error) -> RootError {
    failed(operation, path)(Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}
