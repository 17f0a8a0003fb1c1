//! One cgroup v2 directory: create, limit, read, kill, remove. No policy: who gets what is agentd's business.
//!
//! Called by `agentd` (all) and `nesos-executor` (kill). Works on any directory, so tests run on a plain one.
//! Invariant: a limit that the kernel refuses is an error with file and value, never silently dropped.

pub mod statistics;

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

#[cfg(test)]
pub(crate) mod scratch;
#[cfg(test)]
mod tests;

/// Period of `cpu.max` in microseconds, the kernel's default.
pub const CPU_PERIOD_US: u64 = 100_000;
/// Smallest quota the kernel takes, microseconds per period.
pub const MIN_CPU_QUOTA_US: u64 = 1000;
/// Range of `cpu.weight`; the kernel's default is 100.
pub const CPU_WEIGHT: std::ops::RangeInclusive<u64> = 1..=10_000;
/// Levels of cgroups that [`Cgroup::remove_tree`] goes down; the tree of a task has one or two.
const MAX_DEPTH: usize = 16;

/// Why a cgroup could not be made, limited, read or removed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path}{value}: {source}", path = .path.display(), value = .value.as_ref().map(|v| format!(" <- {v}")).unwrap_or_default())]
pub struct CgroupError {
    /// What was tried.
    pub operation: &'static str,
    /// File or directory.
    pub path: PathBuf,
    /// What was to be written.
    pub value: Option<String>,
    /// What the kernel said.
    pub source: io::Error,
}

/// Limits to set; `None` leaves a file alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Share under contention, within [`CPU_WEIGHT`]; out of range is clamped.
    pub cpu_weight: Option<u64>,
    /// Hard limit: microseconds of CPU per [`CPU_PERIOD_US`]; at least [`MIN_CPU_QUOTA_US`], smaller is raised.
    pub cpu_quota_us: Option<u64>,
    /// Bytes; beyond it the group is reclaimed, then killed.
    pub memory_max: Option<u64>,
    /// Bytes that are reclaimed last.
    pub memory_low: Option<u64>,
    /// Bytes of swap; 0 for none. Ignored by kernels without swap.
    pub swap_max: Option<u64>,
    /// Processes and threads.
    pub pids_max: Option<u64>,
    /// Out of memory ends the whole group, not one process of it.
    pub oom_group: bool,
    /// Traffic to the disk with this major and minor number.
    pub io_max: Option<((u32, u32), IoMax)>,
}

/// Most traffic to a disk in a second; `None`: as much as it takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IoMax {
    /// Bytes read.
    pub read_bytes: Option<u64>,
    /// Bytes written.
    pub write_bytes: Option<u64>,
    /// Operations that read.
    pub reads: Option<u64>,
    /// Operations that write.
    pub writes: Option<u64>,
}

/// What a group uses and has suffered. Files of controllers that are off read as zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes now.
    pub memory: u64,
    /// Most bytes ever; 0 on kernels before 5.19.
    pub memory_peak: u64,
    /// Processes killed for lack of memory.
    pub oom_kills: u64,
    /// Microseconds of CPU, user and system.
    pub cpu_us: u64,
    /// Microseconds in user mode.
    pub cpu_user_us: u64,
    /// Microseconds in the kernel.
    pub cpu_system_us: u64,
    /// Microseconds during which it was held back by its quota.
    pub cpu_throttled_us: u64,
    /// Processes and threads now.
    pub pids: u64,
}

/// A cgroup by its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Names a cgroup; touches nothing.
    pub fn at(path: impl Into<PathBuf>) -> Cgroup {
        Cgroup { path: path.into() }
    }

    /// The root of the cgroup v2 tree, if one is mounted that has controllers to give (on hybrid hosts it has none).
    pub fn find_root() -> Option<Cgroup> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let root = Cgroup::at(mount_of_cgroup2(&mounts)?);
        let controllers = fs::read_to_string(root.path.join("cgroup.controllers")).ok()?;
        let has = |wanted: &str| {
            controllers
                .split_ascii_whitespace()
                .any(|name| name == wanted)
        };
        (has("cpu") && has("memory")).then_some(root)
    }

    /// A group below this one; touches nothing.
    pub fn child(&self, name: &str) -> Cgroup {
        Cgroup {
            path: self.path.join(name),
        }
    }

    /// Makes the directory, and those above it; an existing one is fine.
    pub fn create(&self) -> Result<(), CgroupError> {
        fs::create_dir_all(&self.path)
            .map_err(|source| self.error("create cgroup", &self.path, None, source))
    }

    /// Lets children have `controllers`, as far as this group has them itself. No process may be in this group.
    pub fn delegate(&self, controllers: &[&str]) -> Result<(), CgroupError> {
        let available = self.read("cgroup.controllers")?;
        for controller in controllers {
            if available
                .split_ascii_whitespace()
                .any(|name| name == *controller)
            {
                self.write("cgroup.subtree_control", format!("+{controller}"))?;
            }
        }
        Ok(())
    }

    /// Sets all limits that are given.
    pub fn limit(&self, limits: &Limits) -> Result<(), CgroupError> {
        if let Some(weight) = limits.cpu_weight {
            self.write(
                "cpu.weight",
                weight
                    .clamp(*CPU_WEIGHT.start(), *CPU_WEIGHT.end())
                    .to_string(),
            )?;
        }
        if let Some(quota) = limits.cpu_quota_us {
            self.write(
                "cpu.max",
                format!("{} {CPU_PERIOD_US}", quota.max(MIN_CPU_QUOTA_US)),
            )?;
        }
        let number = |file, value: Option<u64>| {
            value.map_or(Ok(()), |value| self.write(file, value.to_string()))
        };
        number("memory.max", limits.memory_max)?;
        number("memory.low", limits.memory_low)?;
        if self.path.join("memory.swap.max").exists() {
            number("memory.swap.max", limits.swap_max)?;
        }
        number("pids.max", limits.pids_max)?;
        if let Some((disk, most)) = limits.io_max {
            self.write("io.max", io_max(disk, &most))?;
        }
        if limits.oom_group {
            self.write("memory.oom.group", "1".to_owned())
        } else {
            Ok(())
        }
    }

    /// Lets it run on these processors only, written as `0,2-3`.
    pub fn set_processors(&self, list: &str) -> Result<(), CgroupError> {
        self.write("cpuset.cpus", list.to_owned())
    }

    /// What it uses.
    pub fn usage(&self) -> Usage {
        let number = |file| {
            self.read(file)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(0)
        };
        let cpu = self.read("cpu.stat").unwrap_or_default();
        let events = self.read("memory.events").unwrap_or_default();
        Usage {
            memory: number("memory.current"),
            memory_peak: number("memory.peak"),
            oom_kills: keyed(&events, "oom_kill"),
            cpu_us: keyed(&cpu, "usage_usec"),
            cpu_user_us: keyed(&cpu, "user_usec"),
            cpu_system_us: keyed(&cpu, "system_usec"),
            cpu_throttled_us: keyed(&cpu, "throttled_usec"),
            pids: number("pids.current"),
        }
    }

    /// Whether a live process is in it or below it.
    pub fn is_populated(&self) -> bool {
        self.read("cgroup.events")
            .is_ok_and(|text| keyed(&text, "populated") != 0)
    }

    /// Moves a process (of the caller's PID namespace) into it; 0 is the caller.
    pub fn add(&self, pid: u32) -> Result<(), CgroupError> {
        self.write("cgroup.procs", pid.to_string())
    }

    /// SIGKILL to every process in it and below it.
    pub fn kill(&self) -> Result<(), CgroupError> {
        self.write("cgroup.kill", "1".to_owned())
    }

    /// Removes it and the groups below it. EBUSY while a live process is inside; a missing one is fine.
    pub fn remove(&self) -> Result<(), CgroupError> {
        self.remove_tree(&self.path, MAX_DEPTH)
    }

    /// Names of the groups directly below it.
    pub fn children(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return Vec::new();
        };
        let groups = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        groups
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// Whether the directory exists.
    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its `cgroup.procs`.
    pub fn procs_file(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// A descriptor for `SpawnPlan::cgroup`.
    pub fn directory(&self) -> Result<OwnedFd, CgroupError> {
        File::open(&self.path)
            .map(OwnedFd::from)
            .map_err(|source| self.error("open cgroup", &self.path, None, source))
    }

    fn remove_tree(&self, path: &Path, depth: usize) -> Result<(), CgroupError> {
        let below = Cgroup::at(path).children();
        if depth > 0 {
            for name in below {
                self.remove_tree(&path.join(name), depth - 1)?;
            }
        }
        match fs::remove_dir(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(self.error("remove cgroup", path, None, source))
            }
            _ => Ok(()),
        }
    }

    fn read(&self, file: &str) -> Result<String, CgroupError> {
        let path = self.path.join(file);
        fs::read_to_string(&path).map_err(|source| self.error("read", &path, None, source))
    }

    fn write(&self, file: &str, value: String) -> Result<(), CgroupError> {
        let path = self.path.join(file);
        fs::write(&path, &value).map_err(|source| self.error("write", &path, Some(value), source))
    }

    fn error(
        &self,
        operation: &'static str,
        path: &Path,
        value: Option<String>,
        source: io::Error,
    ) -> CgroupError {
        CgroupError {
            operation,
            path: path.to_owned(),
            value,
            source,
        }
    }
}

/// A line of `io.max`.
fn io_max((major, minor): (u32, u32), most: &IoMax) -> String {
    let names = ["rbps", "wbps", "riops", "wiops"];
    let values = [most.read_bytes, most.write_bytes, most.reads, most.writes];
    let mut line = format!("{major}:{minor}");
    for (name, value) in names.into_iter().zip(values) {
        let value = value.map_or("max".to_owned(), |value| value.to_string());
        line += &format!(" {name}={value}");
    }
    line
}

/// Mount point of the first cgroup2 file system in a table of the form of /proc/self/mounts.
fn mount_of_cgroup2(mounts: &str) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let mut columns = line.split(' ').skip(1);
        let path = columns.next()?;
        (columns.next()? == "cgroup2").then_some(path)
    })
}

/// Value of `key` in a file of `key value` lines; 0 if it is not there.
fn keyed(text: &str, key: &str) -> u64 {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}
