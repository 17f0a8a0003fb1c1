//! The containerizer: one local task per container, from its sandbox to its last word.
//!
//! Called by `run` with the core's actions; answers with [`ContainerEvent`]s. Knows no states of tasks. Invariant: every
//! `launch` and `adopt` ends in exactly one of `LaunchFailed`, `Finished`, `Vanished`, and before that word is sent nothing
//! of the container runs any more.

pub(crate) mod beside;
mod cgroups;
mod helper;
mod isolators;
mod launch;
mod life;
mod nursery;
pub(crate) mod own;
mod strays;
pub(crate) mod terminal;
#[cfg(test)]
pub(crate) mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;

use agentd_core::slack::{Measured, Sample, Waits};
use agentd_core::{ContainerEvent, Event, ProbeKind};
use nesos_api::v1;
use nesos_sys::cgroup::Usage;
use nesos_sys::cgroup::statistics::{Pressure, Statistics, of_machine};
use nesos_sys::process;
use nesos_sys::user::Accounts;
use nesos_wire::check::Probe;
use nesos_wire::task::TaskSpec;
use nesos_wire::{AgentId, ContainerId};
use tokio::sync::mpsc;

use crate::clock::Clocks;
use crate::fetcher::cache::Cache;
use crate::images::Images;
use crate::probe;
use crate::settings::{Settings, SettingsError};
use cgroups::Cgroups;
pub(crate) use cgroups::EXECUTORS;
use isolators::Isolators;
pub(crate) use isolators::Pod;
use launch::{Home, Request};
use life::Life;
use nursery::Nursery;
use own::Register;

/// Orders that wait for one container: a kill, shorter kills, a destroy.
const MAX_ORDERS: usize = 16;

/// What a container is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// SIGTERM, then SIGKILL after so many milliseconds.
    Kill(u32),
    /// SIGKILL, or give the launch up.
    Destroy,
    /// This signal to its first process and that one's group.
    Signal(u8),
}

/// What all containers share.
#[derive(Debug)]
struct Context {
    settings: Rc<Settings>,
    clocks: Rc<Clocks>,
    isolators: Isolators,
    /// Fetched files that are kept.
    cache: Cache,
    /// With docker/runtime or volume/image.
    images: Option<Images>,
    events: mpsc::Sender<Event>,
    /// The helpers that live, by container: for displays.
    helpers: RefCell<BTreeMap<ContainerId, u32>>,
    /// Those that operators have started, of which the core knows nothing.
    own: Register,
    nursery: Nursery,
    accounts: Accounts,
}

impl Context {
    fn run_directory(&self, container: &ContainerId) -> PathBuf {
        self.settings.runtime_dir.join(container.as_str())
    }

    async fn tell(&self, container: &ContainerId, event: ContainerEvent) {
        if let Some(own) = self.own.get(container) {
            return self.hear(&own, event);
        }
        // Fails only when the daemon is ending; then the next one adopts the container.
        let _ = self
            .events
            .send(Event::Container {
                container: container.clone(),
                event,
            })
            .await;
    }
}

/// All containers.
#[derive(Debug)]
pub(crate) struct Containerizer {
    context: Rc<Context>,
    orders: BTreeMap<ContainerId, mpsc::Sender<Order>>,
}

impl Containerizer {
    /// Checks that the isolators of `--isolation` work here.
    pub(crate) fn new(
        settings: Rc<Settings>,
        clocks: Rc<Clocks>,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, SettingsError> {
        let isolators = Isolators::new(&settings)?;
        let fetched = &settings.fetcher;
        let cache = Cache::new(fetched.cache_directory.clone(), fetched.cache_size)
            .map_err(|e| SettingsError::new("--fetcher_cache_dir", e))?;
        let has_images = isolators.has("docker/runtime") || isolators.has("volume/image");
        let images = has_images
            .then(|| Images::new(&settings.images, fetched.program.clone()))
            .transpose();
        let images = images.map_err(|e| SettingsError::new("--docker_store_dir", e))?;
        let nursery = Nursery::new(settings.executor.clone());
        Ok(Self {
            context: Rc::new(Context {
                settings,
                clocks,
                isolators,
                cache,
                images,
                events,
                helpers: RefCell::default(),
                own: Register::default(),
                nursery,
                accounts: Accounts::default(),
            }),
            orders: BTreeMap::new(),
        })
    }

    pub(crate) fn launch(
        &mut self,
        container: ContainerId,
        spec: TaskSpec,
        agent: AgentId,
        pod: Option<Pod>,
        endpoint: String,
    ) {
        let (life, _) = self.begin(container);
        let request = Request {
            spec,
            agent,
            home: pod.map_or(Home::Run, |pod| Home::Pod(Box::new(pod))),
            endpoint,
        };
        tokio::task::spawn_local(life.launch(request));
    }

    /// What a container may use from now on. The usage of one without a cgroup is only shown; volumes of new tasks join those
    /// that are in its sandbox.
    pub(crate) fn resize(&self, container: &ContainerId, spec: &TaskSpec, agent: &AgentId) {
        if let Err(error) = launch::add_volumes(&self.context, container, spec, agent) {
            tracing::warn!("container {container}: {error}");
        }
        if let Err(error) = self.context.isolators.resize(container, spec) {
            tracing::warn!("container {container}: {error}");
        }
    }

    pub(crate) fn adopt(&mut self, container: ContainerId, rebooted: bool) {
        let (life, _) = self.begin(container);
        tokio::task::spawn_local(life.adopt(rebooted));
    }

    pub(crate) fn kill(&self, container: &ContainerId, grace_ms: u32) {
        self.order(container, Order::Kill(grace_ms));
    }

    pub(crate) fn destroy(&self, container: &ContainerId) {
        self.order(container, Order::Destroy);
    }

    /// The task's end is checkpointed and acknowledged: its exit record is not needed any more.
    pub(crate) fn release(&mut self, container: &ContainerId) {
        self.orders.remove(container);
        let directory = self.context.run_directory(container);
        // By name first, which is all there is in general.
        for name in ["exit", "socket"] {
            let _ = fs::remove_file(directory.join(name));
        }
        if fs::remove_dir(&directory).is_ok() {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&directory)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {error}", directory.display());
        }
    }

    /// Ends what runs in run directories and cgroups that no checkpoint speaks of. `known`: containers that one does.
    pub(crate) fn bury_strangers(&mut self, known: &[ContainerId]) {
        if let Some(images) = &self.context.images {
            images.keep_only(known);
        }
        let runs = &self.context.settings.runtime_dir;
        let entries = fs::read_dir(runs).into_iter().flatten().flatten();
        let mut names: BTreeSet<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.extend(
            self.context
                .isolators
                .cgroups()
                .map(Cgroups::list)
                .unwrap_or_default(),
        );
        for name in names {
            if known.iter().all(|container| container.as_str() != name) {
                tracing::warn!("container {name} belongs to no task: ending it");
                let container = ContainerId::new(name);
                let (life, _) = self.begin(container.clone());
                self.destroy(&container);
                tokio::task::spawn_local(life.bury());
            }
        }
    }

    /// Where the container's helper lives.
    pub(crate) fn run_directory(&self, container: &ContainerId) -> PathBuf {
        self.context.run_directory(container)
    }

    /// What the container uses: by its cgroup, else summed up over the processes below its helper.
    pub(crate) fn usage(&self, container: &ContainerId) -> Option<Usage> {
        let of_cgroup = || self.context.isolators.usage(container);
        let of_cgroup = (!self.is_inside(container)).then(of_cgroup).flatten();
        of_cgroup.or_else(|| {
            let used = process::consumed_below(self.executor_pid(container)?);
            Some(Usage {
                memory: used.resident,
                cpu_us: used.user_us + used.system_us,
                cpu_user_us: used.user_us,
                cpu_system_us: used.system_us,
                pids: u64::from(used.processes),
                ..Usage::default()
            })
        })
    }

    /// Removes images that no container uses, but for those of these names.
    pub(crate) fn prune_images(&self, excluded: &BTreeSet<String>) {
        if let Some(images) = &self.context.images {
            images.prune(excluded);
        }
    }

    /// Removes images until the disk has its headroom again.
    pub(crate) fn relieve_disk(&self) {
        let context = self.context.clone();
        tokio::task::spawn_local(async move {
            if let Some(images) = &context.images {
                images.relieve(context.settings.gc_headroom).await;
            }
        });
    }

    /// What its cgroup tells beside that, if it has one.
    pub(crate) fn statistics(&self, container: &ContainerId) -> Option<Statistics> {
        let of_cgroup = || self.context.isolators.statistics(container);
        (!self.is_inside(container)).then(of_cgroup).flatten()
    }

    /// What all of these use and wait for.
    pub(crate) fn sample(&self, containers: &[ContainerId]) -> Sample {
        let waits = |(cpu, memory): (Pressure, Pressure)| Waits {
            cpu: cpu.some.last_10,
            memory: memory.full.last_10,
        };
        let look = |container: &ContainerId| {
            let usage = self.usage(container)?;
            let pressure = self.statistics(container);
            let pressure = pressure.and_then(|all| all.cpu.zip(all.memory));
            let measured = Measured {
                cpu_us: usage.cpu_us,
                memory: usage.memory,
                waits: pressure.map(waits),
            };
            Some((container.clone(), measured))
        };
        Sample {
            containers: containers.iter().filter_map(look).collect(),
            machine: of_machine().map(waits).unwrap_or_default(),
        }
    }

    /// It shares the controllers of the container around it, and its cgroup counts nothing.
    fn is_inside(&self, container: &ContainerId) -> bool {
        self.own(container)
            .is_some_and(|own| own.wanted.parent.is_some())
    }

    /// The network that it has to itself, or with its pod.
    pub(crate) fn network(&self, container: &ContainerId) -> Option<v1::NetworkInfo> {
        self.context.isolators.network(container)
    }

    /// Whether this is the address of a container that has a network of its own.
    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        self.context.isolators.has_address(address)
    }

    /// What it may use of the disk, and what it used lately, bytes; with disk/du.
    pub(crate) fn disk(&self, container: &ContainerId) -> Option<(u64, Option<u64>)> {
        self.context.isolators.disk(container)
    }

    /// The fetcher's numbers by their names in Mesos.
    pub(crate) fn fetcher_numbers(&self) -> [(&'static str, u64); 4] {
        let (total, used) = self.context.cache.sizes();
        let (succeeded, failed) = self.context.cache.tasks();
        [
            ("cache_size_total_bytes", total),
            ("cache_size_used_bytes", used),
            ("task_fetches_succeeded", succeeded),
            ("task_fetches_failed", failed),
        ]
    }

    /// Looks at a task once, and tells what was found.
    pub(crate) fn probe(
        &self,
        container: ContainerId,
        kind: ProbeKind,
        probe: Box<Probe>,
        timeout_ms: u64,
    ) {
        let place = probe::Place {
            run_directory: self.context.run_directory(&container),
            process: self.executor_pid(&container),
        };
        let context = self.context.clone();
        tokio::task::spawn_local(async move {
            let result = probe::look(&place, &probe, timeout_ms).await;
            // Fails only when the daemon is ending.
            let _ = context
                .events
                .send(Event::Probed {
                    container,
                    kind,
                    result,
                })
                .await;
        });
    }

    /// Process id of the container's helper, while it lives.
    pub(crate) fn executor_pid(&self, container: &ContainerId) -> Option<u32> {
        self.context.helpers.borrow().get(container).copied()
    }

    fn begin(&mut self, container: ContainerId) -> (Life, mpsc::Sender<Order>) {
        self.orders.retain(|_, orders| !orders.is_closed());
        let (sender, orders) = mpsc::channel(MAX_ORDERS);
        self.orders.insert(container.clone(), sender.clone());
        let life = Life::new(self.context.clone(), container, orders);
        (life, sender)
    }

    fn order(&self, container: &ContainerId, order: Order) {
        if let Some(orders) = self.orders.get(container) {
            // Full: it has been told often enough. Closed: it has ended. The core insists if need be.
            let _ = orders.try_send(order);
        }
    }
}
