//! What `nesos-fetcher` does, as a library for its tests and fuzz targets: reads archives, and makes what they hold.
//!
//! Apart from `agentd` because archives come from strangers: whatever reads them runs in a process of its own, confined,
//! and ends. Not here: downloads and the cache, which are agentd's. Invariant: an archive is an error or is unpacked
//! whole; it never leaves its directory and never takes more than [`Budget`] allows.

mod budget;
mod entry;
mod error;
mod expand;
mod layer;
mod sink;
mod tar;
mod zip;

pub use budget::{Budget, Metered};
pub use entry::{Entry, Kind};
pub use error::UnpackError;
pub use expand::{Compression, expand};
pub use layer::unpack_layer;
pub use sink::{Disk, Sink};

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A tar archive, compressed or not.
    Tar(Compression),
    /// One compressed file.
    Single(Compression),
    /// A zip archive.
    Zip,
}

impl Format {
    /// Names on the command line.
    pub const ALL: [(&'static str, Format); 8] = [
        ("tar", Format::Tar(Compression::None)),
        ("tar.gz", Format::Tar(Compression::Gzip)),
        ("tar.bz2", Format::Tar(Compression::Bzip2)),
        ("tar.xz", Format::Tar(Compression::Xz)),
        ("tar.zst", Format::Tar(Compression::Zstd)),
        ("gz", Format::Single(Compression::Gzip)),
        ("zst", Format::Single(Compression::Zstd)),
        ("zip", Format::Zip),
    ];

    /// By its name on the command line.
    pub fn parse(name: &str) -> Option<Format> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name)?;
        Some(found.1)
    }
}

/// Unpacks `archive` into `sink`. `name`: what a single compressed file is called without its compression.
///
/// # Errors
/// The archive is damaged, holds what may not be, or more than `budget` allows; what was made until then stays.
pub fn unpack(
    format: Format,
    archive: File,
    name: Option<&Path>,
    sink: &mut dyn Sink,
    budget: &mut Budget,
) -> Result<(), UnpackError> {
    match format {
        Format::Zip => zip::unpack(archive, sink, budget)?,
        Format::Tar(compression) => {
            let mut bytes = expand(io::BufReader::new(archive), compression)?;
            unpack_tar(&mut bytes, sink, budget)?;
        }
        Format::Single(compression) => {
            let mut bytes = expand(io::BufReader::new(archive), compression)?;
            let name = name.ok_or(UnpackError::NoName)?;
            let mut entry = Entry::file(entry::clean(name.as_os_str().as_encoded_bytes())?);
            budget.begin()?;
            sink.file(&mut entry, &mut budget.metered(&mut bytes))?;
        }
    }
    sink.finish()
}

/// Unpacks the plain tar archive `bytes`: for tests, which have them in memory.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_tar(
    bytes: &mut dyn Read,
    sink: &mut dyn Sink,
    budget: &mut Budget,
) -> Result<(), UnpackError> {
    let mut reader = tar::Reader::new(bytes);
    while let Some(mut entry) = reader.next()? {
        budget.begin()?;
        entry.check_links()?;
        entry.mode &= 0o777;
        match &entry.kind {
            Kind::File => sink.file(&mut entry, &mut budget.metered(&mut reader))?,
            Kind::Directory => sink.directory(&entry)?,
            Kind::Symbolic(_) | Kind::Hard(_) => sink.link(&entry)?,
            Kind::Special => return Err(UnpackError::Special(entry::shown(&entry.path))),
        }
    }
    Ok(())
}

pub use zip::unpack as unpack_zip;
