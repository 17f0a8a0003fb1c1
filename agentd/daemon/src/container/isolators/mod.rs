//! Isolators: small parts that each contribute to how a container is set up, chosen by `--isolation`.
//!
//! Called by the containerizer only. A new one is a type that implements [`Isolator`] and a line in [`all`]. Invariants: an
//! isolator that cannot work on this machine is an error at start, never a task that runs unprotected; a task that asks for
//! what no isolator gives it is not started.

mod asked;
mod cgroups;
mod files;
mod image;
mod namespaces;
mod rights;

use std::path::Path;

use agentd_core::Limitation;
use nesos_api::v1;
use nesos_sys::cgroup::statistics::Statistics;
use nesos_sys::cgroup::{Limits, Usage};
use nesos_sys::container::Namespaces;
use nesos_sys::user::Credentials;
use nesos_wire::ContainerId;
use nesos_wire::file_system::FileSystem;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::rights::Rights;
use nesos_wire::task::TaskSpec;

use super::cgroups::Cgroups;
use crate::images::Provisioned;
use crate::settings::{Settings, SettingsError};
use crate::volumes::VolumeError;

/// Names that Mesos has and that need nothing here: usage is not limited, files are the agent's.
const PLAIN: [&str; 3] = ["posix/cpu", "posix/mem", "filesystem/posix"];

/// What a container is made for and from.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub(super) spec: &'a TaskSpec,
    /// What its framework asks of its container.
    pub(super) container: v1::ContainerInfo,
    /// What its framework asks of its command beside what is in the spec.
    pub(super) command: v1::CommandInfo,
    /// Its sandbox on the host.
    pub(super) sandbox: &'a Path,
    /// The sandbox of the pod around it.
    pub(super) parent: Option<&'a Path>,
    /// Whom it runs as; none: as agentd.
    pub(super) user: Option<&'a Credentials>,
    /// The image that it asks for, brought here.
    pub(super) image: Option<&'a Provisioned>,
}

impl<'a> Wish<'a> {
    /// Of a task, or of an executor that is held like one.
    pub(super) fn new(spec: &'a TaskSpec, sandbox: &'a Path, parent: Option<&'a Path>) -> Self {
        // Written by a master of ours; damaged ones ask for nothing.
        let (container, command) = if spec.kind == ExecutorKind::Custom {
            let info = v1::ExecutorInfo::from_protobuf(&spec.info).unwrap_or_default();
            (info.container, info.command)
        } else {
            let info = v1::TaskInfo::from_protobuf(&spec.info).unwrap_or_default();
            (info.container, info.command)
        };
        Self {
            spec,
            container: container.map(|info| *info).unwrap_or_default(),
            command: command.unwrap_or_default(),
            sandbox,
            parent,
            user: None,
            image: None,
        }
    }

    /// The image that it asks for.
    pub(super) fn image_wanted(&self) -> Option<&v1::Image> {
        self.container.mesos.as_ref()?.image.as_ref()
    }

    pub(super) fn linux(&self) -> v1::LinuxInfo {
        let linux = self.container.linux_info.as_deref();
        linux.cloned().unwrap_or_default()
    }
}

/// How a container is to be set up.
#[derive(Debug, Clone, Default)]
pub(super) struct Setup {
    pub(super) namespaces: Namespaces,
    /// `Some`: a cgroup of its own with these limits.
    pub(super) limits: Option<Limits>,
    /// Additions to the task's environment.
    pub(super) environment: Vec<(String, String)>,
    /// What it sees as its files; none: the host's, as they are.
    pub(super) file_system: Option<FileSystem>,
    /// Its own host name.
    pub(super) hostname: Option<String>,
    /// What it is left with.
    pub(super) rights: Rights,
    /// Program and argv, if not the command's own.
    pub(super) program: Option<(String, Vec<String>)>,
}

/// Why a container cannot be as it is asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the task's container: {0}")]
    Sentence(String),
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

impl Refusal {
    fn new(sentence: impl Into<String>) -> Self {
        Self::Sentence(sentence.into())
    }
}

/// One part of isolation.
pub(super) trait Isolator: std::fmt::Debug {
    /// Its name in `--isolation`.
    fn name(&self) -> &'static str;
    /// Whether it needs root.
    fn needs_root(&self) -> bool {
        true
    }
    /// What the container of this task may use, now and after each change.
    fn limit(&self, _spec: &TaskSpec, _limits: &mut Option<Limits>) {}
    /// What the container needs to begin.
    fn prepare(&self, _wish: &Wish<'_>, _setup: &mut Setup) -> Result<(), Refusal> {
        Ok(())
    }
    /// The limit the container has run into, if any. Asked after its end.
    fn limitation(&self, _usage: &Usage, _limits: &Limits) -> Option<Limitation> {
        None
    }
}

/// Those in use, in the order in which they prepare.
#[derive(Debug)]
pub(super) struct Isolators {
    list: Vec<Box<dyn Isolator>>,
    cgroups: Option<Cgroups>,
}

impl Isolators {
    /// Those of `--isolation`, checked on this machine.
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let names = &settings.isolation;
        let list = chosen(names, all(settings)?)?;
        let is_root = nix::unistd::geteuid().is_root();
        if let Some(isolator) = list
            .iter()
            .find(|isolator| isolator.needs_root() && !is_root)
        {
            let name = isolator.name();
            let reason = format!("{name} needs root; without root use posix/cpu,posix/mem");
            return Err(SettingsError::new("--isolation", reason));
        }
        let uses_cgroups = names.iter().any(|name| name.starts_with("cgroups/"));
        let root = settings.flags.text_or_empty("cgroups_root");
        let cgroups = uses_cgroups.then(|| Cgroups::new(root)).transpose()?;
        Ok(Self { list, cgroups })
    }

    /// All that the container needs, or why it cannot be had.
    pub(super) fn prepare(&self, wish: &Wish<'_>) -> Result<Setup, Refusal> {
        let mut setup = Setup {
            limits: self.limits(wish.spec),
            ..Setup::default()
        };
        asked::check(wish, |name| self.has(name))?;
        for isolator in &self.list {
            isolator.prepare(wish, &mut setup)?;
        }
        Ok(setup)
    }

    /// What the container may use; none: it has no cgroup.
    pub(super) fn limits(&self, spec: &TaskSpec) -> Option<Limits> {
        let mut limits = None;
        for isolator in &self.list {
            isolator.limit(spec, &mut limits);
        }
        limits
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.list.iter().any(|isolator| isolator.name() == name)
    }

    pub(super) fn cgroups(&self) -> Option<&Cgroups> {
        self.cgroups.as_ref()
    }

    pub(super) fn usage(&self, container: &ContainerId) -> Option<Usage> {
        self.cgroups
            .as_ref()
            .and_then(|cgroups| cgroups.usage(container))
    }

    pub(super) fn statistics(&self, container: &ContainerId) -> Option<Statistics> {
        self.cgroups.as_ref()?.statistics(container)
    }

    /// The limit the container has run into.
    pub(super) fn limitation(&self, container: &ContainerId) -> Option<Limitation> {
        let (usage, limits) = self.cgroups.as_ref()?.state(container)?;
        self.list
            .iter()
            .find_map(|isolator| isolator.limitation(&usage, &limits))
    }
}

/// All there are, in the order in which they prepare: the root of the files before what is mounted in it.
fn all(settings: &Settings) -> Result<Vec<Box<dyn Isolator>>, SettingsError> {
    Ok(vec![
        Box::new(cgroups::Cpu::new(settings)),
        Box::new(cgroups::Memory),
        Box::new(cgroups::Pids::new(settings)),
        Box::new(cgroups::Io),
        Box::new(
            files::Linux::new(settings)
                .map_err(|e| SettingsError::new("--isolation", format!("filesystem/linux: {e}")))?,
        ),
        Box::new(image::DockerRuntime),
        Box::new(files::HostPath),
        Box::new(files::SandboxPath),
        Box::new(files::Secret),
        Box::new(files::EnvironmentSecret),
        Box::new(namespaces::Pid),
        Box::new(namespaces::Ipc),
        Box::new(namespaces::Uts),
        Box::new(rights::Capabilities::new(settings)?),
        Box::new(rights::NoNewPrivileges),
        Box::new(rights::Seccomp),
        Box::new(rights::ResourceLimits),
    ])
}

/// The named ones of `all`, in their order; each name once is enough.
fn chosen(
    names: &[String],
    all: Vec<Box<dyn Isolator>>,
) -> Result<Vec<Box<dyn Isolator>>, SettingsError> {
    let known = || {
        let own = all.iter().map(|isolator| isolator.name());
        PLAIN.into_iter().chain(own)
    };
    if let Some(name) = names
        .iter()
        .find(|name| !known().any(|known| known == *name))
    {
        let known: Vec<&str> = known().collect();
        let reason = format!(
            "there is no isolator '{name}'; there are {}",
            known.join(", ")
        );
        return Err(SettingsError::new("--isolation", reason));
    }
    let mut list = all;
    list.retain(|isolator| names.iter().any(|name| name == isolator.name()));
    // Files need a mount table, and a PID namespace shows itself by its own /proc.
    let has = |name: &str| list.iter().any(|isolator| isolator.name() == name);
    let need = [
        "docker/runtime",
        "namespaces/pid",
        "namespaces/ipc",
        "volume/host_path",
        "volume/sandbox_path",
        "volume/secret",
    ];
    match need.into_iter().find(|name| has(name)) {
        Some(name) if !has("filesystem/linux") => Err(SettingsError::new(
            "--isolation",
            format!("{name} needs filesystem/linux"),
        )),
        _ => Ok(list),
    }
}

#[cfg(test)]
mod tests;
