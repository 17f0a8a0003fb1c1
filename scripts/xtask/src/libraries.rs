//! What others wrote that is linked into the boards' programs: libraries with versions, digests and licences, and the licences' texts.
//!
//! Asks cargo, which has all of it on disk after a build. Called by `image`. Invariant: only what the boards' target links, in the order of
//! names, so that the same lock file gives the same lists.

use crate::cross::{self, PROGRAMS, TARGET};
use anyhow::{Context, Result};
use nesos_image::builder::Library;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// Beginnings of the names of files that hold licences.
const TEXTS: [&str; 6] = [
    "license",
    "licence",
    "copying",
    "copyright",
    "notice",
    "unlicense",
];
/// What no package of cargo's is: the standard library, and the C library that zig links.
const STANDARD: [(&str, &str, &str); 2] = [
    (
        "rust-std",
        env!("CARGO_PKG_RUST_VERSION"),
        "MIT OR Apache-2.0",
    ),
    ("musl", "1.2.5", "MIT"),
];

/// All libraries, and all texts as one.
///
/// # Errors
/// cargo does not answer, or a file of a library cannot be read.
pub(crate) fn all(root: &Path) -> Result<(Vec<Library>, String)> {
    let arguments = [
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        TARGET,
    ];
    // Without the false clock of --check-reproducible, under which cargo waits for ever: nothing of the answer depends on the time.
    let output = cross::cargo(root, &arguments)
        .env_remove("LD_PRELOAD")
        .output()
        .context("start cargo metadata")?;
    let graph: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).context("Cargo.lock")?;
    let lock: toml::Table = lock.parse().context("Cargo.lock")?;
    let linked = linked(&graph);
    let mut libraries = Vec::new();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in list(&graph["packages"]) {
        // What has no source is ours.
        if !linked.contains(text(&package["id"])) || package["source"].is_null() {
            continue;
        }
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        libraries.push(Library {
            name: name.to_owned(),
            version: version.to_owned(),
            licence: package["license"]
                .as_str()
                .unwrap_or("NOASSERTION")
                .to_owned(),
            sha256: checksum(&lock, name, version),
            registry: Some("cargo"),
        });
        let folder = Path::new(text(&package["manifest_path"])).parent();
        for text in licence_texts(folder.context("a package without a folder")?)? {
            texts
                .entry(text)
                .or_default()
                .insert(format!("{name} {version}"));
        }
    }
    libraries.extend(STANDARD.map(|(name, version, licence)| Library {
        name: name.to_owned(),
        version: version.to_owned(),
        licence: licence.to_owned(),
        sha256: None,
        registry: None,
    }));
    libraries.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    let mut all = String::new();
    for (text, of) in texts {
        let names = of.into_iter().collect::<Vec<_>>().join(", ");
        writeln!(all, "==== {names}\n\n{}\n", text.trim_end())?;
    }
    Ok((libraries, all))
}

/// Ids of all packages that the programs link: no build scripts, macros or tests.
fn linked(graph: &Value) -> BTreeSet<String> {
    let nodes = list(&graph["resolve"]["nodes"]);
    let by_id: BTreeMap<&str, &Value> =
        nodes.iter().map(|node| (text(&node["id"]), node)).collect();
    let packages = list(&graph["packages"]);
    let is_macro = |package: &&Value| {
        let mut kinds = list(&package["targets"])
            .iter()
            .flat_map(|target| list(&target["kind"]));
        kinds.any(|kind| kind == "proc-macro")
    };
    let macros: BTreeSet<&str> = packages
        .iter()
        .filter(is_macro)
        .map(|package| text(&package["id"]))
        .collect();
    let programs = packages
        .iter()
        .filter(|package| PROGRAMS.contains(&text(&package["name"])));
    let mut waiting: Vec<&str> = programs.map(|package| text(&package["id"])).collect();
    let mut found = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        // What a macro is made of runs in the compiler.
        if macros.contains(id) || !found.insert(id.to_owned()) {
            continue;
        }
        let Some(node) = by_id.get(id) else { continue };
        for dependency in list(&node["deps"]) {
            // A normal dependency has no kind.
            if list(&dependency["dep_kinds"])
                .iter()
                .any(|kind| kind["kind"].is_null())
            {
                waiting.push(text(&dependency["pkg"]));
            }
        }
    }
    found
}

fn checksum(lock: &toml::Table, name: &str, version: &str) -> Option<String> {
    let packages = lock.get("package")?.as_array()?;
    let of = |package: &&toml::Value| {
        package.get("name").and_then(toml::Value::as_str) == Some(name)
            && package.get("version").and_then(toml::Value::as_str) == Some(version)
    };
    let found = packages.iter().find(of)?.get("checksum")?;
    found.as_str().map(str::to_owned)
}

fn licence_texts(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().to_lowercase());
        let is_text = name.is_some_and(|name| TEXTS.iter().any(|begin| name.starts_with(begin)));
        if is_text && path.is_file() {
            let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
            found.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Ok(found)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
