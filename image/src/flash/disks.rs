//! The disks of this machine, as the kernel tells of them in sysfs, and which of them may be written over.
//!
//! [`disks`] reads, from a folder that tests put something else in place of; the rest is pure. Called by `nesos flash`.
//! Invariant: a disk that anything of this machine is in use of, that cannot be taken out, or that is larger than cards are, is
//! refused unless the person insists.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Disks of more bytes are hardly cards: the largest that people put into boards have 256 GB.
pub const LARGEST_CARD: u64 = 256_000_000_000;
/// The kernel counts in these, whatever the disk does.
const SECTOR: u64 = 512;
/// How deep disks may be made of disks (LVM on LUKS on RAID is three).
const DEPTH_MAX: usize = 8;
/// Mounted here, a disk is part of the system.
const SYSTEM: [&str; 6] = ["/", "/boot", "/usr", "/var", "/home", "/etc"];

/// How a disk is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// USB: sticks and card readers.
    Usb,
    /// A slot for SD cards.
    Sd,
    /// Anything else, built in.
    Other,
}

/// What a disk is in use for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    /// A file system of it is mounted.
    Mounted {
        /// The device of the file system.
        device: String,
        /// Where.
        at: String,
    },
    /// Memory is swapped to it.
    Swap {
        /// The device.
        device: String,
    },
}

/// A disk of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its device file.
    pub path: PathBuf,
    /// Size; 0: a reader without a card.
    pub bytes: u64,
    /// The kernel says that its medium can be taken out.
    pub removable: bool,
    /// Write-protected.
    pub read_only: bool,
    /// Maker and model, as far as the disk tells.
    pub model: String,
    /// How it is connected.
    pub bus: Bus,
    /// What it is in use for.
    pub uses: Vec<Use>,
    /// Its partitions' device files.
    pub partitions: Vec<PathBuf>,
}

/// Why a disk is not written to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This machine runs from it.
    #[error("this system is on it ({at})")]
    System {
        /// What is there.
        at: String,
    },
    /// In use.
    #[error("{device} of it is mounted at {at}: unmount it first")]
    Mounted {
        /// The device.
        device: String,
        /// Where.
        at: String,
    },
    /// Built in.
    #[error("it is built in, not a card or stick")]
    BuiltIn,
    /// A backup disk, more likely than a card.
    #[error("it has {}, more than the {} that cards have", size(*.0), size(LARGEST_CARD))]
    TooLarge(u64),
    /// The switch of the card, or of its adapter.
    #[error("it is write-protected: look at its switch")]
    ReadOnly,
    /// An empty reader.
    #[error("no card is in it")]
    Empty,
    /// The image does not fit.
    #[error("it has {}, and the image needs {}", size(*.have), size(*.needs))]
    TooSmall {
        /// Bytes of the disk.
        have: u64,
        /// Bytes of the image.
        needs: u64,
    },
}

impl Refusal {
    /// True if a person may insist.
    pub fn can_be_forced(&self) -> bool {
        !matches!(self, Self::ReadOnly | Self::Empty | Self::TooSmall { .. })
    }
}

impl Disk {
    /// Why it is not written to, for an image of `needs` bytes; what cannot be forced first.
    pub fn refusals(&self, needs: u64) -> Vec<Refusal> {
        let mut all = Vec::new();
        if self.bytes == 0 {
            all.push(Refusal::Empty);
        } else if self.bytes < needs {
            all.push(Refusal::TooSmall {
                have: self.bytes,
                needs,
            });
        }
        if self.read_only {
            all.push(Refusal::ReadOnly);
        }
        for used in &self.uses {
            all.push(match used {
                Use::Swap { device } => Refusal::System {
                    at: format!("swap on {device}"),
                },
                Use::Mounted { at, .. } if is_system(at) => Refusal::System { at: at.clone() },
                Use::Mounted { device, at } => Refusal::Mounted {
                    device: device.clone(),
                    at: at.clone(),
                },
            });
        }
        if !self.removable && self.bus == Bus::Other {
            all.push(Refusal::BuiltIn);
        }
        if self.bytes > LARGEST_CARD {
            all.push(Refusal::TooLarge(self.bytes));
        }
        all
    }

    /// `/dev/sdb (SanDisk Ultra, 31.9 GB)`.
    pub fn describe(&self) -> String {
        match self.model.as_str() {
            "" => format!("{} ({})", self.path.display(), size(self.bytes)),
            model => format!("{} ({model}, {})", self.path.display(), size(self.bytes)),
        }
    }
}

fn is_system(at: &str) -> bool {
    SYSTEM.contains(&at) || at.starts_with("/boot/") || at.starts_with("/usr/")
}

/// Bytes as makers of cards count them.
fn size(bytes: u64) -> String {
    match bytes {
        1_000_000_000.. => format!("{:.1} GB", bytes as f64 / 1e9),
        1_000_000.. => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{bytes} bytes"),
    }
}

/// The disk that was chosen, and what was insisted on.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    /// Write to this one.
    pub disk: &'a Disk,
    /// Refusals that were forced.
    pub forced: Vec<Refusal>,
}

/// Why no disk is written to. Each is a sentence that names the disks.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChooseError {
    /// The one that was asked for is no disk.
    #[error("{0} is not a disk of this machine")]
    NoSuch(PathBuf),
    /// A part of a disk was asked for.
    #[error("{partition} is a partition; an image is a whole disk's: name {disk}")]
    Partition {
        /// What was asked for.
        partition: PathBuf,
        /// What to ask for.
        disk: PathBuf,
    },
    /// It may not be written.
    #[error("{disk} is not written to: {}{}", reasons(.refusals), hint(.refusals))]
    Refused {
        /// Path, model, size.
        disk: String,
        /// Why.
        refusals: Vec<Refusal>,
    },
    /// Nothing to choose from.
    #[error("no card or stick was found{0}; name one: `nesos flash IMAGE DISK`")]
    None(String),
    /// A person must choose.
    #[error("more than one disk could be meant; name one of {0}")]
    Several(String),
}

fn reasons(refusals: &[Refusal]) -> String {
    let texts: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

fn hint(refusals: &[Refusal]) -> &'static str {
    match refusals.iter().all(Refusal::can_be_forced) {
        true => ". --force writes over it all the same",
        false => "",
    }
}

/// Chooses the disk to write `needs` bytes to: the one `asked` for, or else the only one that nothing speaks against.
///
/// # Errors
/// None or several may be meant, or something speaks against the one that was asked for and `force` is not set or does not help.
pub fn choose<'a>(
    disks: &'a [Disk],
    asked: Option<&Path>,
    force: bool,
    needs: u64,
) -> Result<Choice<'a>, ChooseError> {
    let disk = match asked {
        Some(path) => named(disks, path)?,
        None => only(disks, needs)?,
    };
    let refusals = disk.refusals(needs);
    let refused = match force && asked.is_some() {
        true => refusals.iter().any(|r| !r.can_be_forced()),
        false => !refusals.is_empty(),
    };
    match refused {
        true => Err(ChooseError::Refused {
            disk: disk.describe(),
            refusals,
        }),
        false => Ok(Choice {
            disk,
            forced: refusals,
        }),
    }
}

fn named<'a>(disks: &'a [Disk], path: &Path) -> Result<&'a Disk, ChooseError> {
    if let Some(disk) = disks.iter().find(|disk| disk.path == path) {
        return Ok(disk);
    }
    let whole = disks
        .iter()
        .find(|disk| disk.partitions.iter().any(|part| part == path));
    Err(match whole {
        Some(disk) => ChooseError::Partition {
            partition: path.to_owned(),
            disk: disk.path.clone(),
        },
        None => ChooseError::NoSuch(path.to_owned()),
    })
}

fn only(disks: &[Disk], needs: u64) -> Result<&Disk, ChooseError> {
    let mut fit = disks.iter().filter(|disk| disk.refusals(needs).is_empty());
    let Some(first) = fit.next() else {
        let refused: Vec<String> = disks
            .iter()
            .filter(|disk| disk.removable || disk.bus != Bus::Other)
            .map(|disk| format!("{}: {}", disk.describe(), reasons(&disk.refusals(needs))))
            .collect();
        return Err(ChooseError::None(match refused.is_empty() {
            true => String::new(),
            false => format!(" that may be written ({})", refused.join("; ")),
        }));
    };
    let rest: Vec<String> = fit.map(Disk::describe).collect();
    match rest.is_empty() {
        true => Ok(first),
        false => Err(ChooseError::Several(format!(
            "{}, {}",
            first.describe(),
            rest.join(", ")
        ))),
    }
}

/// What cannot be read of the kernel's account of disks.
#[derive(Debug, thiserror::Error)]
#[error("read {path}: {source}")]
pub struct DisksError {
    path: PathBuf,
    source: io::Error,
}

/// The disks of the machine whose `/sys` and `/proc` are in `root`, by name; no loop devices, disks in memory or made of others.
///
/// # Errors
/// `sys/block` or `proc/self/mountinfo` cannot be read: then nothing would be known of what is in use.
pub fn disks(root: &Path) -> Result<Vec<Disk>, DisksError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DisksError { path, source }
    };
    let block = root.join("sys/block");
    let mounts = root.join("proc/self/mountinfo");
    let mounts = fs::read_to_string(&mounts).map_err(failed(&mounts))?;
    let swaps = fs::read_to_string(root.join("proc/swaps")).unwrap_or_default();
    let mut names: Vec<String> = fs::read_dir(&block)
        .map_err(failed(&block))?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    let all = names.iter().filter_map(|name| {
        let folder = block.join(name);
        // What has no device behind it is made by the kernel: loop, ram, zram, dm, md.
        let real = folder.join("device").exists() && !name.starts_with("sr");
        real.then(|| disk(&block, name, &mounts, &swaps))
    });
    Ok(all.collect())
}

fn disk(block: &Path, name: &str, mounts: &str, swaps: &str) -> Disk {
    let folder = block.join(name);
    let text = |file: &str| {
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        text.trim().to_owned()
    };
    let mut parts: Vec<String> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join("partition").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    parts.sort();
    let mut devices = Vec::new();
    gather(block, &folder, name, 0, &mut devices);
    for part in &parts {
        gather(block, &folder.join(part), part, 0, &mut devices);
    }
    let place = fs::canonicalize(&folder).unwrap_or_default();
    let usb = place.components().any(|c| {
        let part = c.as_os_str().to_string_lossy();
        part.strip_prefix("usb")
            .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    });
    let bus = match (
        usb,
        name.starts_with("mmcblk"),
        text("device/type").as_str(),
    ) {
        (true, ..) => Bus::Usb,
        (_, true, "SD") => Bus::Sd,
        _ => Bus::Other,
    };
    let model = [
        text("device/vendor"),
        text("device/model"),
        text("device/name"),
    ];
    let model: Vec<&str> = model
        .iter()
        .map(String::as_str)
        .filter(|t| !t.is_empty())
        .collect();
    Disk {
        path: Path::new("/dev").join(name),
        bytes: text("size")
            .parse::<u64>()
            .unwrap_or(0)
            .saturating_mul(SECTOR),
        removable: text("removable") == "1",
        read_only: text("ro") == "1",
        model: model.join(" "),
        bus,
        uses: uses(&devices, mounts, swaps),
        partitions: parts
            .iter()
            .map(|part| Path::new("/dev").join(part))
            .collect(),
    }
}

/// A device by name and `major:minor`, and all that are made of it.
fn gather(
    block: &Path,
    folder: &Path,
    name: &str,
    depth: usize,
    found: &mut Vec<(String, String)>,
) {
    let number = fs::read_to_string(folder.join("dev")).unwrap_or_default();
    found.push((format!("/dev/{name}"), number.trim().to_owned()));
    if depth >= DEPTH_MAX {
        return;
    }
    for holder in fs::read_dir(folder.join("holders"))
        .into_iter()
        .flatten()
        .flatten()
    {
        if let Ok(holder) = holder.file_name().into_string() {
            gather(block, &block.join(&holder), &holder, depth + 1, found);
        }
    }
}

fn uses(devices: &[(String, String)], mounts: &str, swaps: &str) -> Vec<Use> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for line in mounts.lines() {
        // See proc_pid_mountinfo(5): the third word is major:minor, the fifth the place, the second after ` - ` the source.
        let words: Vec<&str> = line.split(' ').collect();
        let source = line
            .split_once(" - ")
            .and_then(|(_, rest)| rest.split(' ').nth(1));
        let (Some(number), Some(at)) = (words.get(2), words.get(4)) else {
            continue;
        };
        // btrfs has numbers of its own, so the source counts too.
        let device = devices
            .iter()
            .find(|(path, own)| own == number || Some(path.as_str()) == source);
        if let Some((device, _)) = device
            && seen.insert(*at)
        {
            found.push(Use::Mounted {
                device: device.clone(),
                at: unescape(at),
            });
        }
    }
    for line in swaps.lines().skip(1) {
        let path = line.split_ascii_whitespace().next();
        if let Some((device, _)) = devices.iter().find(|(own, _)| Some(own.as_str()) == path) {
            found.push(Use::Swap {
                device: device.clone(),
            });
        }
    }
    found
}

/// The kernel writes blanks in paths as `\040`.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\134", "\\")
}

#[cfg(test)]
#[path = "disks_tests.rs"]
mod tests;
