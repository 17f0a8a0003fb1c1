//! Where the files of an image come from: the kernel that was built, this repository, and packages of Debian.
//!
//! Called by [`super::build_image`]. Invariant: what came from a package is remembered with its version and its licence, and what could
//! not be had is remembered as missing; neither is left to the reader of a log.

use super::debian::{Debian, DebianError};
use super::kernel::Kernel;
use super::loaders::UBOOT_KERNEL;
use flate2::{Compression, GzBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;

/// One place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file that the kernel build made, by name; `Image.gz` is its `Image`, packed.
    Kernel(String),
    /// A file in `board-configs/boot`.
    File(PathBuf),
    /// A file of a package in Debian's main archive.
    Debian {
        /// The package.
        package: String,
        /// Path in the package.
        path: String,
    },
    /// The same of its non-free-firmware, without which an image is still made.
    NonFree {
        /// The package.
        package: String,
        /// Path in the package.
        path: String,
    },
}

/// A package that an image has files of.
#[derive(Clone, Debug)]
pub struct Package {
    /// Exact version.
    pub version: String,
    /// Debian's `copyright`: who holds it, and under which licences it may be passed on.
    pub licence: Vec<u8>,
    /// SHA-256 of the `.deb`, hex.
    pub sha256: String,
    /// Whether it is of Debian's non-free-firmware.
    pub is_non_free: bool,
}

/// Files that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The package, or one of its files.
    #[error(transparent)]
    Debian(#[from] DebianError),
    /// A file here.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// Reads them.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    kernel: &'a Kernel,
    debian: &'a Debian,
    /// Packages read from so far.
    pub(super) packages: BTreeMap<String, Package>,
    /// Packages of firmware that cannot be had here.
    pub(super) missing: BTreeSet<String>,
}

impl<'a> Sources<'a> {
    /// Reads from this kernel and these packages.
    pub(super) fn new(kernel: &'a Kernel, debian: &'a Debian) -> Self {
        Self {
            kernel,
            debian,
            packages: BTreeMap::new(),
            missing: BTreeSet::new(),
        }
    }

    /// The bytes of `source`; `None` for firmware whose package cannot be had.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn read(&mut self, source: &Source) -> Result<Option<Vec<u8>>, SourceError> {
        match source {
            Source::Kernel(name) if name == UBOOT_KERNEL => {
                let path = self.kernel.folder.join("Image");
                let packed = read(&path).and_then(|image| {
                    pack(&image).map_err(|source| SourceError::File { path, source })
                });
                packed.map(Some)
            }
            Source::Kernel(name) => read(&self.kernel.folder.join(name)).map(Some),
            Source::File(path) => read(path).map(Some),
            Source::Debian { package, path } => self.of_package(package, path, false).map(Some),
            Source::NonFree { package, path } => {
                if self.missing.contains(package) {
                    return Ok(None);
                }
                match self.of_package(package, path, true) {
                    Err(SourceError::Debian(DebianError::Missing { .. })) => {
                        self.missing.insert(package.clone());
                        Ok(None)
                    }
                    other => other.map(Some),
                }
            }
        }
    }

    /// Remembers a package, if it is new.
    ///
    /// # Errors
    /// It cannot be had.
    pub(super) fn remember(
        &mut self,
        package: &str,
        is_non_free: bool,
    ) -> Result<String, SourceError> {
        if let Some(known) = self.packages.get(package) {
            return Ok(known.version.clone());
        }
        let version = self.debian.version(package)?;
        let deb = self.debian.fetch(package, &version)?;
        let licence = format!("usr/share/doc/{package}/copyright");
        let known = Package {
            licence: self.debian.file(package, &version, &licence)?,
            sha256: super::digest(&read(&deb)?),
            version: version.clone(),
            is_non_free,
        };
        self.packages.insert(package.to_owned(), known);
        Ok(version)
    }

    fn of_package(
        &mut self,
        package: &str,
        path: &str,
        is_non_free: bool,
    ) -> Result<Vec<u8>, SourceError> {
        let version = self.remember(package, is_non_free)?;
        Ok(self.debian.file(package, &version, path)?)
    }
}

/// Without a name or a time in it.
fn pack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packer = GzBuilder::new().write(Vec::new(), Compression::best());
    packer.write_all(bytes)?;
    packer.finish()
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, SourceError> {
    std::fs::read(path).map_err(|source| SourceError::File {
        path: path.to_owned(),
        source,
    })
}
