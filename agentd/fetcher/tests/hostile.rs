//! Archives that want out of their directory, or more than their share: the program itself, as agentd starts it.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::{Place, folder, link, raw_zip, special, tar_of};
use tar::EntryType;

#[test]
fn paths_that_lead_out_are_refused() {
    for path in ["../escaped", "/tmp/escaped", "a/../../escaped", ".."] {
        let place = Place::new();
        let error = place.refuses("tar", &tar_of(&[common::file(path, "x")]));
        assert!(error.contains("not a path inside"), "{path}: {error}");
        place.is_intact();
    }
    let place = Place::new();
    let error = place.refuses("tar", &tar_of(&[common::file(&"x".repeat(300), "x")]));
    assert!(error.contains("not a path inside"), "{error}");
}

#[test]
fn links_that_lead_out_are_refused_and_never_written_through() {
    for (kind, target) in [
        (EntryType::Symlink, "/etc"),
        (EntryType::Symlink, "../outside"),
        (EntryType::Symlink, "x/../../outside"),
        (EntryType::Link, "../outside/kept"),
        (EntryType::Link, "/etc/passwd"),
    ] {
        let place = Place::new();
        let entries = [link(kind, "l", target), common::file("l/escaped", "x")];
        let error = place.refuses("tar", &tar_of(&entries));
        assert!(
            error.contains("not inside") || error.contains("not a path"),
            "{target}: {error}"
        );
        place.is_intact();
    }
    // One that was there before the archive came.
    let place = Place::new();
    std::os::unix::fs::symlink("../outside", place.into.join("planted")).expect("link");
    place.refuses("tar", &tar_of(&[common::file("planted/escaped", "x")]));
    place.refuses(
        "tar",
        &tar_of(&[link(EntryType::Link, "l", "planted/kept")]),
    );
    place.is_intact();
}

#[test]
fn a_chain_of_harmless_links_leads_nowhere() {
    // Each by itself stays inside; together they would leave.
    let entries = [
        folder("a/b"),
        link(EntryType::Symlink, "a/b/up", ".."),
        link(EntryType::Symlink, "a/b/top", "up/.."),
        link(EntryType::Symlink, "out", "a/b/top/.."),
        common::file("out/escaped", "x"),
    ];
    let place = Place::new();
    place.refuses("tar", &tar_of(&entries));
    place.is_intact();
}

#[test]
fn devices_pipes_and_files_with_holes_are_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        let place = Place::new();
        let error = place.refuses("tar", &tar_of(&[special(kind, "dev")]));
        assert!(error.contains("a device or a pipe"), "{error}");
        place.is_intact();
    }
    let place = Place::new();
    let error = place.refuses("tar", &tar_of(&[special(EntryType::GNUSparse, "holes")]));
    assert!(error.contains("holes"), "{error}");
    let sparse = common::extended(&[("GNU.sparse.realsize", "1000000000000")], "f", "x");
    let error = place.refuses("tar", &tar_of(&[sparse]));
    assert!(error.contains("a file with holes"), "{error}");
}

#[test]
fn bombs_end_at_the_budget() {
    let megabyte = "\0".repeat(1 << 20);
    let large: Vec<_> = (0..40)
        .map(|n| common::file(&format!("f{n}"), &megabyte))
        .collect();
    for (format, compress) in common::COMPRESSIONS {
        let place = Place::new();
        let error = place.refuses(format, &compress(&tar_of(&large)));
        assert!(error.contains("more than the"), "{format}: {error}");
        assert!(place.size() <= common::MOST, "{format}: {}", place.size());
    }
    // A size that nobody has, and bytes that are not there.
    let place = Place::new();
    let mut liar = tar_of(&[common::file("f", "x")]);
    common::claim(&mut liar, 1 << 40);
    let error = place.refuses("tar", &liar);
    assert!(error.contains("damaged"), "{error}");
    // As many names as there are.
    let names: Vec<_> = (0..40_000)
        .map(|n| common::file(&n.to_string(), ""))
        .collect();
    let error = place.refuses("tar", &tar_of(&names));
    assert!(error.contains("more than the"), "{error}");
    // A long name that does not fit into memory.
    let error = place.refuses("tar", &tar_of(&[common::long_name(100 << 20)]));
    assert!(error.contains("extended header"), "{error}");
}

#[test]
fn sizes_that_contradict_each_other_are_refused() {
    let two = common::extended(&[("size", "0")], "f", "hidden");
    let place = Place::new();
    let error = place.refuses("tar", &tar_of(&[two]));
    assert!(error.contains("two sizes"), "{error}");
}

#[test]
fn damaged_archives_are_errors() {
    let good = tar_of(&[common::file("f", &"x".repeat(3000))]);
    for (format, compress) in common::COMPRESSIONS {
        let packed = compress(&good);
        for cut in [1, 20, packed.len() / 2] {
            let place = Place::new();
            place.refuses(
                format,
                &packed[..packed.len() - packed.len().min(cut) - 1024.min(packed.len() / 3)],
            );
        }
        let place = Place::new();
        place.refuses(
            format,
            b"no archive of any kind, but long enough to be looked at",
        );
    }
    let place = Place::new();
    let error = place.refuses("zip", b"no archive");
    assert!(error.contains("damaged"), "{error}");
}

#[test]
fn zips_are_as_tame() {
    const LINK: u32 = 0o120_777;
    for (path, mode, contents) in [
        ("../escaped", 0o100_644, "x"),
        ("/tmp/escaped", 0o100_644, "x"),
        ("l", LINK, "../outside"),
        ("l", LINK, "/etc/passwd"),
        ("dev", 0o020_644, ""),
        ("pipe", 0o010_644, ""),
    ] {
        let place = Place::new();
        place.refuses("zip", &raw_zip(&[(path, mode, contents.as_bytes())]));
        place.is_intact();
    }
    let megabyte = vec![0; 1 << 20];
    let names: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    let large: Vec<_> = names
        .iter()
        .map(|n| (n.as_str(), 0o100_644, &megabyte[..]))
        .collect();
    let place = Place::new();
    let error = place.refuses("zip", &raw_zip(&large));
    assert!(error.contains("more than the"), "{error}");
    assert!(place.size() <= common::MOST);
    // Two entries with the same bytes: how the densest bombs are made.
    let mut twice = raw_zip(&[("a", 0o100_644, b"same"), ("b", 0o100_644, b"same")]);
    common::overlap(&mut twice);
    let error = Place::new().refuses("zip", &twice);
    assert!(error.contains("same bytes"), "{error}");
}

#[test]
fn a_process_that_unpacks_sees_nothing_else() {
    if !nix_is_root() {
        return;
    }
    // The archive is opened by who starts it; a path of the host means nothing to it.
    let place = Place::new();
    let entries = [
        link(EntryType::Symlink, "d", "."),
        common::file("d/f", "inside"),
    ];
    place.unpacks("tar", &tar_of(&entries));
    assert_eq!(
        fs::read_to_string(place.into.join("f")).expect("there"),
        "inside"
    );
    place.is_intact();
    assert!(Path::new("/proc/self").exists());
}

fn nix_is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
