//! What boot loaders read from the boot partition: U-Boot's script, systemd-boot's configuration, and each slot's command line.
//!
//! Called by [`super::build_image`]. Invariant: the paths and the record are those of `nesos_base::slots`, which the board's updater
//! writes as well.

use super::config::Board;
use nesos_base::slots::{Entry, EntryName, Slot};
use std::collections::BTreeMap;

/// The kernel that U-Boot unpacks and starts.
pub(super) const UBOOT_KERNEL: &str = "Image.gz";
/// The kernel that EFI starts.
pub(super) const EFI_KERNEL: &str = "vmlinuz.efi";
/// U-Boot's script, before its header is put in front of it.
const SCRIPT: &str = include_str!("../../../board-configs/boot/boot.cmd");
/// No menu, and nobody changes a command line at the console.
const LOADER_CONF: &str = "timeout 0\neditor no\n";
/// What the shell of EDK2 runs, which comes when systemd-boot has returned because a kernel cannot be loaded: its try is used up, so
/// the next start takes the other slot.
const STARTUP: &str =
    "echo Nesos: no slot was started; starting again\r\nstall 3000000\r\nreset\r\n";
/// Entries of a fresh image are the first installation.
const FIRST_GENERATION: u32 = 1;

/// The device tree that a boot loader hands to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// The firmware's own.
    Firmware,
    /// The file of the slot that U-Boot calls `fdtfile`.
    Slot,
    /// This file of the slot.
    File(String),
}

/// Files of the boot loaders on the boot partition, by path.
pub(super) fn loader_files(board: &Board, version: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    if let Some(tree) = &board.uboot {
        files.insert("boot.scr".to_owned(), script(tree));
    }
    if let Some(tree) = &board.efi {
        files.insert("loader/loader.conf".to_owned(), LOADER_CONF.into());
        files.insert("startup.nsh".to_owned(), STARTUP.into());
        let (name, text) = first_entry(board, tree, version);
        files.insert(format!("loader/entries/{name}"), text.into_bytes());
    }
    files
}

/// The command line of `slot` as U-Boot's script imports it.
pub(super) fn boot_environment(board: &Board, slot: Slot) -> String {
    format!("cmdline={}\n", board.command_line(slot))
}

fn first_entry(board: &Board, tree: &Tree, version: &str) -> (EntryName, String) {
    let slot = Slot::A;
    let in_slot = |name: &str| format!("/{}/{name}", slot.folder());
    let tree = match tree {
        Tree::Firmware | Tree::Slot => None,
        Tree::File(name) => Some(in_slot(name)),
    };
    let entry = Entry {
        slot,
        generation: FIRST_GENERATION,
        version,
        kernel: &in_slot(EFI_KERNEL),
        device_tree: tree.as_deref(),
        options: &format!(
            "{} nesos.slot={} nesos.boot=efi",
            board.command_line(slot),
            slot.letter()
        ),
    };
    let name = EntryName {
        slot,
        tries: None,
        done: 0,
    };
    (name, entry.text())
}

fn script(tree: &Tree) -> Vec<u8> {
    let tree = match tree {
        Tree::Firmware => "firmware",
        Tree::Slot | Tree::File(_) => "slot",
    };
    let code = SCRIPT
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<&str> = code.collect();
    script_image(&format!("setenv nesos_tree {tree}\n{}\n", lines.join("\n")))
}

/// U-Boot's legacy image format, type script: a header of 64 bytes, the length of the text, a zero, the text; numbers big endian.
fn script_image(text: &str) -> Vec<u8> {
    const MAGIC: u32 = 0x2705_1956;
    /// Offset of the header's own checksum, which is zero while it is computed.
    const HEADER_SUM: std::ops::Range<usize> = 4..8;
    /// Linux, arm64, script, not compressed.
    const KIND: [u8; 4] = [5, 22, 6, 0];
    /// Of the image's name.
    const NAME: &[u8; 32] = b"Nesos\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    // The script is a file of the repository, of some kilobytes.
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    let content = [&length(text.len())[..], &[0; 4], text.as_bytes()].concat();
    // No time, and no address to load to or start at: a script needs none.
    let (sum, time, load, start) = ([0; 4], [0; 4], [0; 4], [0; 4]);
    let mut image = [
        &MAGIC.to_be_bytes()[..],
        &sum,
        &time,
        &length(content.len()),
        &load,
        &start,
        &crc32fast::hash(&content).to_be_bytes(),
        &KIND,
        NAME,
    ]
    .concat();
    let sum = crc32fast::hash(&image);
    image[HEADER_SUM].copy_from_slice(&sum.to_be_bytes());
    image.extend(content);
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_image_has_u_boots_header_and_sums() {
        let made = script_image("echo hello\n");
        assert_eq!(made.len(), 64 + 8 + 11);
        assert_eq!(made[..4], [0x27, 0x05, 0x19, 0x56]);
        assert_eq!(made[12..16], [0, 0, 0, 19]);
        assert_eq!(made[28..34], [5, 22, 6, 0, b'N', b'e']);
        assert_eq!(made[64..72], [0, 0, 0, 11, 0, 0, 0, 0]);
        let mut header = made[..64].to_vec();
        header[4..8].fill(0);
        assert_eq!(made[4..8], crc32fast::hash(&header).to_be_bytes());
        assert_eq!(made[24..28], crc32fast::hash(&made[64..]).to_be_bytes());
    }

    #[test]
    fn the_script_has_no_line_longer_than_u_boot_reads() {
        // CONFIG_SYS_CBSIZE of the boards' U-Boots is 1024 and more; hush reads scripts from memory, `run` copies.
        for line in SCRIPT.lines() {
            assert!(line.len() < 1024, "{line}");
        }
    }
}
