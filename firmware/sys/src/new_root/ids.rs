//! Files in a user namespace: shown so that they belong inside to whom they belong to on the host, without a `chown` of any.
//!
//! Called by the modules beside and by `nesos-executor`. Invariant: only what is shown through here is mapped; all other files of
//! the host are nobody's inside.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::unistd::{Gid, Uid, fchownat};

use super::{RootError, failed, open};
use crate::detached::Detached;
use crate::user_namespace::IdMap;

/// A user namespace that files are shown for.
#[derive(Debug)]
pub struct Ids {
    map: IdMap,
    namespace: OwnedFd,
    /// Folders that are covered by themselves, mapped.
    covered: RefCell<Vec<PathBuf>>,
}

impl Ids {
    /// Of a namespace with this map.
    pub fn new(map: IdMap, namespace: OwnedFd) -> Ids {
        Ids {
            map,
            namespace,
            covered: RefCell::default(),
        }
    }

    /// What it maps.
    pub fn map(&self) -> IdMap {
        self.map
    }

    /// The namespace.
    pub fn namespace(&self) -> &OwnedFd {
        &self.namespace
    }

    /// A folder as it is seen inside, that hangs nowhere: what is opened in it can be opened again from inside.
    pub fn folder(&self, path: &Path) -> Result<OwnedFd, RootError> {
        let fail = failed("map the ids of", path);
        let copy = Detached::copy_of(open(path)?, false).map_err(&fail)?;
        self.apply(copy).map(Detached::into_top).map_err(fail)
    }

    pub(super) fn apply(&self, copy: Detached) -> Result<Detached, Errno> {
        copy.map_ids(self.namespace.as_fd())
    }

    /// Covers a folder by itself, in the caller's mount namespace: for those who take folders by their place only.
    pub(super) fn cover(&self, path: &Path) -> Result<(), RootError> {
        // What is mapped cannot be mapped once more.
        if self.covered.borrow().iter().any(|known| known == path) {
            return Ok(());
        }
        let place = open(path)?;
        Detached::copy_of(&place, false)
            .and_then(|copy| self.apply(copy))
            .and_then(|copy| copy.attach(&place))
            .map_err(failed("map the ids of", path))?;
        self.covered.borrow_mut().push(path.to_owned());
        Ok(())
    }

    /// Gives a folder, without what is in it, to root inside.
    pub(super) fn give(&self, folder: &OwnedFd, path: &Path) -> Result<(), RootError> {
        let (uid, gid) = (Uid::from_raw(self.map.first), Gid::from_raw(self.map.first));
        fchownat(folder, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)
            .map_err(failed("give to the task's root", path))
    }
}
