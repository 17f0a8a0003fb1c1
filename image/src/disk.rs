//! The disk: a plain MBR with four primary partitions, and a window onto one of them.
//!
//! | # | what | type |
//! |---|---|---|
//! | 1 | boot: FAT32, firmware, kernels of both slots, the person's `cluster.toml` | 0x0c |
//! | 2 | root A: squashfs | 0x83 |
//! | 3 | root B: squashfs | 0x83 |
//! | 4 | data: ext4, to the end of the disk | 0x83 |
//!
//! Knows no file system. Called by the builder and by [`crate::personalise`]. Invariant: partitions start at a MiB, lie in order,
//! and do not overlap; a table that breaks this is refused.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Number of partitions of an image.
pub const PARTITIONS: usize = 4;
/// Bytes of a sector.
const SECTOR: u64 = 512;
/// Bytes of a MiB; also the alignment.
#[cfg(feature = "builder")]
const MIB: u64 = 1 << 20;
/// Where the disk signature is in the MBR.
#[cfg(feature = "builder")]
const SIGNATURE_AT: usize = 440;
/// Where the four entries of 16 bytes begin in the MBR.
const ENTRIES_AT: usize = 446;
/// FAT32 with LBA: the type that the Raspberry Pi's ROM and EFI firmware both accept.
const TYPE_FAT32: u8 = 0x0c;
#[cfg(feature = "builder")]
const TYPE_LINUX: u8 = 0x83;

/// One partition, in bytes from the start of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub length: u64,
}

/// The four partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// FAT32.
    pub boot: Partition,
    /// Squashfs of slot A.
    pub root_a: Partition,
    /// Squashfs of slot B.
    pub root_b: Partition,
    /// ext4.
    pub data: Partition,
}

/// Why a disk image was refused.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Reading failed.
    #[error("read the partition table of {path}: {source}")]
    Read {
        /// The image.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Not one of our images.
    #[error("{path} is not a Nesos image: {reason}")]
    Foreign {
        /// The image.
        path: PathBuf,
        /// What does not fit.
        reason: &'static str,
    },
}

/// Reads the partition table of the image at `path`.
///
/// # Errors
/// The file cannot be read, has no MBR, or has another layout than ours.
pub fn read_table(path: &Path) -> Result<Layout, DiskError> {
    let read = |source| DiskError::Read {
        path: path.to_owned(),
        source,
    };
    let mut sector = [0; SECTOR as usize];
    let mut file = File::open(path).map_err(read)?;
    file.read_exact(&mut sector).map_err(read)?;
    // The length that a block device's file claims to have is 0; where it ends is where seeking ends.
    let length = file.seek(SeekFrom::End(0)).map_err(read)?;
    parse(&sector, length).map_err(|reason| DiskError::Foreign {
        path: path.to_owned(),
        reason,
    })
}

/// Reads a partition table of a disk of `disk` bytes.
pub(crate) fn parse(sector: &[u8; SECTOR as usize], disk: u64) -> Result<Layout, &'static str> {
    if sector[510..] != [0x55, 0xaa] {
        return Err("no partition table");
    }
    let mut found = [Partition {
        start: 0,
        length: 0,
    }; PARTITIONS];
    let mut end = SECTOR;
    for (number, slot) in found.iter_mut().enumerate() {
        let entry = &sector[ENTRIES_AT + 16 * number..][..16];
        let word = |at: usize| {
            u64::from(u32::from_le_bytes([
                entry[at],
                entry[at + 1],
                entry[at + 2],
                entry[at + 3],
            ]))
        };
        *slot = Partition {
            start: word(8) * SECTOR,
            length: word(12) * SECTOR,
        };
        if slot.length == 0 {
            return Err("fewer than four partitions");
        }
        if slot.start < end {
            return Err("partitions overlap or are out of order");
        }
        end = slot.start + slot.length;
    }
    if end > disk {
        return Err("a partition ends behind the end of the file");
    }
    if sector[ENTRIES_AT + 4] != TYPE_FAT32 {
        return Err("the first partition is not FAT32 (type 0x0c)");
    }
    let [boot, root_a, root_b, data] = found;
    Ok(Layout {
        boot,
        root_a,
        root_b,
        data,
    })
}

#[cfg(feature = "builder")]
impl Layout {
    /// Lays out a disk of `size_mib` with a boot partition of `boot_mib` and two slots of `slot_mib`; data takes the rest.
    /// `None` where nothing would be left for data.
    pub fn of_mib(size_mib: u32, boot_mib: u32, slot_mib: u32) -> Option<Self> {
        let mib = |count: u32| u64::from(count) * MIB;
        let used = mib(1) + mib(boot_mib) + 2 * mib(slot_mib);
        let data = mib(size_mib).checked_sub(used).filter(|left| *left > 0)?;
        let boot = Partition {
            start: MIB,
            length: mib(boot_mib),
        };
        let root_a = Partition {
            start: boot.start + boot.length,
            length: mib(slot_mib),
        };
        let root_b = Partition {
            start: root_a.start + root_a.length,
            length: mib(slot_mib),
        };
        Some(Self {
            boot,
            root_a,
            root_b,
            data: Partition {
                start: root_b.start + root_b.length,
                length: data,
            },
        })
    }

    /// The first sector of the disk.
    pub fn mbr(&self, signature: u32) -> [u8; SECTOR as usize] {
        /// Cylinder, head, sector of "see the LBA fields".
        const BEYOND: [u8; 3] = [0xfe, 0xff, 0xff];
        let mut sector = [0; SECTOR as usize];
        sector[SIGNATURE_AT..SIGNATURE_AT + 4].copy_from_slice(&signature.to_le_bytes());
        let kinds = [
            (0x80, TYPE_FAT32),
            (0, TYPE_LINUX),
            (0, TYPE_LINUX),
            (0, TYPE_LINUX),
        ];
        for (number, (partition, (active, kind))) in
            [self.boot, self.root_a, self.root_b, self.data]
                .into_iter()
                .zip(kinds)
                .enumerate()
        {
            let entry = &mut sector[ENTRIES_AT + 16 * number..][..16];
            entry[0] = active;
            entry[1..4].copy_from_slice(&BEYOND);
            entry[4] = kind;
            entry[5..8].copy_from_slice(&BEYOND);
            entry[8..12].copy_from_slice(&sectors(partition.start).to_le_bytes());
            entry[12..16].copy_from_slice(&sectors(partition.length).to_le_bytes());
        }
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }
}

/// Layouts are made from u32 counts of MiB below 2 TiB (checked with the configuration), so the count of sectors fits.
#[cfg(feature = "builder")]
fn sectors(bytes: u64) -> u32 {
    u32::try_from(bytes / SECTOR).unwrap_or(u32::MAX)
}

/// A partition of an image as a file of its own.
#[derive(Debug)]
pub struct Slice {
    file: File,
    partition: Partition,
    position: u64,
}

impl Slice {
    /// The window onto `partition` of `file`.
    pub fn new(file: File, partition: Partition) -> Self {
        Self {
            file,
            partition,
            position: 0,
        }
    }

    fn window(&mut self, wanted: usize) -> io::Result<usize> {
        let left = self.partition.length.saturating_sub(self.position);
        self.file
            .seek(SeekFrom::Start(self.partition.start + self.position))?;
        Ok(wanted.min(usize::try_from(left).unwrap_or(usize::MAX)))
    }
}

impl Read for Slice {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.window(buffer.len())?;
        let count = self.file.read(&mut buffer[..wanted])?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Slice {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let wanted = self.window(buffer.len())?;
        let count = self.file.write(&buffer[..wanted])?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Slice {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.partition.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

#[cfg(all(test, feature = "builder"))]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A disk of 8 MiB with something in each of its partitions but the third.
    pub(crate) fn small_disk() -> Vec<u8> {
        let layout = Layout::of_mib(8, 2, 2).unwrap();
        let mut bytes = vec![0; 8 << 20];
        bytes[..512].copy_from_slice(&layout.mbr(7));
        for (number, part) in [layout.boot, layout.root_a, layout.data].iter().enumerate() {
            let at = part.start as usize + 1000;
            bytes[at..at + 5000].fill(number as u8 + 1);
        }
        bytes
    }

    #[test]
    fn a_table_reads_back_as_written() {
        let layout = Layout::of_mib(128, 48, 16).unwrap();
        assert_eq!(parse(&layout.mbr(7), 128 * MIB).unwrap(), layout);
        assert_eq!(
            layout.data,
            Partition {
                start: 81 * MIB,
                length: 47 * MIB
            }
        );
    }

    #[test]
    fn no_room_for_data_is_no_layout() {
        assert_eq!(Layout::of_mib(81, 48, 16), None);
        assert_eq!(Layout::of_mib(10, 48, 16), None);
    }

    #[test]
    fn foreign_tables_are_refused() {
        let layout = Layout::of_mib(128, 48, 16).unwrap();
        assert_eq!(parse(&[0; 512], 128 * MIB), Err("no partition table"));
        assert_eq!(
            parse(&layout.mbr(7), 127 * MIB),
            Err("a partition ends behind the end of the file")
        );
        let mut overlapping = layout.mbr(7);
        overlapping[ENTRIES_AT + 16 + 8] = 0;
        overlapping[ENTRIES_AT + 16 + 9] = 9;
        overlapping[ENTRIES_AT + 16 + 10] = 0;
        assert_eq!(
            parse(&overlapping, 128 * MIB),
            Err("partitions overlap or are out of order")
        );
    }
}
