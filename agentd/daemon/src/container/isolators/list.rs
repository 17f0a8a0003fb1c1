//! The isolators in use: which of all there are, and what they make together of a container.
//!
//! Called by the containerizer. Invariant: they prepare in one order, whatever the order in `--isolation`.

use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;

use agentd_core::Limitation;
use nesos_api::v1;
use nesos_sys::cgroup::statistics::Statistics;
use nesos_sys::cgroup::{Cgroup, Limits, Usage};
use nesos_wire::ContainerId;
use nesos_wire::task::TaskSpec;

use super::super::cgroups::Cgroups;
use super::users::User;
use super::{Isolator, Refusal, Setup, Wish};
use super::{asked, cgroups, cpuset, devices, disk, files, image, io, namespaces, network, rights};
use crate::settings::{Settings, SettingsError};

/// Names that Mesos has and that need nothing here: usage is not limited, files are the agent's.
const PLAIN: [&str; 3] = ["posix/cpu", "posix/mem", "filesystem/posix"];

/// Those in use, in the order in which they prepare.
#[derive(Debug)]
pub(in crate::container) struct Isolators {
    list: Vec<Box<dyn Isolator>>,
    cgroups: Option<Cgroups>,
    /// With disk/du.
    disk: Option<Rc<disk::Books>>,
    networks: Rc<network::Books>,
}

impl Isolators {
    /// Those of `--isolation`, checked on this machine.
    pub(in crate::container) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let names = &settings.isolation;
        let disk = disk::Books::new(settings);
        let networks = network::Books::new(settings)?;
        let list = chosen(names, all(settings, &disk, &networks)?)?;
        let is_root = nix::unistd::geteuid().is_root();
        if let Some(isolator) = list
            .iter()
            .find(|isolator| isolator.needs_root() && !is_root)
        {
            let name = isolator.name();
            let reason = format!("{name} needs root; without root use posix/cpu,posix/mem");
            return Err(SettingsError::new("--isolation", reason));
        }
        for isolator in &list {
            let works = isolator.check();
            works.map_err(|e| {
                SettingsError::new("--isolation", format!("{}: {e}", isolator.name()))
            })?;
        }
        let uses_cgroups = names.iter().any(|name| name.starts_with("cgroups/"));
        let root = settings.flags.text_or_empty("cgroups_root");
        let by_processor = names.iter().any(|name| name == "cgroups/cpuset");
        let cgroups = uses_cgroups
            .then(|| Cgroups::new(root, by_processor))
            .transpose()?;
        let watches_disk = list.iter().any(|isolator| isolator.name() == "disk/du");
        let disk = watches_disk.then_some(disk);
        let isolators = Self {
            list,
            cgroups,
            disk,
            networks,
        };
        isolators.adopt(&settings.runtime_dir);
        Ok(isolators)
    }

    /// The containers of earlier agentds.
    fn adopt(&self, runs: &Path) {
        for run in std::fs::read_dir(runs).into_iter().flatten().flatten() {
            if let Ok(name) = run.file_name().into_string() {
                let container = ContainerId::new(name);
                for isolator in &self.list {
                    isolator.adopt(&container, &run.path());
                }
            }
        }
        self.list.iter().for_each(|isolator| isolator.adopted());
    }

    /// The container's helper is this process.
    pub(in crate::container) fn runs(&self, container: &ContainerId, helper: u32) {
        let list = self.list.iter();
        list.for_each(|isolator| isolator.runs(container, helper));
    }

    /// The network that the container has, if it has one of its own.
    pub(in crate::container) fn network(&self, container: &ContainerId) -> Option<v1::NetworkInfo> {
        self.networks.shown(container)
    }

    /// Whether this is a container's address.
    pub(in crate::container) fn has_address(&self, address: IpAddr) -> bool {
        self.networks.has(address)
    }

    /// A cgroup of its own with all that belongs to it, if it has limits; still empty. `is_inside`: in that of the container
    /// around it, and bound by what that one may.
    pub(in crate::container) fn make_group(
        &self,
        container: &ContainerId,
        spec: &TaskSpec,
        limits: Option<&Limits>,
        is_inside: bool,
    ) -> Result<Option<Cgroup>, Refusal> {
        let (Some(cgroups), Some(limits)) = (&self.cgroups, limits) else {
            return Ok(None);
        };
        if is_inside {
            return Ok(Some(cgroups.create_inside(container)?));
        }
        let group = cgroups.create(container, limits)?;
        self.equip(container, spec, &group)?;
        Ok(Some(group))
    }

    /// What the container may use from now on.
    pub(in crate::container) fn resize(
        &self,
        container: &ContainerId,
        spec: &TaskSpec,
    ) -> Result<(), Refusal> {
        for isolator in &self.list {
            isolator.resize(container, spec)?;
        }
        if let (Some(cgroups), Some(limits)) = (&self.cgroups, self.limits(spec))
            && let Some(group) = cgroups.resize(container, &limits)?
        {
            self.equip(container, spec, &group)?;
        }
        Ok(())
    }

    fn equip(
        &self,
        container: &ContainerId,
        spec: &TaskSpec,
        group: &Cgroup,
    ) -> Result<(), Refusal> {
        let mut list = self.list.iter();
        list.try_for_each(|isolator| isolator.equip(container, spec, group))
    }

    /// Ends whatever is left of it, and takes back what it had.
    pub(in crate::container) async fn clean_up(&self, container: &ContainerId) {
        if let Some(cgroups) = &self.cgroups {
            cgroups.remove(container).await;
        }
        for isolator in self.list.iter().rev() {
            isolator.release(container);
        }
    }

    /// All that the container needs, or why it cannot be had.
    pub(in crate::container) fn prepare(&self, wish: &Wish<'_>) -> Result<Setup, Refusal> {
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
    pub(in crate::container) fn limits(&self, spec: &TaskSpec) -> Option<Limits> {
        let mut limits = None;
        for isolator in &self.list {
            isolator.limit(spec, &mut limits);
        }
        limits
    }

    pub(in crate::container) fn has(&self, name: &str) -> bool {
        self.list.iter().any(|isolator| isolator.name() == name)
    }

    pub(in crate::container) fn cgroups(&self) -> Option<&Cgroups> {
        self.cgroups.as_ref()
    }

    pub(in crate::container) fn usage(&self, container: &ContainerId) -> Option<Usage> {
        self.cgroups
            .as_ref()
            .and_then(|cgroups| cgroups.usage(container))
    }

    pub(in crate::container) fn statistics(&self, container: &ContainerId) -> Option<Statistics> {
        self.cgroups.as_ref()?.statistics(container)
    }

    /// Ready when the container is to end for what it has written.
    pub(in crate::container) async fn disk_exceeded(&self, container: &ContainerId) {
        match &self.disk {
            Some(disk) => disk.exceeded(container).await,
            None => std::future::pending().await,
        }
    }

    /// What it may use of the disk, and what it used when somebody last looked, bytes.
    pub(in crate::container) fn disk(&self, container: &ContainerId) -> Option<(u64, Option<u64>)> {
        self.disk.as_ref()?.shown(container)
    }

    /// The limit the container has run into.
    pub(in crate::container) fn limitation(&self, container: &ContainerId) -> Option<Limitation> {
        let group = self.cgroups.as_ref();
        let group = group.and_then(|cgroups| cgroups.state(container));
        let mut list = self.list.iter();
        list.find_map(|isolator| isolator.limitation(container, group.as_ref()))
    }
}

/// All there are, in the order in which they prepare: the root of the files before what is mounted in it.
fn all(
    settings: &Settings,
    disk: &Rc<disk::Books>,
    networks: &Rc<network::Books>,
) -> Result<Vec<Box<dyn Isolator>>, SettingsError> {
    let gpus = devices::Books::new(settings.accelerators.clone());
    Ok(vec![
        Box::new(cgroups::Cpu::new(settings)),
        Box::new(cgroups::Memory),
        Box::new(cgroups::Pids::new(settings)),
        Box::new(io::Io::new(settings)?),
        Box::new(cpuset::Cpuset::new(settings)),
        Box::new(devices::Devices::new(gpus.clone())),
        // Before all whose part it changes: volumes, devices, networks, capabilities.
        Box::new(User::new(settings)?),
        Box::new(
            files::Linux::new(settings)
                .map_err(|e| SettingsError::new("--isolation", format!("filesystem/linux: {e}")))?,
        ),
        Box::new(devices::Gpus(gpus)),
        Box::new(disk::Disk(disk.clone())),
        Box::new(image::DockerRuntime),
        Box::new(image::Volume),
        Box::new(files::HostPath),
        Box::new(files::SandboxPath),
        Box::new(files::Secret),
        Box::new(files::EnvironmentSecret),
        Box::new(namespaces::Pid),
        Box::new(namespaces::Ipc),
        Box::new(namespaces::Uts),
        Box::new(namespaces::CgroupView),
        // After the host's name is known.
        Box::new(network::Bridge(networks.clone())),
        Box::new(rights::Capabilities::new(settings)?),
        Box::new(rights::NoNewPrivileges),
        Box::new(rights::Seccomp),
        Box::new(rights::ResourceLimits),
    ])
}

/// The named ones of `all`, in their order; each name once is enough.
pub(super) fn chosen(
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
        "gpu/devices",
        "namespaces/pid",
        "namespaces/ipc",
        "namespaces/user",
        "network/bridge",
        "volume/host_path",
        "volume/image",
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
