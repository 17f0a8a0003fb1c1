//! Compiling the boards' programs: static, small, and with the same bytes wherever the repository lies.
//!
//! Recipe: cargo-zigbuild with a pinned zig as C compiler and linker (both from PyPI, in a folder of their own), the standard library
//! compiled along (`build-std`, optimised for size) where rustup has its source, the ready-made one otherwise. `cross` stays for people
//! with Docker and is never run here. Called by `build`, `image` and `sizes`. Invariant: no path of this machine reaches a program.

use crate::report::Report;
use anyhow::{Context, Result, bail, ensure};
use nesos_image::builder::{cache_folder, run};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The boards' target.
pub(crate) const TARGET: &str = "aarch64-unknown-linux-musl";
/// How they are compiled; see Cargo.toml.
pub(crate) const PROFILE: &str = "board";
/// Packages to compile; each has one program of its own name.
pub(crate) const PROGRAMS: [&str; 5] = [
    "init",
    "masterd",
    "agentd",
    "nesos-executor",
    "nesos-fetcher",
];
/// zig 0.15.2 links the real musl 1.2.5; later ones replace its allocator by their own.
const ZIG: &str = "0.15.2";
const ZIGBUILD: &str = "0.24.0";
/// Day of a commit: the resolution of build times, so that not every commit rebuilds every program.
const DAY_SECONDS: u64 = 86_400;

/// Where the standard library comes from.
#[derive(Debug)]
enum Std {
    /// Compiled along from the source in this folder.
    FromSource(PathBuf),
    /// rustup's.
    ReadyMade,
}

/// Compiles all programs and returns their paths by name.
///
/// # Errors
/// A tool is missing and cannot be fetched, or the compilation fails.
pub(crate) fn build(root: &Path) -> Result<BTreeMap<String, PathBuf>> {
    build_into(root, &root.join("target/cross"))
}

/// As [`build`], into another target folder.
///
/// # Errors
/// As [`build`].
pub(crate) fn build_into(root: &Path, target_folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    build_for(TARGET, root, target_folder, &PROGRAMS)
}

/// Compiles some of the programs for another processor with musl: this machine's, for measurements.
///
/// # Errors
/// As [`build`].
pub(crate) fn build_for(
    target: &str,
    root: &Path,
    target_folder: &Path,
    programs: &[&str],
) -> Result<BTreeMap<String, PathBuf>> {
    let report = Report::default();
    let tools = report.step("cross compiler (zig)", zig_tools)?;
    let (standard, said) = standard_library(root, target)?;
    eprintln!("    standard library: {said}");
    let mut cargo = cargo(
        root,
        &[
            "zigbuild",
            "--profile",
            PROFILE,
            "--locked",
            "--target",
            target,
        ],
    );
    cargo.arg("--target-dir").arg(target_folder);
    for program in programs {
        cargo.args(["--package", program]);
    }
    if let Std::FromSource(_) = &standard {
        // The two flags are unstable by name only; the pinned toolchain keeps their meaning fixed.
        cargo.env("RUSTC_BOOTSTRAP", "1").args([
            "-Zbuild-std=std,panic_abort",
            "-Zbuild-std-features=optimize_for_size",
        ]);
        // `z` makes the standard library larger than `s` does. Not in Cargo.toml: without its source cargo knows none of these.
        for part in ["core", "alloc", "std"] {
            cargo.args([
                "--config",
                &format!("profile.{PROFILE}.package.{part}.opt-level='s'"),
            ]);
        }
    }
    environment(&mut cargo, target, root, &tools, &standard)?;
    eprintln!("... compile {} for {target}", programs.join(", "));
    let status = cargo.status().context("start cargo zigbuild")?;
    ensure!(status.success(), "compiling the boards' programs failed");
    let folder = target_folder.join(target).join(PROFILE);
    Ok(programs
        .iter()
        .map(|name| ((*name).to_owned(), folder.join(name)))
        .collect())
}

/// The boards' programs in `folder`, which were compiled before.
pub(crate) fn programs_in(folder: &Path) -> BTreeMap<String, PathBuf> {
    PROGRAMS
        .map(|name| (name.to_owned(), folder.join(name)))
        .into()
}

/// The cargo that runs this, in the workspace.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(arguments);
    command
}

/// Seconds since 1970 of the commit's day: the build time that programs and images carry.
///
/// # Errors
/// The environment's `SOURCE_DATE_EPOCH` is no number.
pub(crate) fn epoch(root: &Path) -> Result<u32> {
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        return text
            .parse()
            .with_context(|| format!("SOURCE_DATE_EPOCH is {text}; expected seconds since 1970"));
    }
    let text = run(Command::new("git")
        .current_dir(root)
        .args(["log", "-1", "--format=%ct"]))
    .unwrap_or_default();
    let seconds: u64 = String::from_utf8_lossy(&text)
        .trim()
        .parse()
        .unwrap_or(1_767_225_600);
    u32::try_from(seconds - seconds % DAY_SECONDS).context("the commit's time is beyond 2106")
}

fn environment(
    cargo: &mut Command,
    target: &str,
    root: &Path,
    tools: &Path,
    standard: &Std,
) -> Result<()> {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .context("HOME is not set")?;
    let cargo_home =
        std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let registry = cargo_home.join("registry/src");
    let mut prefixes = vec![(root.to_owned(), "/nesos"), (registry, "/cargo")];
    if let Std::FromSource(source) = standard {
        prefixes.push((source.clone(), "/rust"));
    }
    let mut flags: Vec<_> = prefixes
        .iter()
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .collect();
    let mut c_flags: Vec<_> = prefixes
        .iter()
        .map(|(from, to)| format!("-ffile-prefix-map={}={to}", from.display()))
        .collect();
    if let Std::FromSource(_) = standard {
        // musl's start files come with zig; rustup's only with the ready-made library.
        flags.push("-Clink-self-contained=no".to_owned());
    }
    // A panic aborts, so nobody reads the tables: 50 KB per program.
    flags.push("-Cforce-unwind-tables=no".to_owned());
    c_flags.extend(["-fno-unwind-tables", "-fno-asynchronous-unwind-tables"].map(str::to_owned));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let search = std::env::join_paths(
        std::iter::once(tools.join("bin")).chain(std::env::split_paths(&path)),
    )?;
    cargo
        .env("PATH", search)
        .env("CARGO_ZIGBUILD_ZIG_PATH", tools.join("bin/python-zig"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env(
            format!("CFLAGS_{}", target.replace('-', "_")),
            c_flags.join(" "),
        )
        .env("SOURCE_DATE_EPOCH", epoch(root)?.to_string())
        .env_remove("RUSTFLAGS");
    Ok(())
}

/// A virtual environment with zig and cargo-zigbuild; made once per pair of versions.
fn zig_tools() -> Result<PathBuf> {
    let folder = cache_folder()?.join(format!("zig-{ZIG}-zigbuild-{ZIGBUILD}"));
    let complete = folder.join("complete");
    if !complete.exists() {
        drop(std::fs::remove_dir_all(&folder));
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
            .context("Debian's python3-venv makes it work")?;
        let packages = [
            format!("ziglang=={ZIG}"),
            format!("cargo-zigbuild=={ZIGBUILD}"),
        ];
        run(Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(packages))?;
        std::fs::write(&complete, "")?;
    }
    Ok(folder)
}

/// Prefers the source; asks rustup for whichever is missing.
fn standard_library(root: &Path, target: &str) -> Result<(Std, String)> {
    let rustc = |arguments: &[&str]| run(Command::new("rustc").current_dir(root).args(arguments));
    let sysroot = PathBuf::from(String::from_utf8(rustc(&["--print", "sysroot"])?)?.trim());
    let source = sysroot.join("lib/rustlib/src/rust");
    let has_source = || source.join("library/Cargo.lock").is_file();
    let rustup = |arguments: &[&str]| run(Command::new("rustup").current_dir(root).args(arguments));
    if !has_source() {
        drop(rustup(&["component", "add", "rust-src"]));
    }
    if has_source() {
        return Ok((
            Std::FromSource(source),
            "compiled from rust-src, optimised for size".to_owned(),
        ));
    }
    let ready = || sysroot.join("lib/rustlib").join(target).is_dir();
    if !ready() {
        drop(rustup(&["target", "add", target]));
    }
    if ready() {
        return Ok((
            Std::ReadyMade,
            "ready-made by rustup (no rust-src: programs are larger)".to_owned(),
        ));
    }
    bail!(
        "rustup gives neither the component rust-src nor the target {target} for this toolchain; run scripts/setup with network access"
    )
}
