//! The window of wire versions that this build speaks.
//!
//! A peer outside `MIN..=CURRENT` is refused with a sentence that names both sides; inside it, both use the smaller one.

use serde::{Deserialize, Serialize};

/// A wire version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u16);

/// The first there was: what a master speaks that has never said anything.
pub const FIRST: Version = Version(1);
/// Oldest version understood.
pub const MIN: Version = Version(1);
/// The version of this build.
#[cfg(not(feature = "next-version"))]
pub const CURRENT: Version = Version(1);
/// The version after that, in which nothing is new: tests of upgrades build programs that differ in nothing else.
#[cfg(feature = "next-version")]
pub const CURRENT: Version = Version(2);

/// The versions that one side speaks. Both daemons are told theirs, so that a test can have some that are one version ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Oldest version understood.
    pub min: Version,
    /// The newest one, and the one that is said.
    pub current: Version,
}

impl Window {
    /// What this build speaks.
    pub const OURS: Self = Self {
        min: MIN,
        current: CURRENT,
    };

    /// The version to use with a peer that speaks `peer`.
    ///
    /// # Errors
    /// The peer is too old.
    pub fn negotiate(self, peer: Version) -> Result<Version, VersionError> {
        if peer < self.min {
            Err(VersionError { peer, side: self })
        } else {
            Ok(peer.min(self.current))
        }
    }
}

/// The peer's version lies outside the window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the peer speaks wire version {}, this side speaks {} to {}", peer.0, side.min.0, side.current.0)]
pub struct VersionError {
    /// What the peer said.
    pub peer: Version,
    /// What is spoken here.
    pub side: Window,
}

/// The version that this build uses with a peer that speaks `peer`.
///
/// # Errors
/// The peer is too old.
pub fn negotiate(peer: Version) -> Result<Version, VersionError> {
    Window::OURS.negotiate(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_come_to_the_same_version_or_say_why_not() {
        let window = |min, current| Window {
            min: Version(min),
            current: Version(current),
        };
        let (old, new) = (window(1, 1), window(1, 2));
        assert_eq!(old.negotiate(new.current), new.negotiate(old.current));
        assert_eq!(old.negotiate(new.current), Ok(Version(1)));
        assert_eq!(new.negotiate(new.current), Ok(Version(2)));
        let refused = window(2, 3).negotiate(old.current);
        let words = refused.map_err(|error| alloc::string::ToString::to_string(&error));
        let expected = "the peer speaks wire version 1, this side speaks 2 to 3";
        assert_eq!(words, Err(expected.into()));
    }
}
