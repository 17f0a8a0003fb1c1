//! The boot partition of an image file, opened file by file, and the two boot records before it.
//!
//! Works on raw image files. Called by the QEMU tests and by whoever looks into an image. Invariant: nothing but the named file, its
//! folders and the FAT's own tables changes.

use crate::disk::{Layout, Slice, read_table};
use crate::personal::{fat_options, write_file};
use fatfs::FileSystem;
use nesos_base::slots::{STATE_AT, STATE_BYTES, State};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

type Volume = FileSystem<Slice>;

/// An image file, by its path: each call opens it anew, so that an emulator may have it in between.
#[derive(Clone, Debug)]
pub struct BootPartition {
    image: PathBuf,
}

impl BootPartition {
    /// Of the image file at `image`.
    pub fn new(image: &Path) -> Self {
        Self {
            image: image.to_owned(),
        }
    }

    /// The content of the file at `path`.
    ///
    /// # Errors
    /// It is not there, or the image is none of ours.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let volume = self.open()?;
        let mut bytes = Vec::new();
        volume.root_dir().open_file(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Creates or replaces the file at `path`; its folder is there.
    ///
    /// # Errors
    /// The image is none of ours, or full.
    pub fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let volume = self.open()?;
        write_file(&volume.root_dir(), path, bytes)?;
        volume.unmount()
    }

    /// Removes the file at `path`.
    ///
    /// # Errors
    /// It is not there, or the image is none of ours.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let volume = self.open()?;
        volume.root_dir().remove(path)?;
        volume.unmount()
    }

    /// The names in the folder at `path`, sorted.
    ///
    /// # Errors
    /// It is not there, or the image is none of ours.
    pub fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let volume = self.open()?;
        let entries = volume.root_dir().open_dir(path)?.iter();
        let mut names = entries
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.retain(|name| name != "." && name != "..");
        names.sort();
        Ok(names)
    }

    /// The boot records, copy 0 and copy 1; `None` where a copy cannot be understood.
    ///
    /// # Errors
    /// The image cannot be read.
    pub fn states(&self) -> io::Result<[Option<State>; 2]> {
        let mut file = File::open(&self.image)?;
        let mut read = |at| -> io::Result<Option<State>> {
            let mut sector = [0; STATE_BYTES];
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut sector)?;
            Ok(State::decode(&sector))
        };
        Ok([read(STATE_AT[0])?, read(STATE_AT[1])?])
    }

    /// Writes the boot records; `None` spoils a copy.
    ///
    /// # Errors
    /// The image cannot be written.
    pub fn set_states(&self, copies: [Option<State>; 2]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(&self.image)?;
        for (at, state) in STATE_AT.into_iter().zip(copies) {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&state.map_or([0xff; STATE_BYTES], State::encode))?;
        }
        file.flush()
    }

    /// Where the partitions are.
    ///
    /// # Errors
    /// The image is none of ours.
    pub fn layout(&self) -> io::Result<Layout> {
        read_table(&self.image).map_err(io::Error::other)
    }

    fn open(&self) -> io::Result<Volume> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.image)?;
        FileSystem::new(Slice::new(file, self.layout()?.boot), fat_options())
    }
}
