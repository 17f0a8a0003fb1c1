//! Graphics processors and their likes: which device files make up each of them, and what OpenCL knows to be here.
//!
//! Called once at start, by `settings`. Not an isolator: who gets which is `container::isolators::devices`'s. Invariant: an
//! accelerator is at least one device file below /dev.

use std::fs;
use std::path::{Component, Path, PathBuf};

use nesos_shell::flags::Values;
use nesos_wire::task::{Attribute, AttributeValue};

use crate::settings::SettingsError;

/// The device files of one.
pub(crate) type Accelerator = Vec<PathBuf>;

/// Most that are looked for; a machine with more is no board.
const MAX: usize = 64;
/// Files that stand for no single one but are needed to compute with those that are there: AMD's, the VideoCore's, ARM's.
const SHARED: [&str; 3] = ["kfd", "vchiq", "mali0"];
/// Where OpenCL's platforms leave their names.
const PLATFORMS: &str = "/etc/OpenCL/vendors";
/// The attribute that names one.
const ATTRIBUTE: &str = "opencl";

/// Those that `--gpu_devices` names, else those that are found; none where nothing isolates them.
pub(crate) fn of(is_isolated: bool, flags: &Values) -> Result<Vec<Accelerator>, SettingsError> {
    match flags.text("gpu_devices") {
        _ if !is_isolated => Ok(Vec::new()),
        Some(text) => parse(text).map_err(|e| SettingsError::new("--gpu_devices", e)),
        None => Ok(find(Path::new("/dev"))),
    }
}

/// `opencl:NAME` for each platform of this machine.
pub(crate) fn platforms() -> Vec<Attribute> {
    platforms_in(Path::new(PLATFORMS))
}

/// `FILE,FILE;FILE`: the files of one are separated by commas.
fn parse(text: &str) -> Result<Vec<Accelerator>, String> {
    let mut all = Vec::new();
    for one in text.split(';').filter(|one| !one.trim().is_empty()) {
        let files: Accelerator = one.split(',').map(|file| file.trim().into()).collect();
        let is_device = |file: &&PathBuf| {
            file.starts_with("/dev/")
                && file.components().count() > 2
                && !file.components().any(|part| part == Component::ParentDir)
        };
        if let Some(wrong) = files.iter().find(|file| !is_device(file)) {
            return Err(format!(
                "'{}' is no file below /dev; expected such as /dev/dri/renderD128,/dev/kfd;/dev/dri/renderD129",
                wrong.display()
            ));
        }
        all.push(files);
    }
    if all.len() > MAX {
        return Err(format!("at most {MAX} are possible"));
    }
    Ok(all)
}

/// One for each render node of the kernel's graphics drivers; a board whose driver makes none has one, if any.
fn find(dev: &Path) -> Vec<Accelerator> {
    let shared = SHARED.map(|name| dev.join(name));
    let shared: Accelerator = shared.into_iter().filter(|file| file.exists()).collect();
    let folder = dev.join("dri");
    let mut numbers: Vec<u32> = names(&folder)
        .filter_map(|name| name.strip_prefix("renderD")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers.truncate(MAX);
    if numbers.is_empty() && !shared.is_empty() {
        return vec![shared];
    }
    let of = |number| {
        let own = folder.join(format!("renderD{number}"));
        std::iter::once(own).chain(shared.clone()).collect()
    };
    numbers.into_iter().map(of).collect()
}

fn platforms_in(folder: &Path) -> Vec<Attribute> {
    let mut found: Vec<String> = names(folder)
        .filter_map(|name| Some(name.strip_suffix(".icd")?.to_owned()))
        .filter(|name| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        })
        .collect();
    found.sort();
    found.truncate(MAX);
    let attribute = |name| Attribute {
        name: ATTRIBUTE.to_owned(),
        value: AttributeValue::Text(name),
    };
    found.into_iter().map(attribute).collect()
}

fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn accelerators_are_found_by_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let dev = folder.path();
        assert!(find(dev).is_empty());
        fs::write(dev.join("vchiq"), "").unwrap();
        assert_eq!(find(dev), [[dev.join("vchiq")]]);
        fs::create_dir(dev.join("dri")).unwrap();
        for name in ["card0", "card1", "renderD129", "renderD128", "by-path"] {
            fs::write(dev.join("dri").join(name), "").unwrap();
        }
        let of = |name| vec![dev.join("dri").join(name), dev.join("vchiq")];
        assert_eq!(find(dev), [of("renderD128"), of("renderD129")]);
    }

    #[test]
    fn accelerators_are_named() {
        let all = parse("/dev/a, /dev/b ;/dev/dri/c;").unwrap();
        let path = |text: &str| PathBuf::from(text);
        assert_eq!(
            all,
            [
                vec![path("/dev/a"), path("/dev/b")],
                vec![path("/dev/dri/c")]
            ]
        );
        assert!(parse("").unwrap().is_empty());
        for wrong in [
            "a",
            "/dev/../etc/passwd",
            "/dev/",
            "/dev/a,,/dev/b",
            "/etc/x",
        ] {
            assert!(
                parse(wrong).unwrap_err().contains("no file below /dev"),
                "{wrong}"
            );
        }
        assert!(parse(&"/dev/a;".repeat(MAX + 1)).is_err());
    }

    #[test]
    fn platforms_become_attributes() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["pocl.icd", "mali.icd", "README", "a b.icd"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = platforms_in(folder.path());
        let names: Vec<_> = found
            .iter()
            .map(|one| (one.name.as_str(), &one.value))
            .collect();
        let text = |name: &str| AttributeValue::Text(name.into());
        assert_eq!(
            names,
            [("opencl", &text("mali")), ("opencl", &text("pocl"))]
        );
    }
}
