//! The boot partition as a folder: writable for as long as a change takes, and its files written so that they last.
//!
//! Called by the parent module and the updater. Invariant: it is read-only whenever nobody holds a [`Writable`].

use super::{COMMITTED_MARK, SlotError, io_error};
use nesos_base::slots::Slot;
use nesos_sys::mount::{self, MsFlags};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The mounted boot partition.
#[derive(Debug, Clone)]
pub(crate) struct BootPartition {
    folder: PathBuf,
    mounted: bool,
}

/// Keeps the boot partition writable.
#[derive(Debug)]
pub(crate) struct Writable<'a>(&'a BootPartition);

impl BootPartition {
    /// The partition that is mounted at `folder`, read-only.
    pub(crate) fn mounted(folder: &str) -> BootPartition {
        BootPartition {
            folder: folder.into(),
            mounted: true,
        }
    }

    /// A folder in its place, for tests.
    #[cfg(test)]
    pub(crate) fn folder(folder: &Path) -> BootPartition {
        BootPartition {
            folder: folder.to_owned(),
            mounted: false,
        }
    }

    /// Path of something on it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes it writable until the guard is dropped.
    ///
    /// # Errors
    /// The kernel refuses, for example since the card is locked.
    pub(crate) fn writable(&self) -> Result<Writable<'_>, SlotError> {
        if self.mounted {
            let restrictions = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount::remount_writable(&self.folder.to_string_lossy(), restrictions)?;
        }
        Ok(Writable(self))
    }

    /// Writes a small file and waits until it is on the disk.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), SlotError> {
        let path = self.path(name);
        let mut file = File::create(&path).map_err(io_error("create", &path))?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(io_error("write", &path))?;
        self.sync_folder_of(&path)
    }

    /// Removes a file, if it is there, and waits until that is on the disk.
    pub(crate) fn remove(&self, name: &str) -> Result<(), SlotError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => self.sync_folder_of(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_error("remove", &path)(error)),
        }
    }

    /// Renames a file and waits until that is on the disk.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), SlotError> {
        let (from, to) = (self.path(from), self.path(to));
        fs::rename(&from, &to).map_err(io_error("rename", &from))?;
        self.sync_folder_of(&to)
    }

    /// True if the slot was proven good.
    pub(crate) fn is_marked(&self, slot: Slot) -> bool {
        self.path(&mark(slot)).exists()
    }

    pub(super) fn mark(&self, slot: Slot) -> Result<(), SlotError> {
        match self.is_marked(slot) {
            true => Ok(()),
            false => self.write(&mark(slot), b"\n"),
        }
    }

    pub(super) fn unmark(&self, slot: Slot) -> Result<(), SlotError> {
        self.remove(&mark(slot))
    }

    fn sync_folder_of(&self, path: &Path) -> Result<(), SlotError> {
        let folder = path.parent().unwrap_or(&self.folder);
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(io_error("write", folder))
    }
}

fn mark(slot: Slot) -> String {
    format!("{}/{COMMITTED_MARK}", slot.folder())
}

impl Drop for Writable<'_> {
    fn drop(&mut self) {
        if self.0.mounted {
            // Fails while another holds a file open for writing, who then makes it read-only; what was written is on the disk already.
            _ = mount::remount_read_only(&self.0.folder.to_string_lossy());
        }
    }
}
