//! A Node.js client from npm, unmodified, installed once and kept in the user's cache folder.
//!
//! Needs node and npm: `scripts/setup --tests` sees to that. Called by the tests. Invariant: a folder that is named ready is
//! complete.

use crate::{SetupError, place, run};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const PACKAGE: &str = "mesos-framework@0.5.3";

/// The folder of the module mesos-framework 0.5.3.
///
/// # Errors
/// Something is missing on this machine; the error says what.
pub fn mesos_framework() -> Result<PathBuf, SetupError> {
    let (folder, _lock) = place::locked("mesos-framework-0.5.3")?;
    let module = folder.join("node_modules/mesos-framework");
    let ready = folder.join("ready");
    if module.exists() && fs::read_to_string(&ready).is_ok_and(|text| text == PACKAGE) {
        return Ok(module);
    }
    let _ = fs::remove_file(&ready);
    run(
        Command::new("npm")
            .current_dir(&folder)
            // Without a package.json of its own npm would look for one further up.
            .args(["install", "--prefix", ".", "--no-save", "--ignore-scripts"])
            .args(["--no-audit", "--no-fund", PACKAGE]),
        "needs npm (Debian: nodejs, npm) and its registry",
    )?;
    place::write(&ready, PACKAGE)?;
    Ok(module)
}
