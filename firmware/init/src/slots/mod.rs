//! What the boot loader is to start next: read and changed on the disk, in the way of the boot loader that started this board.
//!
//! The rules are `nesos_base::slots`'s. Called by `trial` (commit, give back) and `update` (begin a trial). Invariant: at any moment of
//! any change the boot loader finds a slot that was committed.

mod efi;
mod partition;
mod uboot;

use nesos_base::bundle::Header;
use nesos_base::slots::{Slot, State};
use nesos_sys::mount::MountError;
pub(crate) use partition::BootPartition;
use std::io;
use std::path::PathBuf;

/// Marks a slot that was proven good, for a boot loader that can read nothing else.
const COMMITTED_MARK: &str = "committed";

/// Why the boot loader's record could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SlotError {
    /// The board was started without a boot loader.
    #[error(
        "this board was started without a boot loader that knows slots (QEMU's -kernel?): it cannot be updated"
    )]
    NoLoader,
    /// A file or device.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The boot partition cannot be made writable.
    #[error(transparent)]
    Mount(#[from] MountError),
}

/// Which boot loader started this board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loader {
    /// U-Boot with our script.
    UBoot,
    /// systemd-boot.
    Efi,
}

impl Loader {
    /// Its name on the kernel's command line.
    pub(crate) fn parse(text: &str) -> Option<Loader> {
        match text {
            "uboot" => Some(Loader::UBoot),
            "efi" => Some(Loader::Efi),
            _ => None,
        }
    }
}

/// Where a board keeps what its boot loader reads.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    loader: Loader,
    disk: PathBuf,
    boot: BootPartition,
}

impl Slots {
    /// Of the board whose disk is `disk` and whose boot partition is `boot`.
    pub(crate) fn new(loader: Loader, disk: PathBuf, boot: BootPartition) -> Slots {
        Slots { loader, disk, boot }
    }

    /// The boot partition.
    pub(crate) fn boot(&self) -> &BootPartition {
        &self.boot
    }

    /// What the boot loader starts next.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn state(&self) -> Result<State, SlotError> {
        match self.loader {
            Loader::UBoot => uboot::read(&self.disk, &self.boot),
            Loader::Efi => efi::read(&self.boot),
        }
    }

    /// Nothing but the slot that runs is started from now on: the other one may be written.
    ///
    /// # Errors
    /// The record cannot be written; nothing may be done to the other slot then.
    pub(crate) fn settle(&self, running: Slot) -> Result<(), SlotError> {
        let _writable = self.boot.writable()?;
        self.boot.mark(running)?;
        match self.loader {
            Loader::UBoot => uboot::write(&self.disk, State::committed(running))?,
            Loader::Efi => efi::settle(&self.boot, running)?,
        }
        self.boot.unmark(running.other())
    }

    /// The other slot than `running`, which holds all of `header`, is started next, once.
    ///
    /// # Errors
    /// The record cannot be written.
    pub(crate) fn begin_trial(&self, running: Slot, header: &Header) -> Result<(), SlotError> {
        match self.loader {
            Loader::UBoot => uboot::write(&self.disk, State::committed(running).with_trial()),
            Loader::Efi => {
                let _writable = self.boot.writable()?;
                efi::begin_trial(&self.boot, running.other(), header)
            }
        }
    }

    /// The slot that runs has proven itself.
    ///
    /// # Errors
    /// The record cannot be written: the next start is of the old slot.
    pub(crate) fn commit(&self, running: Slot) -> Result<(), SlotError> {
        let _writable = self.boot.writable()?;
        self.boot.mark(running)?;
        match self.loader {
            Loader::UBoot => uboot::write(&self.disk, State::committed(running))?,
            Loader::Efi => efi::commit(&self.boot, running)?,
        }
        self.boot.unmark(running.other())
    }

    /// The trial was ended by an orderly restart, not by a fault: it may be tried again.
    ///
    /// # Errors
    /// The record cannot be written: the next start is of the old slot.
    pub(crate) fn give_back(&self) -> Result<(), SlotError> {
        match self.loader {
            Loader::UBoot => {
                let state = uboot::read(&self.disk, &self.boot)?;
                uboot::write(&self.disk, state.with_try_given_back())
            }
            Loader::Efi => {
                let _writable = self.boot.writable()?;
                efi::give_back(&self.boot)
            }
        }
    }
}

fn io_error(
    operation: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> SlotError {
    let path = path.into();
    move |source| SlotError::Io {
        operation,
        path,
        source,
    }
}

#[cfg(test)]
mod tests;
