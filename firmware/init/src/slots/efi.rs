//! systemd-boot's entries: one file for each slot, whose name holds the counter of a trial.
//!
//! Called by the parent module, which makes the partition writable. Invariant: the entry of a committed slot is there, without a
//! counter, whatever else is being changed.

use super::{BootPartition, SlotError, io_error};
use nesos_base::bundle::Header;
use nesos_base::slots::{Entry, EntryName, Slot, State, TRIES, Trial};
use std::fs;

/// Where systemd-boot looks.
const ENTRIES: &str = "loader/entries";
/// Longest entry that is read; ours have some hundred bytes.
const ENTRY_MAX: u64 = 8192;

#[derive(Debug, Clone, Copy)]
struct Found {
    name: EntryName,
    generation: u32,
}

pub(super) fn read(boot: &BootPartition) -> Result<State, SlotError> {
    let found = list(boot)?;
    let newest =
        |wanted: fn(&&Found) -> bool| found.iter().filter(wanted).max_by_key(|f| f.generation);
    let committed = newest(|f| f.name.tries.is_none()).map_or(Slot::A, |f| f.name.slot);
    let trial = newest(|f| f.name.tries.is_some())
        .filter(|f| f.name.slot != committed)
        .map(|f| Trial {
            slot: f.name.slot,
            tries: f.name.tries.unwrap_or(0),
        });
    Ok(State { committed, trial })
}

/// Only `running` has an entry, and that has no counter.
pub(super) fn settle(boot: &BootPartition, running: Slot) -> Result<(), SlotError> {
    commit(boot, running)?;
    for found in list(boot)? {
        if found.name.slot != running {
            boot.remove(&path(found.name))?;
        }
    }
    Ok(())
}

pub(super) fn begin_trial(
    boot: &BootPartition,
    slot: Slot,
    header: &Header,
) -> Result<(), SlotError> {
    let newest = list(boot)?.iter().map(|f| f.generation).max().unwrap_or(0);
    let in_slot = |name: &str| format!("/{}/{name}", slot.folder());
    let options = format!(
        "{} {} nesos.slot={} nesos.boot=efi",
        slot.root_argument(),
        header.command_line,
        slot.letter()
    );
    let device_tree = header.device_tree.as_deref().map(in_slot);
    let text = Entry {
        slot,
        generation: newest.saturating_add(1),
        version: &header.version,
        kernel: &in_slot(&header.kernel),
        device_tree: device_tree.as_deref(),
        options: &options,
    }
    .text();
    let name = EntryName {
        slot,
        tries: Some(TRIES),
        done: 0,
    };
    boot.write(&path(name), text.as_bytes())
}

pub(super) fn commit(boot: &BootPartition, running: Slot) -> Result<(), SlotError> {
    let committed = EntryName {
        slot: running,
        tries: None,
        done: 0,
    };
    rename_trial(boot, running, committed)
}

pub(super) fn give_back(boot: &BootPartition) -> Result<(), SlotError> {
    match read(boot)?.trial {
        Some(trial) => {
            let fresh = EntryName {
                slot: trial.slot,
                tries: Some(TRIES),
                done: 0,
            };
            rename_trial(boot, trial.slot, fresh)
        }
        None => Ok(()),
    }
}

fn rename_trial(boot: &BootPartition, slot: Slot, to: EntryName) -> Result<(), SlotError> {
    let counted = |f: &Found| f.name.slot == slot && f.name.tries.is_some() && f.name != to;
    match list(boot)?.into_iter().find(counted) {
        Some(found) => boot.rename(&path(found.name), &path(to)),
        None => Ok(()),
    }
}

fn path(name: EntryName) -> String {
    format!("{ENTRIES}/{name}")
}

fn list(boot: &BootPartition) -> Result<Vec<Found>, SlotError> {
    let folder = boot.path(ENTRIES);
    let entries = fs::read_dir(&folder).map_err(io_error("list", &folder))?;
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_str().and_then(EntryName::parse);
        let small = entry.metadata().is_ok_and(|m| m.len() <= ENTRY_MAX);
        if let Some(name) = name.filter(|_| small) {
            let text = fs::read_to_string(entry.path()).map_err(io_error("read", entry.path()))?;
            found.push(Found {
                name,
                generation: Entry::generation_of(&text),
            });
        }
    }
    Ok(found)
}
