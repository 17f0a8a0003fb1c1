//! `cargo xtask sizes`: builds everything and prints how large it is, in bytes, next to what README.md promises.
//!
//! Files are measured here, running boards by `guest`. Called by `main`. Invariant: a number printed here was read from the file that an
//! image carries, or by the board itself.

use crate::{cross, image};
use anyhow::{Context, Result};
use std::path::Path;

/// Flags of the subcommand.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Fail when a promise is broken
    #[arg(long)]
    strict: bool,
    /// Only measure files; boot nothing
    #[arg(long)]
    files_only: bool,
}

/// One line of the table.
#[derive(Debug)]
struct Line {
    what: String,
    bytes: u64,
    promise: Option<u64>,
}

const KB: u64 = 1000;
const MB: u64 = 1000 * KB;

/// Runs the subcommand.
///
/// # Errors
/// The build fails, or with `--strict` a promise is broken.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    // What is up to date costs seconds; numbers of an older build would be worse than none.
    image::run(root, &image::Arguments::emulated())?;
    let mut lines = Vec::new();
    let programs = root
        .join("target/cross")
        .join(cross::TARGET)
        .join(cross::PROFILE);
    for (name, promise) in [
        ("init", None),
        ("masterd", Some(3 * MB)),
        ("agentd", Some(2 * MB)),
        ("nesos-executor", Some(300 * KB)),
        ("nesos-fetcher", Some(400 * KB)),
    ] {
        let path = programs.join(name);
        let bytes = std::fs::metadata(&path)
            .with_context(|| format!("{}; run `cargo xtask build`", path.display()))?
            .len();
        lines.push(Line {
            what: format!("{name} (static, stripped)"),
            bytes,
            promise,
        });
    }
    for board in image::EMULATED {
        lines.extend(image_lines(&nesos_image::artifacts(board)?));
    }
    if !arguments.files_only {
        let readings = crate::guest::measure(root)?;
        lines.extend(readings.into_iter().map(
            |crate::guest::Reading {
                 what,
                 value,
                 promise,
             }| Line {
                what,
                bytes: value,
                promise,
            },
        ));
    }
    println!("{:<56} {:>12} {:>14}", "what", "value", "promise");
    let mut broken = 0;
    for Line {
        what,
        bytes,
        promise,
    } in lines
    {
        let promised = promise.map_or_else(|| "-".to_owned(), |promise| format!("<= {promise}"));
        let kept = promise.is_none_or(|promise| bytes <= promise);
        broken += usize::from(!kept);
        println!(
            "{what:<56} {bytes:>12} {promised:>14}{}",
            if kept { "" } else { "  BROKEN" }
        );
    }
    anyhow::ensure!(
        broken == 0 || !arguments.strict,
        "{broken} promises are broken"
    );
    Ok(())
}

fn image_lines(artifacts: &nesos_image::Artifacts) -> Vec<Line> {
    let board = &artifacts.board;
    let size = |name: &str| {
        artifacts
            .manifest
            .files
            .get(name)
            .map_or(0, |facts| facts.bytes)
    };
    let line = |what: &str, bytes, promise| Line {
        what: format!("{board}: {what}"),
        bytes,
        promise,
    };
    // What a board downloads of its kernel: the packed form where the boot partition carries one.
    let packed = ["slot/vmlinuz.efi", "slot/Image.gz"]
        .iter()
        .map(|name| size(name))
        .find(|bytes| *bytes > 0)
        .unwrap_or_default();
    let root = size("root.squashfs");
    let whole = size(&format!("nesos-{board}.img.zst"));
    vec![
        line("kernel, as QEMU loads it", size("Image"), None),
        line("kernel, packed", packed, None),
        line("root file system (squashfs)", root, None),
        line(
            "kernel packed + root",
            packed + root,
            (board == "qemu-virt").then_some(6_500 * KB),
        ),
        line(
            "image, raw",
            size(&format!("nesos-{board}.img")),
            Some(192 << 20),
        ),
        line("image, compressed", whole, Some(16 * MB)),
    ]
}
