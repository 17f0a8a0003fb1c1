//! Who may write through the API (`--api_access`), and with which principal.
//!
//! Called first by every handler of either daemon that changes something; reading is open to all. Invariant: `Local` means
//! a peer address on loopback and no page of another origin.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN, WWW_AUTHENTICATE};
use serde::Deserialize;

use super::Refusal;

/// Largest file of credentials: thousands of principals.
const MAX_CREDENTIALS: u64 = 1024 * 1024;

/// The rule.
#[derive(Clone)]
pub enum Access {
    /// Only this host.
    Local,
    /// Anybody.
    Open,
    /// Whoever has one of these principals and its secret.
    Authenticated(BTreeMap<String, String>),
}

#[derive(Deserialize)]
struct Credentials {
    credentials: Vec<Credential>,
}

#[derive(Deserialize)]
struct Credential {
    principal: String,
    secret: String,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local => f.write_str("Local"),
            Self::Open => f.write_str("Open"),
            Self::Authenticated(known) => {
                f.debug_tuple("Authenticated").field(&known.keys()).finish()
            }
        }
    }
}

impl Access {
    /// Reads Mesos's credentials file: `{"credentials": [{"principal": …, "secret": …}]}`.
    pub fn from_credentials(bytes: &[u8]) -> Result<Self, String> {
        // serde_json's message quotes no content, so no secret gets into the log.
        let parsed: Credentials = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let known = parsed
            .credentials
            .into_iter()
            .map(|one| (one.principal, one.secret))
            .collect();
        Ok(Self::Authenticated(known))
    }

    /// The rule of this name (`--api_access`), with the file that `authenticated` needs (`--credentials`). `Err` is a
    /// sentence that names the flag.
    pub fn from_flags(name: &str, credentials: Option<&Path>) -> Result<Self, String> {
        match (name, credentials) {
            ("local", _) => Ok(Self::Local),
            ("open", _) => Ok(Self::Open),
            ("authenticated", Some(path)) => {
                let bytes = read_bounded(path)
                    .map_err(|e| format!("--credentials: cannot read {}: {e}", path.display()))?;
                Self::from_credentials(&bytes)
                    .map_err(|e| format!("--credentials {}: {e}", path.display()))
            }
            ("authenticated", None) => Err("--api_access=authenticated needs --credentials".into()),
            (other, _) => Err(format!(
                "--api_access: expected local, open or authenticated, found '{other}'"
            )),
        }
    }

    /// Judges a request that changes something: the authenticated principal (`None`: no authentication), or the refusal.
    pub fn check(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        realm: &'static str,
    ) -> Result<Option<String>, Refusal> {
        let forbidden = |sentence: &'static str| Refusal::new(StatusCode::FORBIDDEN, sentence);
        match self {
            Self::Open => Ok(None),
            Self::Local if !peer.to_canonical().is_loopback() => Err(forbidden(
                "Writing through this API is allowed from this daemon's own host only. \
                 To allow it from elsewhere set [api] access = \"open\" or \"authenticated\" in cluster.toml (--api_access).",
            )),
            Self::Local if is_foreign_page(headers) => Err(forbidden(
                "A page of another origin may not write through this API.",
            )),
            Self::Local => Ok(None),
            Self::Authenticated(known) => match authenticate(known, headers) {
                Some(principal) => Ok(Some(principal)),
                None => Err(Refusal {
                    header: Some((WWW_AUTHENTICATE, format!("Basic realm=\"{realm}\""))),
                    ..Refusal::new(
                        StatusCode::UNAUTHORIZED,
                        "A principal and its secret are required.",
                    )
                }),
            },
        }
    }
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_CREDENTIALS + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_CREDENTIALS {
        let text = format!("it is larger than {MAX_CREDENTIALS} bytes");
        return Err(std::io::Error::other(text));
    }
    Ok(bytes)
}

/// A browser names the page's origin; one that is not this server's must not use the browser's place on loopback.
fn is_foreign_page(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN).map(|value| value.as_bytes()) else {
        return false;
    };
    let host = headers
        .get(HOST)
        .map(|value| value.as_bytes())
        .unwrap_or_default();
    let authority = [&b"http://"[..], b"https://"]
        .iter()
        .find_map(|scheme| origin.strip_prefix(*scheme));
    authority != Some(host)
}

fn authenticate(known: &BTreeMap<String, String>, headers: &HeaderMap) -> Option<String> {
    let encoded = headers
        .get(AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Basic ")?;
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (principal, secret) = decoded.split_once(':')?;
    // An unknown principal costs the same comparison as a known one.
    let expected = known.get(principal);
    let candidate = expected.map_or("", String::as_str);
    let matches = crate::tls::secrets_match(secret.as_bytes(), candidate.as_bytes()).ok()?;
    (matches && expected.is_some()).then(|| principal.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use hyper::header::HeaderValue;

    const REALM: &str = "mesos-agent-readwrite";

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn headers(pairs: &[(hyper::header::HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn status(access: &Access, from: &str, map: &HeaderMap) -> u16 {
        access
            .check(peer(from), map, REALM)
            .map_or_else(|refusal| refusal.status.as_u16(), |_| 200)
    }

    #[test]
    fn local_means_loopback_and_no_foreign_page() {
        let none = HeaderMap::new();
        assert_eq!(status(&Access::Local, "127.0.0.1", &none), 200);
        assert_eq!(status(&Access::Local, "::1", &none), 200);
        assert_eq!(status(&Access::Local, "::ffff:127.0.0.1", &none), 200);
        assert_eq!(status(&Access::Local, "10.0.0.9", &none), 403);
        assert_eq!(status(&Access::Open, "10.0.0.9", &none), 200);
        let own = headers(&[(ORIGIN, "http://localhost:5050"), (HOST, "localhost:5050")]);
        let foreign = headers(&[(ORIGIN, "http://evil.example"), (HOST, "localhost:5050")]);
        assert_eq!(
            (
                status(&Access::Local, "127.0.0.1", &own),
                status(&Access::Local, "127.0.0.1", &foreign)
            ),
            (200, 403)
        );
    }

    #[test]
    fn credentials_are_checked() {
        let access =
            Access::from_credentials(br#"{"credentials":[{"principal":"p","secret":"s"}]}"#)
                .unwrap();
        let with =
            |text: &str| headers(&[(AUTHORIZATION, &format!("Basic {}", STANDARD.encode(text)))]);
        assert_eq!(
            access
                .check(peer("10.0.0.9"), &with("p:s"), REALM)
                .unwrap()
                .as_deref(),
            Some("p")
        );
        for bad in ["p:x", "q:s", "p:", "q:", "nothing"] {
            assert_eq!(status(&access, "127.0.0.1", &with(bad)), 401, "{bad}");
        }
        assert_eq!(status(&access, "127.0.0.1", &HeaderMap::new()), 401);
        assert!(Access::from_credentials(b"{}").is_err());
        assert!(!format!("{access:?}").contains("\"s\""));
    }
}
