//! The root file system: our programs, BusyBox, mount points and a minimal `/etc`, as squashfs.
//!
//! Decides nothing about boot (that is `init`). Called by [`super::build_image`]. Invariant: every file has the owner root, the build
//! time and a mode that does not come from this machine's file system; entries are written in the order of their names.

use super::config::{RootConfig, split_mode};
use super::sources::{Source, SourceError, Sources};
use backhand::compression::{CompressionOptions, Compressor, Zstd};
use backhand::{BackhandError, FilesystemCompressor, FilesystemWriter, NodeHeader};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// Squashfs block: small files of one page set stay cheap to read on 128 MB boards, and 128 KiB packs within 2 % of 1 MiB.
const BLOCK_BYTES: u32 = 128 * 1024;
/// zstd's highest level whose memory need the kernel's decoder meets by default.
const ZSTD_LEVEL: u32 = 22;
/// Where `init` looks for the empty data file system.
const TEMPLATE_PATH: &str = "usr/share/nesos/data.template";
const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUPS: &str = "root:x:0:\nnogroup:x:65534:\n";
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";
const SERVICES: &str = "http 80/tcp\nhttps 443/tcp\nssh 22/tcp\ndomain 53/udp\nmdns 5353/udp\n";

/// A root file system that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// BusyBox cannot be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file that goes into the root.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// One of our programs was not built.
    #[error(
        "no program `{name}` was given for the root file system; `cargo xtask build` makes them"
    )]
    NoProgram {
        /// Its name in `root.binaries`.
        name: String,
    },
    /// The BusyBox at hand lacks an applet.
    #[error("`root.applets` names {applets}, which BusyBox {version} does not have")]
    NoApplet {
        /// The applets.
        applets: String,
        /// The package's version.
        version: String,
    },
    /// Squashfs could not be written.
    #[error("write squashfs entry {path}: {source}")]
    Squashfs {
        /// Path inside the root, empty for the whole.
        path: String,
        /// What went wrong.
        source: BackhandError,
    },
}

/// A static BusyBox from Debian, which must have all applets.
pub(super) fn busybox(
    config: &RootConfig,
    sources: &mut Sources<'_>,
) -> Result<Vec<u8>, RootError> {
    let package = &config.busybox;
    let version = sources.remember(package, false)?;
    let mut of = |path: &str| {
        sources.read(&Source::Debian {
            package: package.clone(),
            path: path.to_owned(),
        })
    };
    // After and before Debian merged /bin into /usr/bin.
    let bytes = of("usr/bin/busybox").or_else(|_| of("bin/busybox"))?;
    let bytes = bytes.unwrap_or_default();
    let missing: Vec<_> = config
        .applets
        .iter()
        .filter(|applet| !has_applet(&bytes, applet))
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        Ok(bytes)
    } else {
        Err(RootError::NoApplet {
            applets: missing.join(", "),
            version,
        })
    }
}

/// BusyBox keeps its applets' names as a list of C strings.
fn has_applet(busybox: &[u8], applet: &str) -> bool {
    let name: Vec<u8> = [b"\0", applet.as_bytes(), b"\0"].concat();
    busybox.windows(name.len()).any(|window| window == name)
}

/// What goes into the root besides its configuration.
#[derive(Debug)]
pub struct RootContent<'a> {
    /// Own programs by name.
    pub programs: &'a BTreeMap<String, PathBuf>,
    /// BusyBox.
    pub busybox: &'a [u8],
    /// The data template.
    pub template: &'a [u8],
    /// Files from elsewhere, by path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// `/etc/os-release`.
    pub release: String,
    /// Time of every file, seconds since 1970.
    pub epoch: u32,
}

/// Writes the root file system and returns its bytes.
///
/// # Errors
/// A program is missing or cannot be read, or two entries claim one path.
pub fn write_root(config: &RootConfig, content: &RootContent<'_>) -> Result<Vec<u8>, RootError> {
    let mut files: BTreeMap<String, (u16, Vec<u8>)> = BTreeMap::new();
    for (path, bytes) in &content.files {
        files.insert(path.clone(), (0o444, bytes.clone()));
    }
    for (name, path) in &config.binaries {
        let source = content
            .programs
            .get(name)
            .ok_or_else(|| RootError::NoProgram { name: name.clone() })?;
        files.insert(path.clone(), (0o755, read(source)?));
    }
    files.insert("bin/busybox".to_owned(), (0o755, content.busybox.to_vec()));
    files.insert(TEMPLATE_PATH.to_owned(), (0o444, content.template.to_vec()));
    for (path, text) in [
        ("etc/passwd", USERS),
        ("etc/group", GROUPS),
        ("etc/hosts", HOSTS),
        ("etc/services", SERVICES),
        ("etc/os-release", &content.release),
    ] {
        files.insert(path.to_owned(), (0o644, text.as_bytes().to_vec()));
    }
    let mut links = config.links.clone();
    links.extend(
        config
            .applets
            .iter()
            .map(|applet| (format!("bin/{applet}"), "busybox".to_owned())),
    );
    assemble(config, files, links, content.epoch)
}

fn assemble(
    config: &RootConfig,
    files: BTreeMap<String, (u16, Vec<u8>)>,
    links: BTreeMap<String, String>,
    epoch: u32,
) -> Result<Vec<u8>, RootError> {
    let mut modes: BTreeMap<String, u16> = BTreeMap::new();
    for folder in &config.folders {
        // Checked with the configuration.
        let (path, mode) = split_mode(folder).unwrap_or((folder, 0o755));
        modes.insert(path.to_owned(), mode);
    }
    for path in files
        .keys()
        .chain(links.keys())
        .cloned()
        .chain(modes.keys().cloned())
        .collect::<Vec<_>>()
    {
        for (end, _) in path.match_indices('/') {
            modes.entry(path[..end].to_owned()).or_insert(0o755);
        }
    }
    let header = |mode| NodeHeader::new(mode, 0, 0, epoch);
    let mut writer = FilesystemWriter::default();
    writer.set_time(epoch);
    writer.set_block_size(BLOCK_BYTES);
    writer.set_root_mode(0o755);
    writer.set_only_root_id();
    let failed = |path: &str| {
        let path = path.to_owned();
        move |source| RootError::Squashfs { path, source }
    };
    writer.set_compressor(compressor().map_err(failed(""))?);
    for (path, mode) in &modes {
        writer.push_dir(path, header(*mode)).map_err(failed(path))?;
    }
    for (path, (mode, bytes)) in files {
        writer
            .push_file(Cursor::new(bytes), &path, header(mode))
            .map_err(failed(&path))?;
    }
    for (path, target) in &links {
        writer
            .push_symlink(target, path, header(0o777))
            .map_err(failed(path))?;
    }
    let mut out = Cursor::new(Vec::new());
    writer.write(&mut out).map_err(failed(""))?;
    Ok(out.into_inner())
}

fn compressor() -> Result<FilesystemCompressor, BackhandError> {
    FilesystemCompressor::new(
        Compressor::Zstd,
        Some(CompressionOptions::Zstd(Zstd {
            compression_level: ZSTD_LEVEL,
        })),
    )
}

fn read(path: &Path) -> Result<Vec<u8>, RootError> {
    std::fs::read(path).map_err(|source| RootError::File {
        path: path.to_owned(),
        source,
    })
}
