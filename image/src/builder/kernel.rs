//! The kernel: a pinned Debian source, `allnoconfig` plus our fragments, cached by the digest of all that decides its bytes.
//!
//! Called by [`super::build_image`]. Invariant: a folder in the cache is complete (it appears by one rename) and every line of the
//! fragments is true in the kernel inside.

use super::config::{Board, file_name};
use super::debian::{Debian, DebianError};
use super::tools::{Progress, ToolError, run};
use crate::artifacts::KernelFacts;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Raised when this file builds differently from the same inputs.
const RECIPE: u32 = 1;
/// Cross compiler prefix, from Debian's `gcc-aarch64-linux-gnu`.
const CROSS_COMPILE: &str = "aarch64-linux-gnu-";
/// What the kernel says about its build, so that time, user and host do not enter it.
const IDENTITY: [(&str, &str); 4] = [
    ("KBUILD_BUILD_TIMESTAMP", "2026-01-01 00:00:00 UTC"),
    ("KBUILD_BUILD_USER", "nesos"),
    ("KBUILD_BUILD_HOST", "nesos"),
    ("KBUILD_BUILD_VERSION", "1"),
];

/// A built kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Where its files are, by the names of [`Board::targets`] without folders, and `config`.
    pub folder: PathBuf,
    /// What it is.
    pub facts: KernelFacts,
}

/// A kernel that could not be built.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The source package cannot be had.
    #[error(transparent)]
    Debian(#[from] DebianError),
    /// A program failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A file of the build.
    #[error("{path}: {source}")]
    File {
        /// File or folder.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A fragment asks for what the kernel configuration cannot give.
    #[error(
        "kernel fragments: these lines did not survive `make allnoconfig` (misspelt, or a dependency is missing): {lines}"
    )]
    Lost {
        /// The lines.
        lines: String,
    },
}

/// Builds the kernel of `board` below `cache`, or finds it there.
///
/// # Errors
/// The source cannot be had, a fragment does not fit, or the compilation fails.
pub fn build_kernel(
    board: &Board,
    cache: &Path,
    debian: &Debian,
    progress: &dyn Progress,
) -> Result<Kernel, KernelError> {
    let package = &board.kernel_package;
    let version = debian.version(package)?;
    let config = merged(&board.fragments)?;
    let key = key(package, &version, &config, &board.targets);
    let folder = cache.join("kernel").join(&key);
    let facts = KernelFacts {
        package: package.clone(),
        version,
        key,
    };
    if !folder.is_dir() {
        progress.begin(&format!(
            "kernel {} for {} (several minutes, once)",
            facts.version, board.name
        ));
        let source = unpack(&facts, cache, debian)?;
        compile(board, &facts, &config, cache, &source)?;
        progress.end(&facts.key);
    }
    let latest = cache.join("kernel").join("latest");
    if board.qemu.machine == "virt"
        && std::fs::read_link(&latest).ok().as_deref() != Some(Path::new(&facts.key))
    {
        drop(std::fs::remove_file(&latest));
        std::os::unix::fs::symlink(&facts.key, &latest).map_err(|source| KernelError::File {
            path: latest,
            source,
        })?;
    }
    Ok(Kernel { folder, facts })
}

fn key(package: &str, version: &str, config: &str, targets: &[String]) -> String {
    let mut digest = Sha256::new();
    digest.update(format!(
        "{RECIPE}\n{package}\n{version}\n{}\n{config}",
        targets.join(" ")
    ));
    super::output::hex(&digest.finalize()[..8])
}

/// All fragments as one file: settings only, so that a comment does not rebuild a kernel.
fn merged(fragments: &[PathBuf]) -> Result<String, KernelError> {
    let mut text = String::new();
    for path in fragments {
        let fragment = std::fs::read_to_string(path).map_err(|source| KernelError::File {
            path: path.clone(),
            source,
        })?;
        for line in fragment
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

fn unpack(facts: &KernelFacts, cache: &Path, debian: &Debian) -> Result<PathBuf, KernelError> {
    let source = cache.join("kernel-source").join(&facts.version);
    let tree = source.join(&facts.package);
    if tree.is_dir() {
        return Ok(tree);
    }
    let package = debian.fetch(&facts.package, &facts.version)?;
    let scratch = fresh(&source.with_extension("part"))?;
    run(Command::new("dpkg-deb")
        .arg("-x")
        .arg(&package)
        .arg(&scratch))?;
    let archive = scratch
        .join("usr/src")
        .join(format!("{}.tar.xz", facts.package));
    run(Command::new("tar")
        .arg("-xf")
        .arg(&archive)
        .arg("-C")
        .arg(&scratch))?;
    remove(&scratch.join("usr"))?;
    std::fs::rename(&scratch, &source).map_err(|error| KernelError::File {
        path: source,
        source: error,
    })?;
    Ok(tree)
}

fn compile(
    board: &Board,
    facts: &KernelFacts,
    config: &str,
    cache: &Path,
    source: &Path,
) -> Result<(), KernelError> {
    let build = fresh(&cache.join("kernel-build").join(&facts.key))?;
    let wanted = build.join("all.config");
    std::fs::write(&wanted, config).map_err(|source| KernelError::File {
        path: wanted.clone(),
        source,
    })?;
    let make = || {
        let mut make = Command::new("make");
        make.arg("-s")
            .arg("-C")
            .arg(source)
            .arg(format!("O={}", build.display()))
            .args(["ARCH=arm64", "LOCALVERSION="]);
        make.arg(format!("CROSS_COMPILE={CROSS_COMPILE}"))
            .envs(IDENTITY)
            .env("LC_ALL", "C");
        make
    };
    run(make().env("KCONFIG_ALLCONFIG", &wanted).arg("allnoconfig"))?;
    let dot_config = build.join(".config");
    let result = std::fs::read_to_string(&dot_config).map_err(|source| KernelError::File {
        path: dot_config.clone(),
        source,
    })?;
    refuse_lost(config, &result)?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    run(make().arg(format!("-j{jobs}")).args(&board.targets))?;
    let part = fresh(&cache.join("kernel").join(format!("{}.part", facts.key)))?;
    let boot = build.join("arch/arm64/boot");
    for target in &board.targets {
        let from = if target.ends_with(".dtb") {
            boot.join("dts").join(target)
        } else {
            boot.join(target)
        };
        copy(&from, &part.join(file_name(target)))?;
    }
    copy(&dot_config, &part.join("config"))?;
    let done = cache.join("kernel").join(&facts.key);
    std::fs::rename(&part, &done).map_err(|source| KernelError::File { path: done, source })?;
    remove(&build)
}

/// A line that kconfig dropped without a word would be a promise not kept.
fn refuse_lost(wanted: &str, result: &str) -> Result<(), KernelError> {
    let have: std::collections::BTreeSet<_> = result.lines().collect();
    let lost: Vec<_> = wanted
        .lines()
        .filter(|line| match line.strip_suffix("=n") {
            Some(name) => result.lines().any(|have| {
                have.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('='))
            }),
            None => !have.contains(line),
        })
        .collect();
    if lost.is_empty() {
        Ok(())
    } else {
        Err(KernelError::Lost {
            lines: lost.join(", "),
        })
    }
}

fn fresh(folder: &Path) -> Result<PathBuf, KernelError> {
    remove(folder)?;
    std::fs::create_dir_all(folder).map_err(|source| KernelError::File {
        path: folder.to_owned(),
        source,
    })?;
    Ok(folder.to_owned())
}

fn remove(folder: &Path) -> Result<(), KernelError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(KernelError::File {
            path: folder.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), KernelError> {
    std::fs::copy(from, to).map_err(|source| KernelError::File {
        path: from.to_owned(),
        source,
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_dropped_line_is_named() {
        let result = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x\"\n";
        refuse_lost(
            "CONFIG_A=y\nCONFIG_B=n\nCONFIG_C=\"x\"\nCONFIG_D=n\n",
            result,
        )
        .unwrap();
        let error = refuse_lost("CONFIG_B=y\nCONFIG_A=n\n", result)
            .unwrap_err()
            .to_string();
        assert!(error.contains("CONFIG_B=y, CONFIG_A=n"), "{error}");
    }

    #[test]
    fn comments_do_not_rebuild_a_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fragment");
        std::fs::write(&path, "# why\n\n CONFIG_A=y \n").unwrap();
        assert_eq!(merged(&[path]).unwrap(), "CONFIG_A=y\n");
        assert_ne!(key("p", "1", "a", &[]), key("p", "2", "a", &[]));
    }
}
