//! A registry as one file, for operators to keep.
//!
//! Called by the shell. Not the log's snapshots, which are rows alone. Invariant: what is read is what was written, or the
//! damage is told.
//!
//! The file: [`MAGIC`], the format, a CRC-32 of the rest, the rows in postcard. Numbers are little-endian.

use super::{Registry, RegistryError};

/// The first bytes of the file.
pub const MAGIC: [u8; 8] = *b"NESOSBAK";
/// Of this format.
const VERSION: u32 = 1;
/// Bytes before the rows.
const HEAD: usize = 16;

/// Why a file is no backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// It begins with something else.
    #[error("it does not begin as a backup of a registry does")]
    Stranger,
    /// It was written by a later version of masterd.
    #[error("it has format {0}, this masterd knows {VERSION}")]
    Version(u32),
    /// Its sum is another one.
    #[error("it is damaged or cut off")]
    Damaged,
    /// Its sum is right, its content makes no sense.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// The registry as a file.
pub fn write(registry: &Registry) -> Vec<u8> {
    let mut bytes = vec![0; HEAD];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    // Plain data always can be written; an empty body would be told as damage.
    let mut bytes = postcard::to_extend(&registry.rows(), bytes).unwrap_or_default();
    if let Some((head, rows)) = bytes.split_at_mut_checked(HEAD) {
        head[12..].copy_from_slice(&crc32fast::hash(rows).to_le_bytes());
    }
    bytes
}

/// The registry in such a file.
pub fn read(bytes: &[u8]) -> Result<Registry, BackupError> {
    let (head, rows) = bytes.split_at_checked(HEAD).ok_or(BackupError::Stranger)?;
    if head[..8] != MAGIC {
        return Err(BackupError::Stranger);
    }
    let number = |at: usize| {
        head[at..]
            .first_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes))
    };
    if number(8) != VERSION {
        return Err(BackupError::Version(number(8)));
    }
    if number(12) != crc32fast::hash(rows) {
        return Err(BackupError::Damaged);
    }
    Ok(Registry::from_rows(rows)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_wire::FrameworkId;
    use nesos_wire::command::Command;

    #[test]
    fn what_was_written_is_read_and_damage_is_told() {
        let mut registry = Registry::default();
        registry.apply(&Command::MasterStarted { start: 7 });
        let framework = FrameworkId::new("f");
        registry.apply(&Command::RemoveFramework { framework });
        let bytes = write(&registry);
        assert_eq!(read(&bytes).unwrap(), registry);
        for at in 0..bytes.len() {
            assert!(read(&bytes[..at]).is_err(), "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert!(read(&flipped).is_err(), "flipped at {at}");
        }
        let mut later = bytes;
        later[8] = 2;
        assert_eq!(read(&later), Err(BackupError::Version(2)));
    }
}
