//! Puts the parts of an image together and writes `out/<board>`.
//!
//! Called by `cargo xtask image` and the reproducibility check. Invariant: a folder under `out` belongs to one build; the manifest is
//! written last, so a folder without one is no result.

use super::config::{Board, BootSource};
use super::debian::{Debian, DebianError};
use super::kernel::{Kernel, KernelError, build_kernel};
use super::rootfs::{RootContent, RootError, busybox, write_root};
use super::template::{TemplateError, data_template};
use super::tools::Progress;
use super::volume::boot_volume;
use crate::artifacts::{FileFacts, Manifest};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// zstd level of the compressed image: one-off work of the builder, paid back by every download.
const ZSTD_LEVEL: i32 = 19;
/// Window of 2^27 bytes: what `zstd -d` accepts without being told, and larger than the distance between the kernel's two copies.
const ZSTD_WINDOW_LOG: u32 = 27;
/// Granularity of holes in the raw file.
const HOLE_BYTES: usize = 64 * 1024;

/// What a build needs besides the board.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// Cache of kernels and packages.
    pub cache: &'a Path,
    /// Own programs by name.
    pub programs: &'a BTreeMap<String, PathBuf>,
    /// Folder to fill: `out/<board>`.
    pub output: &'a Path,
    /// Version of Nesos.
    pub version: &'a str,
    /// Commit.
    pub build_id: &'a str,
    /// Time of the commit, seconds since 1970: the only time in an image.
    pub epoch: u32,
}

/// An image that could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// BusyBox or kernel source cannot be had.
    #[error(transparent)]
    Debian(#[from] DebianError),
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The root file system.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The data template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The boot partition.
    #[error("fill the boot partition: {0}")]
    Boot(io::Error),
    /// The root file system is larger than its slot.
    #[error(
        "the root file system has {bytes} bytes, more than its slot of {slot}: raise `disk.slot_mib`"
    )]
    RootTooLarge {
        /// Squashfs.
        bytes: usize,
        /// Slot.
        slot: u64,
    },
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// Builds the image of `board` into `inputs.output` and returns its manifest.
///
/// # Errors
/// Any part cannot be made, or does not fit.
pub fn build_image(
    board: &Board,
    inputs: &Inputs<'_>,
    progress: &dyn Progress,
) -> Result<Manifest, BuildError> {
    let debian = Debian::new(inputs.cache);
    let kernel = build_kernel(board, inputs.cache, &debian, progress)?;
    create(inputs.output)?;
    // Without a manifest a folder is no result: nobody takes a half-written build for a whole one.
    drop(std::fs::remove_file(inputs.output.join("manifest.json")));

    progress.begin("root file system");
    let (busybox, busybox_version) = busybox(&board.root, inputs.cache, &debian)?;
    let template = data_template(board.data_template_mib, inputs.output)?;
    let content = RootContent {
        programs: inputs.programs,
        busybox: &busybox,
        template: &template,
        release: release(board, inputs),
        epoch: inputs.epoch,
    };
    let root = write_root(&board.root, &content)?;
    if root.len() as u64 > board.layout.root_a.length {
        return Err(BuildError::RootTooLarge {
            bytes: root.len(),
            slot: board.layout.root_a.length,
        });
    }
    progress.end(&size(root.len() as u64));

    progress.begin("disk image");
    let boot = boot_volume(
        board.layout.boot.length,
        board.signature,
        &boot_files(board, &kernel)?,
    )
    .map_err(BuildError::Boot)?;
    let image = inputs.output.join(format!("nesos-{}.img", board.name));
    write_disk(board, &boot, &root, &image).map_err(|source| BuildError::File {
        path: image.clone(),
        source,
    })?;
    progress.end(&size(board.layout.data.start + board.layout.data.length));

    progress.begin("compressed image");
    let packed = inputs.output.join(format!("nesos-{}.img.zst", board.name));
    let bytes = compress(&image, &packed).map_err(|source| BuildError::File {
        path: packed.clone(),
        source,
    })?;
    progress.end(&size(bytes));

    write(&inputs.output.join("root.squashfs"), &root)?;
    let mut names = vec![
        format!("nesos-{}.img", board.name),
        format!("nesos-{}.img.zst", board.name),
        "root.squashfs".to_owned(),
    ];
    for target in &board.targets {
        let name = super::config::file_name(target);
        write(&inputs.output.join(name), &read(&kernel.folder.join(name))?)?;
        names.push(name.to_owned());
    }
    let manifest = manifest(board, inputs, kernel, busybox_version, names)?;
    let mut text =
        serde_json::to_vec_pretty(&manifest).map_err(|error| BuildError::Boot(error.into()))?;
    text.push(b'\n');
    write(&inputs.output.join("manifest.json"), &text)?;
    Ok(manifest)
}

fn release(board: &Board, inputs: &Inputs<'_>) -> String {
    let Inputs {
        version,
        build_id,
        epoch,
        ..
    } = inputs;
    format!(
        "NAME=Nesos\nID=nesos\nPRETTY_NAME=\"Nesos {version}\"\nVERSION_ID={version}\nBUILD_ID={build_id}\n\
         NESOS_BOARD={}\nNESOS_BUILD_TIME={epoch}\n",
        board.name
    )
}

fn boot_files(board: &Board, kernel: &Kernel) -> Result<BTreeMap<String, Vec<u8>>, BuildError> {
    let content = |source: &BootSource| match source {
        BootSource::Kernel(name) => read(&kernel.folder.join(name)),
        BootSource::File(path) => read(path),
        BootSource::CommandLine => Ok(format!("{}\n", board.command_line).into_bytes()),
    };
    board
        .boot
        .iter()
        .map(|(path, source)| Ok((path.clone(), content(source)?)))
        .collect()
}

/// Writes the disk with holes where it is empty: a fresh file reads as zeros there.
fn write_disk(board: &Board, boot: &[u8], root: &[u8], path: &Path) -> io::Result<()> {
    let layout = &board.layout;
    let mut file = File::create(path)?;
    file.set_len(layout.data.start + layout.data.length)?;
    for (start, content) in [
        (0, &board.layout.mbr(board.signature)[..]),
        (layout.boot.start, boot),
        (layout.root_a.start, root),
    ] {
        for (number, chunk) in content.chunks(HOLE_BYTES).enumerate() {
            if chunk.iter().any(|byte| *byte != 0) {
                file.seek(SeekFrom::Start(start + (number * HOLE_BYTES) as u64))?;
                file.write_all(chunk)?;
            }
        }
    }
    file.flush()
}

fn compress(from: &Path, to: &Path) -> io::Result<u64> {
    let mut encoder = zstd::Encoder::new(File::create(to)?, ZSTD_LEVEL)?;
    encoder.long_distance_matching(true)?;
    encoder.window_log(ZSTD_WINDOW_LOG)?;
    encoder.include_checksum(true)?;
    io::copy(&mut File::open(from)?, &mut encoder)?;
    Ok(encoder.finish()?.metadata()?.len())
}

fn manifest(
    board: &Board,
    inputs: &Inputs<'_>,
    kernel: Kernel,
    busybox_version: String,
    names: Vec<String>,
) -> Result<Manifest, BuildError> {
    let mut files = BTreeMap::new();
    for name in names {
        let path = inputs.output.join(&name);
        let facts = facts(&path).map_err(|source| BuildError::File { path, source })?;
        files.insert(name, facts);
    }
    Ok(Manifest {
        board: board.name.clone(),
        version: inputs.version.to_owned(),
        build_id: inputs.build_id.to_owned(),
        epoch: u64::from(inputs.epoch),
        kernel: kernel.facts,
        packages: [(board.root.busybox.clone(), busybox_version)].into(),
        command_line: board.command_line.clone(),
        qemu: board.qemu.clone(),
        files,
    })
}

fn facts(path: &Path) -> io::Result<FileFacts> {
    let mut digest = Sha256::new();
    let bytes = io::copy(&mut File::open(path)?, &mut DigestWriter(&mut digest))?;
    Ok(FileFacts {
        bytes,
        sha256: hex(&digest.finalize()),
    })
}

struct DigestWriter<'a>(&'a mut Sha256);

impl Write for DigestWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// SHA-256 in hex.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn size(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}

fn create(folder: &Path) -> Result<(), BuildError> {
    std::fs::create_dir_all(folder).map_err(|source| BuildError::File {
        path: folder.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(|source| BuildError::File {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    std::fs::write(path, bytes).map_err(|source| BuildError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::config::load;
    use super::super::volume::boot_volume;
    use super::*;
    use fatfs::{FileSystem, FsOptions};
    use std::io::Read;

    fn small_image(path: &Path) -> Board {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap()
            .join("board-configs");
        let board = load(&configs, "qemu-virt").unwrap();
        let files = [("slot-a/cmdline.txt".to_owned(), b"root=x".to_vec())].into();
        let boot = boot_volume(board.layout.boot.length, board.signature, &files).unwrap();
        write_disk(&board, &boot, b"hsqs", path).unwrap();
        board
    }

    fn boot_file(image: &Path, name: &str) -> Vec<u8> {
        let slice = crate::Slice::new(
            File::open(image).unwrap(),
            crate::read_table(image).unwrap().boot,
        );
        let volume = FileSystem::new(slice, FsOptions::new()).unwrap();
        let mut bytes = Vec::new();
        volume
            .root_dir()
            .open_file(name)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    }

    #[test]
    fn an_image_is_personalised_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("a.img");
        let board = small_image(&image);
        assert_eq!(crate::read_table(&image).unwrap(), board.layout);
        for content in [
            "name = 'long name of a first board'\n".repeat(100),
            "name = 'b'\n".to_owned(),
            String::new(),
        ] {
            crate::personalise(&image, content.as_bytes()).unwrap();
            assert_eq!(boot_file(&image, "cluster.toml"), content.as_bytes());
            assert_eq!(boot_file(&image, "slot-a/cmdline.txt"), b"root=x");
        }
        crate::grow(&image, 256 << 20).unwrap();
        assert_eq!(std::fs::metadata(&image).unwrap().len(), 256 << 20);
        assert_eq!(crate::read_table(&image).unwrap(), board.layout);
        let error = crate::grow(&image, 1 << 20).unwrap_err().to_string();
        assert!(error.contains("would cut its partitions"), "{error}");
    }

    #[test]
    fn what_is_no_image_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("holiday.jpg");
        std::fs::write(&path, vec![1; 4096]).unwrap();
        let error = crate::personalise(&path, b"").unwrap_err().to_string();
        assert!(error.contains("not a Nesos image"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), vec![1; 4096]);
    }

    #[test]
    fn an_image_is_packed_and_unpacked_without_loss() {
        let folder = tempfile::tempdir().unwrap();
        let (image, packed) = (folder.path().join("a.img"), folder.path().join("a.zst"));
        small_image(&image);
        compress(&image, &packed).unwrap();
        let unpacked = zstd::decode_all(File::open(&packed).unwrap()).unwrap();
        assert!(unpacked == std::fs::read(&image).unwrap());
    }

    #[test]
    fn the_example_configuration_is_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap()
            .join("board-configs/boot/cluster-example.toml");
        let text = std::fs::read_to_string(path).unwrap();
        nesos_base::cluster_config::ClusterConfig::parse(text.as_bytes()).unwrap();
        // With every commented key switched on, except the token, which has to be a real one.
        let all: Vec<_> = text
            .lines()
            .map(|line| {
                line.strip_prefix("# ")
                    .filter(|rest| rest.contains(" = ") || rest.starts_with('['))
                    .unwrap_or(line)
            })
            .collect();
        let all: Vec<_> = all
            .into_iter()
            .filter(|line| !line.starts_with("token"))
            .collect();
        nesos_base::cluster_config::ClusterConfig::parse(all.join("\n").as_bytes()).unwrap();
    }
}
