//! The window of wire versions that this build speaks.
//!
//! A peer outside `MIN..=CURRENT` is refused with a sentence that names both sides; inside it, both use the smaller one.

use serde::{Deserialize, Serialize};

/// A wire version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u16);

/// Oldest version understood.
pub const MIN: Version = Version(1);
/// The version of this build.
pub const CURRENT: Version = Version(1);

/// The peer's version lies outside the window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the peer speaks wire version {}, this side speaks {} to {}", peer.0, MIN.0, CURRENT.0)]
pub struct VersionError {
    /// What the peer said.
    pub peer: Version,
}

/// The version to use with a peer that speaks `peer`.
pub fn negotiate(peer: Version) -> Result<Version, VersionError> {
    if peer < MIN {
        Err(VersionError { peer })
    } else {
        Ok(peer.min(CURRENT))
    }
}
