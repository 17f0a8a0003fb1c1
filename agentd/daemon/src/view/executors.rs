//! Executors as they are shown: a command task's own, and those that frameworks brought with all of their tasks.
//!
//! Called by the other views. Invariant: each task stands under exactly one executor, and a run of an executor that is
//! over is another one than the run that lives.

use agentd_core::Agent;
use nesos_api::resources::{self, Shape};
use nesos_api::v1;
use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};
use nesos_wire::resource::Resources;
use nesos_wire::{AgentId, ContainerId, ExecutorKey};

use super::{Life, Shown, View, all, executor_name};

/// One executor with its tasks.
pub(super) struct Listed<'a> {
    pub(super) key: ExecutorKey,
    /// What the framework said of it; none for a command task's, and for one whose record is gone.
    pub(super) spec: Option<&'a FrameworkExecutor>,
    pub(super) container: Option<&'a ContainerId>,
    pub(super) tasks: Vec<Shown<'a>>,
    /// Nothing of it is present any more.
    pub(super) is_over: bool,
}

/// All of them, present ones first.
pub(super) fn listed<'a>(agent: &'a Agent, id: &AgentId) -> Vec<Listed<'a>> {
    let mut runs = brought(agent);
    let mut own = Vec::new();
    for task in all(agent, id) {
        let key = ExecutorKey {
            framework: task.spec.key.framework.clone(),
            executor: task.spec.executor.clone(),
        };
        let holder = task.parent.or(task.container);
        if task.spec.kind == ExecutorKind::Command {
            own.push(of_task(key, task));
        } else if let Some(run) = runs
            .iter_mut()
            .find(|run| run.key == key && run.container == holder)
        {
            run.is_over &= task.life == Life::Completed;
            run.tasks.push(task);
        } else {
            let mut run = of_task(key, task);
            run.container = holder;
            runs.push(run);
        }
    }
    own.append(&mut runs);
    own.sort_by_key(|run| run.is_over);
    own
}

fn brought(agent: &Agent) -> Vec<Listed<'_>> {
    let live = agent
        .executors()
        .map(|view| (view.spec, view.container, false));
    let past = agent.completed_executors();
    let past = past.map(|(spec, container)| (spec, container, true));
    live.chain(past)
        .map(|(spec, container, is_over)| Listed {
            key: spec.key.clone(),
            spec: Some(spec),
            container: Some(container),
            tasks: Vec::new(),
            is_over,
        })
        .collect()
}

fn of_task(key: ExecutorKey, task: Shown<'_>) -> Listed<'_> {
    Listed {
        key,
        spec: None,
        container: task.container,
        is_over: task.life == Life::Completed,
        tasks: vec![task],
    }
}

impl Listed<'_> {
    pub(super) fn name(&self) -> String {
        match (self.spec, self.tasks.first()) {
            (Some(spec), _) => spec.name.clone(),
            (None, Some(task)) if task.spec.kind == ExecutorKind::Command => {
                executor_name(task.spec)
            }
            (None, _) => String::new(),
        }
    }

    pub(super) fn source(&self) -> String {
        match (self.spec, self.tasks.first()) {
            (Some(spec), _) => spec.source.clone(),
            (None, Some(task)) => task.spec.key.task.to_string(),
            (None, None) => String::new(),
        }
    }

    pub(super) fn role(&self) -> Option<String> {
        let of_task = || self.tasks.first().map(|task| task.spec.role.clone());
        self.spec.map(|spec| spec.role.clone()).or_else(of_task)
    }

    pub(super) fn kind(&self) -> Option<v1::ExecutorInfoType> {
        match self.spec?.kind {
            ExecutorKind::Custom => Some(v1::ExecutorInfoType::Custom),
            ExecutorKind::Default => Some(v1::ExecutorInfoType::Default),
            ExecutorKind::Command => None,
        }
    }

    /// What it and its tasks hold; of one that is over, what they held.
    pub(super) fn resources(&self) -> Resources {
        let mut held = self
            .spec
            .map(|spec| spec.resources.clone())
            .unwrap_or_default();
        let counts = |task: &&Shown<'_>| {
            self.spec.is_none() || matches!(task.life, Life::Queued | Life::Launched)
        };
        for task in self.tasks.iter().filter(counts) {
            held.add(&task.spec.resources);
        }
        held
    }

    pub(super) fn framework(&self) -> v1::FrameworkInfo {
        match (self.spec, self.tasks.first()) {
            (None, Some(task)) => task.framework(),
            (spec, _) => {
                let bytes = spec
                    .map(|spec| spec.framework_info.as_slice())
                    .unwrap_or_default();
                v1::FrameworkInfo {
                    id: Some(self.key.framework.as_str().into()),
                    ..v1::FrameworkInfo::from_protobuf(bytes).unwrap_or_default()
                }
            }
        }
    }
}

impl View {
    pub(super) fn executor_info(&self, run: &Listed<'_>) -> v1::ExecutorInfo {
        let first = run.tasks.first();
        match (run.spec, first) {
            (Some(spec), _) => {
                let info = v1::ExecutorInfo::from_protobuf(&spec.info).unwrap_or_default();
                v1::ExecutorInfo {
                    executor_id: run.key.executor.as_str().into(),
                    framework_id: Some(run.key.framework.as_str().into()),
                    r#type: run.kind(),
                    resources: resources::list(
                        &spec.resources,
                        &Shape {
                            allocation: Some(&spec.role),
                            ..Shape::default()
                        },
                    ),
                    ..info
                }
            }
            (None, Some(task)) if task.spec.kind == ExecutorKind::Command => {
                task.executor(&self.settings)
            }
            (None, _) => v1::ExecutorInfo {
                executor_id: run.key.executor.as_str().into(),
                framework_id: Some(run.key.framework.as_str().into()),
                ..v1::ExecutorInfo::default()
            },
        }
    }
}
