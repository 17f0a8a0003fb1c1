//! `nesos image`: what is in an image or on a card, what differs between two, and whether it is whole.
//!
//! The reading is `nesos_image::inspect`'s. Called by `main`; `flash` finds images and their digests here. Invariant: a secret of a
//! card's configuration is never shown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nesos_base::cluster_config::{ClusterConfig, MasterAt};
use nesos_image::Manifest;
use nesos_image::inspect::{Contents, InspectError, Opened, Root, checks};
use serde_json::{Value, json};

use crate::args::{ImageCommand, Output};
use crate::failure::{Failure, REFUSED};
use crate::output;

/// `nesos image`. Ends with 1 where two differ or a check fails.
pub(crate) fn image(command: &ImageCommand, output: Output) -> Result<u8, Failure> {
    match command {
        ImageCommand::Info { file } => info(file, output).map(|()| 0),
        ImageCommand::Diff { old, new } => diff(old, new, output),
        ImageCommand::Verify { file } => verify(file, output),
    }
}

/// An image by its path, or by the name of a board that was built here.
pub(crate) fn locate(image: &Path) -> PathBuf {
    let board = image.to_str().filter(|name| !name.contains(['/', '.']));
    let built = board
        .filter(|_| !image.exists())
        .and_then(|board| nesos_image::artifacts(board).ok());
    built.map_or_else(|| image.to_owned(), |built| built.image_zst)
}

/// SHA-256 of the unpacked image, hex, as the manifest beside it says.
pub(crate) fn digest_of(image: &Path) -> Option<String> {
    let name = image.file_name()?.to_str()?;
    let facts = manifest(image)?.files;
    facts
        .get(name.strip_suffix(".zst").unwrap_or(name))
        .map(|facts| facts.sha256.clone())
}

/// The manifest that the builder writes beside its images, if it tells of this one.
fn manifest(image: &Path) -> Option<Manifest> {
    let name = image.file_name()?.to_str()?;
    let text = std::fs::read(image.with_file_name("manifest.json")).ok()?;
    let manifest: Manifest = serde_json::from_slice(&text).ok()?;
    manifest.files.contains_key(name).then_some(manifest)
}

fn look(file: &Path) -> Result<(Opened, Contents), InspectError> {
    let opened = Opened::open(&locate(file))?;
    let contents = opened.contents()?;
    Ok((opened, contents))
}

fn info(file: &Path, output: Output) -> Result<(), Failure> {
    let (_, contents) = look(file)?;
    let manifest = manifest(&locate(file));
    let value = describe(&contents, manifest.as_ref());
    if output == Output::Json {
        return output::json(&value);
    }
    let mut lines = Vec::new();
    flatten("", &value, &mut lines);
    let width = lines
        .iter()
        .map(|(key, _)| key.chars().count())
        .max()
        .unwrap_or(0);
    for (key, text) in lines {
        output::line(&output::printable(&format!("{key:<width$}  {text}")))?;
    }
    Ok(())
}

fn describe(contents: &Contents, manifest: Option<&Manifest>) -> Value {
    let started = contents
        .roots
        .iter()
        .find_map(|root| root.as_ref().ok()?.as_ref());
    let release = |key: &str| started.and_then(|root| root.release.get(key)).cloned();
    let mut value = json!({
        "version": release("VERSION_ID"),
        "board": release("NESOS_BOARD"),
        "build": release("BUILD_ID"),
        "bytes": contents.bytes,
        "partitions": partitions(contents),
        "slots": {"a": slot(contents, 0), "b": slot(contents, 1)},
        "data": contents.data.map_or(json!("not made yet"), |bytes| json!(bytes)),
        "configuration": configuration(contents.config.as_deref()),
    });
    let started = contents.records.iter().flatten().flatten().next();
    if let (Some(state), Some(all)) = (started, value.as_object_mut()) {
        all.insert("starts".to_owned(), json!(state.committed.letter()));
        if let Some(trial) = state.trial {
            all.insert(
                "trial".to_owned(),
                json!({"slot": trial.slot.letter(), "tries": trial.tries}),
            );
        }
    }
    if let (Some(manifest), Some(all)) = (manifest, value.as_object_mut()) {
        let kernel = &manifest.kernel;
        all.insert(
            "kernel".to_owned(),
            json!(format!("{} {}", kernel.package, kernel.version)),
        );
        all.insert("packages".to_owned(), json!(manifest.packages));
        all.insert("command_line".to_owned(), json!(manifest.command_line));
    }
    value
}

fn partitions(contents: &Contents) -> Value {
    let layout = &contents.layout;
    let length = |partition: nesos_image::Partition| partition.length;
    json!({
        "boot": length(layout.boot), "root_a": length(layout.root_a),
        "root_b": length(layout.root_b), "data": length(layout.data),
    })
}

fn slot(contents: &Contents, index: usize) -> Value {
    let folder = ["slot-a/", "slot-b/"]
        .get(index)
        .copied()
        .unwrap_or_default();
    let files: BTreeMap<&str, u64> = contents
        .boot
        .iter()
        .flatten()
        .filter_map(|(path, file)| Some((path.strip_prefix(folder)?, file.bytes)))
        .collect();
    let root = match contents.roots.get(index) {
        Some(Ok(Some(root))) => json!({
            "version": root.release.get("VERSION_ID"), "bytes": root.bytes, "entries": root.entries.len(), "sha256": root.sha256,
        }),
        Some(Err(error)) => json!(error),
        _ => json!("empty"),
    };
    json!({"root": root, "files": files})
}

/// What a card is to be, without what is secret.
fn configuration(bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else {
        return json!("none");
    };
    match ClusterConfig::parse(bytes) {
        Err(error) => json!(error.to_string()),
        Ok(config) => json!({
            "name": config.name, "role": config.role, "cluster": config.cluster,
            "token": config.token.is_some(), "key": config.key.is_some(),
            "master": config.master.as_ref().map(MasterAt::text), "masters": config.masters,
            "address": config.network.map(|n| format!("{}/{}", n.address, n.prefix)),
            "wifi": config.wifi.map(|wifi| wifi.ssid), "ssh_keys": config.ssh_keys.len(),
            "ntp": config.ntp, "proxy": config.proxy, "attributes": config.attributes,
            "reserved_memory": config.reserved_memory,
        }),
    }
}

/// `a.b.c  value` for every leaf that says something.
fn flatten(prefix: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix} {key}")
                };
                flatten(&key, value, lines);
            }
        }
        Value::Null => {}
        Value::Array(list) if list.is_empty() => {}
        Value::String(text) => lines.push((prefix.to_owned(), text.clone())),
        other => lines.push((prefix.to_owned(), other.to_string())),
    }
}

fn diff(old: &Path, new: &Path, output: Output) -> Result<u8, Failure> {
    let (_, before) = look(old)?;
    let (_, after) = look(new)?;
    let (from, to) = (manifest(&locate(old)), manifest(&locate(new)));
    let mut rows = Vec::new();
    let facts = |contents, manifest: &Option<Manifest>| {
        let mut lines = Vec::new();
        let mut value = describe(contents, manifest.as_ref());
        if let Some(all) = value.as_object_mut() {
            // Both are told of entry by entry.
            all.remove("slots");
        }
        flatten("", &value, &mut lines);
        lines.into_iter().collect::<BTreeMap<String, String>>()
    };
    compare(
        "image",
        &facts(&before, &from),
        &facts(&after, &to),
        Clone::clone,
        &mut rows,
    );
    let none = BTreeMap::new();
    let files = |contents: &Contents| contents.boot.as_ref().unwrap_or(&none).clone();
    compare(
        "boot",
        &files(&before),
        &files(&after),
        |f| format!("{} bytes", f.bytes),
        &mut rows,
    );
    let empty = BTreeMap::new();
    for (name, (before, after)) in ["root A", "root B"]
        .into_iter()
        .zip(before.roots.iter().zip(&after.roots))
    {
        let entries = |root: &'_ Result<Option<Root>, String>| match root {
            Ok(Some(root)) => root.entries.clone(),
            _ => empty.clone(),
        };
        let show = |entry: &nesos_image::inspect::Entry| match entry.kind {
            "file" => format!("{} bytes, {:o}", entry.bytes, entry.mode),
            "link" => format!("to {}", entry.content),
            kind => format!("{kind}, {:o}", entry.mode),
        };
        compare(name, &entries(before), &entries(after), show, &mut rows);
    }
    let code = if rows.is_empty() { 0 } else { REFUSED };
    if output == Output::Json {
        for [place, what, before, after] in &rows {
            output::json(&json!({"in": place, "what": what, "old": before, "new": after}))?;
        }
    } else if rows.is_empty() {
        output::line("no difference")?;
    } else {
        let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
        output::table(&["IN", "WHAT", "OLD", "NEW"], &rows)?;
    }
    Ok(code)
}

fn compare<T: PartialEq>(
    place: &str,
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    show: impl Fn(&T) -> String,
    rows: &mut Vec<[String; 4]>,
) {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let (before, after) = (old.get(key), new.get(key));
        if before != after {
            let text = |value: Option<&T>| value.map_or("-".to_owned(), &show);
            let (before, mut after) = (text(before), text(after));
            if before == after {
                after += ", other content";
            }
            rows.push([place.to_owned(), key.clone(), before, after]);
        }
    }
}

fn verify(file: &Path, output: Output) -> Result<u8, Failure> {
    let (opened, contents) = look(file)?;
    let mut results: Vec<(&str, Result<String, String>)> = checks(&opened, &contents)
        .into_iter()
        .map(|check| (check.name, check.result))
        .collect();
    if let Some(bytes) = &contents.config {
        let checked =
            ClusterConfig::parse(bytes).map(|config| format!("cluster {}", config.cluster));
        results.push(("cluster.toml", checked.map_err(|error| error.to_string())));
    }
    if let Some(expected) = digest_of(&locate(file)) {
        let found = opened.sha256()?;
        results.push((
            "manifest",
            match found == expected {
                true => Ok("digest as in manifest.json".to_owned()),
                false => Err(format!("SHA-256 is {found}, manifest.json says {expected}")),
            },
        ));
    }
    for (name, result) in &results {
        let (ok, text) = match result {
            Ok(text) => (true, text),
            Err(text) => (false, text),
        };
        match output {
            Output::Json => output::json(&json!({"check": name, "ok": ok, "text": text}))?,
            Output::Table => {
                let word = if ok { "ok" } else { "BAD" };
                output::line(&output::printable(&format!(
                    "{name:<12}  {word:<3}  {text}"
                )))?;
            }
        }
    }
    let bad = results.iter().any(|(_, result)| result.is_err());
    Ok(if bad { REFUSED } else { 0 })
}
