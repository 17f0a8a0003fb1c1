//! Which mounts of this machine belong to its system and are shown to tasks with its root.
//!
//! Called by `agentd`, once per task; the helper mounts what is found here. Invariant: the kernel's table is read anew only
//! when the kernel says that it has changed (proc(5): `mountinfo` is then readable with POLLPRI), because writing it out
//! costs the kernel more than all else of a task's new tree.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

const TABLE: &str = "/proc/self/mountinfo";
/// The host's folders whose mounts belong to its system and are shown with its root.
const SYSTEM: [&str; 9] = [
    "/bin", "/etc", "/gnu", "/lib", "/lib64", "/nix", "/opt", "/sbin", "/usr",
];
/// Largest table that is read: some ten thousand mounts.
const MAX_TABLE: usize = 4 * 1024 * 1024;
/// What is read at once; the kernel gives no more than a page of such a file.
const PIECE: usize = 4096;

/// The table of this process's mount namespace.
#[derive(Debug)]
pub struct MountTable {
    file: File,
    system: Vec<PathBuf>,
}

impl MountTable {
    /// Reads it.
    ///
    /// # Errors
    /// There is no /proc, or the table is larger than 4 MB.
    pub fn open() -> io::Result<MountTable> {
        let mut table = MountTable {
            file: File::open(TABLE)?,
            system: Vec::new(),
        };
        table.read()?;
        Ok(table)
    }

    /// Mount points below the system's folders, in the order in which they were mounted.
    ///
    /// # Errors
    /// As [`MountTable::open`].
    pub fn system(&mut self) -> io::Result<&[PathBuf]> {
        if self.has_changed() {
            self.read()?;
        }
        Ok(&self.system)
    }

    fn has_changed(&self) -> bool {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLPRI)];
        !matches!(poll(&mut fds, PollTimeout::ZERO), Ok(0))
    }

    fn read(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        loop {
            let start = bytes.len();
            bytes.resize(start + PIECE, 0);
            let read = self.file.read_at(&mut bytes[start..], start as u64)?;
            bytes.truncate(start + read);
            if read == 0 {
                break;
            }
            if bytes.len() > MAX_TABLE {
                return Err(io::Error::from(io::ErrorKind::FileTooLarge));
            }
        }
        let table = String::from_utf8_lossy(&bytes);
        self.system = mount_points(&table)
            .filter(|point| is_of_system(point))
            .collect();
        Ok(())
    }
}

fn is_of_system(point: &Path) -> bool {
    SYSTEM.iter().any(|system| point.starts_with(system))
}

/// Mount points in a table of the form of /proc/self/mountinfo, in the order in which they were mounted.
fn mount_points(table: &str) -> impl Iterator<Item = PathBuf> {
    let column = |line: &str| Some(Path::new(&unescape(line.split(' ').nth(4)?)).to_owned());
    table.lines().filter_map(column)
}

/// The kernel writes blanks and its likes as a backslash and three octal digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let code =
            digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_blanks() {
        let table = "22 27 0:21 / /proc rw - proc proc rw\n30 27 8:1 /a /mnt/my\\040disk\\134 rw shared:1 - ext4 /dev/sda rw\n";
        let points: Vec<_> = mount_points(table).collect();
        assert_eq!(points, [Path::new("/proc"), Path::new("/mnt/my disk\\")]);
        assert_eq!(unescape("a\\04"), "a\\04");
    }

    #[test]
    fn only_the_systems_own_mounts_are_shown() {
        let shown = |path: &str| is_of_system(Path::new(path));
        assert!(shown("/usr/lib/modules") && shown("/etc"));
        assert!(!shown("/") && !shown("/usrlocal") && !shown("/home"));
    }

    #[test]
    fn it_is_read_again_when_something_was_mounted() {
        use nix::mount::{MntFlags, MsFlags, mount, umount2};
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        // In a namespace of this thread's own.
        let told = std::thread::spawn(|| {
            crate::namespace::enter_own_mounts().ok()?;
            // `/proc/self` is the process; its main thread has kept the old namespace.
            let path = "/proc/thread-self/mountinfo";
            let file = File::open(path).expect("a table");
            let mut table = MountTable {
                file,
                system: Vec::new(),
            };
            table.read().expect("read");
            let before = table.system().expect("read").len();
            assert!(!table.has_changed());
            let kind = Some("tmpfs");
            mount(kind, "/opt", kind, MsFlags::empty(), None::<&str>).expect("mounted");
            let after = table.system().expect("read").len();
            umount2("/opt", MntFlags::MNT_DETACH).expect("unmounted");
            let last = table.system().expect("read").len();
            Some((after - before, last - before))
        });
        match told.join().expect("no panic") {
            Some(told) => assert_eq!(told, (1, 0)),
            None => eprintln!("skipped: no right to make a mount namespace"),
        }
    }
}
