//! Tests of `disk`: growing an MBR entry, reading a superblock, refusing damaged templates.
#![allow(clippy::unwrap_used)]

use super::*;

fn mbr(partitions: &[(usize, u32, u32)]) -> [u8; 512] {
    let mut mbr = [0u8; 512];
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    for (number, start, sectors) in partitions {
        let at = 446 + 16 * (number - 1);
        mbr[at + 4] = 0x83;
        mbr[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        mbr[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
    }
    mbr
}

#[test]
fn growing_changes_the_length_of_one_entry_only() {
    let before = mbr(&[(1, 2048, 4096), (2, 6144, 4096), (4, 10240, 20480)]);
    let mut after = before;
    let grown = grow(&mut after, 4, 1_000_000).unwrap();
    assert_eq!(
        grown,
        Partition {
            start: 10240,
            sectors: 989_760
        }
    );
    assert_eq!(partition(&after, 4), Some(grown));
    let changed: Vec<usize> = (0..512).filter(|i| before[*i] != after[*i]).collect();
    assert!(
        changed
            .iter()
            .all(|i| (446 + 48 + 12..446 + 64).contains(i))
    );
    assert_eq!(grow(&mut after, 4, 1_000_000), None);
}

#[test]
fn growing_stops_at_two_tebibytes_and_never_overlaps() {
    let mut large = mbr(&[(4, 2048, 2048)]);
    assert_eq!(
        grow(&mut large, 4, u64::MAX).unwrap().sectors,
        u64::from(u32::MAX) - 2048
    );
    let mut behind = mbr(&[(3, 100_000, 2048), (4, 2048, 2048)]);
    assert_eq!(grow(&mut behind, 4, 1_000_000), None);
    let mut smaller = mbr(&[(4, 2048, 20480)]);
    assert_eq!(grow(&mut smaller, 4, 1024), None);
    assert_eq!(grow(&mut [0; 512], 4, 1_000_000), None);
}

#[test]
fn superblocks_are_recognised_by_their_magic() {
    let mut superblock = [0u8; SUPERBLOCK_BYTES];
    assert_eq!(ext4_size(&superblock), None);
    superblock[0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
    superblock[4..8].copy_from_slice(&16384u32.to_le_bytes());
    superblock[0x18..0x1c].copy_from_slice(&2u32.to_le_bytes());
    superblock[0x150] = 1;
    assert_eq!(ext4_size(&superblock), Some((64 << 20, 4096)));
    superblock[0x60] = 0x80;
    assert_eq!(ext4_size(&superblock), Some(((1 << 44) + (64 << 20), 4096)));
    superblock[0x18] = 77;
    assert_eq!(ext4_size(&superblock), None);
    assert!(
        is_ext4(&superblock),
        "a damaged file system is not an empty partition"
    );
}

fn template(total: u64, extents: &[(u64, &[u8])]) -> Vec<u8> {
    let mut file = TEMPLATE_MAGIC.to_vec();
    file.extend(total.to_le_bytes());
    for (offset, data) in extents {
        file.extend(offset.to_le_bytes());
        file.extend((data.len() as u32).to_le_bytes());
        file.extend(*data);
    }
    file
}

fn parse(file: &[u8], partition: u64) -> Result<Template, TemplateError> {
    Template::parse(file.len() as u64, partition, |position, buffer| {
        let start = position as usize;
        buffer.copy_from_slice(&file[start..start + buffer.len()]);
        Ok(())
    })
}

#[test]
fn the_extent_with_the_superblock_is_written_last() {
    let head = [1u8; 2048];
    let file = template(
        1 << 20,
        &[(0, &head), (4096, b"groups"), (1 << 19, b"journal")],
    );
    let template = parse(&file, 1 << 20).unwrap();
    let order: Vec<u64> = template
        .extents()
        .iter()
        .map(|extent| extent.offset)
        .collect();
    assert_eq!(order, [4096, 1 << 19, 0]);
    let groups = template.extents()[0];
    assert_eq!(
        file[groups.position as usize..][..groups.length as usize],
        *b"groups"
    );
}

#[test]
fn damaged_templates_are_refused_at_every_length() {
    let file = template(8192, &[(0, &[7u8; 100]), (4096, b"abc")]);
    let whole = [16, 16 + 12 + 100, file.len()];
    for length in 0..=file.len() {
        assert_eq!(
            parse(&file[..length], 8192).is_ok(),
            whole.contains(&length),
            "length {length}"
        );
    }
    assert!(matches!(
        parse(&file, 4096),
        Err(TemplateError::TooLarge { .. })
    ));
    assert!(matches!(
        parse(&template(10, &[(8, b"abc")]), 99),
        Err(TemplateError::Damaged(16))
    ));
    assert!(matches!(
        parse(&template(10, &[(u64::MAX, b"abc")]), 99),
        Err(TemplateError::Damaged(16))
    ));
    let failing = Template::parse(99, 99, |_, _| Err(io::ErrorKind::InvalidData.into()));
    assert!(matches!(failing, Err(TemplateError::Read(_))));
}

/// A superblock as ext4 has it in its second group.
fn copy() -> [u8; SUPERBLOCK_BYTES] {
    let mut block = [0u8; SUPERBLOCK_BYTES];
    block[0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
    block[0x18] = 2;
    block[0x20..0x24].copy_from_slice(&32_768u32.to_le_bytes());
    block[0x5a] = 1;
    block[0x60..0x64].copy_from_slice(&0x2c2u32.to_le_bytes());
    sum(block)
}

fn sum(mut block: [u8; SUPERBLOCK_BYTES]) -> [u8; SUPERBLOCK_BYTES] {
    let sum = crc32c(&block[..1020]).to_le_bytes();
    block[1020..].copy_from_slice(&sum);
    block
}

#[test]
fn the_checksum_is_ext4s() {
    // CRC-32C of "123456789" is e3069283 with the inversion that ext4 leaves out.
    assert_eq!(crc32c(b"123456789"), !0xe306_9283);
}

#[test]
fn a_sound_copy_becomes_a_sound_superblock() {
    let restored = restored(&copy()).unwrap();
    assert!(is_sound(&restored) && is_ext4(&restored));
    assert_eq!((half(&restored, 0x5a), word(&restored, 0x60)), (0, 0x2c6));
    assert!(!has_errors(&restored) && !is_from_the_future(&restored));
}

#[test]
fn what_is_no_sound_copy_of_ours_is_not_used() {
    let with = |at: usize, byte: u8| {
        let mut block = copy();
        block[at] = byte;
        block
    };
    assert_eq!(restored(&[0; SUPERBLOCK_BYTES]), None);
    assert_eq!(restored(&with(4, 1)), None, "a wrong checksum");
    assert_eq!(restored(&sum(with(0x5a, 0))), None, "the first one itself");
    assert_eq!(restored(&sum(with(0x18, 0))), None, "another block size");
    assert_eq!(restored(&sum(with(0x62, 1))), None, "unknown features");
    assert!(is_from_the_future(&sum(with(0x62, 1))));
    assert!(!is_from_the_future(&with(0x62, 1)), "damaged, not new");
}
