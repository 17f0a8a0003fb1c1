//! The text forms of the cluster key and of the join token.
//!
//! Only text and bytes; deriving one from the other needs cryptography and lives in `nesos-shell`. The key is the
//! cluster's CA seed and stays on masters; the token is what a board needs to join: it pins the CA and carries a secret.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

const KEY_PREFIX: &str = "nesos-key-";
const TOKEN_PREFIX: &str = "nesos-";
/// Bytes of each half of a token: 128 bits cannot be searched.
pub const HALF: usize = 16;

/// Why a text is not a key or token. Never repeats the text: it is a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not `nesos-key-` and 64 hexadecimal digits.
    #[error("a cluster key is 'nesos-key-' and 64 hexadecimal digits")]
    Key,
    /// Not `nesos-`, 32 digits, `-`, 32 digits.
    #[error("a join token is 'nesos-', 32 hexadecimal digits, '-' and 32 more")]
    Token,
    /// A key where a token is expected: it would hand the CA to a board.
    #[error("this is the cluster key, which only masters may have; a board needs the join token")]
    KeyAsToken,
}

/// The Ed25519 seed of the cluster's CA.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey(pub [u8; 32]);

/// What lets a board in.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// First half of SHA-256 of the CA's public key.
    pub pin: [u8; HALF],
    /// What the master compares.
    pub secret: [u8; HALF],
}

impl ClusterKey {
    /// Reads `nesos-key-…`.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let digits = text
            .trim()
            .strip_prefix(KEY_PREFIX)
            .ok_or(TokenError::Key)?;
        Ok(Self(unhex(digits).ok_or(TokenError::Key)?))
    }

    /// Writes `nesos-key-…`: for files that only masters read.
    pub fn to_text(&self) -> String {
        format!("{KEY_PREFIX}{}", hex(&self.0))
    }
}

impl JoinToken {
    /// Reads `nesos-…-…`.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.starts_with(KEY_PREFIX) {
            return Err(TokenError::KeyAsToken);
        }
        let (pin, secret) = text
            .strip_prefix(TOKEN_PREFIX)
            .and_then(|t| t.split_once('-'))
            .ok_or(TokenError::Token)?;
        Ok(Self {
            pin: unhex(pin).ok_or(TokenError::Token)?,
            secret: unhex(secret).ok_or(TokenError::Token)?,
        })
    }

    /// Writes `nesos-…-…`: for cluster.toml and for whoever sets up a board.
    pub fn to_text(&self) -> String {
        format!("{TOKEN_PREFIX}{}-{}", hex(&self.pin), hex(&self.secret))
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(secret)")
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}-secret)", hex(&self.pin))
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() != 2 * N || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let bytes: Option<Vec<u8>> = (0..N)
        .map(|i| u8::from_str_radix(digits.get(2 * i..2 * i + 2)?, 16).ok())
        .collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip_and_mixing_them_up_is_refused() {
        let key = ClusterKey([7; 32]);
        assert_eq!(ClusterKey::parse(&key.to_text()), Ok(key.clone()));
        let token = JoinToken {
            pin: [1; 16],
            secret: [2; 16],
        };
        assert_eq!(JoinToken::parse(&token.to_text()), Ok(token.clone()));
        assert_eq!(
            JoinToken::parse(&key.to_text()),
            Err(TokenError::KeyAsToken)
        );
        assert_eq!(ClusterKey::parse(&token.to_text()), Err(TokenError::Key));
        for bad in ["", "nesos-", "nesos-0-0", "nesos-zz", "nesos-é"] {
            assert_eq!(JoinToken::parse(bad), Err(TokenError::Token), "{bad}");
        }
    }

    #[test]
    fn debug_output_keeps_secrets() {
        assert!(!format!("{:?}", ClusterKey([7; 32])).contains("07"));
    }
}
