//! What Raspberry Pi Imager was told, where `cluster.toml` says nothing, and what this image cannot obey of either.
//!
//! The formats are `nesos_base::preset`'s. Called by `boot` after the configuration was read. Invariant: `cluster.toml` takes
//! precedence, key by key; nothing that was asked for is passed over in silence.

use crate::board::{BOOT, Board, Configuration};
use crate::phase::Outcome;
use nesos_base::cluster_config::Wifi;
use nesos_base::preset::{MAX_FILE, Preset};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What serves SSH, where an image has it.
const SSH_SERVER: &str = "/usr/sbin/dropbear";
/// What joins wireless networks, where an image has it.
const SUPPLICANT: &str = "/usr/sbin/wpa_supplicant";

/// The phase: reads what is there.
pub(crate) fn read(board: &Board) -> Outcome {
    let found = find(Path::new(BOOT));
    let words = match &found {
        Some((file, preset)) => format!("{file}: {}", preset.words()),
        None => "none".to_owned(),
    };
    let mut preset = found.map(|(_, preset)| preset).unwrap_or_default();
    if let Configuration::Read(config) = &*board.configuration.borrow() {
        merge(
            &mut preset,
            config.name.clone(),
            &config.ssh_keys,
            config.wifi.clone(),
        );
    }
    let lacks = lacking(&preset, Path::new("/"));
    let notes = preset.notes.len();
    *board.preset.borrow_mut() = preset;
    match (lacks.is_empty(), notes) {
        (true, 0) => Outcome::Done(words),
        (true, _) => Outcome::Degraded(words),
        (false, _) => Outcome::Degraded(format!("{words}. {}", lacks.join(". "))),
    }
}

/// The first of Imager's files, by the order in which its versions prefer them.
fn find(boot: &Path) -> Option<(&'static str, Preset)> {
    let read = |name: &str| {
        let mut bytes = Vec::new();
        let file = File::open(boot.join(name)).ok()?;
        // One byte more than is allowed, so that a file that is too large is seen as such.
        file.take(MAX_FILE as u64 + 1)
            .read_to_end(&mut bytes)
            .ok()?;
        Some(bytes)
    };
    if let Some(bytes) = read("rpi-preseed.toml") {
        return Some(("rpi-preseed.toml", Preset::of_preseed(&bytes)));
    }
    let (user, network) = (read("user-data"), read("network-config"));
    if user.is_some() || network.is_some() {
        let preset = Preset::of_cloud_init(&user.unwrap_or_default(), &network.unwrap_or_default());
        return Some(("user-data", preset));
    }
    Some(("firstrun.sh", Preset::of_script(&read("firstrun.sh")?)))
}

/// What cluster.toml says counts.
fn merge(preset: &mut Preset, name: Option<String>, keys: &[String], wifi: Option<Wifi>) {
    preset.host_name = name.or(preset.host_name.take());
    preset.wifi = wifi.or(preset.wifi.take());
    if !keys.is_empty() {
        preset.ssh_keys = keys.to_vec();
    }
}

/// What is asked for and nobody on this image obeys.
fn lacking(preset: &Preset, root: &Path) -> Vec<String> {
    let has = |program: &str| root.join(program.trim_start_matches('/')).exists();
    let mut lacks = Vec::new();
    if let Some(wifi) = preset.wifi.as_ref().filter(|_| !has(SUPPLICANT)) {
        lacks.push(format!(
            "wifi: this image has nothing that joins {:?}: use a cable",
            wifi.ssid
        ));
    }
    if !preset.ssh_keys.is_empty() && !has(SSH_SERVER) {
        lacks.push("ssh: this image has no SSH server, the keys are not used".to_owned());
    }
    lacks
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_base::cluster_config::ClusterConfig;

    #[test]
    fn the_newest_format_counts_and_the_configuration_before_it() {
        let boot = tempfile::tempdir().unwrap();
        assert_eq!(find(boot.path()), None);
        let write = |name: &str, text: &str| std::fs::write(boot.path().join(name), text).unwrap();
        write(
            "firstrun.sh",
            "/usr/lib/x/imager_custom set_hostname script\n",
        );
        assert_eq!(
            find(boot.path()).unwrap().1.host_name.as_deref(),
            Some("script")
        );
        write("user-data", "hostname: cloud\n");
        assert_eq!(find(boot.path()).unwrap().0, "user-data");
        write(
            "rpi-preseed.toml",
            "[system]\nhostname = 'preseed'\n[wlan]\nssid = 'imager'\n",
        );
        let (_, mut preset) = find(boot.path()).unwrap();
        assert_eq!(preset.host_name.as_deref(), Some("preseed"));
        let config = ClusterConfig::parse(b"[wifi]\nssid = 'mine'\n").unwrap();
        merge(&mut preset, config.name, &config.ssh_keys, config.wifi);
        assert_eq!(preset.host_name.as_deref(), Some("preseed"));
        assert_eq!(preset.wifi.unwrap().ssid, "mine");
    }

    #[test]
    fn what_an_image_lacks_is_said() {
        let root = tempfile::tempdir().unwrap();
        let preset = Preset::of_preseed(b"[wlan]\nssid = 'x'\n");
        assert!(
            lacking(&preset, root.path())[0]
                .contains("wifi: this image has nothing that joins \"x\"")
        );
        std::fs::create_dir_all(root.path().join("usr/sbin")).unwrap();
        std::fs::write(root.path().join("usr/sbin/wpa_supplicant"), "").unwrap();
        assert!(lacking(&preset, root.path()).is_empty());
    }
}
