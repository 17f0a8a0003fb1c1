//! Where clients are kept: folders in the user's cache, made by one test at a time.
//!
//! Called by `python` and `node`. Invariant: who holds a folder's lock is alone in it.

use crate::SetupError;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The folder `name` and its lock, which ends with the value.
pub(crate) fn locked(name: &str) -> Result<(PathBuf, File), SetupError> {
    let folder = cache()?.join(name);
    make_folder(&folder)?;
    let path = folder.join("lock");
    let lock = File::create(&path).and_then(|file| file.lock().map(|()| file));
    let lock = lock.map_err(|source| SetupError::File {
        operation: "lock",
        path,
        source,
    })?;
    Ok((folder, lock))
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), SetupError> {
    fs::write(path, text).map_err(|source| SetupError::File {
        operation: "write",
        path: path.to_owned(),
        source,
    })
}

/// `${XDG_CACHE_HOME:-~/.cache}/nesos/clients`
fn cache() -> Result<PathBuf, SetupError> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")));
    let folder = cache
        .unwrap_or_else(std::env::temp_dir)
        .join("nesos/clients");
    make_folder(&folder)?;
    Ok(folder)
}

fn make_folder(folder: &Path) -> Result<(), SetupError> {
    fs::create_dir_all(folder).map_err(|source| SetupError::File {
        operation: "create",
        path: folder.to_owned(),
        source,
    })
}
