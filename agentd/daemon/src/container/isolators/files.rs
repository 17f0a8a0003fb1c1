//! The isolators of files: a root of its own, volumes, secrets.
//!
//! They describe; the helper mounts. Invariant: what a framework names is resolved by the helper, inside the directory that
//! it belongs to.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nesos_api::v1;
use nesos_api::v1::{
    EnvironmentVariableType as VariableType, SecretType, VolumeMode,
    VolumeSourceSandboxPathType as PathType, VolumeSourceType as SourceType,
};
use nesos_sys::mount_table::MountTable;
use nesos_wire::file_system::{FileSystem, Mount, MountSource, Root};
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::resource::Resources;

use super::{Isolator, Refusal, Setup, Wish};
use crate::images::Provisioned;
use crate::settings::Settings;
use crate::volumes;

/// Most volumes of one container.
const MAX_VOLUMES: usize = 64;
/// The bit of a file's mode.
const EVERYBODY_WRITES: u32 = 0o002;
/// Largest secret, bytes: it travels in the task and lies in memory.
const MAX_SECRET: usize = 64 * 1024;

/// A mount table of its own: the host's root read-only, private /tmp, /dev and /run, nothing of the agent but the sandbox.
#[derive(Debug)]
pub(super) struct Linux {
    work_dir: PathBuf,
    hidden: Vec<String>,
    mounts: RefCell<MountTable>,
    /// What the agent has: its disks among it.
    resources: Resources,
}

impl Linux {
    pub(super) fn new(settings: &Settings) -> io::Result<Self> {
        let secret = ["config", "credentials"];
        let secret = secret.iter().filter_map(|flag| settings.flags.path(flag));
        let secret = secret.filter_map(|path| std::path::absolute(path).ok());
        let own = [settings.work_dir.clone(), settings.runtime_dir.clone()];
        let hidden = own.into_iter().chain(secret);
        Ok(Self {
            work_dir: settings.work_dir.clone(),
            resources: settings.resources.clone(),
            hidden: hidden.map(|path| path.display().to_string()).collect(),
            mounts: MountTable::open()?.into(),
        })
    }
}

impl Linux {
    fn of_host(&self, sandbox: &Path) -> Result<FileSystem, Refusal> {
        let mut mounts = self.mounts.borrow_mut();
        let system = mounts
            .system()
            .map_err(|error| Refusal::new(format!("the machine's mounts: {error}")))?;
        let system = system.iter().map(|path| path.display().to_string());
        let sandbox = sandbox.display().to_string();
        Ok(FileSystem::host(
            sandbox,
            self.hidden.clone(),
            system.collect(),
        ))
    }
}

impl Isolator for Linux {
    fn name(&self) -> &'static str {
        "filesystem/linux"
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        // The helper makes the mount namespace, because it trusts nobody to have made one: another here would only be copied.
        let mut files = match wish.image {
            None => self.of_host(wish.sandbox)?,
            Some(image) => layered(image),
        };
        files.mounts = if wish.spec.kind == ExecutorKind::Custom {
            // Volumes come to it with later tasks, as links in its sandbox: it sees where they lead.
            volumes::everywhere(&self.work_dir, &self.resources)?
        } else {
            volumes::mounts(&self.work_dir, &wish.spec.resources, wish.user)?
        };
        setup.file_system = Some(files);
        Ok(())
    }
}

fn layered(image: &Provisioned) -> FileSystem {
    let text = |path: &Path| path.display().to_string();
    FileSystem {
        root: Root::Overlay {
            layers: image.layers.iter().map(|layer| text(layer)).collect(),
            upper: text(&image.upper),
            work: text(&image.work),
        },
        ..FileSystem::host(&image.sandbox, Vec::new(), Vec::new())
    }
}

/// Files and folders of the host.
#[derive(Debug)]
pub(super) struct HostPath;

impl Isolator for HostPath {
    fn name(&self) -> &'static str {
        "volume/host_path"
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        let is_strange = setup.rights.ids.is_some();
        add(wish, setup, |volume, source| {
            let new = source.and_then(|source| source.host_path.as_ref());
            if volume.image.is_some() {
                return Ok(None);
            }
            let path = match (
                source.and_then(|source| source.r#type),
                new,
                &volume.host_path,
            ) {
                (Some(SourceType::HostPath), Some(new), None) => {
                    if new.mount_propagation.is_some() {
                        return Err("mount_propagation is not supported".into());
                    }
                    &new.path
                }
                (None, _, Some(old)) => old,
                _ => return Ok(None),
            };
            // Mesos: a relative one is a folder of the sandbox.
            if Path::new(path).is_absolute() {
                if is_strange && volume.mode == VolumeMode::Rw {
                    check_writable(path)?;
                }
                return Ok(Some(MountSource::Host(path.clone())));
            }
            inside(wish.sandbox, path).map(Some)
        })
    }
}

/// In a user namespace what the host has is nobody's.
fn check_writable(path: &str) -> Result<(), String> {
    // What is not there is told by who mounts it.
    let mode =
        fs::metadata(path).map_or(EVERYBODY_WRITES, |metadata| metadata.permissions().mode());
    if mode & EVERYBODY_WRITES == 0 {
        return Err(format!(
            "'{path}' of the host cannot be written to from a user namespace (namespaces/user), where files of the host are nobody's: \
             it can be shown RO, be made writable for everybody, or be a persistent volume"
        ));
    }
    Ok(())
}

/// Folders of its own sandbox, or of the pod's, shown elsewhere.
#[derive(Debug)]
pub(super) struct SandboxPath;

impl Isolator for SandboxPath {
    fn name(&self) -> &'static str {
        "volume/sandbox_path"
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        add(wish, setup, |_, source| {
            let Some(place) = source.and_then(|source| source.sandbox_path.as_ref()) else {
                return Ok(None);
            };
            let directory = match (place.r#type, wish.parent) {
                (Some(PathType::Parent), Some(parent)) => parent,
                (Some(PathType::Parent), None) => {
                    return Err("a PARENT sandbox is there for tasks of a group only".into());
                }
                (Some(PathType::Own), _) => wish.sandbox,
                _ => return Err("a sandbox path is of type SELF or PARENT".into()),
            };
            inside(directory, &place.path).map(Some)
        })
    }
}

/// Secrets as files.
#[derive(Debug)]
pub(super) struct Secret;

impl Isolator for Secret {
    fn name(&self) -> &'static str {
        "volume/secret"
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        add(wish, setup, |_, source| {
            let secret = source.and_then(|source| source.secret.as_ref());
            secret
                .map(|secret| Ok(MountSource::Secret(value(secret)?.to_vec())))
                .transpose()
        })
    }
}

/// Secrets as variables.
#[derive(Debug)]
pub(super) struct EnvironmentSecret;

impl Isolator for EnvironmentSecret {
    fn name(&self) -> &'static str {
        "environment_secret"
    }

    fn needs_root(&self) -> bool {
        false
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        let environment = wish.command.environment.iter();
        for variable in environment.flat_map(|environment| &environment.variables) {
            let Some(secret) = variable
                .secret
                .as_ref()
                .filter(|_| variable.r#type == Some(VariableType::Secret))
            else {
                continue;
            };
            let fail = |why: String| Refusal::new(format!("variable '{}': {why}", variable.name));
            let text = String::from_utf8(value(secret).map_err(&fail)?.to_vec());
            let text = text.map_err(|_| fail("the secret is not text".into()))?;
            setup.environment.push((variable.name.clone(), text));
        }
        Ok(())
    }
}

/// Adds those volumes for which `source_of` knows a source.
pub(super) fn add(
    wish: &Wish<'_>,
    setup: &mut Setup,
    source_of: impl Fn(&v1::Volume, Option<&v1::VolumeSource>) -> Result<Option<MountSource>, String>,
) -> Result<(), Refusal> {
    let Some(files) = &mut setup.file_system else {
        return Ok(());
    };
    if wish.container.volumes.len() > MAX_VOLUMES {
        return Err(Refusal::new(format!(
            "at most {MAX_VOLUMES} volumes are possible"
        )));
    }
    for volume in &wish.container.volumes {
        let target = &volume.container_path;
        let fail = |why: String| Refusal::new(format!("volume '{target}': {why}"));
        let Some(source) = source_of(volume, volume.source.as_deref()).map_err(&fail)? else {
            continue;
        };
        check_path(target).map_err(fail)?;
        files.mounts.push(Mount {
            source,
            target: target.clone(),
            is_read_only: volume.mode == VolumeMode::Ro,
        });
    }
    Ok(())
}

fn inside(directory: &Path, path: &str) -> Result<MountSource, String> {
    if Path::new(path).is_absolute() {
        return Err(format!(
            "'{path}' is absolute, expected a path in the sandbox"
        ));
    }
    check_path(path)?;
    Ok(MountSource::Inside {
        directory: directory.display().to_string(),
        path: path.to_owned(),
    })
}

fn check_path(path: &str) -> Result<(), String> {
    if path.is_empty() || path.contains('\0') || path.split('/').any(|part| part == "..") {
        return Err(format!("'{path}' is no path without '..'"));
    }
    Ok(())
}

/// The bytes of a secret that brings them along; nobody here could look up another.
fn value(secret: &v1::Secret) -> Result<&[u8], String> {
    match (secret.r#type, &secret.value) {
        (Some(SecretType::Value), Some(value)) if value.data.len() <= MAX_SECRET => Ok(&value.data),
        (Some(SecretType::Value), Some(_)) => {
            Err(format!("the secret is longer than {MAX_SECRET} bytes"))
        }
        _ => Err("only secrets of type VALUE are supported".into()),
    }
}
