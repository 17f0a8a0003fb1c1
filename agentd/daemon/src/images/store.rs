//! The images that this machine has: layers as directories by their digest, images as their configuration by their name.
//!
//! `layers/DIGEST` is unpacked and whole, or is not there; `images/KEY` is the image's name, a line end and its
//! configuration; `staging` and `graves` are emptied at start. Called by `images`. Invariants: a layer that a container or a
//! pull holds is never removed; what is in `layers` was synchronised before it got its name.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use agentd_core::image::{Config, Digest, MAX_DOCUMENT};
use nesos_sys::fs::write_durably;

const LAYERS: &str = "layers";
const IMAGES: &str = "images";
const STAGING: &str = "staging";
const GRAVES: &str = "graves";
/// Most images: more than a board's disk holds.
const MAX_IMAGES: usize = 1024;
/// Longest name that is kept.
const MAX_NAME: usize = 8192;

/// An image's name, and whose it is: whoever has brought a login of his own, or reads files as another user, has images of
/// his own.
pub(super) type Key = Digest;

/// The store.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    images: RefCell<BTreeMap<Key, Kept>>,
    /// Layers by who holds them: containers and pulls.
    holders: RefCell<BTreeMap<String, Vec<Digest>>>,
    /// Counts uses, and names folders.
    turn: Cell<u64>,
}

#[derive(Debug)]
struct Kept {
    name: String,
    layers: Vec<Digest>,
    used_at: u64,
}

/// A folder for something that is being made; goes with this.
#[derive(Debug)]
pub(super) struct Stage(PathBuf);

impl Stage {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.0);
        bury(path);
    }
}

/// Layers that nobody removes while this is there.
#[derive(Debug)]
pub(super) struct Hold<'a> {
    store: &'a Store,
    name: String,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.store.release(&self.name);
    }
}

impl Store {
    /// Opens the store in `root`, made if missing.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        for folder in [LAYERS, IMAGES, STAGING, GRAVES] {
            let mut builder = DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(root.join(folder))?;
        }
        let store = Self {
            root: root.into(),
            images: RefCell::default(),
            holders: RefCell::default(),
            turn: Cell::new(0),
        };
        store.clear()?;
        store.read_images()?;
        Ok(store)
    }

    /// What a process before this one has left goes; new folders get other names.
    fn clear(&self) -> io::Result<()> {
        for folder in [STAGING, GRAVES] {
            for entry in fs::read_dir(self.root.join(folder))?.flatten() {
                let number = entry
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse().ok());
                self.turn.set(self.turn.get().max(number.unwrap_or(0)));
                bury(entry.path());
            }
        }
        Ok(())
    }

    fn read_images(&self) -> io::Result<()> {
        let mut found: Vec<(SystemTime, Key, String, Config)> = Vec::new();
        for entry in fs::read_dir(self.root.join(IMAGES))?.flatten() {
            let name = entry.file_name();
            let key = name
                .to_str()
                .and_then(|name| Digest::parse(&format!("sha256:{name}")));
            let read = key.and_then(|key| Some((key, self.read(&key)?)));
            match read {
                Some((key, (name, config))) if found.len() < MAX_IMAGES => {
                    let used = entry.metadata().and_then(|metadata| metadata.modified());
                    found.push((used.unwrap_or(SystemTime::UNIX_EPOCH), key, name, config));
                }
                _ => {
                    tracing::warn!("removing {}, which is no image", entry.path().display());
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        found.sort_by_key(|(used, ..)| *used);
        for (_, key, name, config) in found {
            let layers = config.layers;
            let kept = Kept {
                name,
                layers,
                used_at: self.next_turn(),
            };
            self.images.borrow_mut().insert(key, kept);
        }
        Ok(())
    }

    /// The image, if all of it is there.
    pub(super) fn find(&self, key: &Key) -> Option<Config> {
        let is_whole = {
            let images = self.images.borrow();
            images.get(key)?.layers.iter().all(|layer| self.has(layer))
        };
        let (_, config) = self.read(key).filter(|_| is_whole)?;
        let turn = self.next_turn();
        self.images.borrow_mut().get_mut(key)?.used_at = turn;
        // So that a later agentd knows too; not being able to say so is no harm.
        let _ = File::open(self.image(key)).and_then(|file| file.set_modified(SystemTime::now()));
        Some(config)
    }

    /// Keeps an image whose layers are there.
    pub(super) fn keep(
        &self,
        key: Key,
        name: &str,
        raw: &[u8],
        config: &Config,
    ) -> Result<(), String> {
        let text = [name.as_bytes(), b"\n", raw].concat();
        write_durably(&self.root.join(IMAGES), &key.digits(), &text).map_err(|e| e.to_string())?;
        let kept = Kept {
            name: name.into(),
            layers: config.layers.clone(),
            used_at: self.next_turn(),
        };
        self.images.borrow_mut().insert(key, kept);
        if self.images.borrow().len() > MAX_IMAGES {
            self.evict().into_iter().flatten().for_each(bury);
        }
        Ok(())
    }

    pub(super) fn has(&self, layer: &Digest) -> bool {
        self.layer(layer).is_dir()
    }

    /// Where a layer is.
    pub(super) fn layer(&self, layer: &Digest) -> PathBuf {
        self.root.join(LAYERS).join(layer.digits())
    }

    /// Gives an unpacked and synchronised directory its name.
    pub(super) fn add(&self, unpacked: &Path, layer: &Digest) -> io::Result<()> {
        match fs::rename(unpacked, self.layer(layer)) {
            // Somebody else was faster, with the same.
            Err(_) if self.has(layer) => Ok(()),
            other => other,
        }
    }

    /// An empty folder that others cannot look into.
    pub(super) fn stage(&self) -> io::Result<Stage> {
        let path = self.root.join(STAGING).join(self.next_turn().to_string());
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Stage(path))
    }

    /// The store's own folder.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Layers that are used from now on by the container of this name.
    pub(super) fn hold(&self, container: &str, layers: Vec<Digest>) {
        self.holders.borrow_mut().insert(container.into(), layers);
    }

    /// The same for as long as what comes back is there.
    pub(super) fn pin(&self, layers: Vec<Digest>) -> Hold<'_> {
        // No container has a name with a slash.
        let name = format!("/{}", self.next_turn());
        self.hold(&name, layers);
        Hold { store: self, name }
    }

    /// The container uses its layers no more; true if it did.
    pub(super) fn release(&self, container: &str) -> bool {
        self.holders.borrow_mut().remove(container).is_some()
    }

    /// Forgets all images that nobody uses and that are not called so; what can be removed now.
    pub(super) fn prune(&self, excluded: &BTreeSet<String>) -> Vec<PathBuf> {
        let unused = self.unused(|kept| !excluded.contains(&kept.name));
        for (_, key) in unused {
            self.forget(&key);
        }
        self.unheld()
    }

    /// Forgets the image that was not used for longest; what can be removed now. `None`: all are in use.
    pub(super) fn evict(&self) -> Option<Vec<PathBuf>> {
        let (_, key) = self.unused(|_| true).into_iter().min()?;
        self.forget(&key);
        Some(self.unheld())
    }

    fn unused(&self, may_go: impl Fn(&Kept) -> bool) -> Vec<(u64, Key)> {
        let holders = self.holders.borrow();
        let images = self.images.borrow();
        let is_used = |kept: &Kept| holders.values().any(|layers| *layers == kept.layers);
        let unused = images
            .iter()
            .filter(|(_, kept)| !is_used(kept) && may_go(kept));
        unused.map(|(key, kept)| (kept.used_at, *key)).collect()
    }

    fn forget(&self, key: &Key) {
        if let Some(kept) = self.images.borrow_mut().remove(key) {
            tracing::info!("image {} is removed", kept.name);
        }
        if let Err(error) = fs::remove_file(self.image(key)) {
            tracing::warn!("cannot remove {}: {error}", self.image(key).display());
        }
    }

    /// Takes layers that neither an image nor anybody else needs out of the store; where they are now.
    fn unheld(&self) -> Vec<PathBuf> {
        let (images, holders) = (self.images.borrow(), self.holders.borrow());
        let of_images = images.values().flat_map(|kept| &kept.layers);
        let needed: BTreeSet<String> = of_images
            .chain(holders.values().flatten())
            .map(Digest::digits)
            .collect();
        let entries = fs::read_dir(self.root.join(LAYERS));
        let mut graves = Vec::new();
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| needed.contains(name)) {
                continue;
            }
            let grave = self.root.join(GRAVES).join(self.next_turn().to_string());
            match fs::rename(entry.path(), &grave) {
                Ok(()) => graves.push(grave),
                Err(error) => tracing::warn!("cannot remove {}: {error}", entry.path().display()),
            }
        }
        graves
    }

    fn read(&self, key: &Key) -> Option<(String, Config)> {
        let mut bytes = Vec::new();
        let file = File::open(self.image(key)).ok()?;
        let most = (MAX_DOCUMENT + MAX_NAME) as u64;
        file.take(most).read_to_end(&mut bytes).ok()?;
        let at = bytes.iter().position(|byte| *byte == b'\n')?;
        let (name, raw) = bytes.split_at(at);
        let config = Config::parse(&raw[1..]).ok()?;
        Some((String::from_utf8(name.into()).ok()?, config))
    }

    fn image(&self, key: &Key) -> PathBuf {
        self.root.join(IMAGES).join(key.digits())
    }

    fn next_turn(&self) -> u64 {
        self.turn.set(self.turn.get() + 1);
        self.turn.get()
    }
}

/// Removes a folder, of whatever size, without holding anything up. Left to the next start if agentd is ending.
pub(super) fn bury(path: PathBuf) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn_blocking(move || remove(&path));
    }
}

/// Removes a folder that may be large. Blocking.
pub(super) fn remove(path: &Path) {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("cannot remove {}: {error}", path.display());
        }
        _ => {}
    }
}
