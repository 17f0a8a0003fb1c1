//! Layers of container images: tar archives with marks for what they remove from the layers below.
//!
//! Unpacked to what overlayfs (mounted with `userxattr`) takes as a lower directory. Apart from other archives: a layer is
//! a piece of a root file system, so owners, set-user-id bits and links to anywhere are kept, and `/` in a link is the
//! layer's own root. Device files and pipes are left out: containers get theirs from the agent. Invariant: the plain
//! bytes are those that the image's configuration speaks of, by their SHA-256, or the layer is an error.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::entry::{Entry, Kind};
use crate::sink::failed;
use crate::{Budget, Compression, Disk, Sink, UnpackError, expand, tar};

/// Begins the name of a mark: what follows is gone from the layers below.
const MARK: &[u8] = b".wh.";
/// Everything of the directory is gone from the layers below.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Begins the names of files that only another union file system wants.
const FOREIGN: &[u8] = b".wh..wh.";

/// Unpacks a layer, compressed in any way; `sha256` is that of its plain bytes.
///
/// # Errors
/// As [`crate::unpack`], and if the bytes are others. What was made until then stays.
pub fn unpack_layer(
    layer: File,
    sha256: &[u8; 32],
    disk: &mut Disk,
    budget: &mut Budget,
) -> Result<(), UnpackError> {
    let mut layer = io::BufReader::new(layer);
    let start = layer.fill_buf().map_err(|e| UnpackError::reading(&e))?;
    let compression = Compression::detect(start);
    let mut plain = Hashed {
        bytes: expand(layer, compression)?,
        hash: Sha256::new(),
    };
    let mut reader = tar::Reader::new(&mut plain);
    while let Some(mut entry) = reader.next()? {
        budget.begin()?;
        if is_mark(&entry, disk)? {
            continue;
        }
        match &entry.kind {
            Kind::File => disk.file(&mut entry, &mut budget.metered(&mut reader))?,
            Kind::Directory => disk.directory(&entry)?,
            Kind::Symbolic(_) | Kind::Hard(_) => disk.link(&entry)?,
            Kind::Special => {}
        }
    }
    // What fills the archive up belongs to its bytes too.
    io::copy(&mut plain, &mut io::sink()).map_err(|e| UnpackError::reading(&e))?;
    let found = plain.hash.finalize();
    if found[..] != sha256[..] {
        return Err(UnpackError::Digest {
            found: digits(&found),
            expected: digits(sha256),
        });
    }
    disk.finish()
}

/// Carries a mark out; false if the entry is none.
fn is_mark(entry: &Entry, disk: &mut Disk) -> Result<bool, UnpackError> {
    let Some(name) = entry.path.file_name().map(OsStrExt::as_bytes) else {
        return Ok(false);
    };
    let folder = entry.path.parent().unwrap_or(Path::new(""));
    if name == OPAQUE {
        disk.tree.opaque(folder).map_err(failed(entry))?;
        return Ok(true);
    }
    let Some(gone) = name.strip_prefix(MARK) else {
        return Ok(false);
    };
    if name.starts_with(FOREIGN) {
        return Ok(true);
    }
    if matches!(gone, b"" | b"." | b"..") {
        return Err(UnpackError::Path(crate::entry::shown(&entry.path)));
    }
    let gone = folder.join(std::ffi::OsStr::from_bytes(gone));
    disk.tree.whiteout(&gone).map_err(failed(entry))?;
    Ok(true)
}

struct Hashed<'a> {
    bytes: Box<dyn Read + 'a>,
    hash: Sha256,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Some decoders take a read of nothing for their end.
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.bytes.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
