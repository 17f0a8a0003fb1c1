//! The cluster key and the join token: where they come from and where they rest.
//!
//! Called once by `main`. Invariant: files that hold secrets are never readable by others, not even for a moment, and the
//! key is on disk before any certificate is made from it.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nesos_base::token::{ClusterKey, JoinToken, TokenError};
use nesos_shell::tls::{self, TlsError};

const KEY_FILE: &str = "cluster.key";
const TOKEN_FILE: &str = "token";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// A file.
    #[error("cannot {operation} {path}: {reason}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's word.
        reason: std::io::Error,
    },
    /// The key file holds something else.
    #[error("{path}: {reason}")]
    NotAKey {
        /// Which.
        path: PathBuf,
        /// What was expected.
        reason: TokenError,
    },
    /// Cryptography.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A cluster's key and token.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The CA's seed.
    pub(crate) key: ClusterKey,
    /// What lets boards in.
    pub(crate) token: JoinToken,
    /// This start made the key.
    pub(crate) is_new: bool,
}

impl Identity {
    /// The key given in cluster.toml, else the one in `work_dir`, else a new one. Writes both files.
    pub(crate) fn load(work_dir: &Path, given: Option<ClusterKey>) -> Result<Self, IdentityError> {
        let path = work_dir.join(KEY_FILE);
        let stored = match std::fs::read_to_string(&path) {
            Ok(text) => {
                let key = ClusterKey::parse(&text);
                Some(key.map_err(|reason| IdentityError::NotAKey {
                    path: path.clone(),
                    reason,
                })?)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(reason) => {
                return Err(IdentityError::File {
                    operation: "read",
                    path,
                    reason,
                });
            }
        };
        let is_new = given.is_none() && stored.is_none();
        let key = match given.or_else(|| stored.clone()) {
            Some(key) => key,
            None => tls::generate_cluster_key()?,
        };
        if stored.as_ref() != Some(&key) {
            if stored.is_some() {
                tracing::warn!(
                    "the cluster key in cluster.toml replaces the one in {}",
                    path.display()
                );
            }
            write_secret(&path, &key.to_text())?;
        }
        let token = tls::join_token(&key)?;
        write_secret(&work_dir.join(TOKEN_FILE), &token.to_text())?;
        Ok(Self { key, token, is_new })
    }
}

/// Writes a file of mode 0600 at once or not at all; leaves an equal one alone, for the sake of SD cards.
fn write_secret(path: &Path, text: &str) -> Result<(), IdentityError> {
    let content = format!("{text}\n");
    if std::fs::read(path).is_ok_and(|have| have == content.as_bytes()) {
        return Ok(());
    }
    let failed = |operation, path: &Path| {
        let path = path.to_path_buf();
        move |reason| IdentityError::File {
            operation,
            path,
            reason,
        }
    };
    let temporary = path.with_extension("new");
    // A leftover of a crash may have another mode.
    let _ = std::fs::remove_file(&temporary);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(failed("create", &temporary))?;
    file.write_all(content.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed("write", &temporary))?;
    std::fs::rename(&temporary, path).map_err(failed("rename to", path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_stays_and_is_secret() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::load(dir.path(), None).unwrap();
        let again = Identity::load(dir.path(), None).unwrap();
        assert!(
            first.is_new && !again.is_new && first.key == again.key && first.token == again.token
        );
        for name in [KEY_FILE, TOKEN_FILE] {
            let mode = std::fs::metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let given = Identity::load(dir.path(), Some(ClusterKey([1; 32]))).unwrap();
        assert!(given.token != first.token);
        assert_eq!(
            Identity::load(dir.path(), None).unwrap().key,
            ClusterKey([1; 32])
        );
    }
}
