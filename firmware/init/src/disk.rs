//! What is on the board's disk: the MBR's entries, an ext4's superblock, the template of an empty data partition.
//! Pure; `data` does the reading and writing.
//!
//! Invariant: every number from the disk is checked before it is used; growing changes one entry's length only.

use std::io;

/// Bytes of a sector, the unit of the MBR.
pub(crate) const SECTOR: u64 = 512;
/// Where the ext4 superblock begins, and how many bytes of it are read here.
pub(crate) const SUPERBLOCK_AT: u64 = 1024;
/// Bytes of the superblock that are read.
pub(crate) const SUPERBLOCK_BYTES: usize = 1024;
/// Where the group descriptors begin, in file systems of our block size: zeros only where there is no file system.
pub(crate) const DESCRIPTORS_AT: u64 = 4096;
/// Where the first copy of the superblock is, in file systems of our block size: at the beginning of the second group.
pub(crate) const BACKUP_AT: u64 = 128 << 20;
/// First bytes of the template.
pub(crate) const TEMPLATE_MAGIC: &[u8; 8] = b"NSPARSE1";
/// Extents of a template; an empty ext4 of 256 MB has about ten.
const EXTENTS_MAX: usize = 4096;
/// Growing by less than this is not worth the write: it is what rounding leaves over.
const GROW_MIN_SECTORS: u64 = 2048;

/// One primary partition, in sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partition {
    /// First sector.
    pub(crate) start: u64,
    /// Number of sectors.
    pub(crate) sectors: u64,
}

/// The primary partition `number` (1 to 4) of an MBR; `None` if the sector is no MBR or the entry is empty.
pub(crate) fn partition(mbr: &[u8; 512], number: usize) -> Option<Partition> {
    let entry = entry(mbr, number)?;
    let word = |at: usize| {
        u64::from(u32::from_le_bytes([
            entry[at],
            entry[at + 1],
            entry[at + 2],
            entry[at + 3],
        ]))
    };
    let partition = Partition {
        start: word(8),
        sectors: word(12),
    };
    (entry[4] != 0 && partition.start > 0 && partition.sectors > 0).then_some(partition)
}

/// Lengthens the last partition `number` to the end of a disk of `disk_sectors`. Returns the partition as it is
/// afterwards, or `None` if there is nothing to gain or another partition begins behind it.
pub(crate) fn grow(mbr: &mut [u8; 512], number: usize, disk_sectors: u64) -> Option<Partition> {
    let old = partition(mbr, number)?;
    let behind = (1..=4)
        .filter(|n| *n != number)
        .filter_map(|n| partition(mbr, n))
        .any(|p| p.start > old.start);
    // The MBR counts in 32 bits: 2 TiB is the end.
    let sectors = disk_sectors
        .min(u64::from(u32::MAX))
        .checked_sub(old.start)?;
    if behind || sectors < old.sectors.saturating_add(GROW_MIN_SECTORS) {
        return None;
    }
    let at = entry_offset(number) + 12;
    mbr[at..at + 4].copy_from_slice(&u32::try_from(sectors).ok()?.to_le_bytes());
    Some(Partition {
        start: old.start,
        sectors,
    })
}

fn entry(mbr: &[u8; 512], number: usize) -> Option<&[u8]> {
    let valid = mbr[510..] == [0x55, 0xaa] && (1..=4).contains(&number);
    valid.then(|| &mbr[entry_offset(number)..entry_offset(number) + 16])
}

fn entry_offset(number: usize) -> usize {
    446 + 16 * (number - 1)
}

/// True if this is the superblock of an ext4, be it damaged: then it holds somebody's data.
pub(crate) fn is_ext4(superblock: &[u8; SUPERBLOCK_BYTES]) -> bool {
    superblock[0x38..0x3a] == [0x53, 0xef]
}

/// Size of the ext4 whose superblock this is, in bytes, and its block size; `None` if it is none or damaged.
pub(crate) fn ext4_size(superblock: &[u8; SUPERBLOCK_BYTES]) -> Option<(u64, u64)> {
    let word = |at: usize| {
        u64::from(u32::from_le_bytes([
            superblock[at],
            superblock[at + 1],
            superblock[at + 2],
            superblock[at + 3],
        ]))
    };
    if !is_ext4(superblock) {
        return None;
    }
    // Only 64-bit file systems use the high half; elsewhere it may hold anything.
    let high = if word(0x60) & 0x80 != 0 {
        word(0x150)
    } else {
        0
    };
    let block = 1024u64.checked_shl(u32::try_from(word(0x18)).ok().filter(|log| *log <= 6)?)?;
    Some(((word(4) | high << 32).checked_mul(block)?, block))
}

/// `s_feature_incompat` of the file systems that we make and of those that are in use: file types, journal to be replayed, extents,
/// 64 bit, flexible groups.
const FEATURES: u32 = 0x2 | 0x4 | 0x40 | 0x80 | 0x200;
/// The bit of it that says that the journal is to be looked at.
const RECOVER: u32 = 0x4;

fn half(superblock: &[u8; SUPERBLOCK_BYTES], at: usize) -> u16 {
    u16::from_le_bytes([superblock[at], superblock[at + 1]])
}

fn word(superblock: &[u8; SUPERBLOCK_BYTES], at: usize) -> u32 {
    u32::from(half(superblock, at)) | u32::from(half(superblock, at + 2)) << 16
}

/// True if the kernel has noted errors in the file system.
pub(crate) fn has_errors(superblock: &[u8; SUPERBLOCK_BYTES]) -> bool {
    is_ext4(superblock) && half(superblock, 0x3a) & 2 != 0
}

/// True if the superblock is sound and asks for what file systems of ours have not.
pub(crate) fn is_from_the_future(superblock: &[u8; SUPERBLOCK_BYTES]) -> bool {
    is_ext4(superblock) && is_sound(superblock) && word(superblock, 0x60) & !FEATURES != 0
}

/// The superblock that `copy`, the one in the second group, stands for; `None` if it is not a sound one of a file system of ours.
pub(crate) fn restored(copy: &[u8; SUPERBLOCK_BYTES]) -> Option<[u8; SUPERBLOCK_BYTES]> {
    let ours = is_ext4(copy)
        && is_sound(copy)
        && half(copy, 0x5a) == 1
        && word(copy, 0x18) == 2
        && word(copy, 0x20) == 32_768
        && word(copy, 0x60) & !FEATURES == 0;
    if !ours {
        return None;
    }
    let mut superblock = *copy;
    superblock[0x5a..0x5c].copy_from_slice(&[0, 0]);
    // The copy does not know whether the journal holds anything: an empty one costs nothing to replay.
    superblock[0x60..0x64].copy_from_slice(&(word(copy, 0x60) | RECOVER).to_le_bytes());
    let sum = crc32c(&superblock[..SUPERBLOCK_BYTES - 4]);
    superblock[SUPERBLOCK_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
    Some(superblock)
}

/// True if the superblock's checksum is right.
fn is_sound(superblock: &[u8; SUPERBLOCK_BYTES]) -> bool {
    crc32c(&superblock[..SUPERBLOCK_BYTES - 4]) == word(superblock, SUPERBLOCK_BYTES - 4)
}

/// ext4's checksum: Castagnoli's CRC, begun with all ones and not inverted at the end. Bit by bit: a kilobyte in the life of a board.
fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg())
        })
    })
}

/// Why a template was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    /// It does not begin with the magic.
    #[error("template does not begin with NSPARSE1")]
    Magic,
    /// It ends in the middle of an extent, or an extent lies outside of the total size.
    #[error("template is damaged at byte {0}")]
    Damaged(u64),
    /// The partition is smaller than the file system in the template.
    #[error("partition of {partition} bytes is smaller than the template's {template}")]
    TooLarge {
        /// Size of the file system, bytes.
        template: u64,
        /// Size of the partition, bytes.
        partition: u64,
    },
    /// The template cannot be read.
    #[error("read template: {0}")]
    Read(#[from] io::Error),
}

/// A run of non-zero bytes in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where it goes in the partition.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) length: u64,
    /// Where it begins in the template.
    pub(crate) position: u64,
}

impl Extent {
    /// True for the extent that makes the partition an ext4.
    pub(crate) fn holds_superblock(&self) -> bool {
        (self.offset..self.offset + self.length).contains(&SUPERBLOCK_AT)
    }
}

/// A checked template: where the non-zero extents of an empty ext4 are.
#[derive(Debug)]
pub(crate) struct Template {
    total: u64,
    extents: Vec<Extent>,
}

impl Template {
    /// Checks a template of `length` bytes against a partition of `partition` bytes. `read` fills a buffer from a
    /// position of the template; the extents' data is not read.
    pub(crate) fn parse(
        length: u64,
        partition: u64,
        mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> Result<Template, TemplateError> {
        let mut head = [0u8; 16];
        if length < 16 {
            return Err(TemplateError::Magic);
        }
        read(0, &mut head)?;
        let (magic, total) = head.split_at(8);
        if magic != TEMPLATE_MAGIC {
            return Err(TemplateError::Magic);
        }
        let mut template = Template {
            total: u64_at(total),
            extents: Vec::new(),
        };
        if template.total > partition {
            return Err(TemplateError::TooLarge {
                template: template.total,
                partition,
            });
        }
        let mut position = 16;
        while position < length {
            let damaged = TemplateError::Damaged(position);
            if length - position < 12 || template.extents.len() >= EXTENTS_MAX {
                return Err(damaged);
            }
            let mut header = [0u8; 12];
            read(position, &mut header)?;
            let bytes = u64::from(u32::from_le_bytes([
                header[8], header[9], header[10], header[11],
            ]));
            let extent = Extent {
                offset: u64_at(&header),
                length: bytes,
                position: position + 12,
            };
            let fits = extent
                .offset
                .checked_add(bytes)
                .is_some_and(|end| end <= template.total);
            if !fits || length - extent.position < bytes {
                return Err(damaged);
            }
            position = extent.position + bytes;
            template.extents.push(extent);
        }
        // The superblock last: a power cut in between leaves a partition without magic, which the next boot begins anew.
        template.extents.sort_by_key(Extent::holds_superblock);
        Ok(template)
    }

    /// Size of the file system, bytes; what no extent covers is zero.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The extents in the order in which to write them.
    pub(crate) fn extents(&self) -> &[Extent] {
        &self.extents
    }
}

fn u64_at(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
