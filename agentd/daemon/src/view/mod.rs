//! What the agent's HTTP endpoints show: read-only views of the core, in the v1 types and in Mesos's older JSON.
//!
//! Here: what all views share. Called by `http`. Invariants: nothing is changed, and no secret flag is shown.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;

use agentd_core::{Agent, Completed, LinkView, Phase, TaskView};
use nesos_api::v1;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::task::TaskSpec;
use nesos_wire::{AgentId, ContainerId};

use crate::clock::Clocks;
use crate::container::Containerizer;
use crate::sandbox;
use crate::settings::Settings;

mod api;
mod executors;
mod legacy;
mod metrics;
mod own;
mod usage;

/// Flags whose values are secrets.
const SECRET: [&str; 2] = ["join_token", "docker_config"];

/// Everything the views look at.
pub(crate) struct View {
    pub(crate) settings: Rc<Settings>,
    agent: Rc<RefCell<Agent>>,
    containers: Rc<RefCell<Containerizer>>,
    clocks: Rc<Clocks>,
    /// Address of the master that the link leads to.
    master: Rc<Cell<Option<IpAddr>>>,
    port: u16,
    start_time: f64,
}

impl View {
    pub(crate) fn new(
        settings: Rc<Settings>,
        agent: Rc<RefCell<Agent>>,
        containers: Rc<RefCell<Containerizer>>,
        clocks: Rc<Clocks>,
        master: Rc<Cell<Option<IpAddr>>>,
        port: u16,
    ) -> Self {
        let start_time = clocks.unix();
        Self {
            settings,
            agent,
            containers,
            clocks,
            master,
            port,
            start_time,
        }
    }

    /// The core.
    pub(crate) fn agent(&self) -> Ref<'_, Agent> {
        self.agent.borrow()
    }

    /// The containers themselves, for operators who have some of their own.
    pub(crate) fn containerizer(&self) -> RefMut<'_, Containerizer> {
        self.containers.borrow_mut()
    }

    /// `ip:port` of this agent's HTTP server.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}:{}", self.ip(), self.port)
    }

    /// Where the container's helper lives.
    pub(crate) fn run_directory(&self, container: &ContainerId) -> PathBuf {
        self.containers.borrow().run_directory(container)
    }

    /// Process id of the container's helper, while it lives.
    pub(crate) fn helper_of(&self, container: &ContainerId) -> Option<u32> {
        self.containers.borrow().executor_pid(container)
    }

    /// Whether this is the address of a container that has a network of its own.
    pub(crate) fn is_address_of_container(&self, address: std::net::IpAddr) -> bool {
        self.containers.borrow().has_address(address)
    }

    /// Seconds since 1970.
    pub(crate) fn unix(&self) -> f64 {
        self.clocks.unix()
    }

    /// Flags by name, without secrets.
    pub(crate) fn flags(&self) -> BTreeMap<String, String> {
        let flags = self.settings.flags.all();
        let shown = flags.filter(|(name, _)| !SECRET.contains(name));
        shown
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    /// Removes images that nobody uses, but for those of these names.
    pub(crate) fn prune_images(&self, excluded: &BTreeSet<String>) {
        self.containers.borrow().prune_images(excluded);
    }

    /// The sandboxes of present tasks, by the paths under which they are shown.
    pub(crate) fn sandboxes(&self) -> BTreeMap<String, String> {
        let agent = self.agent.borrow();
        let id = id_of(&agent);
        let mut sandboxes: BTreeMap<String, String> = BTreeMap::new();
        for run in executors::listed(&agent, &id) {
            if let Some(path) = self.directory(&id, &run).filter(|_| !run.is_over) {
                let path = path.display().to_string();
                sandboxes.insert(path.clone(), path);
            }
        }
        for own in self.containers.borrow().all_own() {
            let path = own.wanted.sandbox.display().to_string();
            sandboxes.insert(path.clone(), path);
        }
        sandboxes
    }

    fn ip(&self) -> String {
        let ip = self.settings.advertised_ip();
        if ip.is_empty() {
            "127.0.0.1".into()
        } else {
            ip
        }
    }

    fn is_registered(&self) -> bool {
        self.agent.borrow().link() == LinkView::Live
    }

    /// The sandbox of an executor.
    fn directory(&self, agent: &AgentId, run: &executors::Listed<'_>) -> Option<PathBuf> {
        let runs = sandbox::runs(
            &self.settings.work_dir,
            agent.as_str(),
            &run.key.framework,
            run.key.executor.as_str(),
        );
        Some(
            runs.ok()?
                .join(ContainerId::parse(run.container?.as_str()).ok()?.as_str()),
        )
    }
}

/// A task of the core's present or past.
struct Shown<'a> {
    spec: &'a TaskSpec,
    container: Option<&'a ContainerId>,
    parent: Option<&'a ContainerId>,
    task: v1::Task,
    life: Life,
}

/// Which list a task belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Its executor is not there yet.
    Queued,
    /// Its executor has it.
    Launched,
    /// It has ended, its framework has not acknowledged that.
    Terminated,
    /// It is over.
    Completed,
}

impl<'a> Shown<'a> {
    fn present(view: TaskView<'a>, agent: &AgentId) -> Self {
        let life = match view.phase {
            phase if !phase.is_active() => Life::Terminated,
            _ if is_queued(&view) => Life::Queued,
            _ => Life::Launched,
        };
        let shown = view.acknowledged.or(view.status);
        Self {
            spec: view.spec,
            container: view.container,
            parent: view.parent,
            task: v1::Task {
                status_update_state: shown.map(|s| nesos_api::tasks::state(s.state)),
                ..nesos_api::tasks::task(view.spec, agent, view.latest, view.statuses())
            },
            life,
        }
    }

    fn past(over: &'a Completed, agent: &AgentId) -> Self {
        Self {
            spec: &over.spec,
            container: over.container.as_ref(),
            parent: over.parent.as_ref(),
            task: nesos_api::tasks::task(&over.spec, agent, over.state, &over.status),
            life: Life::Completed,
        }
    }

    fn framework(&self) -> v1::FrameworkInfo {
        framework_info(self.spec)
    }

    /// The executor that a command task is given.
    fn executor(&self, settings: &Settings) -> v1::ExecutorInfo {
        let task = self.spec.key.task.as_str();
        v1::ExecutorInfo {
            executor_id: self.spec.executor.as_str().into(),
            framework_id: Some(self.spec.key.framework.as_str().into()),
            name: Some(executor_name(self.spec)),
            source: Some(task.into()),
            command: Some(v1::CommandInfo {
                value: Some(settings.executor.display().to_string()),
                ..v1::CommandInfo::default()
            }),
            ..v1::ExecutorInfo::default()
        }
    }
}

/// Whether its executor does not have it yet.
fn is_queued(view: &TaskView<'_>) -> bool {
    match view.spec.kind {
        ExecutorKind::Custom => view.phase == Phase::Launching,
        ExecutorKind::Command | ExecutorKind::Default => view.status.is_none(),
    }
}

fn executor_name(spec: &TaskSpec) -> String {
    format!("Command Executor (Task: {})", spec.key.task)
}

/// What a framework said of itself. Written by a master of ours: a damaged one leaves the display poorer.
fn framework_info(spec: &TaskSpec) -> v1::FrameworkInfo {
    let info = v1::FrameworkInfo::from_protobuf(&spec.framework_info).unwrap_or_default();
    v1::FrameworkInfo {
        id: Some(spec.key.framework.as_str().into()),
        ..info
    }
}

/// All tasks that the agent knows, present ones first.
fn all<'a>(agent: &'a Agent, id: &AgentId) -> Vec<Shown<'a>> {
    let present = agent.tasks().map(|view| Shown::present(view, id));
    let past = agent.completed().map(|over| Shown::past(over, id));
    present.chain(past).collect()
}

/// The agent's id; empty before a master has given it one.
fn id_of(agent: &Agent) -> AgentId {
    agent.id().cloned().unwrap_or_default()
}
