//! The one call that needs `unsafe` in masterd: mapping LMDB's file. heed has no safe one.
//!
//! Called by `Store::open` alone, which holds the exclusive lock on the work folder.

use std::path::Path;

use heed::{Env, EnvOpenOptions};

/// Opens the environment in the folder `path`. The caller must hold the lock that keeps other processes out.
#[allow(unsafe_code)]
pub(super) fn open(path: &Path, map_size: usize, max_readers: u32) -> Result<Env, heed::Error> {
    let mut options = EnvOpenOptions::new();
    options.map_size(map_size).max_readers(max_readers);
    // SAFETY: the map stays valid as long as nobody else changes or truncates the file. The exclusive lock on the work
    // folder keeps other masterds out, the folder is ours, and this process opens the environment once.
    unsafe { options.open(path) }
}
