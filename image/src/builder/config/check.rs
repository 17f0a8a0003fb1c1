//! The second half of reading a board: from merged TOML to a consistent [`Board`].
//!
//! Called by `load` only. Invariant: every message names the key and what was expected.

use super::{Board, BootSource, Raw, RawDisk, RootConfig};
use crate::disk::Layout;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest disk an image may have, MiB: keeps builds and downloads sane, and sector numbers inside an MBR.
const SIZE_MAX_MIB: u32 = 16 * 1024;
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
    let mut boot = BTreeMap::new();
    for (path, source) in &raw.boot {
        boot.insert(path.clone(), boot_source(folder, path, source, targets)?);
    }
    let fragments = raw
        .kernel
        .fragments
        .iter()
        .map(|name| fragment(folder, name));
    let (root_device, console) = (raw.kernel.root_device, raw.kernel.console);
    Ok(Board {
        name: board.to_owned(),
        description: raw.description,
        kernel_package: raw.kernel.package,
        fragments: fragments.collect::<Result<_, _>>()?,
        targets: raw.kernel.targets,
        command_line: format!(
            "root={root_device} console={console} {}",
            raw.kernel.command_line
        ),
        root: raw.root,
        layout,
        signature: raw.disk.signature,
        data_template_mib: raw.disk.data_template_mib,
        boot,
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

fn boot_source(
    folder: &Path,
    path: &str,
    source: &str,
    targets: &[String],
) -> Result<BootSource, String> {
    let key = format!("`boot.\"{path}\"`");
    if path.is_empty()
        || path
            .split('/')
            .any(|part| part.is_empty() || part == "." || part == "..")
    {
        return Err(format!("{key}: expected a plain path such as slot-a/Image"));
    }
    if source == "command-line" {
        return Ok(BootSource::CommandLine);
    }
    if let Some(name) = source.strip_prefix("kernel/") {
        let made = targets.iter().any(|target| file_name(target) == name);
        return if made {
            Ok(BootSource::Kernel(name.to_owned()))
        } else {
            Err(format!(
                "{key} is {source}; no such file among `kernel.targets`"
            ))
        };
    }
    let file = folder.join(source);
    if source.starts_with("boot/") && !source.contains("..") {
        return if file.is_file() {
            Ok(BootSource::File(file))
        } else {
            Err(format!(
                "{key} is {source}; expected a file {}",
                file.display()
            ))
        };
    }
    Err(format!(
        "{key} is {source}; expected kernel/<file>, boot/<file> or command-line"
    ))
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
