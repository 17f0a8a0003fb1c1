//! A directory in which things are shown: the whole new tree, or a part of it that a task may have filled with links.
//!
//! Called by the module above and its callers. Invariant: every path is resolved below the top, by the kernel.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::unistd::{Gid, Uid, fchdir, fchownat};

use super::{Ids, RootError, failed};
use crate::detached::{Detached, Restrictions};
use crate::fs::{Resolve, resolve};

/// Permission bits of folders and files that are made to mount something on.
const FOLDER: Mode = Mode::from_bits_truncate(0o755);
const FILE: Mode = Mode::from_bits_truncate(0o644);

/// Such a directory.
#[derive(Debug)]
pub struct Corner {
    top: OwnedFd,
    how: Resolve,
}

impl Corner {
    pub(super) fn new(top: OwnedFd, how: Resolve) -> Corner {
        Corner { top, how }
    }

    pub(super) fn top(&self) -> &OwnedFd {
        &self.top
    }

    pub(super) fn find(&self, path: &Path) -> Result<OwnedFd, Errno> {
        resolve(&self.top, path, self.how)
    }

    /// Whether something is there.
    pub fn has(&self, path: &Path) -> bool {
        self.find(path).is_ok()
    }

    /// The directory; it and those above it are made, for `owner`, if they are missing.
    pub fn directory(&self, path: &Path, owner: Option<(u32, u32)>) -> Result<OwnedFd, RootError> {
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(failed("climb out by", path)(Errno::EINVAL));
        }
        match self.find(path) {
            Err(Errno::ENOENT) => self.make(path, owner),
            other => other.map_err(failed("open", path)),
        }
    }

    fn make(&self, path: &Path, owner: Option<(u32, u32)>) -> Result<OwnedFd, RootError> {
        let mut at = self.find(Path::new(".")).map_err(failed("open", path))?;
        let mut so_far = std::path::PathBuf::new();
        // Where one is missing there is nothing below it, and what was just made is no link.
        let mut is_new = false;
        for component in path.components() {
            let Component::Normal(name) = component else {
                continue;
            };
            so_far.push(name);
            let found = match is_new {
                true => Err(Errno::ENOENT),
                false => self.find(&so_far),
            };
            at = match found {
                Err(Errno::ENOENT) => {
                    is_new = true;
                    make_one(&at, name, owner).map_err(failed("make the directory", path))?
                }
                other => other.map_err(failed("open", path))?,
            };
        }
        Ok(at)
    }

    /// Shows `source`, a file or directory, at `target`, which is made if it is missing. `is_tree`: with what is mounted
    /// below it.
    pub fn show(
        &self,
        source: &OwnedFd,
        target: &Path,
        is_tree: bool,
        restrictions: Restrictions,
    ) -> Result<(), RootError> {
        self.show_with(source, target, is_tree, restrictions, None)
    }

    /// The same, with the ids of a task.
    pub fn show_with(
        &self,
        source: &OwnedFd,
        target: &Path,
        is_tree: bool,
        restrictions: Restrictions,
        ids: Option<&Ids>,
    ) -> Result<(), RootError> {
        let place = match self.find(target) {
            Err(Errno::ENOENT) => self.make_place(source, target)?,
            other => other.map_err(failed("open", target))?,
        };
        show_on(&place, source, is_tree, restrictions, ids)
            .map_err(failed("show something at", target))
    }

    /// An empty file system in memory on `place`, which is called `target`.
    pub(super) fn tmpfs(place: &OwnedFd, target: &Path, options: &str) -> Result<(), RootError> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount_on(place, target, "tmpfs", flags, options)
    }

    /// Something of the source's kind to mount on.
    fn make_place(&self, source: &OwnedFd, target: &Path) -> Result<OwnedFd, RootError> {
        let fail = failed("make a mount point", target);
        if is_directory(source).map_err(&fail)? {
            return self.directory(target, None);
        }
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(fail(Errno::EINVAL));
        };
        let parent = self.directory(parent, None)?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&parent, name, flags, FILE).map_err(&fail)?;
        self.find(target).map_err(fail)
    }
}

/// A new directory, for `owner`. A link that somebody puts in its place is not followed.
fn make_one(at: &OwnedFd, name: &OsStr, owner: Option<(u32, u32)>) -> Result<OwnedFd, Errno> {
    mkdirat(at, name, FOLDER)?;
    if let Some((uid, gid)) = owner {
        let ids = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        fchownat(at, name, ids.0, ids.1, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

/// Shows `source` at a place that is open already.
pub(super) fn show_on(
    place: &OwnedFd,
    source: &OwnedFd,
    is_tree: bool,
    restrictions: Restrictions,
    ids: Option<&Ids>,
) -> Result<(), Errno> {
    Detached::copy_of(source, is_tree)
        .and_then(|copy| copy.restrict(restrictions))
        .and_then(|copy| match ids {
            Some(ids) => ids.apply(copy),
            None => Ok(copy),
        })
        .and_then(|copy| copy.attach(place))
}

/// A new file system of a kind that needs no device on `place`, a directory that is called `target`. From within, because a
/// path through /proc would make the kernel remember one there for each descriptor.
pub(super) fn mount_on(
    place: &OwnedFd,
    target: &Path,
    kind: &str,
    flags: MsFlags,
    options: &str,
) -> Result<(), RootError> {
    let fail = failed("mount a file system at", target);
    let before = openat(
        AT_FDCWD,
        ".",
        OFlag::O_PATH | OFlag::O_CLOEXEC,
        Mode::empty(),
    );
    let before = before.map_err(&fail)?;
    fchdir(place).map_err(&fail)?;
    let options = Some(options).filter(|options| !options.is_empty());
    let mounted = mount(Some(kind), ".", Some(kind), flags, options);
    fchdir(&before).and(mounted).map_err(fail)
}

pub(super) fn is_directory(place: &OwnedFd) -> Result<bool, Errno> {
    let mode = fstat(place)?.st_mode;
    Ok(SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == SFlag::S_IFDIR)
}
