//! Zip archives: stored and deflated entries, also of more than 4 GB.
//!
//! Directory and headers are read by the crate `rawzip`. Invariant: the bytes of two entries never overlap, so an archive
//! unpacks to at most what its own size and deflate allow, and sizes and checksums are those of the directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};

use crate::entry::{Entry, Kind, clean, shown};
use crate::{Budget, Sink, UnpackError};

/// Longest target of a symbolic link, which zip keeps as the entry's contents.
const MAX_TARGET: u64 = 4095;
/// Kinds of files in a mode.
const KIND: u32 = 0o170_000;
const PLAIN: [u32; 3] = [0o100_000, 0o040_000, 0o120_000];

/// Unpacks all of `archive` into `sink`.
///
/// # Errors
/// As [`crate::unpack`].
pub fn unpack(archive: File, sink: &mut dyn Sink, budget: &mut Budget) -> Result<(), UnpackError> {
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(archive, &mut buffer).map_err(damaged)?;
    let expected = archive.entries_hint();
    let mut seen = 0;
    let mut ranges = BTreeMap::new();
    let mut entries = archive.entries(&mut buffer);
    while let Some(record) = entries.next_entry().map_err(damaged)? {
        seen += 1;
        let path = clean(record.file_path().as_bytes())?;
        budget.begin()?;
        let mode = record.mode();
        if record.flags().is_encrypted() {
            return Err(unsupported(&path, "encrypted"));
        }
        if mode.value() & KIND != 0 && !PLAIN.contains(&(mode.value() & KIND)) {
            return Err(UnpackError::Special(shown(&path)));
        }
        let mut entry = Entry {
            mode: mode.permissions(),
            ..Entry::file(path)
        };
        if record.is_dir() || entry.path.as_os_str().is_empty() {
            entry.kind = Kind::Directory;
            sink.directory(&entry)?;
            continue;
        }
        let found = archive.get_entry(record.wayfinder()).map_err(damaged)?;
        let (begin, end) = found.compressed_data_range();
        let before = ranges.range(..end).next_back();
        if end > begin && before.is_some_and(|(_, other_end): (_, &u64)| *other_end > begin) {
            return Err(damaged("two entries have the same bytes"));
        }
        if end > begin {
            ranges.insert(begin, end);
        }
        let plain: Box<dyn Read> = match record.compression_method() {
            CompressionMethod::STORE => Box::new(found.reader()),
            CompressionMethod::DEFLATE => {
                Box::new(flate2::read::DeflateDecoder::new(found.reader()))
            }
            other => return Err(unsupported(&entry.path, format!("{other:?}"))),
        };
        let mut verified = found.verifying_reader(plain);
        if mode.is_symlink() {
            entry.kind = Kind::Symbolic(target(&mut verified)?);
            entry.check_links()?;
            sink.link(&entry)?;
        } else {
            sink.file(&mut entry, &mut budget.metered(&mut verified))?;
        }
    }
    if seen != expected {
        return Err(damaged("its directory is not whole"));
    }
    Ok(())
}

fn target(bytes: &mut dyn Read) -> Result<PathBuf, UnpackError> {
    use std::os::unix::ffi::OsStringExt;
    let mut target = Vec::new();
    let read = bytes.take(MAX_TARGET + 1).read_to_end(&mut target);
    read.map_err(|e| UnpackError::reading(&e))?;
    if target.len() as u64 > MAX_TARGET || target.contains(&0) {
        return Err(damaged("a link of impossible length"));
    }
    Ok(PathBuf::from(std::ffi::OsString::from_vec(target)))
}

fn damaged(what: impl ToString) -> UnpackError {
    UnpackError::Damaged(what.to_string())
}

fn unsupported(path: &std::path::Path, what: impl Into<String>) -> UnpackError {
    UnpackError::Unsupported {
        path: shown(path),
        what: what.into(),
    }
}
