//! What the kernel shows in every task's tree: /proc, /sys, /dev, /tmp, and the names of servers in /etc.
//!
//! Called by `nesos-executor`. Invariant: nothing here lets a task change the machine or read the kernel's secrets; the rights
//! that are left to root are taken by capabilities and the seccomp filter.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknodat, umask};
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

use super::corner::{mount_on, show_on};
use super::{Corner, HOLDER, NewRoot, Restrictions, RootError, failed, open};
use crate::detached::restrict;

/// Device files of every task: name, major, minor.
const NODES: [(&str, u64, u64); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];
/// Links of every task's /dev.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// What shows the kernel's insides.
const HIDDEN: [&str; 9] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/sys/firmware",
];
/// What changes the machine when it is written to.
const FIXED: [&str; 4] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"];
/// The private /tmp. Its pages count as memory of whoever writes them.
const TMP: &str = "mode=1777,size=50%";
/// The private /run.
const RUN: &str = "mode=755,size=1m";
/// Where the names of name servers are.
const RESOLV: &str = "/etc/resolv.conf";

/// How the kernel's parts of the tree are to be.
#[derive(Debug)]
pub struct Kernel<'a> {
    /// /proc shows a PID namespace of its own, this process's.
    pub own_processes: bool,
    /// The cgroup to be seen at /sys/fs/cgroup.
    pub cgroup: Option<&'a Path>,
    /// It has a network of its own, whose devices /sys shows.
    pub own_network: bool,
    /// /dev/shm: `None`, the host's; else the options of its own, which may be empty.
    pub shared_memory: Option<&'a str>,
    /// More device files, of the host.
    pub devices: &'a [String],
}

impl NewRoot {
    /// Mounts all of it. A directory that the tree lacks and that cannot be made is left out, but for /proc and /dev.
    pub fn show_kernel(&mut self, kernel: &Kernel<'_>) -> Result<(), RootError> {
        self.show_proc(kernel.own_processes)?;
        self.show_sys(kernel)?;
        self.show_dev(kernel)?;
        for path in HIDDEN {
            self.hide(Path::new(path))?;
        }
        for path in FIXED.map(Path::new) {
            if let Ok(place) = self.tree.find(path) {
                show_on(&place, &place, true, Restrictions::SHOWN, None)
                    .map_err(failed("make read-only", path))?;
            }
        }
        for (path, options) in [("/tmp", TMP), ("/run", RUN)].map(|(p, o)| (Path::new(p), o)) {
            if let Ok(place) = self.tree.directory(path, None) {
                Corner::tmpfs(&place, path, options)?;
            }
        }
        self.show_name_servers()
    }

    fn show_proc(&self, is_own: bool) -> Result<(), RootError> {
        let proc = Path::new("/proc");
        let place = self.tree.directory(proc, None)?;
        if is_own {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            return mount_on(&place, proc, "proc", flags, "");
        }
        let restrictions = Restrictions {
            read_only: false,
            ..Restrictions::SHOWN
        };
        show_on(&place, &open(proc)?, false, restrictions, None)
            .map_err(failed("show the host's processes at", proc))
    }

    fn show_sys(&self, kernel: &Kernel<'_>) -> Result<(), RootError> {
        let sys = Path::new("/sys");
        let Ok(place) = self.tree.directory(sys, None) else {
            return Ok(());
        };
        if kernel.own_network {
            // A new one tells of the network devices that this process sees; the host's of its own for ever.
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount_on(&place, sys, "sysfs", flags | MsFlags::MS_RDONLY, "")?;
        } else {
            // Alone, without the cgroup tree and all else that is mounted inside.
            show_on(&place, &open(sys)?, false, Restrictions::SHOWN, None)
                .map_err(failed("show the kernel's objects at", sys))?;
        }
        let path = Path::new("/sys/fs/cgroup");
        match (kernel.cgroup, self.tree.find(path)) {
            (Some(cgroup), Ok(place)) => {
                show_on(&place, &open(cgroup)?, false, Restrictions::SHOWN, None)
                    .map_err(failed("show the cgroup at", path))
            }
            _ => Ok(()),
        }
    }

    fn show_dev(&mut self, kernel: &Kernel<'_>) -> Result<(), RootError> {
        let dev = Path::new("/dev");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        let fail = failed("make the device files of", dev);
        mount_on(
            &self.tree.directory(dev, None)?,
            dev,
            "tmpfs",
            flags,
            HOLDER,
        )?;
        let top = self.tree.find(dev).map_err(&fail)?;
        make_nodes(&top).map_err(&fail)?;
        for folder in ["pts", "shm"] {
            mkdirat(&top, folder, Mode::from_bits_truncate(0o755)).map_err(&fail)?;
        }
        let (pts, shm) = (Path::new("/dev/pts"), Path::new("/dev/shm"));
        let options = "newinstance,ptmxmode=0666,mode=0620";
        let place = self.tree.find(pts).map_err(&fail)?;
        mount_on(&place, pts, "devpts", flags, options)?;
        // What lies below the mount is reached by nobody, and is all that is needed to hide folders.
        self.empty = Some(place);
        let place = self.tree.find(shm).map_err(&fail)?;
        match kernel.shared_memory {
            Some(options) => Corner::tmpfs(&place, shm, options)?,
            // A host without one: the task has none either.
            None => open(shm)
                .map_err(|error| error.errno)
                .and_then(|host| show_on(&place, &host, false, Restrictions::DATA, None))
                .map_err(failed("share the host's", shm))?,
        }
        for device in kernel.devices.iter().map(Path::new) {
            let restrictions = Restrictions {
                no_suid: true,
                no_exec: true,
                ..Restrictions::default()
            };
            self.tree.show(&open(device)?, device, true, restrictions)?;
        }
        // Its nodes stay what they are, and nothing is added.
        let restrictions = Restrictions {
            no_dev: false,
            ..Restrictions::SHOWN
        };
        restrict(&top, restrictions, false).map_err(failed("make read-only", dev))
    }

    /// The host's list of name servers, and of hosts, in the place of what an image has there: it cannot know them. For a tree
    /// that is the task's own to write to.
    pub fn bring_names(&self) -> Result<(), RootError> {
        let read = |name| Some((name, fs::read(Path::new("/etc").join(name)).ok()?));
        let names: Vec<_> = ["hosts", "resolv.conf"]
            .into_iter()
            .filter_map(read)
            .collect();
        self.write_names(&names)
    }

    /// These files of /etc in the place of what is there. For a tree that is the task's own to write to.
    pub fn write_names(&self, names: &[(&str, Vec<u8>)]) -> Result<(), RootError> {
        let etc = Path::new("/etc");
        let folder = self.tree.directory(etc, None)?;
        for (name, bytes) in names.iter().map(|(name, bytes)| (*name, bytes)) {
            match unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(failed("replace", &etc.join(name))(errno)),
            }
            write_new(&folder, name, bytes)
                .map_err(|errno| failed("copy", &etc.join(name))(errno))?;
        }
        Ok(())
    }

    /// The host's list of name servers often lies in its /run, which is not shown: a copy takes its place.
    fn show_name_servers(&self) -> Result<(), RootError> {
        let resolv = Path::new(RESOLV);
        if self.tree.has(resolv) {
            return Ok(());
        }
        let Ok(real) = fs::canonicalize(resolv) else {
            return Ok(());
        };
        let (Ok(bytes), Some(parent), Some(name)) =
            (fs::read(&real), real.parent(), real.file_name())
        else {
            return Ok(());
        };
        // Not possible where the way to it is read-only; the task then has no name servers, as it had none before.
        let Ok(parent) = self.tree.directory(parent, None) else {
            return Ok(());
        };
        write_new(&parent, name, &bytes).map_err(failed("copy the list of name servers to", &real))
    }
}

/// The device files and links of every task's /dev.
fn make_nodes(dev: &OwnedFd) -> Result<(), Errno> {
    // Not a `chmod` each: what the mask takes away here nobody else makes meanwhile, this process has one thread.
    let mask = umask(Mode::empty());
    let all = Mode::from_bits_truncate(0o666);
    let mut nodes = NODES.iter();
    let made = nodes.try_for_each(|(name, major, minor)| {
        mknodat(dev, *name, SFlag::S_IFCHR, all, makedev(*major, *minor))
    });
    umask(mask);
    made?;
    let mut links = LINKS.iter();
    links.try_for_each(|(name, target)| symlinkat(*target, dev, *name))
}

fn write_new(folder: &OwnedFd, name: impl AsRef<OsStr>, bytes: &[u8]) -> Result<(), Errno> {
    let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(
        folder,
        name.as_ref(),
        flags,
        Mode::from_bits_truncate(0o644),
    )?;
    let written = fs::File::from(file).write_all(bytes);
    written.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}
