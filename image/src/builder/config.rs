//! Board configuration: `_base.toml` under a board's own short file, checked once.
//!
//! Data only; builds nothing. Called by `cargo xtask`. Invariant: a [`Board`] is complete and consistent, so the builder behind it
//! asks no question twice; every refusal names the file, the key and what was expected.

mod check;
#[cfg(test)]
mod tests;

pub(super) use check::{file_name, split_mode};

use super::loaders::{EFI_KERNEL, Tree, UBOOT_KERNEL};
use super::sources::Source;
use crate::artifacts::QemuFacts;
use crate::disk::Layout;
use nesos_base::slots::Slot;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// File that every board inherits from.
const BASE: &str = "_base.toml";

/// A checked board.
#[derive(Clone, Debug)]
pub struct Board {
    /// Name: that of the file without `.toml`.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Debian source package of the kernel.
    pub kernel_package: String,
    /// Configuration fragments, in order, all existing.
    pub fragments: Vec<PathBuf>,
    /// Targets for `make`.
    pub targets: Vec<String>,
    /// The kernel command line without what depends on the slot.
    pub options: String,
    /// Content of the root file system.
    pub root: RootConfig,
    /// Files of the root from elsewhere, by path.
    pub root_files: BTreeMap<String, Source>,
    /// The partitions.
    pub layout: Layout,
    /// Size of the empty ext4, MiB.
    pub data_template_mib: u32,
    /// Files of the boot partition that are there once.
    pub boot: BTreeMap<String, Source>,
    /// Files that each slot has of its own, by plain names.
    pub slot: BTreeMap<String, Source>,
    /// Where U-Boot starts this board: the device tree that the kernel gets.
    pub uboot: Option<Tree>,
    /// The same where EFI starts it.
    pub efi: Option<Tree>,
    /// Emulation.
    pub qemu: QemuFacts,
}

impl Board {
    /// The kernel's whole command line in `slot`, but for what the boot loader adds.
    pub fn command_line(&self, slot: Slot) -> String {
        format!("{} {}", slot.root_argument(), self.options)
    }

    /// The slot's file that is its kernel, for the boot loader that there is; the first of both.
    pub fn slot_kernel(&self) -> Option<&'static str> {
        match (&self.efi, &self.uboot) {
            (Some(_), _) => Some(EFI_KERNEL),
            (None, Some(_)) => Some(UBOOT_KERNEL),
            (None, None) => None,
        }
    }

    /// The slot's file that systemd-boot hands to the kernel, where the firmware's device tree is not the kernel's.
    pub fn slot_tree(&self) -> Option<&str> {
        match &self.efi {
            Some(Tree::File(name)) => Some(name),
            _ => None,
        }
    }
}

/// Content of the root file system.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootConfig {
    /// Debian package that holds a static BusyBox for arm64.
    pub busybox: String,
    /// Own programs: name to path in the root.
    pub binaries: BTreeMap<String, String>,
    /// Empty folders, with an octal mode after a colon.
    pub folders: Vec<String>,
    /// Symbolic links: path to target.
    pub links: BTreeMap<String, String>,
    /// BusyBox applets that become links in `/bin`.
    pub applets: Vec<String>,
    /// Files from elsewhere: path in the root to where it comes from, as in `[boot]`.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

/// A refused configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No such board.
    #[error("no board {board}: there are {known}")]
    Unknown {
        /// The name asked for.
        board: String,
        /// The names there are.
        known: String,
    },
    /// A file cannot be read.
    #[error("read {path}: {source}")]
    Read {
        /// File or folder.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{file}: {reason}")]
    Refused {
        /// The file, or both files where their sum is wrong.
        file: String,
        /// The key and the expectation.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    description: String,
    kernel: RawKernel,
    root: RootConfig,
    disk: RawDisk,
    boot: BTreeMap<String, String>,
    slot: BTreeMap<String, String>,
    loader: RawLoader,
    qemu: QemuFacts,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKernel {
    package: String,
    fragments: Vec<String>,
    targets: Vec<String>,
    command_line: String,
    console: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLoader {
    uboot: String,
    efi: String,
    efi_program: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDisk {
    size_mib: u32,
    boot_mib: u32,
    slot_mib: u32,
    data_template_mib: u32,
}

/// Names of the boards described in `folder`, sorted.
///
/// # Errors
/// The folder cannot be listed.
pub fn boards(folder: &Path) -> Result<Vec<String>, ConfigError> {
    let read = |source| ConfigError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let name = entry.map_err(read)?.file_name();
        if let Some(name) = name
            .to_str()
            .and_then(|name| name.strip_suffix(".toml"))
            .filter(|name| !name.starts_with('_'))
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Reads and checks `board` from `folder`.
///
/// # Errors
/// There is no such board, or its file or `_base.toml` is refused.
pub fn load(folder: &Path, board: &str) -> Result<Board, ConfigError> {
    let known = boards(folder)?;
    if !known.iter().any(|name| name == board) {
        return Err(ConfigError::Unknown {
            board: board.to_owned(),
            known: known.join(", "),
        });
    }
    let own_name = format!("{board}.toml");
    let base = table(folder, BASE)?;
    let own = table(folder, &own_name)?;
    refuse_strange(&base, BASE)?;
    refuse_strange(&own, &own_name)?;
    let files = format!("{} over {BASE}", folder.join(&own_name).display());
    let refused = |reason: String| ConfigError::Refused {
        file: files.clone(),
        reason,
    };
    let raw = Raw::deserialize(Value::Table(merge(base, own)))
        .map_err(|error| refused(one_line(&error)))?;
    check::check(folder, board, raw).map_err(refused)
}

fn table(folder: &Path, name: &str) -> Result<Table, ConfigError> {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Read {
        path: path.clone(),
        source,
    })?;
    text.parse().map_err(|error| ConfigError::Refused {
        file: path.display().to_string(),
        reason: one_line(&error),
    })
}

/// Unknown keys are reported against the file they are written in: after merging nobody could tell.
fn refuse_strange(table: &Table, file: &str) -> Result<(), ConfigError> {
    /// Sections and their keys; `*` where the section is a map of names.
    const KNOWN: [(&str, &[&str]); 7] = [
        (
            "kernel",
            &["package", "fragments", "targets", "command_line", "console"],
        ),
        (
            "root",
            &[
                "busybox", "binaries", "folders", "links", "applets", "files",
            ],
        ),
        (
            "disk",
            &["size_mib", "boot_mib", "slot_mib", "data_template_mib"],
        ),
        ("boot", &["*"]),
        ("slot", &["*"]),
        ("loader", &["uboot", "efi", "efi_program"]),
        (
            "qemu",
            &["machine", "cpu", "memory_mib", "device_tree", "append"],
        ),
    ];
    let refused = |reason: String| {
        Err(ConfigError::Refused {
            file: file.to_owned(),
            reason,
        })
    };
    for (section, value) in table {
        let Some((_, keys)) = KNOWN.iter().find(|(name, _)| name == section) else {
            if section == "description" {
                continue;
            }
            return refused(format!(
                "unknown key `{section}`; expected description, kernel, root, disk, boot, slot, loader or qemu"
            ));
        };
        let Value::Table(inside) = value else {
            return refused(format!("`{section}` must be a table, as in [{section}]"));
        };
        if let Some(strange) = inside
            .keys()
            .find(|key| *keys != ["*"] && !keys.contains(&key.as_str()))
        {
            return refused(format!(
                "unknown key `{section}.{strange}`; expected one of {}",
                keys.join(", ")
            ));
        }
    }
    Ok(())
}

fn merge(mut base: Table, own: Table) -> Table {
    for (key, value) in own {
        let merged = match (base.remove(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => Value::Table(merge(below, above)),
            (_, value) => value,
        };
        base.insert(key, merged);
    }
    base
}

fn one_line(error: &toml::de::Error) -> String {
    error
        .to_string()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}
