//! The manifest by which Raspberry Pi Imager offers our images and lets its form be filled in: an `os_list` of its JSON schema.
//!
//! Called by `cargo xtask image`. Without a manifest Imager 2 takes an image for one that obeys none of its form. Invariant: what is
//! said of a file is what the build's own manifest says.

use crate::artifacts::Manifest;
use serde_json::{Value, json};

/// Name of the file, beside the boards' folders; Imager opens it by this ending.
pub const FILE: &str = "nesos.rpi-imager-manifest";
/// What Imager is to write: the newest of the formats that `nesos_base::preset` reads, the only one that leaves other files alone.
const INIT_FORMAT: &str = "rpi-preseed";

/// The tags by which Imager knows the boards that an image is for; none: Imager does not know any of them.
fn devices(board: &str) -> Option<&'static [&'static str]> {
    match board {
        "rpi3" => Some(&["pi3-64bit"]),
        "rpi4" => Some(&["pi4-64bit"]),
        _ => None,
    }
}

/// The list of `builds`; `url` says where the packed image of one can be had. `None`: Imager knows none of the boards.
pub fn os_list(builds: &[Manifest], url: impl Fn(&Manifest) -> String) -> Option<Value> {
    let entries: Vec<Value> = builds
        .iter()
        .filter_map(|build| entry(build, &url(build)))
        .collect();
    (!entries.is_empty()).then(|| json!({"os_list": entries}))
}

fn entry(build: &Manifest, url: &str) -> Option<Value> {
    let raw = build.files.get(&format!("nesos-{}.img", build.board))?;
    let packed = build.files.get(&format!("nesos-{}.img.zst", build.board))?;
    let (year, month, day) = date(build.epoch);
    Some(json!({
        "name": format!("Nesos {} ({})", build.version, build.board),
        "description": "Makes boards the nodes of a cluster",
        "icon": "",
        "url": url,
        "release_date": format!("{year:04}-{month:02}-{day:02}"),
        "extract_size": raw.bytes,
        "extract_sha256": raw.sha256,
        "image_download_size": packed.bytes,
        "image_download_sha256": packed.sha256,
        "devices": devices(&build.board)?,
        "init_format": INIT_FORMAT,
        "architecture": "armv8",
    }))
}

/// Year, month and day of a time in seconds since 1970: the calendar of 400 years, begun in a March.
fn date(seconds: u64) -> (u64, u64, u64) {
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn build(board: &str) -> Manifest {
        let file = |bytes| json!({"bytes": bytes, "sha256": format!("{bytes:064x}")});
        let value = json!({
            "board": board, "version": "0.1.0", "build_id": "x", "epoch": 1_795_305_600,
            "kernel": {"package": "linux", "version": "6", "key": "k"}, "packages": {}, "command_line": "quiet",
            "slot": {"command_line": "quiet", "kernel": "Image", "device_tree": null, "files": []},
            "qemu": {"machine": "virt", "cpu": null, "memory_mib": 128, "device_tree": null, "append": null},
            "files": {format!("nesos-{board}.img"): file(1000), format!("nesos-{board}.img.zst"): file(10)},
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn imager_is_told_of_the_boards_that_it_knows() {
        let url = |build: &Manifest| format!("https://example.org/{}.img.zst", build.board);
        assert_eq!(os_list(&[build("qemu-virt")], url), None);
        let list = os_list(&[build("qemu-virt"), build("rpi3")], url).unwrap();
        let entries = list["os_list"].as_array().unwrap();
        assert_eq!(entries.len(), 1);
        let entry = &entries[0];
        assert_eq!(entry["url"], "https://example.org/rpi3.img.zst");
        assert_eq!(
            (&entry["init_format"], &entry["devices"]),
            (&json!("rpi-preseed"), &json!(["pi3-64bit"]))
        );
        assert_eq!(
            (&entry["extract_size"], &entry["image_download_size"]),
            (&json!(1000), &json!(10))
        );
        assert_eq!(entry["release_date"], "2026-11-22");
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(951_782_400), (2000, 2, 29));
        assert_eq!(date(4_107_542_399), (2100, 2, 28));
        assert_eq!(date(4_107_542_400), (2100, 3, 1));
    }
}
