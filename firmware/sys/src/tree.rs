//! A directory into which the files of strangers are written: archives, layers of images.
//!
//! Called by `nesos-fetcher`. Not for reading (module `fs`). Invariant: whatever the paths and whatever links were made
//! before, nothing outside the directory is made, changed or removed; the kernel sees to it (`openat2`), not a look at
//! the path. An existing file is replaced, never written into, so that no link to it is written through.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, makedev, mkdirat, mknodat};
use nix::unistd::{
    Gid, LinkatFlags, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat,
};

use crate::fs::{RESOLVE_BENEATH, RESOLVE_IN_ROOT, openat2_resolving};

/// What folders have until [`Tree::finish`] gives them theirs: nobody else looks in meanwhile.
const FOLDER: Mode = Mode::S_IRWXU;
/// What folders have that only appear in paths of other entries.
const IMPLIED: u32 = 0o755;

/// How links inside the directory are understood in paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// They may lead anywhere inside; one that leads out is an error.
    Beneath,
    /// The directory is `/` to them, as for a process whose root it is.
    InRoot,
}

/// Rights and owner of a new entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Permission bits.
    pub mode: u32,
    /// User and group; `None`: the process's own.
    pub owner: Option<(u32, u32)>,
}

/// The directory.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    links: Links,
    /// The folder that was used last: entries of one folder mostly stand together.
    last: Option<(PathBuf, OwnedFd)>,
    /// Rights of folders, which may forbid to write in them.
    folders: Vec<(PathBuf, Rights)>,
}

impl Tree {
    /// Of an existing directory.
    pub fn new(root: OwnedFd, links: Links) -> Self {
        Self {
            root,
            links,
            last: None,
            folders: Vec::new(),
        }
    }

    /// Makes a directory, and those above it; one that is there already gets the rights too.
    pub fn directory(&mut self, path: &Path, rights: Rights) -> io::Result<()> {
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        let (folder, name) = self.place(path)?;
        match mkdirat(folder, name, FOLDER) {
            Err(Errno::EEXIST) if is_folder(folder, name)? => {}
            Err(Errno::EEXIST) => {
                remove(folder, name)?;
                mkdirat(folder, name, FOLDER)?;
            }
            other => other?,
        }
        self.folders.push((path.to_owned(), rights));
        Ok(())
    }

    /// Makes an empty file, to be written; takes the place of another, not of a directory.
    pub fn file(&mut self, path: &Path, rights: Rights) -> io::Result<File> {
        let (folder, name) = self.place(path)?;
        remove(folder, name)?;
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(folder, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        apply(&file, rights)?;
        Ok(File::from(file))
    }

    /// Makes a symbolic link. Where it leads to is the caller's to judge.
    pub fn symbolic_link(
        &mut self,
        path: &Path,
        target: &Path,
        owner: Option<(u32, u32)>,
    ) -> io::Result<()> {
        let (folder, name) = self.place(path)?;
        remove(folder, name)?;
        symlinkat(target, folder, name)?;
        if let Some((uid, gid)) = owner {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            fchownat(
                folder,
                name,
                Some(uid),
                Some(gid),
                AtFlags::AT_SYMLINK_NOFOLLOW,
            )?;
        }
        Ok(())
    }

    /// Makes a further name for a file inside.
    pub fn hard_link(&mut self, path: &Path, existing: &Path) -> io::Result<()> {
        let (from, from_name) = parts(existing)?;
        let from = self.open(from)?;
        let (folder, name) = self.place(path)?;
        remove(folder, name)?;
        Ok(linkat(
            &from,
            from_name,
            folder,
            name,
            LinkatFlags::empty(),
        )?)
    }

    /// Makes what overlayfs understands as "nothing is here": a character device 0/0.
    pub fn whiteout(&mut self, path: &Path) -> io::Result<()> {
        let (folder, name) = self.place(path)?;
        remove(folder, name)?;
        Ok(mknodat(
            folder,
            name,
            SFlag::S_IFCHR,
            Mode::empty(),
            makedev(0, 0),
        )?)
    }

    /// Says to overlayfs that nothing of the layers below shows in this directory (mounts need `userxattr`).
    pub fn opaque(&mut self, path: &Path) -> io::Result<()> {
        // An existing one keeps the rights that it was or will be given.
        if !path.as_os_str().is_empty() && self.open(path).is_err() {
            let mode = IMPLIED;
            self.directory(path, Rights { mode, owner: None })?;
        }
        let folder = self.open(path)?;
        set_attribute(&folder, "user.overlay.opaque", b"y")
    }

    /// Gives the directories their rights. Last of all.
    pub fn finish(&mut self) -> io::Result<()> {
        // From the deepest up: rights may forbid to go in.
        let mut folders = std::mem::take(&mut self.folders);
        folders.reverse();
        for (path, rights) in folders {
            match self.open(&path) {
                Ok(folder) => apply(&folder, rights)?,
                // Something else has taken its place since.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The folder and the name of what is to be made; makes missing folders.
    fn place<'a>(&mut self, path: &'a Path) -> io::Result<(&OwnedFd, &'a OsStr)> {
        let (folder, name) = parts(path)?;
        // What is made may take the place of a link that the folder's path went through.
        self.last.take_if(|(last, _)| last.starts_with(path));
        if self.last.as_ref().is_none_or(|(last, _)| last != folder) {
            let opened = match self.open(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.make(folder)?,
                other => other?,
            };
            self.last = Some((folder.to_owned(), opened));
        }
        match &self.last {
            Some((_, opened)) => Ok((opened, name)),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }

    fn make(&self, folder: &Path) -> io::Result<OwnedFd> {
        let mut path = PathBuf::new();
        let mut at = self.open(&path)?;
        for name in folder.iter() {
            path.push(name);
            at = match self.open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    mkdirat(&at, name, FOLDER)?;
                    let made = self.open(&path)?;
                    fchmod(&made, Mode::from_bits_truncate(IMPLIED))?;
                    made
                }
                other => other?,
            };
        }
        Ok(at)
    }

    fn open(&self, folder: &Path) -> io::Result<OwnedFd> {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let resolve = match self.links {
            Links::Beneath => RESOLVE_BENEATH,
            Links::InRoot => RESOLVE_IN_ROOT,
        };
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        Ok(openat2_resolving(&self.root, folder, (flags, 0, resolve))?)
    }
}

/// Sets an extended attribute of an open file or directory.
pub fn set_attribute(file: &impl AsFd, name: &str, value: &[u8]) -> io::Result<()> {
    let name = CString::new(name)?;
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: `name` is a C string and `value` valid for its length, both for the length of the call.
    let result =
        unsafe { libc::fsetxattr(fd, name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Ok(Errno::result(result).map(drop)?)
}

fn parts(path: &Path) -> io::Result<(&Path, &OsStr)> {
    path.parent()
        .zip(path.file_name())
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))
}

fn is_folder(folder: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    let stat = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok(SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT) == SFlag::S_IFDIR)
}

fn remove(folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(folder, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        other => Ok(other?),
    }
}

/// The owner first: a change of it takes bits away.
fn apply(file: &OwnedFd, rights: Rights) -> io::Result<()> {
    if let Some((uid, gid)) = rights.owner {
        fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    Ok(fchmod(file, Mode::from_bits_truncate(rights.mode))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    const PLAIN: Rights = Rights {
        mode: 0o640,
        owner: None,
    };

    fn tree(folder: &Path, links: Links) -> Tree {
        Tree::new(crate::fs::open_directory(folder).expect("open"), links)
    }

    #[test]
    fn nothing_is_written_through_a_link_that_leads_out() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let (inside, outside) = (folder.path().join("in"), folder.path().join("out"));
        fs::create_dir(&inside).expect("mkdir");
        fs::create_dir(&outside).expect("mkdir");
        fs::write(outside.join("kept"), "kept").expect("write");
        symlink(&outside, inside.join("absolute")).expect("link");
        symlink("../out", inside.join("relative")).expect("link");
        symlink(outside.join("kept"), inside.join("file")).expect("link");
        let mut tree = tree(&inside, Links::Beneath);
        for path in ["absolute/x", "relative/x", "../out/x", "a/../../out/x"] {
            let path = Path::new(path);
            assert!(tree.file(path, PLAIN).is_err(), "{path:?}");
            assert!(tree.directory(path, PLAIN).is_err(), "{path:?}");
            assert!(tree.symbolic_link(path, path, None).is_err(), "{path:?}");
            assert!(tree.opaque(path).is_err(), "{path:?}");
            let link = Path::new("new");
            assert!(tree.hard_link(link, path).is_err(), "{path:?}");
        }
        let kept = Path::new("relative/kept");
        assert!(tree.hard_link(Path::new("new"), kept).is_err());
        // A link at the place itself is replaced, not followed.
        tree.file(Path::new("file"), PLAIN).expect("replaced");
        tree.directory(Path::new("relative"), PLAIN)
            .expect("replaced");
        tree.finish().expect("finished");
        let names: Vec<_> = fs::read_dir(&outside).expect("list").collect();
        assert_eq!(names.len(), 1, "{names:?}");
        let text = fs::read_to_string(outside.join("kept")).expect("there");
        assert_eq!(text, "kept");
        assert!(
            inside
                .join("relative")
                .symlink_metadata()
                .expect("there")
                .is_dir()
        );
    }

    #[test]
    fn an_absolute_link_in_a_root_leads_to_that_root() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let mut tree = tree(folder.path(), Links::InRoot);
        tree.directory(Path::new("run"), PLAIN).expect("made");
        let (link, target) = (Path::new("var/run"), Path::new("/run"));
        tree.symbolic_link(link, target, None).expect("made");
        tree.file(Path::new("var/run/x"), PLAIN).expect("made");
        assert!(folder.path().join("run/x").is_file());
    }

    #[test]
    fn rights_come_last_and_links_count() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let mut tree = tree(folder.path(), Links::Beneath);
        let closed = Rights {
            mode: 0o555,
            owner: None,
        };
        tree.directory(Path::new("a"), closed).expect("made");
        tree.file(Path::new("a/b/file"), PLAIN).expect("made");
        let (link, file) = (Path::new("link"), Path::new("a/b/file"));
        tree.hard_link(link, file).expect("made");
        tree.finish().expect("finished");
        let mode = |path: &str| {
            let metadata = fs::metadata(folder.path().join(path)).expect("there");
            metadata.permissions().mode() & 0o7777
        };
        assert_eq!(
            (mode("a"), mode("a/b"), mode("link")),
            (0o555, 0o755, 0o640)
        );
        let metadata = fs::metadata(folder.path().join("link")).expect("there");
        assert_eq!(metadata.nlink(), 2);
        assert!(
            tree.file(Path::new("a"), PLAIN).is_err(),
            "no file where a folder is"
        );
    }
}
