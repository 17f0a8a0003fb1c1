//! What the core wants done: one action after another.
//!
//! Called by the loop, after the records of the same `Ready` are on disk.

use agentd_core::{Action, ContainerEvent, Event};
use nesos_api::v1;
use nesos_wire::message::FileError;
use nesos_wire::task::TaskSpec;
use nesos_wire::{ContainerId, TaskKey};

use super::{Daemon, GC_MIN_PAUSE};
use crate::container::Pod;
use crate::executors::convert;
use crate::{files, sandbox, volumes};

impl Daemon {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Dial { link, leader } => self.links.dial(link, leader),
            Action::HangUp { link } => self.links.hang_up(link),
            Action::Launch {
                container,
                parent,
                spec,
            } => self.launch(container, parent, *spec),
            Action::Adopt {
                container,
                rebooted,
            } => self.containers.borrow_mut().adopt(container, rebooted),
            Action::Kill {
                container,
                grace_ms,
            } => self.containers.borrow().kill(&container, grace_ms),
            Action::Resize { container, spec } => {
                if let Some(agent) = self.agent.borrow().id() {
                    let containers = self.containers.borrow();
                    containers.resize(&container, &spec, agent);
                }
            }
            Action::TellExecutor { stream, event } => {
                let event = convert::event(event, || self.view.agent_info());
                self.streams.tell(stream, &event);
            }
            Action::CloseExecutor { stream } => self.streams.close(stream),
            Action::Destroy { container } => self.containers.borrow().destroy(&container),
            Action::Release { container, .. } => {
                self.containers.borrow_mut().release(&container);
                self.gc_at = self.gc_at.min(self.last_gc + GC_MIN_PAUSE);
            }
            Action::CreateVolume { place } => {
                if let Err(error) = volumes::create(&self.settings.work_dir, &place) {
                    // Made when the first task wants it, which fails if that cannot be done either.
                    tracing::warn!("{error}");
                }
            }
            Action::RemoveVolume { place } => {
                match volumes::remove(&self.settings.work_dir, &place) {
                    Ok(grave) => drop(tokio::task::spawn_blocking(move || volumes::sweep(&grave))),
                    Err(error) => tracing::warn!("{error}"),
                }
            }
            action @ Action::ReadFile { .. } => self.read_file(action),
            Action::Probe {
                container,
                kind,
                probe,
                timeout_ms,
            } => self
                .containers
                .borrow()
                .probe(container, kind, probe, timeout_ms),
            Action::CallBack { token } => self.links.call_back(token, self.app.clone()),
            Action::MasterTime { unix } => self.clocks.follow(unix),
            Action::Stop => self.is_stopping = true,
        }
    }

    fn launch(&mut self, container: ContainerId, parent: Option<ContainerId>, spec: TaskSpec) {
        let pod = parent.map(|container| self.pod(container));
        match self.agent.borrow().id().cloned() {
            Some(agent) => self.containers.borrow_mut().launch(
                container,
                spec,
                agent,
                pod,
                self.endpoint.clone(),
            ),
            None => {
                let message = "the agent has no id yet".to_string();
                let event = ContainerEvent::LaunchFailed { message };
                self.own_events
                    .push_back(Event::Container { container, event });
            }
        }
    }

    /// The pod of a task, as its executor describes it.
    fn pod(&self, container: ContainerId) -> Pod {
        let agent = self.agent.borrow();
        let mut executors = agent.executors();
        let executor = executors.find(|executor| *executor.container == container);
        // Written by a master of ours; a damaged one asks for nothing.
        let info = executor.and_then(|one| v1::ExecutorInfo::from_protobuf(&one.spec.info).ok());
        Pod {
            container,
            info: *info.and_then(|info| info.container).unwrap_or_default(),
        }
    }

    fn read_file(&mut self, action: Action) {
        let Action::ReadFile {
            link,
            request,
            key,
            container,
            path,
            offset,
            length,
        } = action
        else {
            return;
        };
        let ended = container
            .as_ref()
            .is_none_or(|container| !self.is_active(&key, container));
        let result = match self.sandbox_of(&key, container.as_ref()) {
            Some(sandbox) => files::read(&sandbox, &path, offset, length, ended),
            None => Err(FileError::UnknownTask),
        };
        self.own_events.push_back(Event::FileRead {
            link,
            request,
            result,
        });
    }

    fn is_active(&self, key: &TaskKey, container: &ContainerId) -> bool {
        let agent = self.agent.borrow();
        agent.tasks().any(|view| {
            view.spec.key == *key && view.container == Some(container) && view.phase.is_active()
        })
    }

    fn sandbox_of(
        &self,
        key: &TaskKey,
        container: Option<&ContainerId>,
    ) -> Option<std::path::PathBuf> {
        let work_dir = &self.settings.work_dir;
        let agent = self.agent.borrow();
        let known = container.and_then(|container| {
            let view = agent.tasks().find(|view| view.spec.key == *key)?;
            let sandbox =
                sandbox::of_container(work_dir, agent.id()?, view.spec, container, view.parent)?;
            sandbox.is_dir().then_some(sandbox)
        });
        let past = || {
            let mut newest = agent.completed().collect::<Vec<_>>().into_iter().rev();
            let over = newest.find(|over| over.spec.key == *key)?;
            let (container, parent) = (over.container.as_ref()?, over.parent.as_ref());
            sandbox::of_container(work_dir, agent.id()?, &over.spec, container, parent)
        };
        known
            .or_else(|| past().filter(|sandbox| sandbox.is_dir()))
            .or_else(|| sandbox::latest_of(work_dir, key))
    }
}
