//! `nesos token`: from a cluster key to the join token that boards get.
//!
//! Called by `main`. Invariant: a key is never printed unless it was made just now.

use std::io::Read;
use std::path::PathBuf;
use std::{fs, io};

use nesos_base::cluster_config::{ClusterConfig, ConfigError};
use nesos_base::token::{ClusterKey, TokenError};
use nesos_shell::tls::{self, TlsError};
use serde_json::json;

use crate::args::{Output, TokenArgs};
use crate::failure::Failure;
use crate::output;

/// Largest file read: a cluster.toml at most.
const MAX_FILE: u64 = nesos_base::cluster_config::MAX_FILE as u64;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenCommandError {
    /// The file cannot be read.
    #[error("read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Neither a key nor a cluster.toml.
    #[error("{path}: {reason}")]
    Key {
        /// Which.
        path: PathBuf,
        /// What was expected.
        reason: TokenError,
    },
    /// A cluster.toml that is refused.
    #[error("{path}: {reason}")]
    Config {
        /// Which.
        path: PathBuf,
        /// What was expected.
        reason: ConfigError,
    },
    /// Key making or derivation.
    #[error("derive the join token: {0}")]
    Derive(#[from] TlsError),
}

/// `nesos token`.
pub(crate) fn token(args: &TokenArgs, output: Output) -> Result<(), Failure> {
    let key = match &args.key {
        Some(path) => read_key(path)?,
        None => tls::generate_cluster_key().map_err(TokenCommandError::from)?,
    };
    let token = tls::join_token(&key)
        .map_err(TokenCommandError::from)?
        .to_text();
    match (output, args.new) {
        (Output::Json, true) => output::json(&json!({"key": key.to_text(), "token": token})),
        (Output::Json, false) => output::json(&json!({"token": token})),
        (Output::Table, true) => output::line(&format!(
            "key   = \"{}\"\ntoken = \"{token}\"",
            key.to_text()
        )),
        (Output::Table, false) => output::line(&token),
    }
}

/// A file that holds a key alone, or a master's cluster.toml.
fn read_key(path: &PathBuf) -> Result<ClusterKey, TokenCommandError> {
    let read = |source| TokenCommandError::Read {
        path: path.clone(),
        source,
    };
    let mut text = Vec::new();
    if path.as_os_str() == "-" {
        io::stdin()
            .lock()
            .take(MAX_FILE)
            .read_to_end(&mut text)
            .map_err(read)?;
    } else {
        fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE).read_to_end(&mut text))
            .map_err(read)?;
    }
    let bare = String::from_utf8_lossy(&text);
    if let Ok(key) = ClusterKey::parse(&bare) {
        return Ok(key);
    }
    if !bare.contains('=') {
        return Err(TokenCommandError::Key {
            path: path.clone(),
            reason: TokenError::Key,
        });
    }
    let config = ClusterConfig::parse(&text).map_err(|reason| TokenCommandError::Config {
        path: path.clone(),
        reason,
    })?;
    config.key.ok_or_else(|| TokenCommandError::Key {
        path: path.clone(),
        reason: TokenError::Key,
    })
}
