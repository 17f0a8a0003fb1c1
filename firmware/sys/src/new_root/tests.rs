//! Tests of what is pure here; the rest is shown by the helper's tests, which have namespaces.
use super::*;

#[test]
fn mount_points_are_read_with_their_blanks() {
    let table = "22 27 0:21 / /proc rw - proc proc rw\n30 27 8:1 /a /mnt/my\\040disk\\134 rw shared:1 - ext4 /dev/sda rw\n";
    assert_eq!(
        mount_points(table),
        [Path::new("/proc"), Path::new("/mnt/my disk\\")]
    );
    assert_eq!(unescape("a\\04"), "a\\04");
}

#[test]
fn a_place_inside_a_directory_is_not_found_through_links() {
    let folder = tempfile::tempdir().expect("scratch folder");
    let sandbox = folder.path().join("sandbox");
    fs::create_dir(&sandbox).expect("mkdir");
    std::os::unix::fs::symlink("/etc", sandbox.join("absolute")).expect("link");
    std::os::unix::fs::symlink("..", sandbox.join("up")).expect("link");
    for path in [
        "absolute",
        "up",
        "up/x",
        "absolute/x",
        "../x",
        "/etc",
        "a/../../x",
    ] {
        assert!(
            open_inside(&sandbox, Path::new(path), None).is_err(),
            "{path}"
        );
    }
    open_inside(&sandbox, Path::new("a/b"), None).expect("made");
    assert!(sandbox.join("a/b").is_dir());
    open_inside(&sandbox, Path::new("a/b"), None).expect("found");
}
