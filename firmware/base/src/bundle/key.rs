//! The text forms of the keys that sign update bundles and that boards check them with.
//!
//! Text and bytes only. The signing key stays with whoever builds images; the public one is in every image's root.

use crate::token::{hex, unhex};
use alloc::{format, string::String};
use core::fmt;

const SIGNING_PREFIX: &str = "nesos-update-key-";
const PUBLIC_PREFIX: &str = "nesos-update-pub-";

/// Why a text is no key. Never repeats the text: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a signing key.
    #[error("a signing key for updates is 'nesos-update-key-' and 64 hexadecimal digits")]
    Signing,
    /// Not a public key.
    #[error("a public key for updates is 'nesos-update-pub-' and 64 hexadecimal digits")]
    Public,
    /// The secret half where the public one belongs.
    #[error("this is the signing key, which must not leave the machine that builds images")]
    SigningAsPublic,
}

/// Seed of the Ed25519 key that signs bundles.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(pub [u8; 32]);

/// Ed25519 key that bundles are checked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

impl SigningKey {
    /// Reads `nesos-update-key-…`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let digits = text.trim().strip_prefix(SIGNING_PREFIX);
        digits.and_then(unhex).map(Self).ok_or(KeyError::Signing)
    }

    /// Writes `nesos-update-key-…`: for a file that only its owner reads.
    pub fn to_text(&self) -> String {
        format!("{SIGNING_PREFIX}{}", hex(&self.0))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl PublicKey {
    /// Reads `nesos-update-pub-…`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.starts_with(SIGNING_PREFIX) {
            return Err(KeyError::SigningAsPublic);
        }
        let digits = text.strip_prefix(PUBLIC_PREFIX);
        digits.and_then(unhex).map(Self).ok_or(KeyError::Public)
    }

    /// Writes `nesos-update-pub-…`.
    pub fn to_text(&self) -> String {
        format!("{PUBLIC_PREFIX}{}", hex(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn texts_round_trip_and_the_secret_is_kept() {
        let key = SigningKey([7; 32]);
        assert_eq!(SigningKey::parse(&key.to_text()), Ok(key.clone()));
        let public = PublicKey([9; 32]);
        assert_eq!(PublicKey::parse(&(public.to_text() + "\n")), Ok(public));
        assert_eq!(
            PublicKey::parse(&key.to_text()),
            Err(KeyError::SigningAsPublic)
        );
        assert_eq!(
            PublicKey::parse("nesos-update-pub-12"),
            Err(KeyError::Public)
        );
        assert!(!format!("{key:?}").contains("07"));
        assert!(!KeyError::Signing.to_string().contains("07"));
    }
}
