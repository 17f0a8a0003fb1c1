//! The data partition: grown to the disk's end, filled from the template on first boot, mounted, its file system grown; healed or made
//! anew where it is damaged.
//!
//! Called by `boot`. The bytes are `disk`'s, whose the data is `owner`'s. Invariant: a board always gets a writable /data; if the
//! partition will not do, it is memory, with a loud line. A partition that holds an ext4 is written over in two cases only: a person
//! asks for it by a file on the boot partition, or the kernel finds it damaged and its copy of the superblock does not help.

mod owner;

use crate::board::{BOOT, Board, DATA};
use crate::boot::breathe;
use crate::disk::{
    self, BACKUP_AT, DESCRIPTORS_AT, Extent, SECTOR, SUPERBLOCK_AT, SUPERBLOCK_BYTES, Template,
};
use crate::phase::Outcome;
use crate::root_disk;
use crate::slots::BootPartition;
use nesos_sys::block::{self, BlockError};
use nesos_sys::disk::space;
use nesos_sys::mount::{Mount, MountError, MsFlags, mount};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Number of the data partition.
const NUMBER: u32 = 4;
/// An empty file system in sparse form, made by the image builder.
const TEMPLATE: &str = "/usr/share/nesos/data.template";
/// Growing the file system by less is left alone: a last group that is too small is refused again and again.
const GROW_MIN_BYTES: u64 = 4 << 20;
/// On the boot partition: begin with an empty data partition. Removed once that is done.
const RESET_FILE: &str = "factory-reset";
/// On the boot partition: what another board has left on this card becomes this board's own. Removed once that is done.
const ADOPT_FILE: &str = "adopt-data";
/// With less room than this tasks and logs begin to fail.
const ROOM_MIN: u64 = 16 << 20;
/// What the kernel says of a file system that it cannot make sense of: EINVAL, EBADMSG (a wrong checksum), EUCLEAN (a contradiction).
/// Other errors are the card's or the memory's, and may pass.
const DAMAGED: [i32; 3] = [22, 74, 117];
/// Bytes zeroed between two chances for other tasks (the watchdog's).
const ZERO_STEP: u64 = 4 << 20;

#[derive(Debug, thiserror::Error)]
enum DataError {
    #[error("no disk")]
    NoDisk,
    #[error("{0} has no partition 4")]
    NoPartition(PathBuf),
    #[error("{operation} {path}: {source}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Template(#[from] disk::TemplateError),
}

/// How the partition was made ready.
#[derive(Debug, Default)]
struct Report {
    /// In a few words.
    words: String,
    /// What a person must know.
    warnings: Vec<String>,
}

/// Makes /data writable, one way or another.
pub(crate) async fn prepare(board: Rc<Board>) -> Outcome {
    let error = match prepare_partition(&board).await {
        Ok(Report { words, warnings }) if warnings.is_empty() => return Outcome::Done(words),
        Ok(Report { words, warnings }) => {
            let text = warnings.join(". ");
            board.journal.note(&board, "data", &text);
            return Outcome::Degraded(format!("{words}. {text}"));
        }
        Err(error) => error,
    };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let memory = Mount {
        source: "data",
        target: DATA,
        fstype: "tmpfs",
        flags,
        options: "mode=0755,size=50%",
    };
    match mount(&memory) {
        Ok(()) => Outcome::Degraded(format!(
            "{error}. /DATA IS IN MEMORY: everything on it is lost at power off"
        )),
        Err(fallback) => Outcome::Failed(format!("{error}; and in memory: {fallback}")),
    }
}

async fn prepare_partition(board: &Board) -> Result<Report, DataError> {
    let disk = board.disk.borrow().clone().ok_or(DataError::NoDisk)?;
    let device =
        root_disk::partition(&disk, NUMBER).ok_or_else(|| DataError::NoPartition(disk.clone()))?;
    let mut report = Report {
        words: device.display().to_string(),
        ..Report::default()
    };
    if let Some(mebibytes) = grow_partition(&disk)? {
        report.words += &format!(", partition grown to {mebibytes} MiB");
    }
    let boot = BootPartition::mounted(BOOT);
    if boot.path(RESET_FILE).exists() {
        wipe(&device)?;
        report.warnings.push("FACTORY RESET, as the file on the boot partition asks: what was on the data partition is gone".to_owned());
        done_with(&boot, RESET_FILE, &mut report);
    }
    if !disk::is_ext4(&read_block(&device, SUPERBLOCK_AT)?) && !restore(&device, &mut report)? {
        format(&device).await?;
        report.words += ", formatted";
    }
    if let Err(error) = mount_data(&device) {
        heal(&device, error, &mut report).await?;
    }
    match grow_file_system(&device) {
        Ok(None) => {}
        Ok(Some(mebibytes)) => {
            report.words += &format!(", file system grown to {mebibytes} MiB");
        }
        // A file system of the old size is worth more than none.
        Err(error) => report.words += &format!(", not grown: {error}"),
    }
    look_after(board, &device, &boot, &mut report);
    Ok(report)
}

fn mount_data(device: &Path) -> Result<(), MountError> {
    mount(&Mount {
        source: &device.to_string_lossy(),
        target: DATA,
        fstype: "ext4",
        flags: MsFlags::MS_NOATIME | MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        options: "",
    })
}

/// Mounts what could not be mounted: with the superblock's copy, or made anew if it is damaged for good.
async fn heal(device: &Path, error: MountError, report: &mut Report) -> Result<(), DataError> {
    let superblock = read_block(device, SUPERBLOCK_AT)?;
    let damaged =
        matches!(&error, MountError::Mount { errno, .. } if DAMAGED.contains(&(*errno as i32)));
    // A later version's file system is whole, and only not for this kernel.
    if !damaged || disk::is_from_the_future(&superblock) {
        return Err(error.into());
    }
    if restore(device, report)? && mount_data(device).is_ok() {
        return Ok(());
    }
    wipe(device)?;
    format(device).await?;
    mount_data(device)?;
    report.warnings.push(format!(
        "THE DATA PARTITION WAS DAMAGED BEYOND REPAIR AND WAS MADE ANEW, ALL THAT WAS ON IT IS LOST ({error})"
    ));
    Ok(())
}

/// Puts the copy of the superblock in its place, if the file system has a sound one and was in use.
fn restore(device: &Path, report: &mut Report) -> Result<bool, DataError> {
    if block::size_in_bytes(device)? < BACKUP_AT + SUPERBLOCK_BYTES as u64 {
        return Ok(false);
    }
    // A card that was just written has no descriptors, whatever an older file system has left behind.
    let in_use = read_block(device, DESCRIPTORS_AT)?
        .iter()
        .any(|byte| *byte != 0);
    let copy = read_block(device, BACKUP_AT)?;
    let Some(superblock) = disk::restored(&copy).filter(|_| in_use) else {
        return Ok(false);
    };
    write_block(device, SUPERBLOCK_AT, &superblock)?;
    report.warnings.push(
        "the first block of the data partition was damaged, and was restored from its copy"
            .to_owned(),
    );
    Ok(true)
}

/// True if another board's data was found on this card, now or at an earlier start.
pub(crate) fn came_from_another_board() -> bool {
    owner::came_from_another_board(Path::new(DATA))
}

/// Makes the partition one that was never used.
fn wipe(device: &Path) -> Result<(), DataError> {
    let zeros = [0; SUPERBLOCK_BYTES];
    let size = block::size_in_bytes(device)?;
    // The copy first: a power cut in between must not leave one that is taken for that of a damaged partition.
    for at in [BACKUP_AT, DESCRIPTORS_AT, SUPERBLOCK_AT] {
        if at + SUPERBLOCK_BYTES as u64 <= size {
            write_block(device, at, &zeros)?;
        }
    }
    Ok(())
}

/// What is looked at once /data is there: whose it is, whether the kernel has found errors in it, and how much room is left.
fn look_after(board: &Board, device: &Path, boot: &BootPartition, report: &mut Report) {
    let adopts = boot.path(ADOPT_FILE).exists();
    match owner::claim(Path::new(DATA), &board.node_id.borrow(), adopts) {
        Ok(owner::Claim::Own) => {}
        Ok(owner::Claim::Adopted { whose }) => report
            .warnings
            .push(format!("what board {whose} has left on this card is this board's now")),
        Ok(owner::Claim::Foreign { whose, folder }) => report.warnings.push(format!(
            "THIS CARD WAS USED IN ANOTHER BOARD ({whose}): its data is not used and was moved to {DATA}/{folder}, this board \
             joins as itself. To go on with it instead, put a file {ADOPT_FILE} on the boot partition before a card's first start in another board"
        )),
        Err(error) => report.warnings.push(format!("whose data this is cannot be written down: {error}")),
    }
    if adopts {
        done_with(boot, ADOPT_FILE, report);
    }
    if read_block(device, SUPERBLOCK_AT).is_ok_and(|superblock| disk::has_errors(&superblock)) {
        report.warnings.push(format!(
            "the kernel has found errors in the file system of the data partition; a file {RESET_FILE} on the boot partition makes it anew"
        ));
    }
    match space(Path::new(DATA)) {
        Ok(space) if space.available < ROOM_MIN => report.warnings.push(format!(
            "THE DATA PARTITION IS FULL: {} of {} MiB are left",
            space.available >> 20,
            space.total >> 20
        )),
        _ => {}
    }
}

/// Removes a file that has been obeyed.
fn done_with(boot: &BootPartition, name: &str, report: &mut Report) {
    let removed = boot.writable().and_then(|_writable| boot.remove(name));
    if let Err(error) = removed {
        report
            .warnings
            .push(format!("{name} is obeyed again at the next start: {error}"));
    }
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataError {
    move |source| DataError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// Lengthens the partition to the end of the disk, in the table first: after a power cut in between, the kernel reads
/// the new table at the next boot. Returns the new size if it changed.
fn grow_partition(disk: &Path) -> Result<Option<u64>, DataError> {
    let mut mbr = root_disk::read_mbr(disk).map_err(io_error("read", disk))?;
    let sectors = block::size_in_bytes(disk)? / SECTOR;
    let Some(partition) = disk::grow(&mut mbr, NUMBER as usize, sectors) else {
        return Ok(None);
    };
    let file = OpenOptions::new()
        .write(true)
        .open(disk)
        .map_err(io_error("open", disk))?;
    file.write_all_at(&mbr, 0)
        .and_then(|()| file.sync_all())
        .map_err(io_error("write partition table of", disk))?;
    block::resize_partition(
        disk,
        NUMBER,
        partition.start * SECTOR,
        partition.sectors * SECTOR,
    )?;
    Ok(Some((partition.sectors * SECTOR) >> 20))
}

fn read_block(device: &Path, at: u64) -> Result<[u8; SUPERBLOCK_BYTES], DataError> {
    let mut block = [0u8; SUPERBLOCK_BYTES];
    File::open(device)
        .and_then(|file| file.read_exact_at(&mut block, at))
        .map_err(io_error("read a block of", device))?;
    Ok(block)
}

fn write_block(device: &Path, at: u64, block: &[u8; SUPERBLOCK_BYTES]) -> Result<(), DataError> {
    let file = OpenOptions::new()
        .write(true)
        .open(device)
        .map_err(io_error("open", device))?;
    file.write_all_at(block, at)
        .and_then(|()| file.sync_all())
        .map_err(io_error("write a block of", device))
}

async fn format(device: &Path) -> Result<(), DataError> {
    let source_path = Path::new(TEMPLATE);
    let source = File::open(source_path).map_err(io_error("open", source_path))?;
    let length = source
        .metadata()
        .map_err(io_error("read", source_path))?
        .len();
    let partition = block::size_in_bytes(device)?;
    let template = Template::parse(length, partition, |position, buffer| {
        source.read_exact_at(buffer, position)
    })?;
    let target = OpenOptions::new()
        .write(true)
        .open(device)
        .map_err(io_error("open", device))?;
    if partition >= BACKUP_AT + SUPERBLOCK_BYTES as u64 {
        // Of a file system that was here before: it must not be taken for a copy of this one's.
        write_block(device, BACKUP_AT, &[0; SUPERBLOCK_BYTES])?;
    }
    // What the template leaves out must read as zero: the card may have held something else.
    let mut zeroed = 0;
    while zeroed < template.total() {
        let step = ZERO_STEP.min(template.total() - zeroed);
        block::zero(&target, device, zeroed, step)?;
        zeroed += step;
        breathe().await;
    }
    for extent in template.extents() {
        if extent.holds_superblock() {
            target.sync_all().map_err(io_error("write", device))?;
        }
        copy(&source, &target, extent).map_err(io_error("write", device))?;
        breathe().await;
    }
    target.sync_all().map_err(io_error("write", device))
}

/// Copies in small pieces: PID 1 does not keep a large buffer for the one time in its life that it formats.
fn copy(source: &File, target: &File, extent: &Extent) -> io::Result<()> {
    let mut buffer = [0u8; 4096];
    let mut done = 0;
    while done < extent.length {
        let step = (extent.length - done).min(buffer.len() as u64) as usize;
        source.read_exact_at(&mut buffer[..step], extent.position + done)?;
        target.write_all_at(&buffer[..step], extent.offset + done)?;
        done += step as u64;
    }
    Ok(())
}

fn grow_file_system(device: &Path) -> Result<Option<u64>, DataError> {
    let Some((size, block_size)) = disk::ext4_size(&read_block(device, SUPERBLOCK_AT)?) else {
        return Ok(None);
    };
    let available = block::size_in_bytes(device)?;
    if available < size.saturating_add(GROW_MIN_BYTES) {
        return Ok(None);
    }
    block::grow_ext4(Path::new(DATA), available / block_size)?;
    Ok(Some(available >> 20))
}
