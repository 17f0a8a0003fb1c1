//! Layers: what overlayfs makes of them, and layers that want out of their directory. As root only.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use common::{COMPRESSIONS, Place, file, folder, link, special, tar_of};
use sha2::{Digest, Sha256};
use tar::EntryType;

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn digest(plain: &[u8]) -> String {
    Sha256::digest(plain)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Unpacks `packed`, whose plain bytes have this digest, into `into`.
fn layer(into: &Path, packed: &[u8], digest: &str) -> Result<(), String> {
    let mut archive = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut archive, packed).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_nesos-fetcher"))
        .args([
            "layer",
            "--sha256",
            digest,
            &format!("--max-bytes={}", common::MOST),
        ])
        .current_dir(into)
        .stdin(File::open(archive.path()).unwrap())
        .output()
        .unwrap();
    assert!(output.status.code().is_some(), "{:?}", output.status);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(said)
    }
}

#[test]
fn overlayfs_shows_what_the_layers_say() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    for name in ["1", "2", "upper", "work", "root"] {
        fs::create_dir(at(name)).unwrap();
    }
    let lower = tar_of(&[
        folder("etc"),
        file("etc/kept", "1"),
        file("etc/gone", "1"),
        folder("var"),
        file("var/old", "1"),
        link(EntryType::Symlink, "bin", "/usr/bin"),
        file("usr/bin/tool", "x"),
        special(EntryType::Char, "null"),
    ]);
    let upper = tar_of(&[
        file("etc/.wh.gone", ""),
        file("var/.wh..wh..opq", ""),
        file("var/new", "2"),
        file(".wh..wh.plnk", ""),
    ]);
    layer(&at("1"), &lower, &digest(&lower)).unwrap();
    layer(&at("2"), &COMPRESSIONS[4].1(&upper), &digest(&upper)).unwrap();
    assert!(!at("1/null").exists(), "no devices");
    assert!(
        fs::symlink_metadata(at("2/etc/gone"))
            .unwrap()
            .file_type()
            .is_char_device()
    );
    let options = format!(
        "userxattr,lowerdir={}:{},upperdir={},workdir={}",
        at("2").display(),
        at("1").display(),
        at("upper").display(),
        at("work").display()
    );
    // In a mount namespace of its own, which ends with the shell.
    let script =
        "mount -t overlay overlay -o \"$1\" \"$2\" && cd \"$2\" && find . | sort && readlink bin";
    let seen = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh", &options])
        .arg(at("root"))
        .output()
        .unwrap();
    assert!(
        seen.status.success(),
        "{}",
        String::from_utf8_lossy(&seen.stderr)
    );
    let expected = [
        ".",
        "./bin",
        "./etc",
        "./etc/kept",
        "./usr",
        "./usr/bin",
        "./usr/bin/tool",
        "./var",
        "./var/new",
        "/usr/bin",
    ];
    let seen = String::from_utf8_lossy(&seen.stdout);
    assert_eq!(seen.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn owners_and_bits_are_kept() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let mut entry = file("su", "x");
    common::change(&mut entry, |header| {
        header.set_mode(0o4755);
        header.set_uid(12);
        header.set_gid(34);
    });
    let tar = tar_of(&[entry]);
    layer(&place.into, &tar, &digest(&tar)).unwrap();
    let made = fs::metadata(place.into.join("su")).unwrap();
    assert_eq!((made.uid(), made.gid()), (12, 34));
    assert_eq!(made.permissions().mode() & 0o7777, 0o4755);
}

#[test]
fn hostile_layers_stay_inside() {
    if !is_root() {
        return;
    }
    let outside = "../outside";
    for entries in [
        vec![file("../escaped", "x")],
        vec![file("a/../../outside/.wh.kept", "")],
        vec![file(".wh...", "")],
        vec![file(".wh..", "")],
        vec![link(EntryType::Link, "l", "../outside/kept")],
        vec![
            link(EntryType::Symlink, "l", outside),
            link(EntryType::Link, "k", "l/kept"),
        ],
    ] {
        let place = Place::new();
        let tar = tar_of(&entries);
        layer(&place.into, &tar, &digest(&tar)).expect_err("hostile");
        place.nothing_outside();
    }
    // To these the directory is the root, wherever they point.
    for target in [outside, "/", "/tmp"] {
        let place = Place::new();
        let tar = tar_of(&[
            folder("tmp"),
            folder("outside"),
            link(EntryType::Symlink, "l", target),
            file("l/escaped", "x"),
            file("l/.wh.kept", ""),
        ]);
        layer(&place.into, &tar, &digest(&tar)).unwrap();
        place.nothing_outside();
    }
    let place = Place::new();
    let tar = tar_of(&[file("f", "x")]);
    let error = layer(&place.into, &tar, &digest(b"others")).expect_err("other bytes");
    assert!(error.contains("digest"), "{error}");
}
