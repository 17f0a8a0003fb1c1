//! The CAs that HTTPS downloads trust: a PEM file, read when it is needed.
//!
//! Called by the fetcher, and by `settings` to say early that a given file is no good. Not kept in memory: a system's
//! bundle takes more of it than an idle agent.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use nesos_shell::tls::web;

/// Where systems keep theirs.
const SYSTEM: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];
/// A board's own, beside its cluster.toml.
const BOARD: &str = "ca.pem";
/// Largest file: the usual bundle has a quarter of a megabyte.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// The file to be used if none was given: the one beside the configuration, or the system's.
pub(crate) fn find(config: Option<&Path>) -> Option<PathBuf> {
    let beside = config.map(|config| config.with_file_name(BOARD));
    let system = SYSTEM.into_iter().map(PathBuf::from);
    beside.into_iter().chain(system).find(|path| path.is_file())
}

/// Reads the CAs. `Err` is a sentence.
pub(crate) fn load(path: Option<&Path>) -> Result<rustls::RootCertStore, String> {
    let path = path.ok_or(
        "there are no CAs on this machine to trust the server by: give a PEM file with --ca, \
         or put ca.pem beside cluster.toml",
    )?;
    let fail = |reason: String| format!("{}: {reason}", path.display());
    let mut pem = Vec::new();
    let file = File::open(path).map_err(|e| fail(e.to_string()))?;
    file.take(MAX_FILE + 1)
        .read_to_end(&mut pem)
        .map_err(|e| fail(e.to_string()))?;
    if pem.len() as u64 > MAX_FILE {
        return Err(fail(format!("it is larger than {MAX_FILE} bytes")));
    }
    web::authorities(&pem).map_err(|e| fail(e.to_string()))
}
