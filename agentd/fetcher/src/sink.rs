//! Where entries go: to the disk; in tests and fuzz targets elsewhere.

use std::fs::FileTimes;
use std::io::Write;
use std::time::{Duration, SystemTime};

use nesos_sys::tree::{Rights, Tree, set_attribute};

use crate::UnpackError;
use crate::budget::Metered;
use crate::entry::{Entry, Kind, shown};

/// Bytes that are copied at once.
const CHUNK: usize = 64 * 1024;

/// Makes entries.
pub trait Sink {
    /// A file with these bytes.
    fn file(&mut self, entry: &mut Entry, bytes: &mut Metered<'_>) -> Result<(), UnpackError>;
    /// A directory.
    fn directory(&mut self, entry: &Entry) -> Result<(), UnpackError>;
    /// A symbolic or hard link.
    fn link(&mut self, entry: &Entry) -> Result<(), UnpackError>;
    /// Nothing more comes.
    fn finish(&mut self) -> Result<(), UnpackError>;
}

/// A directory on the disk.
#[derive(Debug)]
pub struct Disk {
    pub(crate) tree: Tree,
    /// Owners and file capabilities as in the archive; else everything is the process's own.
    pub(crate) keeps_owners: bool,
    buffer: Vec<u8>,
}

impl Disk {
    /// `keeps_owners`: owners and file capabilities as in the archive.
    pub fn new(tree: Tree, keeps_owners: bool) -> Self {
        Self {
            tree,
            keeps_owners,
            buffer: vec![0; CHUNK],
        }
    }

    fn owner(&self, entry: &Entry) -> Option<(u32, u32)> {
        self.keeps_owners.then_some(entry.owner)
    }

    fn rights(&self, entry: &Entry) -> Rights {
        Rights {
            mode: entry.mode,
            owner: self.owner(entry),
        }
    }
}

/// Says which entry could not be made.
pub(crate) fn failed(entry: &Entry) -> impl Fn(std::io::Error) -> UnpackError {
    let path = shown(&entry.path);
    move |source| UnpackError::Make {
        path: path.clone(),
        source,
    }
}

impl Sink for Disk {
    fn file(&mut self, entry: &mut Entry, bytes: &mut Metered<'_>) -> Result<(), UnpackError> {
        let fail = failed(entry);
        let rights = self.rights(entry);
        let mut file = self.tree.file(&entry.path, rights).map_err(&fail)?;
        loop {
            let count = bytes.next(&mut self.buffer)?;
            if count == 0 {
                break;
            }
            file.write_all(&self.buffer[..count]).map_err(&fail)?;
        }
        if let Some(value) = entry.capabilities.as_ref().filter(|_| self.keeps_owners) {
            set_attribute(&file, "security.capability", value).map_err(&fail)?;
        }
        if let Some(seconds) = entry.modified {
            let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
            let times = time.map(|time| FileTimes::new().set_modified(time));
            // A time that the file system cannot keep is no reason to fail.
            let _ = times.map(|times| file.set_times(times));
        }
        Ok(())
    }

    fn directory(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        let rights = self.rights(entry);
        self.tree
            .directory(&entry.path, rights)
            .map_err(failed(entry))
    }

    fn link(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        let owner = self.owner(entry);
        let made = match &entry.kind {
            Kind::Symbolic(target) => self.tree.symbolic_link(&entry.path, target, owner),
            Kind::Hard(existing) => self.tree.hard_link(&entry.path, existing),
            Kind::File | Kind::Directory | Kind::Special => return Ok(()),
        };
        made.map_err(failed(entry))
    }

    fn finish(&mut self) -> Result<(), UnpackError> {
        let finished = self.tree.finish();
        finished.map_err(|source| UnpackError::Make {
            path: "the directories' rights".into(),
            source,
        })
    }
}
