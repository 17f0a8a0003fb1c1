//! Board configuration: `_base.toml` under a board's own short file, checked once.
//!
//! Data only; builds nothing. Called by `cargo xtask`. Invariant: a [`Board`] is complete and consistent, so the builder behind it
//! asks no question twice; every refusal names the file, the key and what was expected.

use crate::artifacts::QemuFacts;
use crate::disk::Layout;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// File that every board inherits from.
const BASE: &str = "_base.toml";
/// Largest disk an image may have, MiB: keeps builds and downloads sane, and sector numbers inside an MBR.
const SIZE_MAX_MIB: u32 = 16 * 1024;
/// FAT32 with 512-byte clusters needs 65525 of them and their table.
const BOOT_MIN_MIB: u32 = 34;

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
    /// The whole kernel command line.
    pub command_line: String,
    /// Content of the root file system.
    pub root: RootConfig,
    /// The partitions.
    pub layout: Layout,
    /// Disk signature and FAT volume id.
    pub signature: u32,
    /// Size of the empty ext4, MiB.
    pub data_template_mib: u32,
    /// Files of the boot partition.
    pub boot: BTreeMap<String, BootSource>,
    /// Emulation.
    pub qemu: QemuFacts,
}

/// Where a file of the boot partition comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootSource {
    /// A file that the kernel build made, by name.
    Kernel(String),
    /// A file in `board-configs/boot`.
    File(PathBuf),
    /// The kernel command line.
    CommandLine,
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
    root_device: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDisk {
    size_mib: u32,
    boot_mib: u32,
    slot_mib: u32,
    data_template_mib: u32,
    signature: u32,
}

/// Names of the boards described in `folder`, sorted.
///
/// # Errors
/// The folder cannot be listed.
pub fn boards(folder: &Path) -> Result<Vec<String>, ConfigError> {
    let read = |source| ConfigError::Read { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let name = entry.map_err(read)?.file_name();
        if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".toml")).filter(|name| !name.starts_with('_')) {
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
        return Err(ConfigError::Unknown { board: board.to_owned(), known: known.join(", ") });
    }
    let own_name = format!("{board}.toml");
    let base = table(folder, BASE)?;
    let own = table(folder, &own_name)?;
    refuse_strange(&base, BASE)?;
    refuse_strange(&own, &own_name)?;
    let files = format!("{} over {BASE}", folder.join(&own_name).display());
    let refused = |reason: String| ConfigError::Refused { file: files.clone(), reason };
    let raw = Raw::deserialize(Value::Table(merge(base, own))).map_err(|error| refused(one_line(&error)))?;
    check(folder, board, raw).map_err(refused)
}

fn table(folder: &Path, name: &str) -> Result<Table, ConfigError> {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
    text.parse().map_err(|error| ConfigError::Refused { file: path.display().to_string(), reason: one_line(&error) })
}

/// Unknown keys are reported against the file they are written in: after merging nobody could tell.
fn refuse_strange(table: &Table, file: &str) -> Result<(), ConfigError> {
    /// Sections and their keys; `*` where the section is a map of names.
    const KNOWN: [(&str, &[&str]); 5] = [
        ("kernel", &["package", "fragments", "targets", "command_line", "console", "root_device"]),
        ("root", &["busybox", "binaries", "folders", "links", "applets"]),
        ("disk", &["size_mib", "boot_mib", "slot_mib", "data_template_mib", "signature"]),
        ("boot", &["*"]),
        ("qemu", &["machine", "cpu", "memory_mib", "device_tree", "append"]),
    ];
    let refused = |reason: String| Err(ConfigError::Refused { file: file.to_owned(), reason });
    for (section, value) in table {
        let Some((_, keys)) = KNOWN.iter().find(|(name, _)| name == section) else {
            if section == "description" {
                continue;
            }
            return refused(format!("unknown key `{section}`; expected description, kernel, root, disk, boot or qemu"));
        };
        let Value::Table(inside) = value else {
            return refused(format!("`{section}` must be a table, as in [{section}]"));
        };
        if let Some(strange) = inside.keys().find(|key| *keys != ["*"] && !keys.contains(&key.as_str())) {
            return refused(format!("unknown key `{section}.{strange}`; expected one of {}", keys.join(", ")));
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
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn check(folder: &Path, board: &str, raw: Raw) -> Result<Board, String> {
    let RawDisk { size_mib, boot_mib, slot_mib, data_template_mib, signature } = raw.disk;
    if size_mib > SIZE_MAX_MIB {
        return Err(format!("`disk.size_mib` is {size_mib}; expected at most {SIZE_MAX_MIB}"));
    }
    if boot_mib < BOOT_MIN_MIB {
        return Err(format!("`disk.boot_mib` is {boot_mib}; FAT32 needs at least {BOOT_MIN_MIB}"));
    }
    let layout = Layout::of_mib(size_mib, boot_mib, slot_mib).ok_or_else(|| {
        format!("`disk.size_mib` is {size_mib}; expected more than 1 + boot_mib + 2 * slot_mib = {}", 1 + boot_mib + 2 * slot_mib)
    })?;
    if !(8..=256).contains(&data_template_mib) {
        return Err(format!("`disk.data_template_mib` is {data_template_mib}; expected 8 to 256"));
    }
    if u64::from(data_template_mib) << 20 > layout.data.length {
        return Err(format!("`disk.data_template_mib` is {data_template_mib}, more than the {} left for data", layout.data.length >> 20));
    }
    let fragment = |name: &String| {
        let path = folder.join("kernel").join(format!("{name}.fragment"));
        if path.is_file() { Ok(path) } else { Err(format!("`kernel.fragments` names {name}; expected a file {}", path.display())) }
    };
    let boot = raw.boot.iter().map(|(path, source)| Ok((path.clone(), boot_source(folder, path, source, &raw.kernel.targets)?)));
    let boot = boot.collect::<Result<_, String>>()?;
    let made = |name: &str| raw.kernel.targets.iter().any(|target| file_name(target) == name);
    if !made("Image") {
        return Err("`kernel.targets` lacks Image, which QEMU boots".to_owned());
    }
    if let Some(tree) = raw.qemu.device_tree.as_deref().filter(|tree| !made(tree)) {
        return Err(format!("`qemu.device_tree` is {tree}; expected one of `kernel.targets`"));
    }
    check_root(&raw.root)?;
    let RawKernel { package, fragments, targets, command_line, console, root_device } = raw.kernel;
    Ok(Board {
        name: board.to_owned(),
        description: raw.description,
        kernel_package: package,
        fragments: fragments.iter().map(fragment).collect::<Result<_, _>>()?,
        targets,
        command_line: format!("root={root_device} console={console} {command_line}"),
        root: raw.root,
        layout,
        signature,
        data_template_mib,
        boot,
        qemu: raw.qemu,
    })
}

/// The file a `make` target leaves: its last part.
pub(super) fn file_name(target: &str) -> &str {
    target.rsplit('/').next().unwrap_or(target)
}

fn boot_source(folder: &Path, path: &str, source: &str, targets: &[String]) -> Result<BootSource, String> {
    let key = format!("`boot.\"{path}\"`");
    if path.is_empty() || path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(format!("{key}: expected a plain path such as slot-a/Image"));
    }
    if source == "command-line" {
        return Ok(BootSource::CommandLine);
    }
    if let Some(name) = source.strip_prefix("kernel/") {
        let made = targets.iter().any(|target| file_name(target) == name);
        return if made { Ok(BootSource::Kernel(name.to_owned())) } else { Err(format!("{key} is {source}; no such file among `kernel.targets`")) };
    }
    let file = folder.join(source);
    if source.starts_with("boot/") && !source.contains("..") {
        return if file.is_file() { Ok(BootSource::File(file)) } else { Err(format!("{key} is {source}; expected a file {}", file.display())) };
    }
    Err(format!("{key} is {source}; expected kernel/<file>, boot/<file> or command-line"))
}

fn check_root(root: &RootConfig) -> Result<(), String> {
    let relative = |path: &str| !path.is_empty() && !path.starts_with('/') && !path.contains("..");
    if let Some(path) = root.binaries.values().chain(root.links.keys()).find(|path| !relative(path)) {
        return Err(format!("`root`: path {path} must be relative to the root, without .."));
    }
    for folder in &root.folders {
        split_mode(folder).ok_or_else(|| format!("`root.folders` has {folder}; expected path or path:octal-mode"))?;
    }
    match root.applets.iter().find(|applet| applet.is_empty() || applet.contains('/')) {
        Some(applet) => Err(format!("`root.applets` has {applet:?}; expected a bare name")),
        None => Ok(()),
    }
}

/// `tmp:1777` to path and mode; 755 where none is given.
pub(super) fn split_mode(folder: &str) -> Option<(&str, u16)> {
    let (path, mode) = folder.split_once(':').unwrap_or((folder, "755"));
    let mode = u16::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777)?;
    (!path.is_empty() && !path.starts_with('/') && !path.contains("..")).then_some((path, mode))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("board-configs")
    }

    /// The message for a board file `own` over the real base.
    fn refusal(own: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for name in ["_base.toml", "kernel/common.fragment", "boot/cluster-example.toml"] {
            write(name, &std::fs::read(repository().join(name)).unwrap());
        }
        write("bad.toml", own.as_bytes());
        load(folder.path(), "bad").unwrap_err().to_string()
    }

    /// Everything a board file must say, so that a test adds only its mistake.
    const LEAST: &str = "description = 'x'\n[kernel]\nconsole = 'c'\nroot_device = 'r'\n[qemu]\nmachine = 'virt'\nmemory_mib = 64\n";

    #[test]
    fn every_board_of_the_repository_loads() {
        let names = boards(&repository()).unwrap();
        assert!(names.iter().any(|name| name == "qemu-virt") && names.iter().any(|name| name == "raspi3b"), "{names:?}");
        for name in names {
            let board = load(&repository(), &name).unwrap();
            assert!(board.command_line.contains("init=/sbin/init"), "{name}");
        }
    }

    #[test]
    fn unknown_boards_are_answered_with_the_known_ones() {
        let error = load(&repository(), "pdp11").unwrap_err().to_string();
        assert!(error.contains("no board pdp11") && error.contains("qemu-virt"), "{error}");
    }

    #[test]
    fn refusals_name_file_key_and_expectation() {
        let cases = [
            ("description = 3\n".to_owned(), vec!["bad.toml", "description", "string"]),
            ("[kernel\n".to_owned(), vec!["bad.toml"]),
            (format!("colour = 'red'\n{LEAST}"), vec!["bad.toml", "unknown key `colour`", "expected"]),
            (LEAST.replace("console", "konsole"), vec!["bad.toml", "kernel.konsole", "console"]),
            (LEAST.replace("memory_mib = 64\n", ""), vec!["bad.toml", "memory_mib"]),
            (format!("{LEAST}[disk]\nsize_mib = 60\n"), vec!["disk.size_mib", "expected more than"]),
            (format!("{LEAST}[disk]\nboot_mib = 8\n"), vec!["disk.boot_mib", "at least 34"]),
            (format!("{LEAST}[disk]\nsize_mib = 'big'\n"), vec!["bad.toml", "u32"]),
            (format!("{LEAST}[disk]\ndata_template_mib = 1\n"), vec!["disk.data_template_mib", "8 to 256"]),
            (LEAST.replace("[kernel]", "[kernel]\nfragments = ['vax']"), vec!["kernel.fragments", "vax"]),
            (LEAST.replace("[kernel]", "[kernel]\ntargets = ['vmlinuz.efi']"), vec!["kernel.targets", "Image"]),
            (format!("{LEAST}[boot]\n'a' = 'kernel/zImage'\n"), vec!["boot.\"a\"", "kernel.targets"]),
            (format!("{LEAST}[boot]\n'../a' = 'command-line'\n"), vec!["boot.\"../a\"", "plain path"]),
            (format!("{LEAST}[boot]\n'a' = 'boot/no'\n"), vec!["boot.\"a\"", "expected a file"]),
            (format!("{LEAST}[boot]\n'a' = '/etc/shadow'\n"), vec!["expected kernel/<file>"]),
            (format!("{LEAST}[root]\nfolders = ['tmp:9']\n"), vec!["root.folders", "tmp:9", "octal"]),
            (format!("{LEAST}[root]\napplets = ['a/b']\n"), vec!["root.applets", "bare name"]),
        ];
        for (own, expected) in cases {
            let message = refusal(&own);
            for part in expected {
                assert!(message.contains(part), "{own}\ngave {message:?}\nwithout {part:?}");
            }
        }
    }
}
