//! Names of images: `[REGISTRY/]NAME[:TAG][@sha256:…]`, as Docker reads them.

use std::fmt;

/// The registry of names without one.
pub(super) const DEFAULT_REGISTRY: &str = "registry-1.docker.io";
/// What the same registry is called in names.
pub(super) const DEFAULT_ALIASES: [&str; 2] = ["docker.io", "index.docker.io"];
/// Where names of one part are there.
const OFFICIAL: &str = "library/";
/// Longest name and longest tag, as registries allow them.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Reads `sha256:` and 64 lower-case digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:")?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 64 || !digits.bytes().all(is_digit) {
            return None;
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The digits alone: a name for files.
    pub fn digits(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.digits())
    }
}

/// Which one of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// By a name that may move.
    Tag(String),
    /// By its content.
    Digest(Digest),
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Version::Tag(tag) => f.write_str(tag),
            Version::Digest(digest) => digest.fmt(f),
        }
    }
}

/// An image's name in all its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `host[:port]`; none: the default one.
    pub registry: Option<String>,
    /// The name there.
    pub repository: String,
    /// Which one.
    pub version: Version,
}

/// Why a text is no image's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no image: expected [REGISTRY/]NAME[:TAG][@sha256:DIGITS]; {reason}")]
pub struct ReferenceError {
    text: String,
    reason: &'static str,
}

impl Reference {
    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let fail = |reason| ReferenceError {
            text: text.chars().take(MAX_NAME).collect(),
            reason,
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = Digest::parse(digest);
                (
                    rest,
                    Some(digest.ok_or_else(|| fail("the digest is none"))?),
                )
            }
            None => (text, None),
        };
        let (registry, rest) = match rest.split_once('/') {
            Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) => {
                (Some(first), rest)
            }
            _ => (None, rest),
        };
        if registry.is_some_and(|registry| !is_host(registry)) {
            return Err(fail("the registry is no host"));
        }
        let (name, tag) = match rest.split_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(fail(
                "the tag has letters that tags do not have, or too many",
            ));
        }
        if name.len() > MAX_NAME || !name.split('/').all(is_part) {
            return Err(fail(
                "the name has letters that names do not have, or too many",
            ));
        }
        let registry = registry.filter(|registry| !DEFAULT_ALIASES.contains(registry));
        let is_official = registry.is_none() && !name.contains('/');
        let version = match digest {
            Some(digest) => Version::Digest(digest),
            None => Version::Tag(tag.unwrap_or("latest").into()),
        };
        Ok(Self {
            registry: registry.map(Into::into),
            repository: format!("{}{name}", if is_official { OFFICIAL } else { "" }),
            version,
        })
    }

    /// The registry's host and port.
    pub fn host(&self) -> &str {
        self.registry.as_deref().unwrap_or(DEFAULT_REGISTRY)
    }
}

/// Whether a text is `host` or `host:port`.
pub fn is_host(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "80"));
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_label = |label: &str| {
        let is_edged = label.starts_with('-') || label.ends_with('-');
        !label.is_empty() && !is_edged && label.bytes().all(is_letter)
    };
    host.split('.').all(is_label) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_tag(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=MAX_TAG).contains(&text.len())
        && text.bytes().all(is_letter)
        && !text.starts_with(['.', '-'])
}

fn is_part(text: &str) -> bool {
    let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.iter().copied().all(is_letter)
        && is_edge(bytes.first())
        && is_edge(bytes.last())
        && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_registry_a_name_and_a_version() {
        let digits = "a".repeat(64);
        for (text, host, repository, version) in [
            ("busybox", DEFAULT_REGISTRY, "library/busybox", "latest"),
            ("docker.io/a/b:1.0", DEFAULT_REGISTRY, "a/b", "1.0"),
            ("localhost/x", "localhost", "x", "latest"),
            ("127.0.0.1:5000/a/b-c:t", "127.0.0.1:5000", "a/b-c", "t"),
            (
                &format!("h.example/x:t@sha256:{digits}"),
                "h.example",
                "x",
                &format!("sha256:{digits}"),
            ),
        ] {
            let reference = Reference::parse(text).expect(text);
            assert_eq!(reference.host(), host, "{text}");
            assert_eq!(reference.repository, repository, "{text}");
            assert_eq!(reference.version.to_string(), version, "{text}");
        }
    }

    #[test]
    fn what_would_change_a_url_or_a_path_is_no_name() {
        for text in [
            "",
            "/",
            "a//b",
            "../a",
            "a/..",
            "A",
            "a b",
            "a?x",
            "a#x",
            "a%2e",
            "a\n",
            "-a",
            "a-",
            "a:",
            "a:.",
            "a:b/c",
            "a:b:c",
            "a@b",
            "a@sha256:00",
            "h.x:0/a",
            "h.x:/a",
            "u@h.x/a",
            ".x/a",
            "a..b",
        ] {
            assert!(Reference::parse(text).is_err(), "{text:?}");
        }
        assert!(Reference::parse(&"a".repeat(256)).is_err());
    }
}
