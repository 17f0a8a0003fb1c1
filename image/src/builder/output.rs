//! Puts the parts of an image together and writes `out/<board>`.
//!
//! Called by `cargo xtask image` and the reproducibility check. Invariant: a folder under `out` belongs to one build; the manifest is
//! written last, so a folder without one is no result.

use super::bundle::{About, Bundle, public_half};
use super::config::Board;
use super::debian::{Debian, DebianError};
use super::flash::{block_map, compress, to_write, write_disk};
use super::kernel::{Kernel, KernelError, build_kernel};
use super::loaders::{boot_environment, loader_files};
use super::rootfs::{RootContent, RootError, busybox, write_root};
use super::sbom::{self, Library};
use super::sources::{Source, SourceError, Sources};
use super::template::{TemplateError, data_template};
use super::tools::Progress;
use super::volume::boot_volume;
use crate::artifacts::{FileFacts, KernelFacts, Manifest, SlotFacts};
use crate::disk::Layout;
use nesos_base::bundle::key::SigningKey;
use nesos_base::bundle::{BundleError, Place};
use nesos_base::slots::{DISK_SIGNATURE, Slot};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Mark of a slot that was proven good, in its folder; a fresh image's first one counts as that.
const COMMITTED: &str = "committed";
/// Folder beside the image with the files of a slot, for update bundles.
const SLOT_FOLDER: &str = "slot";
/// The signed header of what a slot holds, in its folder.
const SLOT_HEAD: &str = "slot.head";
/// In the root: whose bundles the board takes.
const UPDATE_KEY: &str = "etc/nesos/update.pub";

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
    /// Signs the update bundle; its public half is in the image.
    pub key: &'a SigningKey,
    /// Libraries that are linked into the programs.
    pub libraries: &'a [Library],
    /// Text of Nesos's own licence.
    pub licence: &'a str,
    /// Texts of its libraries' licences.
    pub libraries_licences: &'a str,
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
    /// A file that goes onto the card.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The data template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The update bundle.
    #[error("make the update bundle: {0}")]
    Bundle(#[from] BundleError),
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

    let mut sources = Sources::new(&kernel, &debian);
    progress.begin("root file system");
    let root = root(board, inputs, &mut sources)?;
    progress.end(&size(root.len() as u64));

    progress.begin("files of the boot partition");
    let slot = all(&board.slot, &mut sources)?;
    let content = content(&slot, &root);
    let bundle = bundle(board, inputs, &content)?;
    let mut boot = boot_files(board, inputs, &slot, &mut sources)?;
    if let Some(bundle) = &bundle {
        let path = format!("{}/{SLOT_HEAD}", Slot::A.folder());
        boot.insert(path, bundle.prelude.bytes().to_vec());
    }
    sources.remember(&board.kernel_package, false)?;
    let sbom = sbom::document(board, inputs, &kernel, &sources.packages)
        .map_err(|error| BuildError::Boot(error.into()))?;
    boot.extend(sbom::licences(inputs, &sources.packages));
    boot.insert(sbom::FILE.to_owned(), sbom.clone());
    let bytes: usize = boot.values().map(Vec::len).sum();
    progress.end(&size(bytes as u64));

    let mut names = write_disks(board, inputs, &boot, &root, progress)?;
    names.extend(write_parts(board, inputs, &kernel, &root, &slot)?);
    write(&inputs.output.join(sbom::FILE), &sbom)?;
    names.push(sbom::FILE.to_owned());
    if let Some(bundle) = &bundle {
        let name = format!("nesos-{}.nub", board.name);
        let path = inputs.output.join(&name);
        let mut file = File::create(&path).map_err(at(&path))?;
        bundle.write(&mut file).map_err(at(&path))?;
        names.push(name);
    }
    for package in &sources.missing {
        progress.warn(&format!(
            "no package {package} in this machine's sources (Debian's component non-free-firmware): this image lacks its files. \
             A Raspberry Pi does not start without those of raspi-firmware; Wi-Fi does not work without the others"
        ));
    }
    let versions = sources.packages.iter();
    let versions = versions.map(|(name, package)| (name.clone(), package.version.clone()));
    let manifest = manifest(
        board,
        inputs,
        kernel.facts.clone(),
        versions.collect(),
        names,
    )?;
    let mut text =
        serde_json::to_vec_pretty(&manifest).map_err(|error| BuildError::Boot(error.into()))?;
    text.push(b'\n');
    write(&inputs.output.join("manifest.json"), &text)?;
    Ok(manifest)
}

fn root(
    board: &Board,
    inputs: &Inputs<'_>,
    sources: &mut Sources<'_>,
) -> Result<Vec<u8>, BuildError> {
    let busybox = busybox(&board.root, sources)?;
    let template = data_template(board.data_template_mib, inputs.output)?;
    let mut files = all(&board.root_files, sources)?;
    let key = public_half(inputs.key).to_text();
    files.insert(UPDATE_KEY.to_owned(), format!("{key}\n").into_bytes());
    let content = RootContent {
        programs: inputs.programs,
        busybox: &busybox,
        template: &template,
        files,
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
    Ok(root)
}

/// What a slot consists of, as a bundle has it.
fn content(slot: &BTreeMap<String, Vec<u8>>, root: &[u8]) -> Vec<(Place, Vec<u8>)> {
    let files = slot.iter();
    let files = files.map(|(name, bytes)| (Place::Boot(name.clone()), bytes.clone()));
    files.chain([(Place::Root, root.to_vec())]).collect()
}

/// `None` for a board that no boot loader of ours starts: there is nothing that could try another slot.
fn bundle<'a>(
    board: &Board,
    inputs: &Inputs<'_>,
    content: &'a [(Place, Vec<u8>)],
) -> Result<Option<Bundle<'a>>, BuildError> {
    let Some(kernel) = board.slot_kernel() else {
        return Ok(None);
    };
    let about = About {
        board: &board.name,
        version: inputs.version,
        build_id: inputs.build_id,
        build_time: u64::from(inputs.epoch),
        command_line: &board.options,
        kernel,
        device_tree: board.slot_tree(),
    };
    Ok(Some(Bundle::new(&about, content, inputs.key)?))
}

/// The flashable files; their names.
fn write_disks(
    board: &Board,
    inputs: &Inputs<'_>,
    boot: &BTreeMap<String, Vec<u8>>,
    root: &[u8],
    progress: &dyn Progress,
) -> Result<Vec<String>, BuildError> {
    let name = format!("nesos-{}.img", board.name);
    let image = inputs.output.join(&name);
    let Layout {
        boot: space, data, ..
    } = board.layout;
    progress.begin("disk image, from its parts");
    let (boot, used) = boot_volume(space.length, DISK_SIGNATURE, boot).map_err(BuildError::Boot)?;
    write_disk(&board.layout, &boot, root, &image).map_err(at(&image))?;
    progress.end(&size(data.start + data.length));

    progress.begin("compressed image");
    let packed = inputs.output.join(format!("{name}.zst"));
    let bytes = compress(&image, &packed).map_err(at(&packed))?;
    progress.end(&size(bytes));

    progress.begin("block map");
    let map = inputs.output.join(format!("{name}.bmap"));
    let ranges = to_write(&board.layout, used, root.len() as u64);
    let text = block_map(&image, &ranges).map_err(at(&image))?;
    write(&map, text.as_bytes())?;
    let bytes = ranges.iter().map(|range| range.end - range.start).sum();
    progress.end(&format!("{} to write", size(bytes)));
    Ok(vec![
        name.clone(),
        format!("{name}.zst"),
        format!("{name}.bmap"),
    ])
}

/// The error of a file.
fn at(path: &Path) -> impl FnOnce(io::Error) -> BuildError + use<> {
    let path = path.to_owned();
    move |source| BuildError::File { path, source }
}

/// The parts of the image as files beside it; their names.
fn write_parts(
    board: &Board,
    inputs: &Inputs<'_>,
    kernel: &Kernel,
    root: &[u8],
    slot: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<String>, BuildError> {
    write(&inputs.output.join("root.squashfs"), root)?;
    let mut names = vec!["root.squashfs".to_owned()];
    for target in &board.targets {
        let name = super::config::file_name(target);
        write(&inputs.output.join(name), &read(&kernel.folder.join(name))?)?;
        names.push(name.to_owned());
    }
    let folder = inputs.output.join(SLOT_FOLDER);
    // What an older build has left there is of no slot.
    drop(std::fs::remove_dir_all(&folder));
    create(&folder)?;
    for (name, bytes) in slot {
        write(&folder.join(name), bytes)?;
        names.push(format!("{SLOT_FOLDER}/{name}"));
    }
    Ok(names)
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

/// Everything on the boot partition of a fresh image: slot A filled and committed, slot B empty.
fn boot_files(
    board: &Board,
    inputs: &Inputs<'_>,
    slot: &BTreeMap<String, Vec<u8>>,
    sources: &mut Sources<'_>,
) -> Result<BTreeMap<String, Vec<u8>>, BuildError> {
    let mut files = all(&board.boot, sources)?;
    files.extend(loader_files(board, inputs.version));
    let (filled, empty) = (Slot::A.folder(), Slot::B.folder());
    let in_slot = |(name, bytes): (&String, &Vec<u8>)| (format!("{filled}/{name}"), bytes.clone());
    files.extend(slot.iter().map(in_slot));
    if board.uboot.is_some() {
        let text = boot_environment(board, Slot::A);
        files.insert(format!("{filled}/boot.env"), text.into_bytes());
    }
    files.insert(format!("{filled}/{COMMITTED}"), Vec::new());
    files.insert(format!("{empty}/"), Vec::new());
    Ok(files)
}

/// The bytes of all `files` that can be had.
fn all(
    files: &BTreeMap<String, Source>,
    sources: &mut Sources<'_>,
) -> Result<BTreeMap<String, Vec<u8>>, BuildError> {
    let mut found = BTreeMap::new();
    for (path, source) in files {
        if let Some(bytes) = sources.read(source)? {
            found.insert(path.clone(), bytes);
        }
    }
    Ok(found)
}

fn manifest(
    board: &Board,
    inputs: &Inputs<'_>,
    kernel: KernelFacts,
    packages: BTreeMap<String, String>,
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
        kernel,
        packages,
        command_line: board.command_line(Slot::A),
        slot: SlotFacts {
            command_line: board.options.clone(),
            kernel: board.slot_kernel().map(str::to_owned),
            device_tree: board.slot_tree().map(str::to_owned),
            files: board.slot.keys().cloned().collect(),
        },
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

pub(super) struct DigestWriter<'a>(pub(super) &'a mut Sha256);

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
    use super::*;

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
