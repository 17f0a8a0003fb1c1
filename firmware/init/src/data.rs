//! The data partition: grown to the disk's end, filled from the template on first boot, mounted, its file system grown.
//!
//! Called by `boot`. The bytes are `disk`'s. Invariant: a board always gets a writable /data; if the partition will
//! not do, it is memory, with a loud line. A partition that holds an ext4 is never written over.

use crate::board::{Board, DATA};
use crate::boot::breathe;
use crate::disk::{self, Extent, SECTOR, SUPERBLOCK_AT, SUPERBLOCK_BYTES, Template};
use crate::phase::Outcome;
use crate::root_disk;
use nesos_sys::block::{self, BlockError};
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

/// Makes /data writable, one way or another.
pub(crate) async fn prepare(board: Rc<Board>) -> Outcome {
    let error = match prepare_partition(&board).await {
        Ok(words) => return Outcome::Done(words),
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

async fn prepare_partition(board: &Board) -> Result<String, DataError> {
    let disk = board.disk.borrow().clone().ok_or(DataError::NoDisk)?;
    let device =
        root_disk::partition(&disk, NUMBER).ok_or_else(|| DataError::NoPartition(disk.clone()))?;
    let mut words = device.display().to_string();
    if let Some(mebibytes) = grow_partition(&disk)? {
        words += &format!(", partition grown to {mebibytes} MiB");
    }
    if !disk::is_ext4(&read_superblock(&device)?) {
        format(&device).await?;
        words += ", formatted";
    }
    let device_name = device.to_string_lossy();
    let flags = MsFlags::MS_NOATIME | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(&Mount {
        source: &device_name,
        target: DATA,
        fstype: "ext4",
        flags,
        options: "",
    })?;
    match grow_file_system(&device) {
        Ok(None) => {}
        Ok(Some(mebibytes)) => words += &format!(", file system grown to {mebibytes} MiB"),
        // A file system of the old size is worth more than none.
        Err(error) => words += &format!(", not grown: {error}"),
    }
    Ok(words)
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

fn read_superblock(device: &Path) -> Result<[u8; SUPERBLOCK_BYTES], DataError> {
    let mut superblock = [0u8; SUPERBLOCK_BYTES];
    File::open(device)
        .and_then(|file| file.read_exact_at(&mut superblock, SUPERBLOCK_AT))
        .map_err(io_error("read superblock of", device))?;
    Ok(superblock)
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
    let Some((size, block_size)) = disk::ext4_size(&read_superblock(device)?) else {
        return Ok(None);
    };
    let available = block::size_in_bytes(device)?;
    if available < size.saturating_add(GROW_MIN_BYTES) {
        return Ok(None);
    }
    block::grow_ext4(Path::new(DATA), available / block_size)?;
    Ok(Some(available >> 20))
}
