//! Container images: from what a task names to the layers and the configuration that its container is made of.
//!
//! Called by the containerizer, when `docker/runtime` or `volume/image` is in use. An image that is there by name is not asked for again, as in
//! Mesos, unless the task says `cached: false`. Invariants: many containers that want the same image wait for one pull;
//! layers of living containers are never removed, also after a restart of agentd.

mod layout;
pub(crate) mod options;
mod pull;
mod registry;
mod store;
#[cfg(test)]
mod tests;
mod user;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use agentd_core::image::{Config, Digest, Logins, Pick, Platform, Reference, Version};
use nesos_api::v1;
use nesos_sys::disk;
use nesos_sys::user::Credentials;
use nesos_wire::ContainerId;
use tokio::sync::{Mutex, Semaphore};

use crate::fetcher::KEEP_FREE;
use crate::fetcher::cache::Cache;
use crate::fetcher::client::Client;
use crate::fetcher::helper::Helper;
use layout::Layout;
use options::{Options, Registry};
use pull::Origin;
use store::{Key, Store};

/// Pulls at a time: more would only share the board's network and card.
const MAX_PULLS: usize = 3;
/// Room that is made for layers, as a multiple of what travels: packed programs are a third of what they are.
const UNPACKED: u64 = 4;
/// Of each image of a container: what is written to it, and what overlayfs needs for that; of all of them the layers.
const UPPER: &str = "upper";
const WORK: &str = "work";
const LAYERS: &str = "layers";

/// Why a task does not get its image.
#[derive(Debug, thiserror::Error)]
#[error("the image '{name}': {reason}")]
pub(crate) struct ImageError {
    name: String,
    reason: String,
}

/// An image, ready for a container.
#[derive(Debug)]
pub(crate) struct Provisioned {
    pub(crate) config: Config,
    /// Unpacked, the topmost first.
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
    /// Where its sandbox appears.
    pub(crate) sandbox: String,
}

impl Provisioned {
    /// Whom the image wants to run as; none: it does not say.
    pub(crate) fn user(&self) -> Result<Option<Credentials>, String> {
        let text = &self.config.user;
        (!text.is_empty())
            .then(|| user::find(text, &self.layers))
            .transpose()
    }
}

/// For whom, and by what means, an image is brought here.
#[derive(Debug)]
pub(crate) struct Means<'a> {
    pub(crate) user: Option<&'a Credentials>,
    pub(crate) client: &'a Client,
    pub(crate) cache: &'a Cache,
}

/// All images.
#[derive(Debug)]
pub(crate) struct Images {
    options: Options,
    /// `nesos-fetcher`.
    program: PathBuf,
    machine: Platform,
    store: Store,
    pulls: RefCell<BTreeMap<Key, Rc<Mutex<()>>>>,
    turns: Semaphore,
}

impl Images {
    /// Opens the store; containers of an agentd before this one keep their layers.
    pub(crate) fn new(options: &Options, program: PathBuf) -> io::Result<Self> {
        let store = Store::open(&options.store)?;
        let mut builder = DirBuilder::new();
        let builder = builder.recursive(true).mode(0o700);
        builder.create(&options.containers)?;
        for entry in fs::read_dir(&options.containers)?.flatten() {
            let text = fs::read_to_string(entry.path().join(LAYERS)).unwrap_or_default();
            if let Some(name) = entry.file_name().to_str() {
                store.hold(name, text.lines().filter_map(Digest::parse).collect());
            }
        }
        Ok(Self {
            options: options.clone(),
            program,
            machine: Platform::of_machine(std::env::consts::ARCH),
            store,
            pulls: RefCell::default(),
            turns: Semaphore::new(MAX_PULLS),
        })
    }

    /// Brings the images of a container here, as far as they are not here, and makes what it needs of each.
    pub(crate) async fn provide(
        &self,
        container: &ContainerId,
        images: &[&v1::Image],
        means: Means<'_>,
    ) -> Result<Vec<Provisioned>, ImageError> {
        let (mut configs, mut held, mut last) = (Vec::new(), Vec::new(), String::new());
        for image in images {
            let docker = image.docker.as_ref();
            let name = docker.map_or("", |docker| docker.name.as_str());
            last = name.chars().take(300).collect();
            let fail = |reason| ImageError {
                name: last.clone(),
                reason,
            };
            let wanted = Wanted::new(image, name, means.user).map_err(fail)?;
            let config = self.obtain(&wanted, &means).await.map_err(fail)?;
            // Until the container holds them: the next pull may need room.
            held.push(self.store.pin(config.layers.clone()));
            configs.push(config);
        }
        self.prepare(container, configs)
            .map_err(|error| ImageError {
                name: last,
                reason: format!("cannot make the container's files: {error}"),
            })
    }

    /// The container is over: what it has written goes, and its layers may.
    pub(crate) fn release(&self, container: &ContainerId) {
        if self.store.release(container.as_str()) {
            store::bury(self.options.containers.join(container.as_str()));
        }
    }

    /// Releases all containers but these.
    pub(crate) fn keep_only(&self, known: &[ContainerId]) {
        let entries = fs::read_dir(&self.options.containers).into_iter().flatten();
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        for name in names.filter(|name| known.iter().all(|known| known.as_str() != name)) {
            self.release(&ContainerId::new(name));
        }
    }

    /// Removes what nobody uses but the images of these names.
    pub(crate) fn prune(&self, excluded: &BTreeSet<String>) {
        self.store.prune(excluded).into_iter().for_each(store::bury);
    }

    /// Removes images until so large a part of the disk is free, or all that are left are in use.
    pub(crate) async fn relieve(&self, headroom: f64) {
        let is_enough = || match disk::space(self.store.root()) {
            Ok(space) => space.available as f64 >= headroom * space.total as f64,
            Err(_) => true,
        };
        self.evict_until(is_enough).await;
    }

    async fn obtain(&self, wanted: &Wanted<'_>, means: &Means<'_>) -> Result<Config, String> {
        if let Some(config) = self.find(wanted) {
            return Ok(config);
        }
        let lock = self
            .pulls
            .borrow_mut()
            .entry(wanted.key)
            .or_default()
            .clone();
        let pulled = {
            let _alone = lock.lock().await;
            match self.find(wanted) {
                Some(config) => Ok(config),
                None => {
                    let _turn = self.turns.acquire().await.map_err(|e| e.to_string())?;
                    self.pull(wanted, means).await
                }
            }
        };
        drop(lock);
        let mut pulls = self.pulls.borrow_mut();
        pulls.retain(|_, lock| Rc::strong_count(lock) > 1);
        pulled
    }

    fn find(&self, wanted: &Wanted<'_>) -> Option<Config> {
        wanted.is_cached.then(|| self.store.find(&wanted.key))?
    }

    async fn pull(&self, wanted: &Wanted<'_>, means: &Means<'_>) -> Result<Config, String> {
        tracing::info!("image {} is being pulled", wanted.name);
        let stage = self
            .store
            .stage()
            .map_err(|e| format!("no room in the store: {e}"))?;
        let helper = |user: Option<&Credentials>| Helper {
            program: self.program.clone(),
            user: user.cloned(),
        };
        // Local files are read as the task's user; the operator's own, and layers, as root.
        let (own, theirs) = (helper(None), helper(means.user));
        let reference;
        let (place, pick) = self.place(wanted.name)?;
        let mut origin = match place {
            Place::Archive(path) => {
                let reader = if wanted.is_path { &theirs } else { &own };
                let open = Layout::open(
                    &path,
                    &stage,
                    reader,
                    means.client,
                    means.cache,
                    self.room(),
                );
                Origin::Layout(open.await?)
            }
            Place::Server(server, named) => {
                reference = named;
                let login = self.login(wanted, &server.1);
                Origin::Registry(registry::Registry::new(
                    means.client,
                    server,
                    &reference,
                    login,
                ))
            }
        };
        let found = origin.find(&self.machine, pick).await?;
        // Also those that are there already: nobody shall remove them meanwhile.
        let _held = self.store.pin(found.config.layers.clone());
        let need = found.missing(&self.store).saturating_mul(UNPACKED);
        self.evict_until(|| self.room() >= need).await;
        let unpacked = pull::unpack(&mut origin, &found, &self.store, &stage, &own, || {
            self.room()
        });
        unpacked.await?;
        let (raw, config) = (found.raw, found.config);
        self.store.keep(wanted.key, wanted.name, &raw, &config)?;
        Ok(config)
    }

    /// Where an image of this name is to be had, and which one is it there.
    fn place<'a>(&self, name: &'a str) -> Result<(Place, Pick<'a>), String> {
        if is_path(name) {
            let (path, pick) = of_several(name);
            return Ok((Place::Archive(path.into()), pick));
        }
        let reference = Reference::parse(name).map_err(|e| e.to_string())?;
        let server = match (&self.options.registry, &reference.registry) {
            (Registry::Folder(folder), None) => {
                let Version::Tag(tag) = &reference.version else {
                    return Err("archives in a folder have tags, not digests".into());
                };
                let plain = name.strip_suffix(&format!(":{tag}")).unwrap_or(name);
                let path = folder.join(format!("{plain}:{tag}.tar"));
                let archive = Place::Archive(path.display().to_string());
                return Ok((archive, Pick::Rather(name)));
            }
            (Registry::Server { scheme, host }, None) => (*scheme, host.clone()),
            (Registry::Server { scheme, host }, Some(named)) if host == named => {
                (*scheme, host.clone())
            }
            (_, Some(named)) if is_loopback(named) => ("http", named.clone()),
            (_, Some(named)) => ("https", named.clone()),
        };
        Ok((Place::Server(server, reference), Pick::Only))
    }

    /// The task's own login, else the agent's.
    fn login<'a>(&'a self, wanted: &'a Wanted<'_>, host: &str) -> Option<&'a str> {
        let own = wanted.logins.as_ref().and_then(|logins| logins.of(host));
        own.or_else(|| self.options.logins.of(host))
    }

    /// Bytes that images may still take.
    fn room(&self) -> u64 {
        let free = disk::space(self.store.root()).map_or(0, |space| space.available);
        free.saturating_sub(KEEP_FREE)
    }

    async fn evict_until(&self, is_enough: impl Fn() -> bool) {
        while !is_enough() {
            let Some(graves) = self.store.evict() else {
                return;
            };
            let removal = move || graves.iter().for_each(|grave| store::remove(grave));
            // Fails only when agentd is ending.
            let _ = tokio::task::spawn_blocking(removal).await;
        }
    }

    fn prepare(
        &self,
        container: &ContainerId,
        configs: Vec<Config>,
    ) -> io::Result<Vec<Provisioned>> {
        let folder = self.options.containers.join(container.as_str());
        let all = configs.iter().flat_map(|config| &config.layers);
        let all: Vec<Digest> = all.copied().collect();
        let text: String = all.iter().map(|layer| format!("{layer}\n")).collect();
        self.store.hold(container.as_str(), all);
        let made = || -> io::Result<Vec<Provisioned>> {
            DirBuilder::new().mode(0o700).create(&folder)?;
            fs::write(folder.join(LAYERS), text)?;
            let configs = configs.into_iter().enumerate();
            configs
                .map(|(number, config)| self.lay_out(&folder.join(number.to_string()), config))
                .collect()
        };
        made().inspect_err(|_| self.release(container))
    }

    /// What one image of a container needs.
    fn lay_out(&self, folder: &Path, config: Config) -> io::Result<Provisioned> {
        // A layer that is there twice counts where it is higher: overlayfs takes each once.
        let mut layers: Vec<Digest> = Vec::new();
        for layer in config.layers.iter().rev() {
            if !layers.contains(layer) {
                layers.push(*layer);
            }
        }
        let (upper, work) = (folder.join(UPPER), folder.join(WORK));
        DirBuilder::new().mode(0o700).create(folder)?;
        // The root of the task's files has these rights.
        DirBuilder::new().mode(0o755).create(&upper)?;
        DirBuilder::new().mode(0o755).create(&work)?;
        Ok(Provisioned {
            layers: layers.iter().map(|layer| self.store.layer(layer)).collect(),
            upper,
            work,
            sandbox: self.options.sandbox.clone(),
            config,
        })
    }
}

enum Place {
    /// A path or a URI.
    Archive(String),
    Server((&'static str, String), Reference),
}

/// An image as a task asks for it.
struct Wanted<'a> {
    name: &'a str,
    key: Key,
    /// It is a path or a URI.
    is_path: bool,
    logins: Option<Logins>,
    is_cached: bool,
}

impl<'a> Wanted<'a> {
    fn new(image: &v1::Image, name: &'a str, user: Option<&Credentials>) -> Result<Self, String> {
        if image.r#type != v1::ImageType::Docker || name.is_empty() {
            return Err("expected an image of type DOCKER with docker.name".into());
        }
        if name.contains(|c: char| c.is_control()) {
            return Err("its name has control characters".into());
        }
        let secret = image
            .docker
            .as_ref()
            .and_then(|docker| docker.config.as_ref());
        let secret = secret.map(|secret| match (secret.r#type, &secret.value) {
            (Some(v1::SecretType::Value), Some(value)) => Ok(&value.data[..]),
            _ => Err("docker.config: only secrets of type VALUE are supported"),
        });
        let secret = secret.transpose()?;
        let logins = secret.map(Logins::parse).transpose();
        let is_path = is_path(name);
        // Whose files are read decides what an archive's name stands for.
        let user = user.filter(|_| is_path).map(|user| user.uid.to_string());
        let parts = [
            name.as_bytes(),
            secret.unwrap_or_default(),
            user.as_deref().unwrap_or_default().as_bytes(),
        ];
        Ok(Self {
            name,
            key: pull::digest_of(&parts.join(&0)),
            is_path,
            logins: logins.map_err(|e| format!("docker.config: {e}"))?,
            is_cached: image.cached(),
        })
    }
}

/// `ARCHIVE#NAME:TAG`, unless there is something that is called all of that; `#sha256=` is the archive's own checksum.
fn of_several(name: &str) -> (&str, Pick<'_>) {
    match name.rsplit_once('#') {
        Some((archive, which))
            if !which.is_empty() && !which.starts_with("sha256=") && !Path::new(name).exists() =>
        {
            (archive, Pick::Named(which))
        }
        _ => (name, Pick::Only),
    }
}

fn is_path(name: &str) -> bool {
    name.starts_with('/') || name.contains("://")
}

/// Registries on this machine speak without TLS.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}
