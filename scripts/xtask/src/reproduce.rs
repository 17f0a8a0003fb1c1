//! `cargo xtask image --check-reproducible`: the proof that an image depends on nothing of the machine, the moment or the person.
//!
//! The sources are copied to another folder and compiled there; then a second process packs the images as another user, at another
//! time, in another time zone, with another umask and home. Called by `image`. Invariant: every file that the manifest names is compared.

use crate::cross::{self, PROFILE, TARGET};
use anyhow::{Context, Result, ensure};
use nesos_image::builder::{self, Board, cache_folder};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// When the second build believes to be.
const TIME: &str = "2033-03-03 03:03:03";
/// As which user and group it believes to be.
const USER: &str = "12345";

/// Builds `boards` a second time and compares.
///
/// # Errors
/// Something cannot be built, or two builds differ.
pub(crate) fn check(root: &Path, boards: &[Board], key: &Path, with_kernel: bool) -> Result<()> {
    let scratch = root.join("target/reproduce");
    let tree = scratch.join("tree");
    drop(std::fs::remove_dir_all(&tree));
    copy_sources(root, &tree)?;
    let cache = if with_kernel {
        let own = scratch.join("cache");
        drop(std::fs::remove_dir_all(&own));
        own.join("nesos")
    } else {
        cache_folder()?
    };
    let cross = scratch.join("cross");
    cross::build_into(&tree, &cross)?;
    let into = scratch.join("out");
    drop(std::fs::remove_dir_all(&into));
    let programs = cross.join(TARGET).join(PROFILE);
    pack(&tree, &programs, &into, key, &cache, boards)?;
    let mut differences = Vec::new();
    let mut count = 0;
    for board in boards {
        let first = nesos_image::artifacts(&board.name)?.manifest;
        let second = nesos_image::artifacts_in(&into.join(&board.name), &board.name)?.manifest;
        count += second.files.len();
        let names = first.files.keys().chain(second.files.keys());
        let differs = names.filter(|name| first.files.get(*name) != second.files.get(*name));
        differences.extend(differs.map(|name| format!("{}/{name}", board.name)));
    }
    ensure!(
        differences.is_empty(),
        "not reproducible: {} differ between two builds",
        differences.join(", ")
    );
    println!(
        "reproducible: {count} files have the same bytes, built in {} as user {USER} at {TIME}",
        tree.display()
    );
    Ok(())
}

/// The second process.
fn pack(
    tree: &Path,
    programs: &Path,
    into: &Path,
    key: &Path,
    cache: &Path,
    boards: &[Board],
) -> Result<()> {
    let home = home()?;
    let of_home = |variable: &str, folder: &str| {
        std::env::var_os(variable).unwrap_or_else(|| home.join(folder).into())
    };
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-user", USER, "--map-group", USER, "--"]);
    command.args(["faketime", TIME, "sh", "-c", "umask 027; exec \"$@\"", "sh"]);
    command.arg(std::env::current_exe().context("this program's own path")?);
    command
        .args(["image", "--tree"])
        .arg(tree)
        .arg("--pack")
        .arg(programs);
    command.arg("--into").arg(into).arg("--key").arg(key);
    for board in boards {
        command.args(["--board", &board.name]);
    }
    let status = command
        .current_dir("/")
        .env("CARGO_HOME", of_home("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", of_home("RUSTUP_HOME", ".rustup"))
        .env("XDG_CACHE_HOME", cache.parent().unwrap_or(cache))
        .env("HOME", "/nonexistent")
        .envs([("USER", "somebody"), ("LOGNAME", "somebody")])
        .envs([("TZ", "Pacific/Kiritimati"), ("LC_ALL", "C.UTF-8")])
        .status()
        .context("start unshare (util-linux) with faketime (scripts/setup installs it)")?;
    ensure!(status.success(), "the second build failed");
    Ok(())
}

/// What git knows of, as it is on the disk.
fn copy_sources(root: &Path, tree: &Path) -> Result<()> {
    let names = builder::run(
        Command::new("git")
            .current_dir(root)
            .args(["ls-files", "-z"]),
    )?;
    for name in String::from_utf8_lossy(&names).split_terminator('\0') {
        let (from, to) = (root.join(name), tree.join(name));
        let folder = to.parent().context("a file without a folder")?;
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        std::fs::copy(&from, &to).with_context(|| from.display().to_string())?;
    }
    Ok(())
}

fn home() -> Result<PathBuf> {
    let home: Option<OsString> = std::env::var_os("HOME");
    home.map(PathBuf::from).context("HOME is not set")
}
