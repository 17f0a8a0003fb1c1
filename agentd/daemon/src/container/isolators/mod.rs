//! Isolators: small parts that each contribute to how a container is set up, chosen by `--isolation`.
//!
//! Called by the containerizer only. A new one is a type that implements [`Isolator`] and a line in `list::all`. Invariants: an
//! isolator that cannot work on this machine is an error at start, never a task that runs unprotected; a task that asks for
//! what no isolator gives it is not started.

mod asked;
mod cgroups;
mod cpuset;
mod devices;
pub(super) mod disk;
mod files;
mod image;
mod io;
mod list;
mod namespaces;
mod network;
mod rights;
mod users;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use agentd_core::Limitation;
use agentd_core::network::NetworkError;
use nesos_api::v1;
use nesos_sys::cgroup::{Cgroup, CgroupError, Limits, Usage};
use nesos_sys::container::Namespaces;
use nesos_sys::user::Credentials;
use nesos_wire::ContainerId;
use nesos_wire::file_system::FileSystem;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::rights::Rights;
use nesos_wire::task::TaskSpec;

use crate::images::Provisioned;
use crate::volumes::VolumeError;
pub(in crate::container) use list::Isolators;

/// What a container is made for and from.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub(super) spec: &'a TaskSpec,
    pub(super) container_id: &'a ContainerId,
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
    /// Those of its volumes, in their order.
    pub(super) image_volumes: &'a [Provisioned],
    /// The pod that it is a task of.
    pub(super) pod: Option<&'a Pod>,
}

/// What holds the tasks of a group together.
#[derive(Debug)]
pub(crate) struct Pod {
    /// Names it; nothing of its own runs.
    pub(crate) container: ContainerId,
    /// What its framework asks of it.
    pub(crate) info: v1::ContainerInfo,
}

impl<'a> Wish<'a> {
    /// Of a task, or of an executor that is held like one.
    pub(super) fn new(
        spec: &'a TaskSpec,
        container_id: &'a ContainerId,
        sandbox: &'a Path,
        parent: Option<&'a Path>,
    ) -> Self {
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
            container_id,
            container: container.map(|info| *info).unwrap_or_default(),
            command: command.unwrap_or_default(),
            sandbox,
            parent,
            user: None,
            image: None,
            image_volumes: &[],
            pod: None,
        }
    }

    /// The image that it asks for.
    pub(super) fn image_wanted(&self) -> Option<&v1::Image> {
        self.container.mesos.as_ref()?.image.as_ref()
    }

    /// The images that its volumes are, in their order.
    pub(super) fn volume_images(&self) -> impl Iterator<Item = &v1::Image> {
        let volumes = self.container.volumes.iter();
        volumes.filter_map(|volume| volume.image.as_ref())
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
    /// It takes its cgroup for the root of all.
    pub(super) cgroup_namespace: bool,
    /// `Some`: a cgroup of its own with these limits.
    pub(super) limits: Option<Limits>,
    /// Additions to the task's environment.
    pub(super) environment: Vec<(String, String)>,
    /// What it sees as its files; none: the host's, as they are.
    pub(super) file_system: Option<FileSystem>,
    /// Where its network is, if it has one of its own.
    pub(super) network: Option<Rc<OwnedFd>>,
    /// Its own host name.
    pub(super) hostname: Option<String>,
    /// What it is left with.
    pub(super) rights: Rights,
    /// Program and argv, if not the command's own.
    pub(super) program: Option<(String, Vec<String>)>,
    /// Files of its run directory from which a later agentd learns what it has.
    pub(super) notes: Vec<(&'static str, String)>,
}

/// Why a container cannot be as it is asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the task's container: {0}")]
    Sentence(String),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("the task's network: {0}")]
    Network(#[from] NetworkError),
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
    /// Whether it works on this machine.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
    /// What the container of this task may use, now and after each change.
    fn limit(&self, _spec: &TaskSpec, _limits: &mut Option<Limits>) {}
    /// What the container needs to begin.
    fn prepare(&self, _wish: &Wish<'_>, _setup: &mut Setup) -> Result<(), Refusal> {
        Ok(())
    }
    /// What its cgroup needs beside limits, before its first process exists and after each change.
    fn equip(
        &self,
        _container: &ContainerId,
        _spec: &TaskSpec,
        _group: &Cgroup,
    ) -> Result<(), Refusal> {
        Ok(())
    }
    /// What the container is given from now on, whether or not it has a cgroup.
    fn resize(&self, _container: &ContainerId, _spec: &TaskSpec) -> Result<(), Refusal> {
        Ok(())
    }
    /// A container that an earlier agentd has made, with its run directory.
    fn adopt(&self, _container: &ContainerId, _run: &Path) {}
    /// All of those are known.
    fn adopted(&self) {}
    /// The helper of the container, which this or an earlier agentd has started, is this process.
    fn runs(&self, _container: &ContainerId, _helper: u32) {}
    /// Nothing of the container runs any more, or ever will.
    fn release(&self, _container: &ContainerId) {}
    /// The limit the container has run into, if any. Asked after its end.
    /// `group`: what its cgroup says, if it has one.
    fn limitation(
        &self,
        _container: &ContainerId,
        _group: Option<&(Usage, Limits)>,
    ) -> Option<Limitation> {
        None
    }
}

#[cfg(test)]
mod tests;
