//! Disks and partitions: sizes, growing a partition the kernel knows, growing a mounted ext4. Called by `init`.
//!
//! Knows nothing about partition tables (`init::disk` does). Invariant: only [`zero`] writes.

use nix::errno::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

mod ioctl {
    nix::ioctl_read!(size_in_bytes, 0x12, 114, u64);
    nix::ioctl_write_ptr_bad!(partition, 0x1269, super::BlkpgArguments);
    nix::ioctl_write_ptr!(ext4_resize, b'f', 16, u64);
    nix::ioctl_write_ptr_bad!(zero_out, 0x127f, [u64; 2]);
}

/// linux/blkpg.h: resize.
const BLKPG_RESIZE_PARTITION: libc::c_int = 3;

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
#[derive(Debug)]
pub struct BlkpgArguments {
    operation: libc::c_int,
    flags: libc::c_int,
    length: libc::c_int,
    data: *const BlkpgPartition,
}

/// `struct blkpg_partition`; lengths in bytes.
#[repr(C)]
#[derive(Debug)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    number: libc::c_int,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// Why a block device could not be asked or grown.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The device or mount point cannot be opened.
    #[error("open {path}: {source}")]
    Open {
        /// Device or mount point.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// An ioctl failed.
    #[error("{operation} of {path}: {errno}")]
    Control {
        /// What was tried.
        operation: &'static str,
        /// Device or mount point.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
}

/// Size of a disk or partition in bytes.
pub fn size_in_bytes(path: &Path) -> Result<u64, BlockError> {
    let file = open(path)?;
    let mut size = 0u64;
    // SAFETY: the descriptor is open and `size` is a valid u64 for the length of the call.
    unsafe { ioctl::size_in_bytes(file.as_raw_fd(), &mut size) }
        .map_err(|errno| control("size", path, errno))?;
    Ok(size)
}

/// Tells the kernel the new length of partition `number` of `disk`, all in bytes, while it is in use.
pub fn resize_partition(
    disk: &Path,
    number: u32,
    start: u64,
    length: u64,
) -> Result<(), BlockError> {
    let invalid = |_| control("resize partition", disk, Errno::EINVAL);
    let file = open(disk)?;
    let partition = BlkpgPartition {
        start: i64::try_from(start).map_err(invalid)?,
        length: i64::try_from(length).map_err(invalid)?,
        number: libc::c_int::try_from(number).map_err(invalid)?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let arguments = BlkpgArguments {
        operation: BLKPG_RESIZE_PARTITION,
        flags: 0,
        length: size_of::<BlkpgPartition>() as libc::c_int,
        data: &partition,
    };
    // SAFETY: `arguments` and the `partition` it points to live until the call is over; the layout is the kernel's.
    unsafe { ioctl::partition(file.as_raw_fd(), &arguments) }
        .map_err(|errno| control("resize partition", disk, errno))?;
    Ok(())
}

/// Grows the ext4 mounted at `mount_point` to `blocks` of its own blocks, while it is mounted.
pub fn grow_ext4(mount_point: &Path, blocks: u64) -> Result<(), BlockError> {
    let file = open(mount_point)?;
    // SAFETY: the descriptor is open and `blocks` is a valid u64 for the length of the call.
    unsafe { ioctl::ext4_resize(file.as_raw_fd(), &blocks) }
        .map_err(|errno| control("grow file system", mount_point, errno))?;
    Ok(())
}

/// Capacity of a mounted file system: size of a block in bytes, number of blocks.
pub fn file_system_size(mount_point: &Path) -> Result<(u64, u64), BlockError> {
    nix::sys::statvfs::statvfs(mount_point)
        .map(|v| (v.fragment_size(), v.blocks()))
        .map_err(|errno| control("size", mount_point, errno))
}

/// Lets the kernel forget what it has of `file` in memory, so that the next read is of the disk. What is not written yet stays.
pub fn forget_cached(file: &File) -> io::Result<()> {
    let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
    Ok(nix::fcntl::posix_fadvise(file, 0, 0, advice)?)
}

/// Makes `length` bytes from `start` read as zero, by the device's own means where it has some. `path` is for errors.
pub fn zero(device: &File, path: &Path, start: u64, length: u64) -> Result<(), BlockError> {
    // SAFETY: the descriptor is open and the range is a valid pair of u64 for the length of the call.
    unsafe { ioctl::zero_out(device.as_raw_fd(), &[start, length]) }
        .map_err(|errno| control("zero", path, errno))?;
    Ok(())
}

/// Major number of a device, as in /sys/dev/block.
pub fn major(device: u64) -> u64 {
    nix::sys::stat::major(device)
}

/// Minor number of a device, as in /sys/dev/block.
pub fn minor(device: u64) -> u64 {
    nix::sys::stat::minor(device)
}

fn open(path: &Path) -> Result<File, BlockError> {
    File::open(path).map_err(|source| BlockError::Open {
        path: path.to_owned(),
        source,
    })
}

fn control(operation: &'static str, path: &Path, errno: Errno) -> BlockError {
    BlockError::Control {
        operation,
        path: path.to_owned(),
        errno,
    }
}
