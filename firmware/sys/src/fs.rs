//! Files in places that tasks can write to, files that must survive a crash, and sockets with long paths.
//!
//! Called by `agentd` (reading sandboxes, fetching into them) and `nesos-executor` (task output, exit record).
//! Invariant: [`open_beneath`] never leaves its directory, whatever links a task has planted, never blocks on a pipe,
//! and hands out regular files only.

use std::fs::{self, File};
use std::io::{self, Write};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;

mod ioctl {
    // FS_IOC_GETVERSION of linux/fs.h.
    nix::ioctl_read!(generation, b'v', 1, libc::c_long);
}

/// linux/openat2.h
const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
const RESOLVE_NO_SYMLINKS: u64 = 0x04;
pub(crate) const RESOLVE_BENEATH: u64 = 0x08;
pub(crate) const RESOLVE_IN_ROOT: u64 = 0x10;

/// What a file beneath a directory is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading. Symbolic links that stay inside are followed.
    Read,
    /// Appending; created (rw-r--r--) when missing. No symbolic links.
    Append,
    /// Writing from the start, contents discarded; created with these permission bits when missing. No symbolic links.
    Replace(u32),
}

/// Why a file could not be opened or stored.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// The kernel refused.
    #[error("{operation} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is a directory, pipe, socket or device.
    #[error("{path} is not a regular file", path = .path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
}

impl FsError {
    fn io(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> FsError {
        FsError::Io {
            operation,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// The same, of a file whose directory is known.
    fn inside(mut self, directory: &Path) -> FsError {
        let (FsError::Io { path, .. } | FsError::NotAFile { path }) = &mut self;
        *path = directory.join(&path);
        self
    }

    /// Whether the file simply does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, FsError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Opens `relative` inside `directory`, following nothing that leads out of it.
pub fn open_beneath(directory: &Path, relative: &Path, access: Access) -> Result<File, FsError> {
    let base = open_directory(directory)?;
    open_inside(&base, relative, access).map_err(|error| error.inside(directory))
}

/// As [`open_beneath`], of a directory that is open already.
pub fn open_inside(directory: &OwnedFd, relative: &Path, access: Access) -> Result<File, FsError> {
    let path = relative.to_owned();
    let fd = openat2(directory, relative, access.how())
        .map_err(|errno| FsError::io("open", &path, errno))?;
    let file = File::from(fd);
    let metadata = file.metadata().map_err(|e| FsError::io("stat", &path, e))?;
    if !metadata.is_file() {
        return Err(FsError::NotAFile { path });
    }
    Ok(file)
}

/// One entry of a directory.
#[derive(Debug)]
pub struct Listed {
    /// Its name; what is not UTF-8 in it is replaced.
    pub name: String,
    /// Of the entry itself, not of what it links to.
    pub metadata: fs::Metadata,
}

/// The entries of the directory `relative` inside `directory`, at most `most`, by name; links that lead out are not
/// followed.
pub fn list_beneath(
    directory: &Path,
    relative: &Path,
    most: usize,
) -> Result<Vec<Listed>, FsError> {
    let path = directory.join(relative);
    let base = open_directory(directory)?;
    let relative = if relative.as_os_str().is_empty() {
        Path::new(".")
    } else {
        relative
    };
    let how = (libc::O_RDONLY | libc::O_DIRECTORY, 0, 0);
    let fd = openat2(&base, relative, how).map_err(|errno| FsError::io("list", &path, errno))?;
    let entries = fs::read_dir(format!("/proc/self/fd/{}", fd.as_raw_fd()))
        .map_err(|error| FsError::io("list", &path, error))?;
    let listed = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        // It may have gone meanwhile.
        let metadata = entry.metadata().ok()?;
        Some(Listed { name, metadata })
    };
    let mut all: Vec<Listed> = entries.flatten().take(most).filter_map(listed).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// A descriptor of a directory, for reading or as a starting point.
pub fn open_directory(path: &Path) -> Result<OwnedFd, FsError> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty())
        .map_err(|e| FsError::io("open directory", path, e))
}

/// Stores `bytes` as `directory/name` so that after a crash there is the old file or the new one, whole: written
/// beside it as `name.tmp`, synchronised, renamed, and the directory synchronised.
pub fn write_durably(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), FsError> {
    let temporary = directory.join(format!("{name}.tmp"));
    let target = directory.join(name);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|e| FsError::io("write", &temporary, e))?;
    fs::rename(&temporary, &target).map_err(|e| FsError::io("rename", &target, e))?;
    File::open(directory)
        .and_then(|d| d.sync_all())
        .map_err(|e| FsError::io("synchronise directory", directory, e))
}

/// Gives the entry `from` of an open directory the name `to`, which loses what it stood for. Links are renamed, not followed.
pub fn rename_inside(directory: &OwnedFd, from: &str, to: &str) -> Result<(), FsError> {
    let renamed = match from.contains('/') || to.contains('/') {
        false => nix::fcntl::renameat(directory, from, directory, to),
        true => Err(Errno::EINVAL),
    };
    renamed.map_err(|errno| FsError::io("rename", Path::new(from), errno))
}

/// Takes the name `name` of an open directory away from the file or link it stands for.
pub fn remove_inside(directory: &OwnedFd, name: &str) -> Result<(), FsError> {
    let removed = match name.contains('/') {
        false => nix::unistd::unlinkat(directory, name, nix::unistd::UnlinkatFlags::NoRemoveDir),
        true => Err(Errno::EINVAL),
    };
    removed.map_err(|errno| FsError::io("remove", Path::new(name), errno))
}

/// Tells a file from others that are or were in its file system: its inode, and how often that was used where inodes are used
/// again at once, as ext4 does (its generation, linux/fs.h; tmpfs has none and counts its inodes up).
pub fn identity(file: &File) -> io::Result<u64> {
    let inode = file.metadata()?.ino();
    let mut generation: libc::c_long = 0;
    // SAFETY: the descriptor is open, and ext4 writes an int, other file systems at most a long, to a long of ours.
    let known = unsafe { ioctl::generation(file.as_raw_fd(), &raw mut generation) };
    Ok(match known {
        Ok(_) => inode.rotate_left(32) ^ generation as u64,
        Err(_) => inode,
    })
}

/// Connects to the unix socket `directory/name`, however long that path is (the kernel's limit is 107 bytes).
pub fn connect_unix(directory: &Path, name: &str) -> Result<UnixStream, FsError> {
    let base = open_directory(directory)?;
    let short = format!("/proc/self/fd/{}/{name}", base.as_raw_fd());
    UnixStream::connect(short).map_err(|e| FsError::io("connect to", &directory.join(name), e))
}

/// Gives an open file to a user and group. Needs root.
pub fn give_to(file: impl AsFd, uid: u32, gid: u32) -> io::Result<()> {
    std::os::unix::fs::fchown(file, Some(uid), Some(gid))
}

/// For whoever opens what may be a pipe.
pub const NONBLOCK: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;

/// `struct open_how` of linux/openat2.h.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// How a path is looked up below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolve {
    /// As if the directory were `/`: links, absolute ones too, lead to what they name inside.
    InRoot,
    /// No link is followed, and nothing leads out.
    Inside,
}

/// A descriptor that only stands for the place, of whatever kind it is.
pub(crate) fn resolve(base: &OwnedFd, path: &Path, how: Resolve) -> Result<OwnedFd, Errno> {
    let resolve = match how {
        Resolve::InRoot => RESOLVE_IN_ROOT,
        Resolve::Inside => RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
    };
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    openat2_with(
        base,
        path,
        OpenHow {
            flags: flags as u64,
            mode: 0,
            resolve: resolve | RESOLVE_NO_MAGICLINKS,
        },
    )
}

/// Flags, permission bits, and what is resolved.
pub(crate) type How = (libc::c_int, u32, u64);

impl Access {
    fn how(self) -> How {
        let create = libc::O_WRONLY | libc::O_CREAT;
        match self {
            Access::Read => (libc::O_RDONLY, 0, 0),
            Access::Append => (create | libc::O_APPEND, 0o644, RESOLVE_NO_SYMLINKS),
            Access::Replace(mode) => (create | libc::O_TRUNC, mode & 0o777, RESOLVE_NO_SYMLINKS),
        }
    }
}

fn openat2(base: &OwnedFd, relative: &Path, how: How) -> Result<OwnedFd, Errno> {
    let (flags, mode, links) = how;
    openat2_resolving(base, relative, (flags, mode, RESOLVE_BENEATH | links))
}

/// As `openat2`, with all the `RESOLVE_` bits but the one against magic links, which is always set.
pub(crate) fn openat2_resolving(
    base: &OwnedFd,
    relative: &Path,
    how: How,
) -> Result<OwnedFd, Errno> {
    let common = libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK;
    let (flags, mode, resolve) = how;
    let how = OpenHow {
        flags: (flags | common) as u64,
        mode: u64::from(mode),
        resolve: RESOLVE_NO_MAGICLINKS | resolve,
    };
    openat2_with(base, relative, how)
}

fn openat2_with(base: &OwnedFd, relative: &Path, how: OpenHow) -> Result<OwnedFd, Errno> {
    use nix::NixPath;
    // SAFETY: `path` is a C string and `how` a valid open_how of the given size, both for the length of the call.
    let fd = relative.with_nix_path(|path| unsafe {
        libc::syscall(
            libc::SYS_openat2,
            base.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<OpenHow>(),
        )
    })?;
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the kernel just made this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    fn read(directory: &Path, name: &str) -> Result<String, FsError> {
        let mut text = String::new();
        open_beneath(directory, Path::new(name), Access::Read)?
            .read_to_string(&mut text)
            .expect("read");
        Ok(text)
    }

    #[test]
    fn links_out_of_the_directory_lead_nowhere() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let sandbox = folder.path().join("sandbox");
        fs::create_dir(&sandbox).expect("mkdir");
        fs::write(folder.path().join("secret"), "s").expect("write");
        fs::write(sandbox.join("own"), "o").expect("write");
        symlink("own", sandbox.join("inside")).expect("link");
        symlink("../secret", sandbox.join("outside")).expect("link");
        symlink("/etc/passwd", sandbox.join("absolute")).expect("link");
        symlink("/proc/self/root", sandbox.join("magic")).expect("link");
        assert_eq!(read(&sandbox, "inside").expect("allowed"), "o");
        for name in [
            "outside",
            "absolute",
            "../secret",
            "/etc/passwd",
            "magic/etc/passwd",
        ] {
            assert!(read(&sandbox, name).is_err(), "{name}");
        }
        for name in ["inside", "outside"] {
            assert!(
                open_beneath(&sandbox, Path::new(name), Access::Append).is_err(),
                "{name}"
            );
        }
        assert!(
            read(&sandbox, "missing")
                .expect_err("missing")
                .is_not_found()
        );
    }

    #[test]
    fn a_pipe_or_a_folder_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("scratch folder");
        nix::unistd::mkfifo(&folder.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU)
            .expect("mkfifo");
        fs::create_dir(folder.path().join("folder")).expect("mkdir");
        for name in ["pipe", "folder"] {
            assert!(
                matches!(read(folder.path(), name), Err(FsError::NotAFile { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn a_listing_stays_inside() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let sandbox = folder.path().join("sandbox");
        fs::create_dir_all(sandbox.join("out")).expect("mkdir");
        fs::write(sandbox.join("out/b"), "12").expect("write");
        fs::write(sandbox.join("out/a"), "1").expect("write");
        symlink("..", sandbox.join("up")).expect("link");
        let names = |relative: &str, most| {
            let listed = list_beneath(&sandbox, Path::new(relative), most).expect("listed");
            listed.into_iter().map(|l| l.name).collect::<Vec<_>>()
        };
        assert_eq!(names("", 9), ["out", "up"]);
        assert_eq!(names("out", 9), ["a", "b"]);
        assert_eq!(names("out", 1).len(), 1);
        for relative in ["up", "..", "/etc", "out/a"] {
            assert!(
                list_beneath(&sandbox, Path::new(relative), 9).is_err(),
                "{relative}"
            );
        }
    }

    #[test]
    fn a_stored_file_replaces_the_old_one() {
        let folder = tempfile::tempdir().expect("scratch folder");
        write_durably(folder.path(), "exit", b"one").expect("first");
        write_durably(folder.path(), "exit", b"two").expect("second");
        assert_eq!(read(folder.path(), "exit").expect("read"), "two");
        assert!(!folder.path().join("exit.tmp").exists());
    }

    #[test]
    fn a_file_is_told_from_one_that_had_its_inode() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let base = open_directory(folder.path()).expect("open");
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100 {
            let file = open_inside(&base, Path::new("f"), Access::Append).expect("create");
            let again = File::open(folder.path().join("f")).expect("open");
            let own = identity(&file).expect("identity");
            assert_eq!(own, identity(&again).expect("identity"));
            assert!(seen.insert(own), "{own:x}");
            remove_inside(&base, "f").expect("remove");
        }
        assert!(remove_inside(&base, "f").expect_err("gone").is_not_found());
        assert!(remove_inside(&base, "../f").is_err());
    }

    #[test]
    fn a_socket_deep_down_is_reached() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let deep = folder.path().join("d".repeat(100)).join("e".repeat(100));
        fs::create_dir_all(&deep).expect("mkdir");
        let base = open_directory(&deep).expect("open");
        let _listener =
            UnixListener::bind(format!("/proc/self/fd/{}/socket", base.as_raw_fd())).expect("bind");
        connect_unix(&deep, "socket").expect("connect");
        assert!(connect_unix(&deep, "other").is_err());
    }
}
