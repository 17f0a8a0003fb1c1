//! Archives as people make them: with the system's own tools.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use common::{COMPRESSIONS, Place};

/// A folder with a bit of everything, as a tar archive.
fn packed(options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("t/closed")).unwrap();
    fs::write(root.join("t/tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("t/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::write(root.join("t/closed/in"), "x".repeat(100_000)).unwrap();
    fs::write(root.join(format!("t/{}", "n".repeat(200))), "long").unwrap();
    fs::hard_link(root.join("t/tool"), root.join("t/same")).unwrap();
    std::os::unix::fs::symlink("../t/tool", root.join("t/link")).unwrap();
    fs::set_permissions(root.join("t/closed"), fs::Permissions::from_mode(0o555)).unwrap();
    let tar = Command::new("tar")
        .arg("-c")
        .args(options)
        .args(["-C"])
        .arg(root)
        .arg("t")
        .output();
    let tar = tar.unwrap();
    assert!(tar.status.success());
    fs::set_permissions(root.join("t/closed"), fs::Permissions::from_mode(0o755)).unwrap();
    tar.stdout
}

fn check(place: &Place) {
    let at = |name: &str| place.into.join("t").join(name);
    let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("tool"), 0o755, "executable, and nobody's rights");
    assert_eq!(mode("closed"), 0o555);
    assert_eq!(fs::read(at("closed/in")).unwrap().len(), 100_000);
    assert_eq!(fs::read_to_string(at(&"n".repeat(200))).unwrap(), "long");
    let inode = |name: &str| fs::metadata(at(name)).unwrap().ino();
    assert_eq!(inode("same"), inode("tool"));
    assert_eq!(
        fs::read_link(at("link")).unwrap().to_str(),
        Some("../t/tool")
    );
}

#[test]
fn every_compression_and_both_dialects_are_read() {
    for dialect in ["--format=gnu", "--format=posix"] {
        let tar = packed(&[dialect]);
        for (format, compress) in COMPRESSIONS {
            let place = Place::new();
            place.unpacks(format, &compress(&tar));
            check(&place);
        }
    }
}

#[test]
fn what_is_there_is_replaced() {
    let place = Place::new();
    for text in ["one", "two"] {
        place.unpacks(
            "tar",
            &common::tar_of(&[common::folder("d"), common::file("d/f", text)]),
        );
        assert_eq!(fs::read_to_string(place.into.join("d/f")).unwrap(), text);
    }
}

#[test]
fn zips_and_single_files_are_unpacked() {
    let place = Place::new();
    let script = "import sys, zipfile\n\
        z = zipfile.ZipFile(sys.stdout.buffer, 'w', zipfile.ZIP_DEFLATED)\n\
        z.writestr('d/f', 'deflated' * 1000)\n\
        i = zipfile.ZipInfo('tool'); i.external_attr = 0o100755 << 16\n\
        z.writestr(i, '#!/bin/sh')\n\
        i = zipfile.ZipInfo('link'); i.external_attr = 0o120777 << 16\n\
        z.writestr(i, 'd/f')\n\
        z.close()";
    let zip = Command::new("python3")
        .args(["-c", script])
        .output()
        .unwrap();
    assert!(
        zip.status.success(),
        "{}",
        String::from_utf8_lossy(&zip.stderr)
    );
    place.unpacks("zip", &zip.stdout);
    assert_eq!(
        fs::read_to_string(place.into.join("link")).unwrap(),
        "deflated".repeat(1000)
    );
    let tool = fs::metadata(place.into.join("tool")).unwrap();
    assert_eq!(tool.permissions().mode() & 0o777, 0o755);
    let gzip = COMPRESSIONS[1].1;
    let (done, said) = place.run("gz", &gzip(b"plain"), &["--name=sub/-x"]);
    assert!(done, "{said}");
    assert_eq!(
        fs::read_to_string(place.into.join("sub/-x")).unwrap(),
        "plain"
    );
}
