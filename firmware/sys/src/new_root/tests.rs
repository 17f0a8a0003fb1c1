//! Tests of what is pure here; the rest is shown by the helper's tests, which have namespaces.
use super::*;

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
