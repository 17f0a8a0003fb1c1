//! Where a built board's files are, and the manifest that describes them.
//!
//! Does not build anything. Called by `nesos vm up`, the QEMU tests and `cargo xtask`. Invariant: an [`Artifacts`] value names files
//! that existed when it was made, all from one build.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Environment variable that overrides [`images_folder`].
const FOLDER_VARIABLE: &str = "NESOS_IMAGES";

/// What one build of one board produced.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// Name of the board, as of its file in `board-configs/`.
    pub board: String,
    /// The folder that holds all of them.
    pub folder: PathBuf,
    /// The flashable disk image.
    pub image: PathBuf,
    /// The same, compressed.
    pub image_zst: PathBuf,
    /// Uncompressed kernel: QEMU's `-kernel`.
    pub kernel: PathBuf,
    /// The root file system as it is in slot A.
    pub squashfs: PathBuf,
    /// Device tree for QEMU's `-dtb`, where the machine does not make its own.
    pub device_tree: Option<PathBuf>,
    /// Versions, sizes, digests, command line.
    pub manifest: Manifest,
}

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the board.
    pub board: String,
    /// Version of Nesos.
    pub version: String,
    /// Commit the image was built from.
    pub build_id: String,
    /// Build time that the image carries: seconds since 1970 of the commit.
    pub epoch: u64,
    /// The kernel.
    pub kernel: KernelFacts,
    /// Packages taken from Debian: name to version.
    pub packages: BTreeMap<String, String>,
    /// The kernel command line of slot A: QEMU's `-append`.
    pub command_line: String,
    /// What an update puts into a slot, besides the root.
    pub slot: SlotFacts,
    /// Default QEMU machine: type, cpu, memory in MiB, and device tree file.
    pub qemu: QemuFacts,
    /// Every file of the build: bytes and SHA-256, by name.
    pub files: BTreeMap<String, FileFacts>,
}

/// Identity of the kernel in an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelFacts {
    /// Debian source package.
    pub package: String,
    /// Its exact version.
    pub version: String,
    /// Cache key: digest of package, version, configuration and targets.
    pub key: String,
}

/// What a slot's folder on the boot partition holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotFacts {
    /// The kernel command line without what depends on the slot.
    pub command_line: String,
    /// The kernel's file; `None` for a board that no boot loader of ours starts.
    pub kernel: Option<String>,
    /// The device tree's file, where systemd-boot has to bring one.
    pub device_tree: Option<String>,
    /// All files, by plain names; they are in `slot/` beside the manifest.
    pub files: Vec<String>,
}

/// How QEMU plays the board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QemuFacts {
    /// `-M`.
    pub machine: String,
    /// `-cpu`, where the machine leaves a choice.
    pub cpu: Option<String>,
    /// `-m`, MiB.
    pub memory_mib: u32,
    /// `-dtb`, file name inside the folder.
    pub device_tree: Option<String>,
    /// Words that `-append` needs besides [`Manifest::command_line`], for what the emulation lacks.
    pub append: Option<String>,
}

/// Size and digest of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileFacts {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256, hex.
    pub sha256: String,
}

/// Why a board's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactsError {
    /// The board was not built.
    #[error(
        "no image of board {board} in {folder}: build it with `cargo xtask image --board {board}`"
    )]
    NotBuilt {
        /// Name of the board.
        board: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// A file of the build is missing.
    #[error("the image of board {board} is incomplete: {path} is missing; build it again")]
    Incomplete {
        /// Name of the board.
        board: String,
        /// The file.
        path: PathBuf,
    },
    /// The manifest cannot be understood.
    #[error("{path}: {source}; build the image again")]
    Manifest {
        /// `manifest.json`.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// The folder that holds one folder per built board: `$NESOS_IMAGES`, or `out` in the workspace this program was compiled from.
pub fn images_folder() -> PathBuf {
    match std::env::var_os(FOLDER_VARIABLE) {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => {
            let image = Path::new(env!("CARGO_MANIFEST_DIR"));
            image.parent().unwrap_or(image).join("out")
        }
    }
}

/// The files of a built `board`, from [`images_folder`].
///
/// # Errors
/// The board was never built, a file is missing, or its manifest is of another version.
pub fn artifacts(board: &str) -> Result<Artifacts, ArtifactsError> {
    artifacts_in(&images_folder().join(board), board)
}

/// The files of a built `board` in `folder`.
///
/// # Errors
/// As [`artifacts`].
pub fn artifacts_in(folder: &Path, board: &str) -> Result<Artifacts, ArtifactsError> {
    let path = folder.join("manifest.json");
    let Ok(text) = std::fs::read(&path) else {
        return Err(ArtifactsError::NotBuilt {
            board: board.to_owned(),
            folder: folder.to_owned(),
        });
    };
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|source| ArtifactsError::Manifest { path, source })?;
    let existing = |name: String| {
        let path = folder.join(name);
        if path.is_file() {
            Ok(path)
        } else {
            Err(ArtifactsError::Incomplete {
                board: board.to_owned(),
                path,
            })
        }
    };
    Ok(Artifacts {
        board: board.to_owned(),
        folder: folder.to_owned(),
        image: existing(format!("nesos-{board}.img"))?,
        image_zst: existing(format!("nesos-{board}.img.zst"))?,
        kernel: existing("Image".to_owned())?,
        squashfs: existing("root.squashfs".to_owned())?,
        device_tree: manifest
            .qemu
            .device_tree
            .clone()
            .map(existing)
            .transpose()?,
        manifest,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_board_that_was_not_built_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = artifacts_in(folder.path(), "no-such")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("cargo xtask image --board no-such"),
            "{error}"
        );
    }

    #[test]
    fn a_foreign_manifest_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("manifest.json"), "{\"board\": 1}").unwrap();
        assert!(matches!(
            artifacts_in(folder.path(), "x"),
            Err(ArtifactsError::Manifest { .. })
        ));
    }
}
