//! The keys of cluster.toml about the board itself: wireless network, SSH, proxy, time servers, labels, reserved memory.
//!
//! Checks texts only; who obeys them is init and agentd. Called by the parent. Invariant: no error repeats a password.

use std::borrow::ToOwned;
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;

use serde::Deserialize;

use super::{ConfigError, value};
use nesos_wire::resource_text;

/// Keys that may log in: more than a household has machines.
const KEYS_MAX: usize = 16;
/// Longest key: RSA of 16384 bits has 2,700 letters.
const KEY_MAX: usize = 4096;
/// Time servers: one that answers is enough.
const SERVERS_MAX: usize = 4;
/// Longest name of a host that DNS allows.
const HOST_MAX: usize = 253;
/// Most memory that may be kept back, MiB: no board has a terabyte.
const RESERVED_MAX: u64 = 1 << 20;
/// Kinds of SSH keys, as `ssh-keygen` writes them.
const KEY_KINDS: [&str; 7] = [
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
];

/// A wireless network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wifi {
    /// Its name, 1 to 32 bytes.
    pub ssid: String,
    /// How to get in; none: an open network.
    pub secret: Option<WifiSecret>,
    /// ISO 3166 code of the country whose rules of radio hold, such as `DE`; none: those of the world.
    pub country: Option<String>,
    /// It does not tell its name by itself.
    pub hidden: bool,
}

/// What lets a board into a wireless network.
#[derive(Clone, PartialEq, Eq)]
pub enum WifiSecret {
    /// The password; WPA3 needs it.
    Password(String),
    /// WPA2's key, made from name and password by PBKDF2, 64 hex digits.
    Hashed(String),
}

/// Never shown: it would end up in a log.
impl core::fmt::Debug for WifiSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(..)",
            Self::Hashed(_) => "Hashed(..)",
        })
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawWifi {
    ssid: String,
    psk: Option<String>,
    country: Option<String>,
    hidden: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSsh {
    keys: Vec<String>,
}

impl RawWifi {
    pub(super) fn check(self) -> Result<Wifi, ConfigError> {
        wifi_of(self.ssid, self.psk, self.country, self.hidden)
    }
}

/// A network of checked texts.
pub(crate) fn wifi_of(
    ssid: String,
    psk: Option<String>,
    country: Option<String>,
    hidden: bool,
) -> Result<Wifi, ConfigError> {
    let fits = (1..=32).contains(&ssid.len()) && !ssid.chars().any(char::is_control);
    if !fits {
        return Err(value("wifi.ssid", "1 to 32 bytes of text", &ssid));
    }
    let code = |text: String| {
        let fits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic());
        fits.then(|| text.to_ascii_uppercase())
            .ok_or_else(|| value("wifi.country", "two letters such as DE", &text))
    };
    Ok(Wifi {
        secret: psk.map(wifi_secret).transpose()?,
        country: country.map(code).transpose()?,
        ssid,
        hidden,
    })
}

fn wifi_secret(text: String) -> Result<WifiSecret, ConfigError> {
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(WifiSecret::Hashed(text.to_ascii_lowercase()));
    }
    if (8..=63).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Ok(WifiSecret::Password(text));
    }
    Err(value(
        "wifi.psk",
        "a password of 8 to 63 printable ASCII characters, or 64 hex digits",
        &std::format!("{} characters", text.chars().count()),
    ))
}

impl RawSsh {
    pub(super) fn check(self) -> Result<Vec<String>, ConfigError> {
        if self.keys.len() > KEYS_MAX {
            let found = self.keys.len().to_string();
            return Err(value("ssh.keys", "at most 16 keys", &found));
        }
        self.keys.iter().map(|key| ssh_key(key)).collect()
    }
}

/// `kind base64 comment`. Options before the kind are refused: they would be obeyed by nobody.
pub(crate) fn ssh_key(text: &str) -> Result<String, ConfigError> {
    let text = text.trim();
    let mut words = text.split_ascii_whitespace();
    let (kind, body) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let fits = text.len() <= KEY_MAX
        && !text.chars().any(char::is_control)
        && KEY_KINDS.contains(&kind)
        // The length of the kind, big-endian in four bytes, is what every key begins with.
        && body.starts_with("AAAA")
        && body.len() >= 40
        && body.bytes().all(is_base64);
    match fits {
        true => Ok(text.to_owned()),
        false => Err(value(
            "ssh.keys",
            "public keys such as 'ssh-ed25519 AAAA… me'",
            kind,
        )),
    }
}

pub(super) fn proxy(text: &str) -> Result<String, ConfigError> {
    let rest = text
        .strip_prefix("http://")
        .map(|r| r.trim_end_matches('/'));
    let host = rest.and_then(|rest| rest.rsplit_once(':'));
    let fits =
        host.is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok_and(|p| p > 0));
    // What is not a host may hold a password: it is not repeated.
    match (fits, rest) {
        (true, Some(rest)) => Ok(std::format!("http://{rest}")),
        _ => Err(value(
            "network.proxy",
            "http://host:port, without a password",
            "another text",
        )),
    }
}

pub(super) fn no_proxy(text: &str) -> Result<String, ConfigError> {
    let fits = text.len() <= 1024
        && text
            .split(',')
            .all(|item| !item.is_empty() && item.bytes().all(|b| b.is_ascii_graphic()));
    match fits {
        true => Ok(text.to_owned()),
        false => Err(value(
            "network.no_proxy",
            "hosts separated by commas, without spaces",
            text,
        )),
    }
}

pub(super) fn time_servers(servers: &[String]) -> Result<Vec<String>, ConfigError> {
    if servers.len() > SERVERS_MAX {
        let found = servers.len().to_string();
        return Err(value("network.ntp", "at most 4 servers", &found));
    }
    match servers.iter().find(|server| !is_host(server)) {
        None => Ok(servers.to_vec()),
        Some(server) => Err(value("network.ntp", "a host name or IPv4 address", server)),
    }
}

pub(super) fn reserved_memory(mebibytes: u64) -> Result<u32, ConfigError> {
    let found = u32::try_from(mebibytes).ok();
    found.filter(|_| mebibytes <= RESERVED_MAX).ok_or_else(|| {
        value(
            "agent.reserved_memory",
            "0 to 1048576 MiB",
            &mebibytes.to_string(),
        )
    })
}

/// Labels are attributes in another notation: agents have nothing else that frameworks see.
pub(super) fn attributes(
    attributes: Option<String>,
    labels: &BTreeMap<String, String>,
) -> Result<Option<String>, ConfigError> {
    let mut text = attributes;
    for (name, label) in labels {
        let item = std::format!("{name}:{label}");
        let plain = |text: &str| !text.is_empty() && !text.contains([':', ';']);
        if !plain(name) || !plain(label) || resource_text::parse_attributes(&item).is_err() {
            return Err(value(
                "agent.labels",
                "name = \"value\" without colons and semicolons",
                &item,
            ));
        }
        text = Some(match text {
            Some(text) => std::format!("{};{item}", text.trim_end_matches(';')),
            None => item,
        });
    }
    Ok(text)
}

/// A name that becomes part of a DNS label: letters, digits and inner hyphens, 1 to 30 so that `<cluster>-<node>` fits 63.
pub fn is_host_label(name: &str) -> bool {
    (1..=30).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// A host name or an IPv4 address, as far as letters go.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (1..=HOST_MAX).contains(&text.len()) && text.split('.').all(is_label)
}
