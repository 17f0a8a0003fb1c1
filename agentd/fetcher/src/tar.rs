//! Tar archives: ustar, with GNU's long names and PAX's extended headers.
//!
//! The headers are read by the crate `tar`; its own reader is not used because it keeps extended headers of any size in
//! memory. Invariant: nothing of more than [`MAX_EXTENDED`] is kept.

use std::io::{self, Read};
use std::path::PathBuf;

use tar::{EntryType, Header};

use crate::UnpackError;
use crate::entry::{Entry, Kind, clean, shown};

const BLOCK: usize = 512;
/// Largest extended header: two long paths and some attributes.
const MAX_EXTENDED: u64 = 64 * 1024;
/// Extended headers in a row before one entry: each kind once, and one to spare.
const MAX_IN_A_ROW: usize = 5;
/// The extended attribute of file capabilities, as PAX headers carry it.
const CAPABILITY: &[u8] = b"SCHILY.xattr.security.capability";

/// The entries of an archive; reads the bytes of the entry that came last.
pub(crate) struct Reader<'a> {
    bytes: &'a mut dyn Read,
    /// Of the present entry's bytes, and of what fills its last block.
    left: u64,
    padding: u64,
}

/// Key and value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// What extended headers say of the entry after them.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    owner: (Option<u32>, Option<u32>),
    is_sparse: bool,
    capabilities: Option<Vec<u8>>,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        // Some decoders take a read of nothing for their end.
        if most == 0 {
            return Ok(0);
        }
        let count = self.bytes.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a mut dyn Read) -> Self {
        Self {
            bytes,
            left: 0,
            padding: 0,
        }
    }

    /// The next entry; `None` at the archive's end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, UnpackError> {
        let mut extended = Extended::default();
        for _ in 0..MAX_IN_A_ROW {
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            match header.entry_type() {
                EntryType::GNULongName => extended.path = Some(self.text()?),
                EntryType::GNULongLink => extended.link = Some(self.text()?),
                EntryType::XHeader => extended.read(&self.small()?)?,
                // Of the archive as a whole, such as the commit it was made from.
                EntryType::XGlobalHeader => drop(self.small()?),
                _ => return self.entry(&header, extended).map(Some),
            }
        }
        Err(damaged("too many extended headers"))
    }

    fn entry(&mut self, header: &Header, extended: Extended) -> Result<Entry, UnpackError> {
        let path = extended.path.unwrap_or_else(|| header.path_bytes().into());
        let is_folder = path.ends_with(b"/");
        let path = clean(&path)?;
        if extended.is_sparse || header.entry_type() == EntryType::GNUSparse {
            return Err(UnpackError::Sparse(shown(&path)));
        }
        // A reader that believed the one and a reader that believed the other would see different archives.
        if extended.size.is_some_and(|size| size != self.left) {
            return Err(UnpackError::Unsupported {
                path: shown(&path),
                what: "two sizes that differ".into(),
            });
        }
        let link = || {
            extended
                .link
                .or_else(|| header.link_name_bytes().map(Into::into))
        };
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous if is_folder => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symbolic(path_of(link().unwrap_or_default())),
            EntryType::Link => Kind::Hard(clean(&link().unwrap_or_default())?),
            _ => Kind::Special,
        };
        if path.as_os_str().is_empty() && kind != Kind::Directory {
            return Err(UnpackError::Path(shown(&path)));
        }
        let number = |read: io::Result<u64>| read.ok().and_then(|n| u32::try_from(n).ok());
        let user = extended.owner.0.or_else(|| number(header.uid()));
        let group = extended.owner.1.or_else(|| number(header.gid()));
        Ok(Entry {
            path,
            kind,
            mode: header.mode().map_err(|e| damaged(e.to_string()))? & 0o7777,
            owner: (user.unwrap_or(0), group.unwrap_or(0)),
            modified: header.mtime().ok(),
            capabilities: extended.capabilities,
        })
    }

    fn header(&mut self) -> Result<Option<Header>, UnpackError> {
        let rest = self.left + self.padding;
        self.skip(rest)?;
        (self.left, self.padding) = (0, 0);
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.bytes.read(&mut block[filled..]) {
                // Archives without an end marker are about.
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(damaged("it ends within a header")),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(UnpackError::reading(&error)),
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block);
        // The field itself counts as spaces.
        let counted = |(at, byte): (usize, &u8)| match at {
            148..156 => u32::from(b' '),
            _ => u32::from(*byte),
        };
        let sum: u32 = block.iter().enumerate().map(counted).sum();
        if header.cksum().ok() != Some(sum) {
            return Err(damaged("a header's checksum is wrong"));
        }
        let has_bytes = !matches!(
            header.entry_type(),
            EntryType::Link | EntryType::Symlink | EntryType::Directory
        );
        if has_bytes {
            self.left = header.entry_size().map_err(|e| damaged(e.to_string()))?;
            self.padding = self
                .left
                .next_multiple_of(BLOCK as u64)
                .wrapping_sub(self.left);
            if self.left > u64::MAX / 2 {
                return Err(damaged("an entry of impossible size"));
            }
        }
        Ok(Some(header.clone()))
    }

    /// An extended header's bytes.
    fn small(&mut self) -> Result<Vec<u8>, UnpackError> {
        if self.left > MAX_EXTENDED {
            return Err(damaged(format!(
                "an extended header of more than {MAX_EXTENDED} bytes"
            )));
        }
        let mut bytes = Vec::new();
        self.read_exact_into(&mut bytes)?;
        Ok(bytes)
    }

    fn read_exact_into(&mut self, bytes: &mut Vec<u8>) -> Result<(), UnpackError> {
        bytes.resize(self.left as usize, 0);
        self.read_exact(bytes).map_err(|e| UnpackError::reading(&e))
    }

    /// GNU's long names end with a zero byte.
    fn text(&mut self) -> Result<Vec<u8>, UnpackError> {
        let mut bytes = self.small()?;
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(bytes)
    }

    fn skip(&mut self, count: u64) -> Result<(), UnpackError> {
        let mut rest = (&mut *self.bytes).take(count);
        let skipped = io::copy(&mut rest, &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == count => Ok(()),
            Ok(_) => Err(damaged("it ends within an entry")),
            Err(error) => Err(UnpackError::reading(&error)),
        }
    }
}

impl Extended {
    /// Records of the form `LENGTH KEY=VALUE\n`, in which LENGTH counts all of it.
    fn read(&mut self, mut bytes: &[u8]) -> Result<(), UnpackError> {
        while !bytes.is_empty() {
            let (record, rest) =
                record(bytes).ok_or_else(|| damaged("a broken extended header"))?;
            self.take(record)?;
            bytes = rest;
        }
        Ok(())
    }

    fn take(&mut self, (key, value): Pair<'_>) -> Result<(), UnpackError> {
        let number = || std::str::from_utf8(value).ok()?.parse::<u64>().ok();
        let id = || number().and_then(|n| u32::try_from(n).ok());
        match key {
            b"path" => self.path = Some(value.into()),
            b"linkpath" => self.link = Some(value.into()),
            b"size" => {
                let size = number().ok_or_else(|| damaged("a size that is no number"))?;
                self.size = Some(size);
            }
            b"uid" => self.owner.0 = id(),
            b"gid" => self.owner.1 = id(),
            CAPABILITY => self.capabilities = Some(value.into()),
            key if key.starts_with(b"GNU.sparse.") => self.is_sparse = true,
            _ => {}
        }
        Ok(())
    }
}

/// Key and value of the first record, and what comes after it. Values may hold any byte.
fn record(bytes: &[u8]) -> Option<(Pair<'_>, &[u8])> {
    let digits = bytes.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..digits]).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let pair = record.get(digits + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    Some(((&pair[..equals], &pair[equals + 1..]), rest))
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

fn damaged(what: impl Into<String>) -> UnpackError {
    UnpackError::Damaged(what.into())
}
