//! The record that U-Boot's script reads: two sectors in the gap before the first partition.
//!
//! Called by the parent module. Invariant: the second copy is on the disk before the first is touched, so one of them is always whole.

use super::{BootPartition, SlotError, io_error};
use nesos_base::slots::{STATE_AT, STATE_BYTES, State};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

pub(super) fn read(disk: &Path, boot: &BootPartition) -> Result<State, SlotError> {
    let file = File::open(disk).map_err(io_error("open", disk))?;
    let mut copies = [[0; STATE_BYTES]; 2];
    for (copy, at) in copies.iter_mut().zip(STATE_AT) {
        file.read_exact_at(copy, at)
            .map_err(io_error("read boot record of", disk))?;
    }
    let [first, second] = &copies;
    Ok(State::of_copies([first, second], |slot| {
        boot.is_marked(slot)
    }))
}

pub(super) fn write(disk: &Path, state: State) -> Result<(), SlotError> {
    let file = OpenOptions::new()
        .write(true)
        .open(disk)
        .map_err(io_error("open", disk))?;
    let sector = state.encode();
    for at in STATE_AT.into_iter().rev() {
        file.write_all_at(&sector, at)
            .and_then(|()| file.sync_all())
            .map_err(io_error("write boot record of", disk))?;
    }
    Ok(())
}
