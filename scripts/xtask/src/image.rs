//! `cargo xtask image`: programs, then images, then on request the proof that a second build gives the same bytes.
//!
//! The work is `nesos_image::builder`'s. Called by `main`, `test` and `sizes`. Invariant: `out/<board>` is always one whole build.

use crate::cross;
use crate::report::Report;
use anyhow::{Context, Result, ensure};
use nesos_base::bundle::key::SigningKey;
use nesos_image::Manifest;
use nesos_image::builder::{self, Board, Debian, Inputs, Source, cache_folder};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Beside an image: the digest of what it was made from.
const KEY_FILE: &str = ".inputs";

/// Flags of the subcommand.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Board to build for (repeatable); its name in board-configs/
    #[arg(long, default_value = "qemu-virt")]
    board: Vec<String>,
    /// Build for every board
    #[arg(long, conflicts_with = "board")]
    all: bool,
    /// Build everything but the kernel a second time elsewhere and compare the bytes
    #[arg(long)]
    check_reproducible: bool,
    /// With --check-reproducible: the kernel too (several minutes)
    #[arg(long, requires = "check_reproducible")]
    with_kernel: bool,
    /// Ask Debian's archive for newer packages first
    #[arg(long)]
    update: bool,
    /// Key that signs update bundles; default: ~/.config/nesos/update.key, made when missing
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl Arguments {
    /// As `--all`.
    pub(crate) fn all_boards() -> Self {
        Self {
            board: Vec::new(),
            all: true,
            check_reproducible: false,
            with_kernel: false,
            update: false,
            key: None,
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// Something cannot be built, or two builds differ.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    if arguments.update {
        Debian::new(&cache_folder()?).update()?;
    }
    let configs = root.join("board-configs");
    let boards = if arguments.all {
        builder::boards(&configs)?
    } else {
        arguments.board.clone()
    };
    let boards = boards
        .iter()
        .map(|name| Ok(builder::load(&configs, name)?))
        .collect::<Result<Vec<_>>>()?;
    let programs = cross::build(root)?;
    let key = match &arguments.key {
        Some(path) => path.clone(),
        None => builder::default_path()?,
    };
    let key = builder::signing_key(&key)?;
    for board in &boards {
        let folder = nesos_image::images_folder().join(&board.name);
        let inputs = inputs_key(root, board, &programs, &key)?;
        if !arguments.update && is_current(&folder, board, &inputs) {
            eprintln!("image of {}: up to date", board.name);
        } else {
            build(root, board, &programs, &key, (&cache_folder()?, &folder))?;
            std::fs::write(folder.join(KEY_FILE), &inputs)?;
        }
        println!(
            "{}",
            folder.join(format!("nesos-{}.img", board.name)).display()
        );
    }
    if arguments.check_reproducible {
        check(root, &boards, &key, arguments.with_kernel)?;
    }
    Ok(())
}

fn build(
    root: &Path,
    board: &Board,
    programs: &BTreeMap<String, PathBuf>,
    key: &SigningKey,
    (cache, output): (&Path, &Path),
) -> Result<Manifest> {
    let build_id = build_id(root);
    let inputs = Inputs {
        cache,
        programs,
        output,
        version: env!("CARGO_PKG_VERSION"),
        build_id: &build_id,
        epoch: cross::epoch(root)?,
        key,
    };
    eprintln!("image of {} ({})", board.name, board.description);
    builder::build_image(board, &inputs, &Report::default())
        .with_context(|| format!("image of {}", board.name))
}

/// Digest of all that decides an image's bytes, this program included.
fn inputs_key(
    root: &Path,
    board: &Board,
    programs: &BTreeMap<String, PathBuf>,
    key: &SigningKey,
) -> Result<String> {
    let mut text = format!("{board:?}\n{}\n{}\n", build_id(root), cross::epoch(root)?);
    writeln!(text, "{}", builder::public_half(key).to_text())?;
    let mut files: Vec<PathBuf> = programs.values().chain(&board.fragments).cloned().collect();
    let sources = board.boot.values().chain(board.slot.values());
    files.extend(
        sources
            .chain(board.root_files.values())
            .filter_map(|source| match source {
                Source::File(path) => Some(path.clone()),
                _ => None,
            }),
    );
    // The program that runs, which a build of the tests beside it may have replaced.
    files.push("/proc/self/exe".into());
    for path in files {
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        writeln!(text, "{} {}", path.display(), builder::digest(&bytes))?;
    }
    Ok(builder::digest(text.as_bytes()))
}

/// Whether `folder` holds a whole build of the inputs named by `key`.
fn is_current(folder: &Path, board: &Board, key: &str) -> bool {
    nesos_image::artifacts_in(folder, &board.name).is_ok()
        && std::fs::read_to_string(folder.join(KEY_FILE)).is_ok_and(|found| found == key)
}

/// The commit, with a mark where files differ from it.
fn build_id(root: &Path) -> String {
    let text = builder::run(Command::new("git").current_dir(root).args([
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
    ]));
    text.map_or_else(
        |_| "unknown".to_owned(),
        |text| String::from_utf8_lossy(&text).trim().to_owned(),
    )
}

fn check(root: &Path, boards: &[Board], key: &SigningKey, with_kernel: bool) -> Result<()> {
    let scratch = root.join("target/reproduce");
    let cache = if with_kernel {
        scratch.join("cache")
    } else {
        cache_folder()?
    };
    if with_kernel {
        drop(std::fs::remove_dir_all(&scratch));
    }
    let programs = cross::build_into(root, &scratch.join("cross"))?;
    let mut differences = Vec::new();
    for board in boards {
        let first = nesos_image::artifacts(&board.name)?;
        // The first build's key says nothing about the second's folder: always built.
        let second = build(
            root,
            board,
            &programs,
            key,
            (&cache, &scratch.join(&board.name)),
        )?;
        for (name, facts) in &second.files {
            if first.manifest.files.get(name) != Some(facts) {
                differences.push(format!("{}/{name}", board.name));
            }
        }
    }
    ensure!(
        differences.is_empty(),
        "not reproducible: {} differ between two builds",
        differences.join(", ")
    );
    println!("reproducible: every file has the same bytes in both builds");
    Ok(())
}
