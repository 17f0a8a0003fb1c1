//! Size and room of a file system. Called by `agentd` for its resources.
//!
//! Invariant: bytes, never blocks.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::statvfs::statvfs;

/// A file system's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it, bytes.
    pub total: u64,
    /// What an unprivileged writer may still take, bytes.
    pub available: u64,
}

/// Size of the file system that holds `path`.
pub fn space(path: &Path) -> Result<Space, Errno> {
    let stat = statvfs(path)?;
    // c_ulong is u64 on every target of ours, but not on all that compile this.
    #[allow(clippy::unnecessary_cast)]
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size() as u64);
    #[allow(clippy::unnecessary_cast)]
    Ok(Space {
        total: bytes(stat.blocks() as u64),
        available: bytes(stat.blocks_available() as u64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_a_size() {
        let space = space(Path::new("/")).expect("statvfs of /");
        assert!(space.total >= space.available);
        assert!(space.total > 0);
    }
}
