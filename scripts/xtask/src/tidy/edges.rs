//! Which crates may depend on which: the dependency direction of README.md, checked from `cargo metadata`.
//!
//! Called by `tidy`. Invariant: a crate that is not named here is a finding, not a freedom.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Which own crates each crate may depend on. A new edge is a decision: write it here and in README.md.
const EDGES: &[(&str, &[&str])] = &[
    ("nesos-wire", &[]),
    ("nesos-base", &["nesos-wire"]),
    ("nesos-api", &["nesos-wire"]),
    ("nesos-shell", &["nesos-wire", "nesos-base", "nesos-sys"]),
    ("nesos-sys", &[]),
    ("init", &["nesos-wire", "nesos-base", "nesos-sys"]),
    ("protobuf", &[]),
    ("raft-proto", &["protobuf"]),
    ("masterd-core", &["nesos-wire", "nesos-base", "protobuf"]),
    ("agentd-core", &["nesos-wire", "nesos-base"]),
    (
        "masterd",
        &[
            "nesos-wire",
            "nesos-base",
            "nesos-api",
            "nesos-shell",
            "masterd-core",
            "raft-proto",
        ],
    ),
    (
        "agentd",
        &[
            "nesos-wire",
            "nesos-base",
            "nesos-api",
            "nesos-shell",
            "nesos-sys",
            "agentd-core",
        ],
    ),
    ("nesos-executor", &["nesos-wire", "nesos-sys"]),
    ("nesos-fetcher", &["nesos-sys"]),
    ("nesos-image", &["nesos-wire", "nesos-base"]),
    (
        "nesos",
        &[
            "nesos-wire",
            "nesos-base",
            "nesos-api",
            "nesos-shell",
            "nesos-image",
        ],
    ),
];
/// Crates that nothing may depend on and that may depend on everything.
const LEAVES: &[&str] = &[
    "xtask",
    "nesos-sim",
    "nesos-wire-compat",
    "nesos-cluster-tests",
    "nesos-qemu-tests",
    "nesos-client-tests",
    "nesos-load",
];
/// What the pure crates must not reach, not even through others: clocks, sockets, files, randomness.
const IMPURE: &[&str] = &[
    "tokio",
    "heed",
    "rustls",
    "nix",
    "libc",
    "hyper",
    "rand",
    "getrandom",
    "mio",
];
/// Ways to impurity that lead nowhere: raft draws a number, which masterd-core replaces before it is looked at.
const HARMLESS: &[(&str, &str)] = &[("raft", "rand")];
/// The crates whose purity the compiler keeps that way.
const PURE: &[&str] = &["masterd-core", "agentd-core", "nesos-wire"];

/// Own crates' edges against [`EDGES`], and what the pure crates reach.
pub(super) fn check(root: &Path, findings: &mut Vec<String>) -> Result<()> {
    let graph = Graph::read(root)?;
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    for (name, dependencies) in &graph.normal {
        if LEAVES.contains(&name.as_str()) || !graph.members.contains(name) {
            continue;
        }
        let Some(may) = allowed.get(name.as_str()) else {
            findings.push(format!(
                "crate {name}: not in tidy's EDGES; decide what it may depend on"
            ));
            continue;
        };
        for dependency in dependencies.iter().filter(|d| graph.members.contains(*d)) {
            if !may.contains(&dependency.as_str()) {
                findings.push(format!("crate {name}: must not depend on {dependency} (dependency direction, README.md)"));
            }
        }
    }
    for pure in PURE {
        for reached in graph.reachable(pure) {
            if IMPURE.contains(&reached.as_str()) {
                findings.push(format!("crate {pure}: reaches {reached}, but must stay free of I/O, clocks and randomness"));
            }
        }
    }
    Ok(())
}

/// Package names and their normal dependencies, from `cargo metadata`.
struct Graph {
    members: BTreeSet<String>,
    normal: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read(root: &Path) -> Result<Self> {
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(root)
            .output()
            .context("running cargo metadata")?;
        ensure!(
            output.status.success(),
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let json: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("cargo metadata's JSON")?;
        Self::from_json(&json).context("cargo metadata's JSON has another shape than expected")
    }

    fn from_json(json: &serde_json::Value) -> Option<Self> {
        let mut names = BTreeMap::new();
        for package in json["packages"].as_array()? {
            names.insert(
                package["id"].as_str()?,
                package["name"].as_str()?.to_owned(),
            );
        }
        let members = json["workspace_members"]
            .as_array()?
            .iter()
            .filter_map(|id| names.get(id.as_str()?).cloned())
            .collect();
        let mut normal: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in json["resolve"]["nodes"].as_array()? {
            let entry = normal
                .entry(names.get(node["id"].as_str()?)?.clone())
                .or_default();
            for dependency in node["deps"].as_array()? {
                let is_normal = dependency["dep_kinds"]
                    .as_array()?
                    .iter()
                    .any(|kind| kind["kind"].is_null());
                if is_normal {
                    entry.insert(names.get(dependency["pkg"].as_str()?)?.clone());
                }
            }
        }
        Some(Self { members, normal })
    }

    fn reachable(&self, from: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut queue = vec![from.to_owned()];
        while let Some(name) = queue.pop() {
            for next in self.normal.get(&name).into_iter().flatten() {
                if HARMLESS.contains(&(name.as_str(), next.as_str())) {
                    continue;
                }
                if seen.insert(next.clone()) {
                    queue.push(next.clone());
                }
            }
        }
        seen
    }
}
