//! Files in the form in which Raspberry Pi Imager 2 writes them, and files that are none.
use super::*;
use crate::cluster_config::WifiSecret;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJv8u0t7R0nH0uL3YQ2w5l7nVb0yqD0o3bq0x9m0a1b2 me@home";
const PSK: &str = "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e";

fn is_whole(preset: &Preset, ssid: &str) {
    assert_eq!(preset.host_name.as_deref(), Some("kitchen"));
    assert_eq!(preset.ssh_keys, [KEY]);
    let wifi = preset.wifi.as_ref().expect("a network");
    assert_eq!(
        (wifi.ssid.as_str(), wifi.country.as_deref(), wifi.hidden),
        (ssid, Some("DE"), true)
    );
    assert_eq!(wifi.secret, Some(WifiSecret::Hashed(PSK.into())));
    let words = preset.words();
    assert!(
        words.contains("kitchen") && words.contains("time zone") && words.contains("no accounts"),
        "{words}"
    );
    assert!(!words.contains(PSK), "{words}");
}

#[test]
fn a_preseed_file_is_understood() {
    let text = std::format!(
        "config_version = \"1.0\"\n\n[system]\nhostname = \"kitchen\"\n\n[user]\nname = \"me\"\npassword = \"$y$x\"\npassword_encrypted = true\n\
         groups = [\"sudo\"]\n\n[ssh]\nenabled = true\npassword_authentication = false\nauthorized_keys = [\n  \"{KEY}\",\n]\n\n\
         [wlan]\nssid = \"my \\\"home\\\"\"\npassword = \"{PSK}\"\npassword_encrypted = true\nhidden = true\ncountry = \"DE\"\n\n\
         [locale]\nkeymap = \"de\"\ntimezone = \"Europe/Berlin\"\n"
    );
    is_whole(&Preset::of_preseed(text.as_bytes()), "my \"home\"");
}

#[test]
fn a_script_is_understood_and_not_executed() {
    let text = std::format!(
        "#!/bin/sh\n\nset +e\n\nCURRENT_HOSTNAME=$(cat /etc/hostname | tr -d \" \\t\\n\\r\")\n\
         if [ -f /usr/lib/raspberrypi-sys-mods/imager_custom ]; then\n   /usr/lib/raspberrypi-sys-mods/imager_custom set_hostname kitchen\nelse\n   echo kitchen >/etc/hostname\nfi\n\
         if [ -f /usr/lib/raspberrypi-sys-mods/imager_custom ]; then\n   /usr/lib/raspberrypi-sys-mods/imager_custom enable_ssh -k '{KEY}'\nelse\ncat > \"$FIRSTUSERHOME/.ssh/authorized_keys\" <<'EOF'\n{KEY}\nEOF\nfi\n\
         if [ -f /usr/lib/userconf-pi/userconf ]; then\n   /usr/lib/userconf-pi/userconf 'me' '$y$x'\nfi\n\
         if [ -f /usr/lib/raspberrypi-sys-mods/imager_custom ] && true; then\n   /usr/lib/raspberrypi-sys-mods/imager_custom set_wlan  -h 'it'\"'\"'s mine' '{PSK}' 'DE'\nelse\nfi\n\
         if [ -f x ]; then\n   /usr/lib/raspberrypi-sys-mods/imager_custom set_keymap 'de'\n   /usr/lib/raspberrypi-sys-mods/imager_custom set_timezone 'Europe/Berlin'\nfi\nrm -f /boot/firstrun.sh\nexit 0\n"
    );
    is_whole(&Preset::of_script(text.as_bytes()), "it's mine");
}

#[test]
fn cloud_inits_files_are_understood() {
    let user = std::format!(
        "#cloud-config\nmanage_resolv_conf: false\n\nhostname: kitchen\nmanage_etc_hosts: true\npackages:\n- avahi-daemon\napt:\n  conf: |\n    Acquire {{\n      Check-Date \"false\";\n    }};\n\
         timezone: Europe/Berlin\nuser:\n  name: me\n  passwd: \"$y$x\"\n  ssh_authorized_keys:\n    - \"{KEY}\"\n  sudo: null\nssh_pwauth: false\nruncmd:\n  - [ systemctl, enable, --now, ssh ]\n"
    );
    let network = std::format!(
        "network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: true\n  wifis:\n    wlan0:\n      dhcp4: true\n      regulatory-domain: \"DE\"\n      access-points:\n        \
         \"K\\xc3\\xa4se: 1\":\n          hidden: true\n          password: \"{PSK}\"\n      optional: true\n"
    );
    is_whole(
        &Preset::of_cloud_init(user.as_bytes(), network.as_bytes()),
        "Käse: 1",
    );
    let open = "network:\n  wifis:\n    wlan0:\n      access-points:\n        \"cafe\":\n          auth:\n            key-management: none\n";
    let wifi = Preset::of_cloud_init(b"", open.as_bytes())
        .wifi
        .expect("a network");
    assert_eq!((wifi.ssid.as_str(), wifi.secret), ("cafe", None));
}

#[test]
fn what_is_wrong_is_said_without_secrets() {
    let preset = Preset::of_preseed(
        b"[wlan]\nssid = \"x\"\npassword = \"hunter\"\n[system]\nhostname = \"a_b\"\n",
    );
    assert_eq!(
        (
            preset.wifi.clone(),
            preset.host_name.clone(),
            preset.notes.len()
        ),
        (None, None, 2)
    );
    assert!(!preset.words().contains("hunter"), "{}", preset.words());
    let broken = Preset::of_preseed(b"[wlan]\npassword = \"hunter22");
    assert!(
        broken.words().contains("not TOML near line 2") && !broken.words().contains("hunter"),
        "{}",
        broken.words()
    );
    for bytes in [&[0xff, 0xfe][..], &[b'x'; MAX_FILE + 1]] {
        for preset in [
            Preset::of_preseed(bytes),
            Preset::of_script(bytes),
            Preset::of_cloud_init(bytes, b""),
        ] {
            assert!(preset.words().contains("too large, or no text"));
        }
    }
    assert_eq!(
        Preset::of_script(b"imager_custom set_hostname 'x\n").host_name,
        None
    );
}
