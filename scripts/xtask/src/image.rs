//! `cargo xtask image`: programs, then images, then on request the proof that a second build gives the same bytes.
//!
//! The work is `nesos_image::builder`'s. Called by `main`, `test` and `sizes`. Invariant: `out/<board>` is always one whole build.

use crate::report::Report;
use crate::{cross, libraries, reproduce};
use anyhow::{Context, Result};
use nesos_base::bundle::key::SigningKey;
use nesos_image::builder::{self, Board, Debian, Inputs, Source, cache_folder};
use nesos_image::{Manifest, imager};
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
    /// Build everything but the kernel a second time, in a copy of the sources, as another user at another time, and compare the bytes
    #[arg(long)]
    check_reproducible: bool,
    /// Of the second build: only pack the programs in this folder
    #[arg(long, hide = true, value_name = "FOLDER", requires = "into")]
    pack: Option<PathBuf>,
    /// Of the second build: where its images go
    #[arg(long, hide = true, value_name = "FOLDER", requires = "pack")]
    into: Option<PathBuf>,
    /// Of the second build: the sources
    #[arg(long, hide = true, value_name = "FOLDER", requires = "pack")]
    tree: Option<PathBuf>,
    /// With --check-reproducible: the kernel too (several minutes)
    #[arg(long, requires = "check_reproducible")]
    with_kernel: bool,
    /// Ask Debian's archive for newer packages first
    #[arg(long)]
    update: bool,
    /// Where the images will be had from, for Raspberry Pi Imager's manifest; default: the files themselves
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Key that signs update bundles; default: ~/.config/nesos/update.key, made when missing
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// The boards that can be emulated, whose images are tested and measured.
pub(crate) const EMULATED: [&str; 2] = ["qemu-virt", "rpi3"];

impl Arguments {
    /// Of the boards that can be emulated.
    pub(crate) fn emulated() -> Self {
        Self {
            board: EMULATED.map(str::to_owned).into(),
            all: false,
            check_reproducible: false,
            pack: None,
            into: None,
            tree: None,
            with_kernel: false,
            update: false,
            url: None,
            key: None,
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// Something cannot be built, or two builds differ.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let root = arguments.tree.as_deref().unwrap_or(root);
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
    let path = match &arguments.key {
        Some(path) => path.clone(),
        None => builder::default_path()?,
    };
    let key = builder::signing_key(&path)?;
    if let (Some(programs), Some(into)) = (&arguments.pack, &arguments.into) {
        let programs = cross::programs_in(programs);
        for board in &boards {
            build(
                root,
                board,
                &programs,
                &key,
                (&cache_folder()?, &into.join(&board.name)),
            )?;
        }
        return Ok(());
    }
    let programs = cross::build(root)?;
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
    write_imager_manifest(&boards, arguments.url.as_deref())?;
    if arguments.check_reproducible {
        reproduce::check(root, &boards, &path, arguments.with_kernel)?;
    }
    Ok(())
}

/// Writes what Raspberry Pi Imager reads, if one of the boards is known to it.
fn write_imager_manifest(boards: &[Board], url: Option<&str>) -> Result<()> {
    let built = boards
        .iter()
        .map(|board| nesos_image::artifacts(&board.name));
    let built: Vec<_> = built.collect::<Result<_, _>>()?;
    let place = |manifest: &Manifest| {
        let name = format!("nesos-{}.img.zst", manifest.board);
        match url {
            Some(url) => format!("{}/{name}", url.trim_end_matches('/')),
            None => {
                let folder = nesos_image::images_folder().join(&manifest.board);
                format!("file://{}", folder.join(name).display())
            }
        }
    };
    let manifests: Vec<Manifest> = built.into_iter().map(|built| built.manifest).collect();
    let Some(list) = imager::os_list(&manifests, place) else {
        return Ok(());
    };
    let path = nesos_image::images_folder().join(imager::FILE);
    std::fs::write(&path, format!("{list:#}\n")).with_context(|| path.display().to_string())?;
    println!("{}", path.display());
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
    let (libraries, libraries_licences) = libraries::all(root)?;
    let licence = std::fs::read_to_string(root.join("LICENSE")).context("LICENSE")?;
    let inputs = Inputs {
        cache,
        programs,
        output,
        version: env!("CARGO_PKG_VERSION"),
        build_id: &build_id,
        epoch: cross::epoch(root)?,
        key,
        libraries: &libraries,
        licence: &licence,
        libraries_licences: &libraries_licences,
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
