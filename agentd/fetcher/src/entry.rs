//! One thing in an archive, and the rules for its path and for where links lead.
//!
//! The rules make good messages; what keeps writing inside is `nesos_sys::tree`. Invariant: the path of an [`Entry`] is
//! relative and has plain components only.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::UnpackError;

/// Longest path and longest component (Linux's).
const MAX_PATH: usize = 4095;
const MAX_NAME: usize = 255;
/// Characters of a path that are shown.
const MAX_SHOWN: usize = 100;

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// Seconds since 1970.
    pub modified: Option<u64>,
    /// File capabilities, as the kernel keeps them.
    pub capabilities: Option<Vec<u8>>,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file; its bytes come from the reader.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to this, as it stands there.
    Symbolic(PathBuf),
    /// A further name of a file inside.
    Hard(PathBuf),
    /// A device, a pipe.
    Special,
}

impl Entry {
    /// A plain file.
    pub(crate) fn file(path: PathBuf) -> Self {
        Self {
            path,
            kind: Kind::File,
            mode: 0o644,
            owner: (0, 0),
            modified: None,
            capabilities: None,
        }
    }

    /// Symbolic links must not lead out, by their text; hard links are clean paths already.
    pub(crate) fn check_links(&self) -> Result<(), UnpackError> {
        match &self.kind {
            Kind::Symbolic(target) if leads_out(&self.path, target) => Err(UnpackError::Link {
                path: shown(&self.path),
                target: shown(target),
            }),
            _ => Ok(()),
        }
    }
}

/// A path of an archive without what means nothing in it (`./`, `//`, a `/` at the end). Empty: the directory itself.
pub(crate) fn clean(bytes: &[u8]) -> Result<PathBuf, UnpackError> {
    let path = Path::new(OsStr::from_bytes(bytes));
    let refuse = || UnpackError::Path(shown(path));
    if bytes.is_empty() || bytes.len() > MAX_PATH || bytes.contains(&0) {
        return Err(refuse());
    }
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) if name.len() <= MAX_NAME => clean.push(name),
            _ => return Err(refuse()),
        }
    }
    Ok(clean)
}

/// A path for people.
pub(crate) fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    let mut shown: String = text.chars().take(MAX_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// Whether a link at `path` to `target` leaves the directory, as far as its text says.
fn leads_out(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    for component in target.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(_) => depth += 1,
            Component::ParentDir => match depth.checked_sub(1) {
                Some(up) => depth = up,
                None => return true,
            },
            Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    target.as_os_str().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_pass() {
        for (given, expected) in [
            ("a/b", "a/b"),
            ("./a//b/", "a/b"),
            ("./", ""),
            ("a/./b", "a/b"),
        ] {
            let path = clean(given.as_bytes()).expect(given);
            assert_eq!(path, Path::new(expected), "{given}");
        }
        let long = "x".repeat(256);
        let deep = "x/".repeat(2100);
        for bad in [
            "", "/", "/a", "..", "a/..", "a/../b", "../a", "a\0b", &long, &deep,
        ] {
            assert!(clean(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn links_that_lead_out_are_known_by_their_text() {
        for (path, target, out) in [
            ("a", "b", false),
            ("a", "..", true),
            ("d/a", "..", false),
            ("d/a", "../b", false),
            ("d/a", "../../b", true),
            ("d/a", "x/../../../b", true),
            ("a", "/etc/passwd", true),
            ("a", "", true),
        ] {
            assert_eq!(
                leads_out(Path::new(path), Path::new(target)),
                out,
                "{path} -> {target}"
            );
        }
    }
}
