//! From an image's name to unpacked layers in the store.
//!
//! Called by `images`, once at a time for each name. Invariant: nothing is in the store that the image's configuration does
//! not vouch for by digest, and the configuration is the one that the manifest vouches for.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use agentd_core::image::{
    Archived, Config, Descriptor, Digest, Document, Manifest, Pick, Platform, choose, pick,
};

use super::layout::{Beginning, Layout, blob_path};
use super::registry::Registry;
use super::store::{Stage, Store};
use crate::fetcher::helper::Helper;
use nesos_sys::fs::open_directory;

/// Indexes in indexes.
const MAX_DEPTH: usize = 3;

/// Where an image comes from.
#[derive(Debug)]
pub(super) enum Origin<'a> {
    Registry(Registry<'a>),
    Layout(Layout<'a>),
}

/// What was found out about it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) config: Config,
    /// The configuration's own bytes.
    pub(super) raw: Vec<u8>,
    /// The lowest first.
    layers: Vec<Packed>,
}

#[derive(Debug)]
enum Packed {
    Blob(Descriptor),
    Path(String),
}

impl Found {
    /// Bytes that the layers have as they travel, as far as that is known, of those that the store lacks.
    pub(super) fn missing(&self, store: &Store) -> u64 {
        let layers = self.config.layers.iter().zip(&self.layers);
        let missing = layers.filter(|(digest, _)| !store.has(digest));
        let size = |(_, packed): (_, &Packed)| match packed {
            Packed::Blob(blob) => blob.size,
            Packed::Path(_) => 0,
        };
        missing.map(size).fold(0, u64::saturating_add)
    }
}

impl Origin<'_> {
    /// The image for this machine.
    pub(super) async fn find(
        &mut self,
        machine: &Platform,
        wanted: Pick<'_>,
    ) -> Result<Found, String> {
        let found = match self.beginning(wanted).await? {
            Start::Document(bytes) => {
                let manifest = self.resolve(bytes, machine, wanted).await?;
                let raw = self.small(&manifest.config).await?;
                Found {
                    config: parsed(&raw)?,
                    raw,
                    layers: manifest.layers.into_iter().map(Packed::Blob).collect(),
                }
            }
            Start::Archived(image, raw) => Found {
                config: parsed(&raw)?,
                raw,
                layers: image.layers.into_iter().map(Packed::Path).collect(),
            },
        };
        let checked = found.config.check_layers(found.layers.len());
        checked.map_err(|e| e.to_string())?;
        if !found.config.platform.suits(machine) {
            let (image, machine) = (found.config.platform.shown(), machine.shown());
            return Err(format!("it is for {image}, this machine is {machine}"));
        }
        Ok(found)
    }

    /// Follows indexes to a manifest.
    async fn resolve(
        &mut self,
        mut bytes: Vec<u8>,
        machine: &Platform,
        wanted: Pick<'_>,
    ) -> Result<Manifest, String> {
        for depth in 0..MAX_DEPTH {
            match Document::parse(&bytes).map_err(|e| e.to_string())? {
                Document::Manifest(manifest) => return Ok(manifest),
                Document::Index(mut index) => {
                    // A layout's own index lists its images; those below it, and registries', one for several machines.
                    if let (0, Origin::Layout(_)) = (depth, &self) {
                        let names = index.iter().map(|choice| choice.names.clone());
                        let names: Vec<_> = names.collect();
                        let found = pick(&names, wanted).map_err(|e| e.to_string())?;
                        let mut entry = 0..;
                        index.retain(|_| entry.next().is_some_and(|at| found.contains(&at)));
                    }
                    let chosen = choose(&index, machine).map_err(|e| e.to_string())?;
                    bytes = match self {
                        Origin::Registry(registry) => registry.manifest(&chosen.digest).await?,
                        Origin::Layout(_) => self.small(chosen).await?,
                    };
                }
            }
        }
        Err(format!(
            "more than {MAX_DEPTH} indexes lie inside each other"
        ))
    }

    async fn beginning(&mut self, wanted: Pick<'_>) -> Result<Start, String> {
        match self {
            Origin::Registry(registry) => Ok(Start::Document(registry.named().await?)),
            Origin::Layout(layout) => Ok(match layout.beginning().await? {
                Beginning::Index(bytes) => Start::Document(bytes),
                Beginning::Archive(bytes) => {
                    let image = Archived::parse(&bytes, wanted).map_err(|e| e.to_string())?;
                    let raw = layout.document(&image.config).await?;
                    Start::Archived(image, raw)
                }
            }),
        }
    }

    async fn small(&mut self, blob: &Descriptor) -> Result<Vec<u8>, String> {
        match self {
            Origin::Registry(registry) => registry.small(blob).await,
            Origin::Layout(layout) => {
                let bytes = layout.document(&blob_path(&blob.digest)).await?;
                let found = digest_of(&bytes);
                match found == blob.digest {
                    true => Ok(bytes),
                    false => Err(format!("the blob {} has the digest {found}", blob.digest)),
                }
            }
        }
    }

    /// The layer as it travels.
    async fn packed(&mut self, layer: &Packed, stage: &Stage) -> Result<File, String> {
        match (self, layer) {
            (Origin::Registry(registry), Packed::Blob(blob)) => {
                // A name is needed for nobody but the file system.
                let path = stage.path().join("packed");
                let mut file = File::create(&path).map_err(|e| e.to_string())?;
                registry.blob(blob, &mut file).await?;
                let file = File::open(&path).map_err(|e| e.to_string())?;
                std::fs::remove_file(&path).map_err(|e| e.to_string())?;
                Ok(file)
            }
            (Origin::Layout(layout), Packed::Blob(blob)) => {
                layout.file(&blob_path(&blob.digest)).await
            }
            (Origin::Layout(layout), Packed::Path(path)) => layout.file(path).await,
            (Origin::Registry(_), Packed::Path(path)) => Err(format!("a registry has no {path}")),
        }
    }
}

/// Brings those layers into the store that it lacks. `room` says how many bytes may be unpacked.
pub(super) async fn unpack(
    origin: &mut Origin<'_>,
    found: &Found,
    store: &Store,
    stage: &Stage,
    helper: &Helper,
    room: impl Fn() -> u64,
) -> Result<(), String> {
    let mut fresh: Vec<(PathBuf, Digest)> = Vec::new();
    for (index, (digest, packed)) in found.config.layers.iter().zip(&found.layers).enumerate() {
        let is_new = |(_, other): &(PathBuf, Digest)| other != digest;
        if store.has(digest) || !fresh.iter().all(is_new) {
            continue;
        }
        let file = origin.packed(packed, stage).await?;
        let into = stage.path().join(index.to_string());
        // Of the topmost layer's directory the task's root has its rights.
        let made = DirBuilder::new().mode(0o755).create(&into);
        made.map_err(|e| e.to_string())?;
        helper.layer(file, digest, &into, room()).await?;
        fresh.push((into, *digest));
    }
    if fresh.is_empty() {
        return Ok(());
    }
    synchronise(store.root()).await?;
    for (unpacked, digest) in fresh {
        let added = store.add(&unpacked, &digest);
        added.map_err(|e| format!("cannot keep a layer: {e}"))?;
    }
    Ok(())
}

/// What was written is to be there after a loss of power, before it gets its name.
async fn synchronise(root: &Path) -> Result<(), String> {
    let root = open_directory(root).map_err(|e| e.to_string())?;
    let synchronised = tokio::task::spawn_blocking(move || nix::unistd::syncfs(root)).await;
    let synchronised = synchronised.map_err(|e| e.to_string())?;
    synchronised.map_err(|e| format!("cannot synchronise the store: {e}"))
}

enum Start {
    Document(Vec<u8>),
    Archived(Archived, Vec<u8>),
}

fn parsed(raw: &[u8]) -> Result<Config, String> {
    Config::parse(raw).map_err(|e| format!("its configuration: {e}"))
}

/// SHA-256.
pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut array = [0; 32];
    array.copy_from_slice(digest.as_ref());
    Digest(array)
}
