//! The key that signs update bundles: read from a file, or made once for the person who builds.
//!
//! Called by `cargo xtask image`. Invariant: a key that is there is never replaced, and its file is its owner's alone.

use nesos_base::bundle::key::{KeyError, SigningKey};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A key that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The file.
    #[error("signing key {path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// What is in it.
    #[error("{path}: {source}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What was expected.
        source: KeyError,
    },
    /// There is no home folder to keep it in.
    #[error("neither XDG_CONFIG_HOME nor HOME is set: name a file for the signing key with --key")]
    NoHome,
}

/// Where a person's key is unless another file is named: `${XDG_CONFIG_HOME:-~/.config}/nesos/update.key`.
///
/// # Errors
/// There is no home folder.
pub fn default_path() -> Result<PathBuf, SigningKeyError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = set("XDG_CONFIG_HOME").map(PathBuf::from);
    let folder = folder.or_else(|| set("HOME").map(|home| Path::new(&home).join(".config")));
    Ok(folder
        .ok_or(SigningKeyError::NoHome)?
        .join("nesos/update.key"))
}

/// Reads the key in `path`, or makes one there.
///
/// # Errors
/// The file cannot be read or made, or holds no key.
pub fn signing_key(path: &Path) -> Result<SigningKey, SigningKeyError> {
    let io = |source| SigningKeyError::Io {
        path: path.to_owned(),
        source,
    };
    match fs::read_to_string(path) {
        Ok(text) => SigningKey::parse(&text).map_err(|source| SigningKeyError::Content {
            path: path.to_owned(),
            source,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path).map_err(io),
        Err(error) => Err(io(error)),
    }
}

fn make(path: &Path) -> io::Result<SigningKey> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    let key = SigningKey(seed);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{}", key.to_text())?;
    file.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nesos/update.key");
        let made = signing_key(&path).unwrap();
        assert_eq!(signing_key(&path).unwrap(), made);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::write(&path, "no key").unwrap();
        let error = signing_key(&path).unwrap_err().to_string();
        assert!(error.contains("nesos-update-key-"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "no key");
    }
}
