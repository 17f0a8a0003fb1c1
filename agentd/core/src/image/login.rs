//! How registries are logged in to: what Docker's configuration file holds for a host, and what a registry asks for.
//!
//! Pure; the shell asks the registry and the server of its tokens. Invariant: what a configuration holds for one host is
//! never given to another, and no `Debug` shows it.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::DocumentError;
use super::document::json;
use super::reference::{DEFAULT_ALIASES, DEFAULT_REGISTRY};

/// Largest configuration, bytes: it may be a task's secret.
pub const MAX_CONFIG: usize = 64 * 1024;
/// Longest text of a challenge that is looked at.
const MAX_CHALLENGE: usize = 4096;
/// Longest token.
const MAX_TOKEN: usize = 32 * 1024;

/// The logins of a Docker configuration: `{"auths": {"HOST": {"auth": "…"}}}`, or without `auths` around it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Logins(BTreeMap<String, String>);

impl Logins {
    /// Reads a configuration. Hosts with an unusable login are left out, as are helpers, which are programs.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > MAX_CONFIG {
            return Err(DocumentError::TooLarge(bytes.len()));
        }
        let whole: RawConfig = json(bytes)?;
        let auths = match whole.auths {
            Some(auths) => auths,
            None => json(bytes)?,
        };
        let login =
            |(host, raw): (String, RawLogin)| Some((plain_host(&host).into(), raw.basic()?));
        Ok(Self(auths.into_iter().filter_map(login).collect()))
    }

    /// What comes after `Basic` for this host.
    pub fn of(&self, host: &str) -> Option<&str> {
        self.0.get(plain_host(host)).map(String::as_str)
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a registry wants to see, by its `WWW-Authenticate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token from another server.
    Bearer {
        /// Where tokens are.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// For what.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads the header's value.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.get(..MAX_CHALLENGE).unwrap_or(text);
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut fields = fields(rest);
        Some(Self::Bearer {
            realm: fields.remove("realm")?,
            service: fields.remove("service"),
            scope: fields.remove("scope"),
        })
    }

    /// Where a token is to be had that lets read `repository`; none: no token is asked for.
    pub fn token_url(&self, repository: &str) -> Option<String> {
        let Self::Bearer {
            realm,
            service,
            scope,
        } = self
        else {
            return None;
        };
        let own = format!("repository:{repository}:pull");
        let scope = scope.as_ref().unwrap_or(&own);
        let mut url = realm.clone();
        let fields = [("service", service.as_ref()), ("scope", Some(scope))];
        for (name, value) in fields {
            let Some(value) = value else { continue };
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(name);
            url.push('=');
            url.push_str(&encoded(value));
        }
        Some(url)
    }
}

/// Reads the answer of a server of tokens.
pub fn token(bytes: &[u8]) -> Result<String, DocumentError> {
    let raw: RawToken = json(bytes)?;
    let token = raw.token.filter(|token| !token.is_empty());
    let token = token.or(raw.access_token).unwrap_or_default();
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    match (1..=MAX_TOKEN).contains(&token.len()) && is_plain {
        true => Ok(token),
        false => Err(DocumentError::Shape("it holds no token".into())),
    }
}

#[derive(Deserialize)]
struct RawConfig {
    auths: Option<BTreeMap<String, RawLogin>>,
}

#[derive(Deserialize)]
struct RawLogin {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl RawLogin {
    fn basic(self) -> Option<String> {
        let auth = self.auth.filter(|auth| !auth.is_empty());
        let basic = auth.or_else(|| {
            let both = format!("{}:{}", self.username?, self.password?);
            Some(STANDARD.encode(both))
        })?;
        let decoded = STANDARD.decode(&basic).ok()?;
        decoded.contains(&b':').then_some(basic)
    }
}

#[derive(Deserialize)]
struct RawToken {
    token: Option<String>,
    access_token: Option<String>,
}

/// Without what is around the host in old configurations, and the default registry by its own name.
fn plain_host(text: &str) -> &str {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = text.split('/').next().unwrap_or_default();
    match DEFAULT_ALIASES.contains(&host) {
        true => DEFAULT_REGISTRY,
        false => host,
    }
}

/// `name="value",…`; values may hold commas.
fn fields(mut rest: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        fields.insert(name, value.trim().into());
        rest = next;
    }
    fields
}

fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_for_its_host_alone() {
        let text = r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"YTpi"},
            "h.example:5000":{"username":"u","password":"p"},
            "empty":{}, "odd":{"auth":"no base64!"}, "half":{"auth":"YWI="}},
            "credHelpers":{"x":"y"}}"#;
        let logins = Logins::parse(text.as_bytes()).expect("valid");
        assert_eq!(logins.of("registry-1.docker.io"), Some("YTpi"));
        assert_eq!(logins.of("docker.io"), Some("YTpi"));
        assert_eq!(logins.of("h.example:5000"), Some("dTpw"));
        for other in ["h.example", "empty", "odd", "half", "x", ""] {
            assert_eq!(logins.of(other), None, "{other}");
        }
        assert!(!format!("{logins:?}").contains("YTpi"));
        let old = Logins::parse(br#"{"h":{"auth":"YTpi","email":"e"}}"#).expect("the older form");
        assert_eq!(old.of("h"), Some("YTpi"));
        for wrong in ["", "[]", r#"{"auths":1}"#, r#"{"h":1}"#] {
            assert!(Logins::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(Logins::parse(&[b' '; MAX_CONFIG + 1]).is_err());
    }

    #[test]
    fn challenges_say_where_tokens_are() {
        let text = r#"Bearer realm="https://auth.h/token",service="registry h",scope="repository:a/b:pull,push""#;
        let challenge = Challenge::parse(text).expect("one");
        assert_eq!(
            challenge.token_url("x").as_deref(),
            Some(
                "https://auth.h/token?service=registry%20h&scope=repository%3Aa%2Fb%3Apull%2Cpush"
            )
        );
        let short = Challenge::parse("bearer realm=https://h/t?a=b").expect("one");
        assert_eq!(
            short.token_url("a/b").as_deref(),
            Some("https://h/t?a=b&scope=repository%3Aa%2Fb%3Apull")
        );
        assert_eq!(
            Challenge::parse("Basic realm=\"x\""),
            Some(Challenge::Basic)
        );
        assert_eq!(Challenge::Basic.token_url("x"), None);
        for none in [
            "",
            "Bearer",
            "Bearer service=\"x\"",
            "Negotiate x",
            "Bearer \"=\"",
        ] {
            assert_eq!(Challenge::parse(none), None, "{none}");
        }
    }

    #[test]
    fn tokens_are_headers() {
        assert_eq!(token(br#"{"token":"a.b"}"#).as_deref(), Ok("a.b"));
        assert_eq!(
            token(br#"{"token":"","access_token":"c"}"#).as_deref(),
            Ok("c")
        );
        for wrong in ["{}", r#"{"token":"a\nb"}"#, r#"{"token":"a b"}"#, "[]", "x"] {
            assert!(token(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
