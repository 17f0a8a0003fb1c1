//! The files of a slot as chunks are read from and written to them, and which chunks the running slot has.
//!
//! Called by `install`. Invariant: bytes that are handed out have the digest that was asked for.

use super::install::{UpdateError, io_error};
use crate::slots::BootPartition;
use nesos_base::bundle::{Chunk, Digest, Header, Place, Prelude};
use nesos_base::slots::Slot;
use nesos_sys::block;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The signed header of what a slot holds, beside its files.
pub(super) const SLOT_HEAD: &str = "slot.head";

/// Bytes read at a time when a whole file is checked.
const CHECK_BYTES: usize = 64 * 1024;

/// SHA-256.
pub(super) fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// The path of the file at `place` in `slot`.
pub(super) fn path(boot: &BootPartition, slot: Slot, root: &Path, place: &Place) -> PathBuf {
    match place {
        Place::Root => root.to_owned(),
        Place::Boot(name) => boot.path(&format!("{}/{name}", slot.folder())),
    }
}

/// What a slot holds, by its own header; `None` if it has none or a damaged one.
pub(super) fn prelude(boot: &BootPartition, slot: Slot) -> Option<Prelude> {
    let path = boot.path(&format!("{}/{SLOT_HEAD}", slot.folder()));
    Prelude::parse(&std::fs::read(path).ok()?).ok()
}

/// The chunks of the slot that runs, by digest.
#[derive(Debug, Default)]
pub(super) struct Local {
    files: Vec<Option<File>>,
    chunks: BTreeMap<Digest, (usize, u64)>,
}

impl Local {
    /// Of `slot`, whose root is `root`. A slot that cannot be read has no chunks.
    pub(super) fn of_slot(boot: &BootPartition, slot: Slot, root: &Path) -> Local {
        let Some(prelude) = prelude(boot, slot) else {
            return Local::default();
        };
        let files = prelude.header.files.iter();
        Local {
            files: files
                .map(|file| File::open(path(boot, slot, root, &file.place)).ok())
                .collect(),
            chunks: prelude
                .header
                .pieces()
                .map(|piece| (piece.chunk.digest, (piece.file, piece.at)))
                .collect(),
        }
    }

    /// Fills `buffer` with `chunk`, if it is here and undamaged.
    pub(super) fn read(&self, chunk: &Chunk, buffer: &mut [u8]) -> bool {
        let Some((file, at)) = self.chunks.get(&chunk.digest) else {
            return false;
        };
        let file = self.files.get(*file).and_then(Option::as_ref);
        file.is_some_and(|file| file.read_exact_at(buffer, *at).is_ok())
            && digest(buffer) == chunk.digest
    }
}

/// The files of the slot that is written.
#[derive(Debug)]
pub(super) struct Written {
    files: Vec<(PathBuf, File)>,
}

impl Written {
    /// Opens the files of `slot`, whose root is `root`; they keep what they have, which may be right already.
    pub(super) fn open(
        boot: &BootPartition,
        slot: Slot,
        root: &Path,
        header: &Header,
    ) -> Result<Written, UpdateError> {
        let files = header.files.iter().map(|file| {
            let path = path(boot, slot, root, &file.place);
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(true)
                .create(file.place != Place::Root);
            let opened = options.open(&path).map_err(io_error("open", &path))?;
            Ok((path, opened))
        });
        Ok(Written {
            files: files.collect::<Result<_, UpdateError>>()?,
        })
    }

    fn file(&self, index: usize) -> Result<&(PathBuf, File), UpdateError> {
        // Pieces name files of the header that these were opened for.
        self.files.get(index).ok_or(UpdateError::NoFile(index))
    }

    /// True if `chunk` is at its place already.
    pub(super) fn has(&self, index: usize, at: u64, chunk: &Chunk, buffer: &mut [u8]) -> bool {
        let Ok((_, file)) = self.file(index) else {
            return false;
        };
        file.read_exact_at(buffer, at).is_ok() && digest(buffer) == chunk.digest
    }

    /// Puts `bytes` at their place.
    pub(super) fn write(&self, index: usize, at: u64, bytes: &[u8]) -> Result<(), UpdateError> {
        let (path, file) = self.file(index)?;
        file.write_all_at(bytes, at)
            .map_err(io_error("write", path))
    }

    /// Waits until all is on the disk, and reads it back from there.
    pub(super) fn check(&self, header: &Header) -> Result<(), UpdateError> {
        for ((path, file), expected) in self.files.iter().zip(&header.files) {
            if expected.place != Place::Root {
                file.set_len(expected.length)
                    .map_err(io_error("cut", path))?;
            }
            file.sync_all().map_err(io_error("write", path))?;
            block::forget_cached(file).map_err(io_error("read back", path))?;
            if of_file(file, expected.length).map_err(io_error("read back", path))?
                != expected.digest
            {
                return Err(UpdateError::ReadBack(path.clone()));
            }
        }
        Ok(())
    }
}

/// SHA-256 of the first `length` bytes of `file`.
pub(super) fn of_file(file: &File, length: u64) -> std::io::Result<Digest> {
    let mut sum = Sha256::new();
    let mut buffer = vec![0; CHECK_BYTES];
    let mut at = 0;
    while at < length {
        let step = usize::try_from(length - at).map_or(CHECK_BYTES, |left| left.min(CHECK_BYTES));
        let part = &mut buffer[..step];
        file.read_exact_at(part, at)?;
        sum.update(part);
        at += step as u64;
    }
    Ok(sum.finalize().into())
}
