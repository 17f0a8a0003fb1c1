//! Reads pieces of sandbox files for the master, never a byte from outside the sandbox.
//!
//! Called by `run` for `ReadFile`. Synchronous: at most [`MAX_FILE_CHUNK`] bytes, mostly from the page cache.

use std::fs::File;
use std::io;
use std::path::Path;

use agentd_core::fetch::is_plain_path;
use nesos_shell::http::files::{Part, Piece};
use nesos_sys::fs::{self, Access, FsError, open_beneath};
use nesos_wire::message::{FileChunk, FileError, MAX_FILE_CHUNK};
use nix::errno::Errno;

use crate::roots;

/// Up to `length` bytes of `path` from `offset`. `ended`: whether the task had ended before the call.
pub(crate) fn read(
    sandbox: &Path,
    path: &str,
    offset: u64,
    length: u32,
    ended: bool,
) -> Result<FileChunk, FileError> {
    if !is_plain_path(path) {
        return Err(FileError::Forbidden);
    }
    let file =
        open_beneath(sandbox, Path::new(path), Access::Read).map_err(|error| refusal(&error))?;
    read_chunk(&file, offset, length, ended).map_err(|error| FileError::Io(error.to_string()))
}

fn read_chunk(file: &File, offset: u64, length: u32, ended: bool) -> io::Result<FileChunk> {
    let part = Part {
        offset: Some(offset),
        length: u64::from(length).min(MAX_FILE_CHUNK as u64),
    };
    let Piece { size, data } = roots::read_part(file, part)?;
    Ok(FileChunk {
        offset,
        data,
        size,
        identity: fs::identity(file)?,
        ended,
    })
}

fn refusal(error: &FsError) -> FileError {
    match error {
        FsError::NotAFile { .. } => FileError::Forbidden,
        FsError::Io { source, .. } => match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT | Errno::ENOTDIR) => FileError::NotFound,
            // What openat2 says to links that lead out.
            Some(Errno::EXDEV | Errno::ELOOP) => FileError::Forbidden,
            _ => FileError::Io(source.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn pieces_are_read_and_the_end_is_empty() {
        let folder = tempfile::tempdir().expect("scratch folder");
        fs::write(folder.path().join("stdout"), "0123456789").expect("write");
        let chunk = read(folder.path(), "stdout", 4, 3, false).expect("read");
        assert_eq!(
            (chunk.data.as_slice(), chunk.size, chunk.ended),
            (&b"456"[..], 10, false)
        );
        let chunk = read(folder.path(), "stdout", 10, 3, true).expect("read");
        assert!(chunk.data.is_empty() && chunk.ended);
        assert!(
            read(folder.path(), "stdout", u64::MAX, u32::MAX, true)
                .expect("read")
                .data
                .is_empty()
        );
    }

    #[test]
    fn nothing_outside_is_read() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let sandbox = folder.path().join("s");
        fs::create_dir(&sandbox).expect("mkdir");
        fs::write(folder.path().join("secret"), "x").expect("write");
        symlink("../secret", sandbox.join("link")).expect("link");
        symlink("/etc/passwd", sandbox.join("absolute")).expect("link");
        for path in ["../secret", "/etc/passwd", "link", "absolute", ".", ""] {
            assert_eq!(
                read(&sandbox, path, 0, 10, false),
                Err(FileError::Forbidden),
                "{path}"
            );
        }
        assert_eq!(
            read(&sandbox, "missing", 0, 10, false),
            Err(FileError::NotFound)
        );
    }
}
