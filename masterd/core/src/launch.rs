//! LAUNCH: from the tasks of an ACCEPT to what agents are told, or to the statuses that say why not.
//!
//! What a task must be is `task_check`'s. Called by `accept`. Invariant: what the launched tasks of one ACCEPT and their
//! executors use is contained in what its offers held, so that nothing is committed twice.

use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};
use nesos_wire::message::MasterToAgent;
use nesos_wire::resource::{Entry, Resources};
use nesos_wire::task::{Command, Reason, Source, TaskSpec, TaskState, TaskStatus};
use nesos_wire::{AgentId, Attempt, ExecutorId, ExecutorKey, TaskKey};

use crate::call::{LaunchExecutor, LaunchTask};
use crate::master::Master;
use crate::news::News;
use crate::outgoing::Offer;
use crate::task::Task;
use crate::task_check::check_room;

/// Most bytes of specs in one message, estimated: a quarter of the frame limit, because the estimate is rough.
pub(crate) const MAX_LAUNCH_BYTES: usize = nesos_wire::frame::MAX_FRAME / 4;

/// Tasks of one ACCEPT on their way to the agent; those of one executor that follow each other go together.
#[derive(Default)]
pub(crate) struct Launches {
    /// Of all tasks below; none: they are commands. And whether it is to be started.
    executor: Option<(Box<FrameworkExecutor>, bool)>,
    tasks: Vec<TaskSpec>,
    bytes: usize,
}

impl Master {
    pub(crate) fn launch(
        &mut self,
        offer: &Offer,
        mut task: LaunchTask,
        remaining: &mut Resources,
        launches: &mut Launches,
    ) {
        let start = match self.check_launch(offer, &task, remaining) {
            Ok(start) => start,
            Err(message) => {
                let key = TaskKey {
                    framework: offer.framework.clone(),
                    task: task.task,
                };
                let (state, reason) = (TaskState::Error, Reason::TaskInvalid);
                self.refuse_task(key, task.agent, state, reason, message);
                return;
            }
        };
        let attempt = self.allot_attempt();
        let executor = task.executor.take();
        let hosted =
            executor.and_then(|executor| self.host(offer, *executor, start, attempt, remaining));
        let spec = self.book_task(offer, task, attempt, hosted.as_deref(), remaining);
        let Some(spec) = spec else { return };
        self.add_launch(&offer.agent, launches, spec, hosted, start);
    }

    /// Whether the task can be launched; says whether its executor is to be started.
    fn check_launch(
        &self,
        offer: &Offer,
        task: &LaunchTask,
        remaining: &Resources,
    ) -> Result<bool, String> {
        self.check_task(offer, task)?;
        let Some(executor) = &task.executor else {
            check_room("Task uses", [&task.resources], remaining)?;
            return Ok(false);
        };
        let start = self.check_executor(offer, executor)?;
        let first = start.then_some(&executor.resources);
        let needed = first.into_iter().chain([&task.resources]);
        check_room("Task and its executor use", needed, remaining)?;
        Ok(start)
    }

    /// The executor of a launch as its agent is told of it; booked if it is to be started.
    pub(crate) fn host(
        &mut self,
        offer: &Offer,
        executor: LaunchExecutor,
        start: bool,
        attempt: Attempt,
        remaining: &mut Resources,
    ) -> Option<Box<FrameworkExecutor>> {
        let framework = self.frameworks.get(&offer.framework)?;
        let key = ExecutorKey {
            framework: framework.id.clone(),
            executor: executor.executor,
        };
        let living = self.agents.get(&offer.agent)?.executors.get(&key);
        let executor = FrameworkExecutor {
            key,
            attempt: living.map_or(attempt, |living| living.attempt),
            kind: executor.kind,
            name: executor.name,
            source: executor.source,
            role: offer.role.clone(),
            resources: executor.resources,
            command: executor.command,
            shutdown_grace_ms: executor.shutdown_grace_ms,
            checkpoint: framework.facts.checkpoint,
            partition_aware: framework.facts.is_capable("PARTITION_AWARE"),
            info: executor.info,
            framework_info: framework.info.clone(),
        };
        if start {
            self.take_resources(offer, &executor.resources, remaining);
            self.book_executor(&offer.agent, executor.clone());
        }
        Some(Box::new(executor))
    }

    /// Books a task that was found good, with the executor that is to hold it.
    pub(crate) fn book_task(
        &mut self,
        offer: &Offer,
        task: LaunchTask,
        attempt: Attempt,
        host: Option<&FrameworkExecutor>,
        remaining: &mut Resources,
    ) -> Option<TaskSpec> {
        self.take_resources(offer, &task.resources, remaining);
        let framework = self.frameworks.get_mut(&offer.framework)?;
        let command_executor = || ExecutorId::new(task.task.as_str());
        let spec = TaskSpec {
            key: TaskKey {
                framework: offer.framework.clone(),
                task: task.task.clone(),
            },
            attempt,
            name: task.name,
            executor: host.map_or_else(command_executor, |host| host.key.executor.clone()),
            kind: host.map_or(ExecutorKind::Command, |host| host.kind),
            role: offer.role.clone(),
            resources: task.resources,
            limits: task.limits,
            command: task.command,
            kill_grace_ms: task.kill_grace_ms,
            partition_aware: framework.facts.is_capable("PARTITION_AWARE"),
            task_killing: framework.facts.is_capable("TASK_KILLING_STATE"),
            checkpoint: framework.facts.checkpoint,
            checks: task.checks,
            info: task.info,
            framework_info: framework.info.clone(),
        };
        let booked = Task::new(spec.clone(), offer.agent.clone(), &mut framework.patterns);
        framework.tasks.insert(task.task, booked);
        if let Some(agent) = self.agents.get_mut(&offer.agent) {
            agent.tasks.insert(spec.key.clone());
        }
        self.tell(|| News::TaskAdded(spec.key.clone()));
        self.metrics.tasks_launched += 1;
        Some(spec)
    }

    /// Books what a task or an executor uses. Of a shared volume it gets a holding of its own, and the next one can have one
    /// too.
    fn take_resources(&mut self, offer: &Offer, used: &Resources, remaining: &mut Resources) {
        let shared = used.filter(Entry::is_shared);
        if !shared.is_empty() {
            self.allocator
                .allocated(&offer.framework, &offer.role, &offer.agent, &shared);
        }
        remaining.subtract(&used.filter(|entry| !entry.is_shared()));
    }

    /// A task that never came to be: one status, no trace in the books.
    pub(crate) fn refuse_task(
        &mut self,
        key: TaskKey,
        agent: AgentId,
        state: TaskState,
        reason: Reason,
        message: String,
    ) {
        self.note_end(&key.framework, state, Source::Master, Some(reason));
        let status = TaskStatus {
            state,
            source: Source::Master,
            reason: Some(reason),
            message,
            timestamp: self.wall,
            uuid: None,
            agent: Some(agent),
            executor: None,
            container: None,
            healthy: None,
            check: None,
            data: Vec::new(),
            unreachable_time: None,
            extra: Vec::new(),
        };
        self.forward(key, status);
    }

    fn add_launch(
        &mut self,
        agent: &AgentId,
        launches: &mut Launches,
        spec: TaskSpec,
        hosted: Option<Box<FrameworkExecutor>>,
        start: bool,
    ) {
        let of = |executor: &FrameworkExecutor| executor.attempt;
        let same = hosted.as_deref().map(of)
            == launches.executor.as_ref().map(|(executor, _)| of(executor));
        // What is to be checked stands in the `TaskInfo` too.
        let checks = spec.checks.as_ref().map_or(0, |_| spec.info.len());
        let info = spec.info.len() + spec.framework_info.len() + checks;
        let size = estimate(&spec.command, info);
        if !same || launches.bytes + size > MAX_LAUNCH_BYTES {
            self.send_launches(agent, launches);
        }
        if launches.tasks.is_empty() {
            launches.executor = hosted.map(|executor| (executor, start));
        }
        launches.bytes += size;
        launches.tasks.push(spec);
    }

    pub(crate) fn send_launches(&mut self, agent: &AgentId, launches: &mut Launches) {
        let Launches {
            executor, tasks, ..
        } = std::mem::take(launches);
        if tasks.is_empty() {
            return;
        }
        let message = match executor {
            None => MasterToAgent::Launch { tasks },
            Some((executor, start)) => MasterToAgent::LaunchExecutor {
                executor,
                start,
                tasks,
                group: false,
            },
        };
        self.send_agent(agent, message);
    }
}

/// Roughly how many bytes an executor takes on the wire.
pub(crate) fn estimate_executor(executor: &LaunchExecutor) -> usize {
    estimate(&executor.command, executor.info.len())
}

/// Roughly how many bytes a spec takes on the wire; the texts are what can be large.
pub(crate) fn estimate(command: &Command, info: usize) -> usize {
    const REST: usize = 1024;
    let arguments: usize = command
        .arguments
        .iter()
        .map(|argument| argument.len() + 4)
        .sum();
    let environment: usize = command
        .environment
        .iter()
        .map(|(name, value)| name.len() + value.len() + 8)
        .sum();
    let uris: usize = command.uris.iter().map(|uri| uri.value.len() + 300).sum();
    REST + info + command.value.len() + arguments + environment + uris
}
