//! Who an image says that its program runs as: its own /etc/passwd, read out of its layers.
//!
//! Called by the containerizer for tasks of which nobody else says it. Invariant: nothing outside the layers is read.

use std::io::Read;
use std::path::{Path, PathBuf};

use nesos_sys::fs::{Access, FsError, open_beneath};
use nesos_sys::user::{self, Credentials};

/// Largest file of users.
const MAX_FILE: u64 = 1024 * 1024;

/// `USER[:GROUP]` by the layers, the topmost first.
pub(super) fn find(text: &str, layers: &[PathBuf]) -> Result<Credentials, String> {
    let passwd = read(layers, "etc/passwd")?;
    let group = read(layers, "etc/group")?;
    let found = user::find_in_image(text, &passwd, &group);
    found.ok_or_else(|| {
        let shown: String = text.chars().take(100).collect();
        format!("its user '{shown}' is not in its /etc/passwd and /etc/group")
    })
}

/// The topmost one; empty if there is none.
fn read(layers: &[PathBuf], path: &str) -> Result<String, String> {
    for layer in layers {
        let file = match open_beneath(layer, Path::new(path), Access::Read) {
            Ok(file) => file,
            // Taken away from the layers below by a mark.
            Err(FsError::NotAFile { .. }) => return Ok(String::new()),
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error.to_string()),
        };
        let mut text = String::new();
        let read = file.take(MAX_FILE).read_to_string(&mut text);
        read.map_err(|e| format!("/{path}: {e}"))?;
        return Ok(text);
    }
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_topmost_file_counts_and_no_link_leads_out() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let layers = ["top", "bottom"].map(|name| folder.path().join(name));
        for layer in &layers {
            fs::create_dir_all(layer.join("etc")).expect("mkdir");
        }
        let passwd = |layer: &Path, uid: u32| {
            let line = format!("web:x:{uid}:{uid}::/:/bin/sh\n");
            fs::write(layer.join("etc/passwd"), line).expect("write");
        };
        passwd(&layers[1], 7);
        assert_eq!(find("web", &layers).expect("found").uid, 7);
        passwd(&layers[0], 8);
        assert_eq!(find("web", &layers).expect("found").uid, 8);
        assert!(
            find("other", &layers)
                .expect_err("none")
                .contains("'other'")
        );
        fs::remove_file(layers[0].join("etc/passwd")).expect("remove");
        std::os::unix::fs::symlink("/etc/passwd", layers[0].join("etc/passwd")).expect("link");
        assert!(find("root", &layers).is_err());
        assert_eq!(find("5", &layers[1..]).expect("a number").uid, 5);
    }
}
