//! How much an archive may unpack to: bytes and entries.
//!
//! Ratios need no rule of their own: what a small archive can do is bounded by what it may write, and by the processor
//! time of the process. Called by every reader before and while it makes something.

use std::io::{self, Read};

use crate::UnpackError;

/// What an entry costs beside its bytes: an inode and a name.
const ENTRY: u64 = 512;
/// Most entries, whatever their size: a tree of the largest packages has a tenth of it.
const MAX_ENTRIES: u64 = 500_000;

/// What is left.
#[derive(Debug)]
pub struct Budget {
    allowed: u64,
    bytes: u64,
    entries: u64,
}

impl Budget {
    /// So many bytes.
    pub fn new(bytes: u64) -> Self {
        Self {
            allowed: bytes,
            bytes,
            entries: MAX_ENTRIES,
        }
    }

    /// What has been taken, bytes.
    pub fn used(&self) -> u64 {
        self.allowed - self.bytes
    }

    /// One more entry.
    pub(crate) fn begin(&mut self) -> Result<(), UnpackError> {
        let entries = self.entries.checked_sub(1);
        self.entries = entries.ok_or(UnpackError::TooMany(MAX_ENTRIES))?;
        let bytes = self.bytes.checked_sub(ENTRY);
        self.bytes = bytes.ok_or(UnpackError::TooLarge(self.allowed))?;
        Ok(())
    }

    /// Takes what is read from the budget.
    pub(crate) fn metered<'a>(&'a mut self, bytes: &'a mut dyn Read) -> Metered<'a> {
        Metered {
            budget: self,
            bytes,
        }
    }
}

/// The contents of one file.
pub struct Metered<'a> {
    budget: &'a mut Budget,
    bytes: &'a mut dyn Read,
}

impl std::fmt::Debug for Metered<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Metered").field(&self.budget).finish()
    }
}

impl Metered<'_> {
    /// The next bytes; 0 at the end.
    pub fn next(&mut self, buffer: &mut [u8]) -> Result<usize, UnpackError> {
        let count = loop {
            match self.bytes.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(|error| UnpackError::reading(&error))?,
            }
        };
        let left = self.budget.bytes.checked_sub(count as u64);
        self.budget.bytes = left.ok_or(UnpackError::TooLarge(self.budget.allowed))?;
        Ok(count)
    }
}
