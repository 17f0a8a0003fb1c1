//! Finds the board's disk: the one that holds the root, or else the first that has our partitions. Called by `boot`
//! and `data`.
//!
//! Not here: what is in a partition table (`disk`). Invariant: nothing is written.

use crate::board::Board;
use crate::disk;
use crate::phase::Outcome;
use embassy_time::{Duration, Timer};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// How often to look for a disk that is not there yet (cards and USB disks take a second).
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits for the disk; the phase's limit ends the waiting.
pub(crate) async fn find(board: Rc<Board>) -> Outcome {
    let chosen = board.command_line.borrow().disk.clone();
    let mut looks = 0u32;
    loop {
        let found = match &chosen {
            Some(path) => Some(PathBuf::from(path)).filter(|path| path.exists()),
            None => of_root().or_else(first_with_boot_partition),
        };
        if let Some(disk) = found {
            let text = disk.display().to_string();
            *board.disk.borrow_mut() = Some(disk);
            return Outcome::Done(text);
        }
        looks += 1;
        // A second without any disk at all: a board that was booted from the network or from memory.
        if chosen.is_none() && looks > 20 && block_devices().is_empty() {
            return Outcome::Degraded("no disk: running from memory".to_owned());
        }
        Timer::after(LOOK_EVERY).await;
    }
}

/// The device file of partition `number` of `disk`.
pub(crate) fn partition(disk: &Path, number: u32) -> Option<PathBuf> {
    let folder = Path::new("/sys/class/block").join(disk.file_name()?);
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let text = fs::read_to_string(entry.path().join("partition")).ok()?;
        (text.trim().parse() == Ok(number)).then(|| Path::new("/dev").join(entry.file_name()))
    })
}

/// Reads the first sector of a disk.
pub(crate) fn read_mbr(path: &Path) -> std::io::Result<[u8; 512]> {
    let mut mbr = [0u8; 512];
    File::open(path)?.read_exact(&mut mbr)?;
    Ok(mbr)
}

/// The disk that holds the root.
pub(crate) fn of_root() -> Option<PathBuf> {
    let device = fs::metadata("/").ok()?.dev();
    let (major, minor) = (
        nesos_sys::block::major(device),
        nesos_sys::block::minor(device),
    );
    let folder = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let whole = if folder.join("partition").exists() {
        folder.parent()?
    } else {
        &folder
    };
    // A root on a loop device or in memory has no partitions to offer.
    let name = whole.file_name()?;
    block_devices()
        .into_iter()
        .find(|disk| disk.file_name() == Some(name))
}

fn first_with_boot_partition() -> Option<PathBuf> {
    block_devices().into_iter().find(|disk| {
        let mbr = read_mbr(disk);
        mbr.is_ok_and(|mbr| disk::partition(&mbr, 1).is_some() && partition(disk, 1).is_some())
    })
}

/// Whole disks, by name; no loop devices or disks in memory.
fn block_devices() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("/sys/block") else {
        return Vec::new();
    };
    let mut disks: Vec<PathBuf> = entries
        .flatten()
        .filter(|e| e.path().join("device").exists())
        .map(|e| Path::new("/dev").join(e.file_name()))
        .collect();
    disks.sort();
    disks
}
