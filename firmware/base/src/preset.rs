//! What Raspberry Pi Imager leaves on the boot partition when a person fills in its form: host name, SSH keys, wireless network.
//!
//! Three formats of it: `rpi-preseed.toml`, cloud-init's `user-data` with `network-config`, and the script `firstrun.sh`, of which only
//! the lines are read that Imager writes; nothing is executed. Called by `init`, which lets `cluster.toml` take precedence. Not here:
//! opening the files. Invariant: any bytes give a preset, with a sentence for each thing in it that means nothing to a board.

mod cloud;
mod script;

use std::string::{String, ToString};
use std::vec::Vec;

use serde::Deserialize;

use crate::cluster_config::{Wifi, is_host_label, ssh_key_of, wifi_of};

/// Largest file that is read, bytes: Imager's have one or two thousand.
pub const MAX_FILE: usize = 64 * 1024;
/// Most keys that are taken.
const KEYS_MAX: usize = 16;

/// What was asked for by Imager's form.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preset {
    /// The node's name.
    pub host_name: Option<String>,
    /// Keys that may log in by SSH.
    pub ssh_keys: Vec<String>,
    /// The wireless network to join.
    pub wifi: Option<Wifi>,
    /// What cannot be obeyed, and why; no secrets.
    pub notes: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Preseed {
    system: System,
    ssh: Ssh,
    wlan: Option<Wlan>,
    user: Option<toml::Table>,
    locale: Locale,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct System {
    hostname: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Ssh {
    authorized_keys: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wlan {
    ssid: Option<String>,
    password: Option<String>,
    hidden: bool,
    country: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Locale {
    timezone: Option<String>,
}

impl Preset {
    /// Reads `rpi-preseed.toml`.
    pub fn of_preseed(bytes: &[u8]) -> Self {
        let mut preset = Self::default();
        let Some(text) = preset.text(bytes) else {
            return preset;
        };
        let raw: Preseed = match toml::from_str(text) {
            Ok(raw) => raw,
            Err(error) => {
                // The parser's own words may quote a password.
                let line = error.span().map_or(0, |span| {
                    text.get(..span.start).unwrap_or_default().lines().count()
                });
                preset.notes.push(std::format!("not TOML near line {line}"));
                return preset;
            }
        };
        preset.name(raw.system.hostname);
        preset.keys(raw.ssh.authorized_keys);
        if let Some(wlan) = raw.wlan {
            match wlan.ssid {
                Some(ssid) => preset.wifi(ssid, wlan.password, wlan.country, wlan.hidden),
                None => preset
                    .notes
                    .push("wireless network: its name is no text".to_string()),
            }
        }
        preset.time_zone(raw.locale.timezone);
        preset.user(raw.user.is_some());
        preset
    }

    /// Reads cloud-init's `user-data` and `network-config`.
    pub fn of_cloud_init(user_data: &[u8], network_config: &[u8]) -> Self {
        let mut preset = Self::default();
        if let Some(text) = preset.text(user_data) {
            cloud::user_data(&mut preset, text);
        }
        if let Some(text) = preset.text(network_config) {
            cloud::network_config(&mut preset, text);
        }
        preset
    }

    /// Reads `firstrun.sh`.
    pub fn of_script(bytes: &[u8]) -> Self {
        let mut preset = Self::default();
        if let Some(text) = preset.text(bytes) {
            script::read(&mut preset, text);
        }
        preset
    }

    /// In a few words, without secrets.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        words.extend(
            self.host_name
                .as_ref()
                .map(|name| std::format!("host name {name}")),
        );
        if !self.ssh_keys.is_empty() {
            words.push(std::format!("{} SSH keys", self.ssh_keys.len()));
        }
        words.extend(
            self.wifi
                .as_ref()
                .map(|wifi| std::format!("wireless network {}", wifi.ssid)),
        );
        words.extend(
            self.notes
                .iter()
                .map(|note| std::format!("not used: {note}")),
        );
        match words.is_empty() {
            true => "nothing in it".to_string(),
            false => words.join(", "),
        }
    }

    fn text<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a str> {
        let text = core::str::from_utf8(bytes)
            .ok()
            .filter(|_| bytes.len() <= MAX_FILE);
        if text.is_none() {
            self.notes
                .push("the file is too large, or no text".to_string());
        }
        text
    }

    fn name(&mut self, name: Option<String>) {
        match name.filter(|name| !name.is_empty()) {
            Some(name) if is_host_label(&name) => self.host_name = Some(name),
            Some(_) => self.notes.push(
                "the host name: expected 1 to 30 letters, digits and inner hyphens".to_string(),
            ),
            None => {}
        }
    }

    fn keys(&mut self, keys: Vec<String>) {
        for key in keys {
            match ssh_key_of(&key) {
                Ok(key) if self.ssh_keys.len() < KEYS_MAX && !self.ssh_keys.contains(&key) => {
                    self.ssh_keys.push(key)
                }
                Ok(_) => {}
                Err(_) => self.notes.push("an SSH key that is none".to_string()),
            }
        }
    }

    fn wifi(
        &mut self,
        ssid: String,
        password: Option<String>,
        country: Option<String>,
        hidden: bool,
    ) {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        match wifi_of(ssid, filled(password), filled(country), hidden) {
            Ok(wifi) => self.wifi = Some(wifi),
            Err(error) => self.notes.push(std::format!("wireless network: {error}")),
        }
    }

    fn time_zone(&mut self, zone: Option<String>) {
        if zone.is_some_and(|zone| !zone.is_empty()) {
            self.notes
                .push("the time zone: boards keep UTC".to_string());
        }
    }

    fn user(&mut self, is_there: bool) {
        if is_there {
            self.notes
                .push("user and password: boards have no accounts".to_string());
        }
    }
}

#[cfg(test)]
mod tests;
