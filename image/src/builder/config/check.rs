//! The second half of reading a board: from merged TOML to a consistent [`Board`].
//!
//! Called by `load` only. Invariant: every message names the key and what was expected.

use super::{Board, Raw, RawDisk, RawLoader, RootConfig};
use crate::builder::loaders::{EFI_KERNEL, Tree, UBOOT_KERNEL};
use crate::builder::sources::Source;
use crate::disk::Layout;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest disk an image may have, MiB: keeps builds and downloads sane, and sector numbers inside an MBR.
const SIZE_MAX_MIB: u32 = 16 * 1024;
/// What EFI firmware starts from a disk that it does not know.
const EFI_PROGRAM: &str = "EFI/BOOT/BOOTAA64.EFI";
/// FAT32 with 512-byte clusters needs 65525 of them and their table.
const BOOT_MIN_MIB: u32 = 34;

pub(super) fn check(folder: &Path, board: &str, raw: Raw) -> Result<Board, String> {
    let layout = layout(&raw.disk)?;
    let targets = &raw.kernel.targets;
    let made = |name: &str| targets.iter().any(|target| file_name(target) == name);
    if !made("Image") {
        return Err("`kernel.targets` lacks Image, which QEMU boots".to_owned());
    }
    if let Some(tree) = raw.qemu.device_tree.as_deref().filter(|tree| !made(tree)) {
        return Err(format!(
            "`qemu.device_tree` is {tree}; expected one of `kernel.targets`"
        ));
    }
    check_root(&raw.root)?;
    let (uboot, efi) = loaders(&raw.loader)?;
    let read = |section: &str, files: &BTreeMap<String, String>| {
        let one = |(path, text): (&String, &String)| {
            let source = source(folder, section, path, text, targets)?;
            Ok((path.clone(), source))
        };
        files
            .iter()
            .map(one)
            .collect::<Result<BTreeMap<_, _>, String>>()
    };
    let mut boot = read("boot", &raw.boot)?;
    if efi.is_some() {
        let program = &raw.loader.efi_program;
        let program = source(folder, "loader", "efi_program", program, targets)?;
        boot.insert(EFI_PROGRAM.to_owned(), program);
    }
    let slot = read("slot", &raw.slot)?;
    check_slot(&slot, uboot.as_ref(), efi.as_ref())?;
    let root_files = read("root.files", &raw.root.files)?;
    let fragments = raw
        .kernel
        .fragments
        .iter()
        .map(|name| fragment(folder, name));
    let console = raw.kernel.console;
    Ok(Board {
        name: board.to_owned(),
        description: raw.description,
        kernel_package: raw.kernel.package,
        fragments: fragments.collect::<Result<_, _>>()?,
        targets: raw.kernel.targets,
        options: format!("console={console} {}", raw.kernel.command_line),
        root: raw.root,
        root_files,
        layout,
        data_template_mib: raw.disk.data_template_mib,
        boot,
        slot,
        uboot,
        efi,
        qemu: raw.qemu,
    })
}

fn layout(disk: &RawDisk) -> Result<Layout, String> {
    let RawDisk {
        size_mib,
        boot_mib,
        slot_mib,
        data_template_mib,
        ..
    } = *disk;
    for (key, value) in [
        ("size_mib", size_mib),
        ("boot_mib", boot_mib),
        ("slot_mib", slot_mib),
    ] {
        if value > SIZE_MAX_MIB {
            return Err(format!(
                "`disk.{key}` is {value}; expected at most {SIZE_MAX_MIB}"
            ));
        }
    }
    if boot_mib < BOOT_MIN_MIB {
        return Err(format!(
            "`disk.boot_mib` is {boot_mib}; FAT32 needs at least {BOOT_MIN_MIB}"
        ));
    }
    let layout = Layout::of_mib(size_mib, boot_mib, slot_mib).ok_or_else(|| {
        let least = 1 + boot_mib + 2 * slot_mib;
        format!("`disk.size_mib` is {size_mib}; expected more than 1 + boot_mib + 2 * slot_mib = {least}")
    })?;
    if !(8..=256).contains(&data_template_mib) {
        return Err(format!(
            "`disk.data_template_mib` is {data_template_mib}; expected 8 to 256"
        ));
    }
    let left = layout.data.length >> 20;
    if u64::from(data_template_mib) > left {
        return Err(format!(
            "`disk.data_template_mib` is {data_template_mib}, more than the {left} left for data"
        ));
    }
    Ok(layout)
}

fn fragment(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let path = folder.join("kernel").join(format!("{name}.fragment"));
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!(
            "`kernel.fragments` names {name}; expected a file {}",
            path.display()
        ))
    }
}

/// The file a `make` target leaves: its last part.
pub(in crate::builder) fn file_name(target: &str) -> &str {
    target.rsplit('/').next().unwrap_or(target)
}

/// Where one file of `section` comes from.
fn source(
    folder: &Path,
    section: &str,
    path: &str,
    source: &str,
    targets: &[String],
) -> Result<Source, String> {
    let key = format!("`{section}.\"{path}\"`");
    let is_plain = |path: &str| {
        path.split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
    };
    if !is_plain(path) {
        return Err(format!("{key}: expected a plain path such as slot-a/Image"));
    }
    let in_package = |rest: &str| {
        let (package, file) = rest.split_once('/')?;
        let named = !package.is_empty() && is_plain(file);
        named.then(|| (package.to_owned(), file.to_owned()))
    };
    let (kind, rest) = source.split_once('/').unwrap_or_default();
    match (kind, in_package(rest)) {
        ("kernel", _) => {
            let wanted = if rest == UBOOT_KERNEL { "Image" } else { rest };
            let made = targets.iter().any(|target| file_name(target) == wanted);
            made.then(|| Source::Kernel(rest.to_owned()))
                .ok_or_else(|| format!("{key} is {source}; no such file among `kernel.targets`"))
        }
        ("boot", _) if is_plain(rest) => {
            let file = folder.join(source);
            let shown = file.display().to_string();
            Some(Source::File(file))
                .filter(|_| folder.join(source).is_file())
                .ok_or_else(|| format!("{key} is {source}; expected a file {shown}"))
        }
        ("debian", Some((package, path))) => Ok(Source::Debian { package, path }),
        ("non-free-firmware", Some((package, path))) => Ok(Source::NonFree { package, path }),
        _ => Err(format!(
            "{key} is {source}; expected kernel/<file>, boot/<file>, debian/<package>/<path> or \
             non-free-firmware/<package>/<path>"
        )),
    }
}

/// What U-Boot and what EFI hand to the kernel, where they start the board.
fn loaders(raw: &RawLoader) -> Result<(Option<Tree>, Option<Tree>), String> {
    let uboot = match raw.uboot.as_str() {
        "no" => None,
        "firmware" => Some(Tree::Firmware),
        "slot" => Some(Tree::Slot),
        other => {
            return Err(format!(
                "`loader.uboot` is {other}; expected no, firmware or slot"
            ));
        }
    };
    let efi = match raw.efi.as_str() {
        "no" => None,
        "firmware" => Some(Tree::Firmware),
        name => Some(Tree::File(name.to_owned())),
    };
    Ok((uboot, efi))
}

/// A slot has plain names, and the kernels that its boot loaders start.
fn check_slot(
    slot: &BTreeMap<String, Source>,
    uboot: Option<&Tree>,
    efi: Option<&Tree>,
) -> Result<(), String> {
    if let Some(path) = slot.keys().find(|path| path.contains('/')) {
        return Err(format!(
            "`slot.\"{path}\"`: expected a name without a folder"
        ));
    }
    for (key, loader, kernel) in [("uboot", uboot, UBOOT_KERNEL), ("efi", efi, EFI_KERNEL)] {
        if loader.is_some() && !slot.contains_key(kernel) {
            return Err(format!("`loader.{key}` needs {kernel} in `slot`"));
        }
    }
    match efi {
        Some(Tree::File(name)) if !slot.contains_key(name) => Err(format!(
            "`loader.efi` is {name}; expected no, firmware, or a device tree in `slot`"
        )),
        _ => Ok(()),
    }
}

fn check_root(root: &RootConfig) -> Result<(), String> {
    let relative = |path: &str| !path.is_empty() && !path.starts_with('/') && !path.contains("..");
    if let Some(path) = root
        .binaries
        .values()
        .chain(root.links.keys())
        .find(|path| !relative(path))
    {
        return Err(format!(
            "`root`: path {path} must be relative to the root, without .."
        ));
    }
    for folder in &root.folders {
        split_mode(folder).ok_or_else(|| {
            format!("`root.folders` has {folder}; expected path or path:octal-mode")
        })?;
    }
    match root
        .applets
        .iter()
        .find(|applet| applet.is_empty() || applet.contains('/'))
    {
        Some(applet) => Err(format!(
            "`root.applets` has {applet:?}; expected a bare name"
        )),
        None => Ok(()),
    }
}

/// `tmp:1777` to path and mode; 755 where none is given.
pub(in crate::builder) fn split_mode(folder: &str) -> Option<(&str, u16)> {
    let (path, mode) = folder.split_once(':').unwrap_or((folder, "755"));
    let mode = u16::from_str_radix(mode, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)?;
    (!path.is_empty() && !path.starts_with('/') && !path.contains("..")).then_some((path, mode))
}
