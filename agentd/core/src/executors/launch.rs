//! Tasks that come with an executor: whether it lives, is to be started, or is no more.
//!
//! Called by `conversation`. Invariants: a group is taken as a whole or refused as a whole; an executor that the master
//! counts and that is not started is told to have ended.

use nesos_wire::Attempt;
use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};
use nesos_wire::message::AgentToMaster;
use nesos_wire::resource::Resources;
use nesos_wire::resource_text;
use nesos_wire::task::{Reason, TaskSpec, TaskState};
use nesos_wire::{ExecutorKey, TaskKey};

use super::{Executor, ExecutorEvent, MAX_EXECUTORS, Ties, executor_bytes};
use crate::admission::{Verdict, draft_unstored};
use crate::agent::{Agent, exclusive};
use crate::checkpoint::Record;
use crate::event::{Action, Level};
use crate::task::{Draft, Task};

/// Status of an executor whose process never was or is not known.
pub(super) const NO_STATUS: i32 = -1;

/// What an executor's tasks can go by.
enum Standing {
    Lives,
    Starts,
    Gone(String),
}

impl Agent {
    pub(crate) fn launch_executor(
        &mut self,
        executor: FrameworkExecutor,
        start: bool,
        specs: Vec<TaskSpec>,
        is_group: bool,
    ) {
        let mut free = self.free();
        let standing = self.standing(&executor, start, &mut free);
        let mut verdicts = Vec::with_capacity(specs.len());
        for spec in specs {
            let verdict = match (&standing, self.judge(&spec, &free)) {
                (Standing::Gone(why), Verdict::Take) => Verdict::Refuse(draft_gone(&spec, why)),
                (_, verdict) => verdict,
            };
            if matches!(verdict, Verdict::Take) {
                free.subtract(&exclusive(&spec.resources));
            }
            verdicts.push((spec, verdict));
        }
        if is_group {
            refuse_together(&mut verdicts);
        }
        let is_wanted = verdicts
            .iter()
            .any(|(_, verdict)| matches!(verdict, Verdict::Take));
        let key = executor.key.clone();
        let is_new = is_wanted && matches!(standing, Standing::Starts);
        match standing {
            Standing::Starts if is_wanted => self.start_executor(executor),
            Standing::Starts => self.tell_ended(&key, executor.attempt, NO_STATUS),
            // The master counts a run that will not be.
            Standing::Gone(_) if start => self.tell_ended(&key, executor.attempt, NO_STATUS),
            Standing::Lives | Standing::Gone(_) => {}
        }
        let taken = verdicts
            .iter()
            .find(|(_, verdict)| matches!(verdict, Verdict::Take));
        let group = taken.map(|(spec, _)| spec.attempt).filter(|_| is_group);
        for (spec, verdict) in verdicts {
            match verdict {
                Verdict::Take => self.take_given(&key, spec, group),
                verdict => self.turn_away(spec, verdict),
            }
        }
        if is_new {
            self.begin_holder(&key);
        }
        self.deliver(&key);
    }

    /// What becomes of an executor's tasks; reserves what it holds if it is to be started.
    fn standing(
        &self,
        executor: &FrameworkExecutor,
        start: bool,
        free: &mut Resources,
    ) -> Standing {
        let gone = |why: &str| Standing::Gone(why.into());
        match self.executors.get(&executor.key) {
            Some(known) if known.spec.attempt != executor.attempt => {
                gone("Another run of the executor has not ended yet")
            }
            Some(known) if known.is_terminating() => gone("The executor is terminating"),
            Some(_) => Standing::Lives,
            None if !start => gone("The executor has ended"),
            None if self.executors.len() >= MAX_EXECUTORS => Standing::Gone(format!(
                "The agent holds {MAX_EXECUTORS} executors, which is its limit"
            )),
            None if self.held.bytes + executor_bytes(executor) > crate::MAX_SPEC_BYTES => {
                Standing::Gone(format!(
                    "The descriptions of this agent's executors and tasks would exceed {} bytes",
                    crate::MAX_SPEC_BYTES
                ))
            }
            None if !free.contains(&executor.resources) => {
                let (asked, free) = (
                    resource_text::text(&executor.resources),
                    resource_text::text(free),
                );
                Standing::Gone(format!(
                    "The executor asks for {asked}, the agent has {free} free"
                ))
            }
            None => {
                free.subtract(&exclusive(&executor.resources));
                Standing::Starts
            }
        }
    }

    fn start_executor(&mut self, spec: FrameworkExecutor) {
        let container = self.rng.container_id();
        self.note(
            Level::Info,
            format!(
                "starting executor {} attempt {} in container {container}",
                spec.key, spec.attempt.0
            ),
        );
        self.out.persist.push(Record::ExecutorLaunched {
            executor: Box::new(spec.clone()),
            container: container.clone(),
        });
        let key = spec.key.clone();
        if spec.kind == ExecutorKind::Custom {
            self.executor_containers
                .insert(container.clone(), key.clone());
        }
        self.held.take_executor(&spec);
        self.executors.insert(key, Executor::new(spec, container));
    }

    /// Launches the process of a custom executor that was just started; its first tasks count for its limits.
    fn begin_holder(&mut self, key: &ExecutorKey) {
        if let Some(executor) = self
            .executors
            .get(key)
            .filter(|executor| executor.is_custom())
        {
            self.out.actions.push(Action::Launch {
                container: executor.container.clone(),
                parent: None,
                spec: Box::new(self.holder(executor)),
            });
        }
    }

    /// A task for an executor that lives.
    fn take_given(&mut self, key: &ExecutorKey, spec: TaskSpec, group: Option<Attempt>) {
        let Some(executor) = self.executors.get(key) else {
            return;
        };
        let (holder, is_custom) = (executor.container.clone(), executor.is_custom());
        let own = executor.spec.command.clone();
        self.forget(&spec.key);
        let (container, parent) = if is_custom {
            (holder, None)
        } else {
            (self.rng.container_id(), Some(holder))
        };
        self.note(
            Level::Info,
            format!(
                "task {} attempt {} is for executor {key}",
                spec.key, spec.attempt.0
            ),
        );
        self.out.persist.push(Record::Given {
            spec: Box::new(spec.clone()),
            container: container.clone(),
            parent: parent.clone(),
            group,
        });
        self.held.take(&spec, false);
        let task_key = spec.key.clone();
        if parent.is_some() {
            self.containers.insert(container.clone(), task_key.clone());
            self.out.actions.push(Action::Launch {
                container: container.clone(),
                parent: parent.clone(),
                spec: Box::new(in_pod(&spec, own)),
            });
        }
        let ties = Ties {
            group,
            parent,
            ..Ties::default()
        };
        let task = Task {
            ties,
            ..Task::new(spec, Some(container))
        };
        self.tasks.insert(task_key, task);
    }

    /// A task's LAUNCH is not to be said; a group goes as a whole.
    pub(crate) fn retract_delivery(&mut self, key: &TaskKey) {
        self.out.actions.retain(|action| match action {
            Action::TellExecutor {
                event: ExecutorEvent::Launch { task },
                ..
            } => task.key != *key,
            Action::TellExecutor {
                event: ExecutorEvent::LaunchGroup { tasks },
                ..
            } => tasks.iter().all(|task| task.key != *key),
            _ => true,
        });
    }

    /// The executor could not be checkpointed: it is not started, and nothing of it is ever stored.
    pub(crate) fn fail_unstored_executor(&mut self, key: &ExecutorKey, reason: &str) {
        let Some(executor) = self.executors.get(key) else {
            return;
        };
        let container = executor.container.clone();
        self.end_executor(key, draft_unstored(reason), NO_STATUS);
        self.retract_container(&container);
        self.out.persist.retain(|record| match record {
            Record::ExecutorLaunched { executor, .. } => executor.key != *key,
            Record::ExecutorSubscribed { key: other }
            | Record::ExecutorShutdown { key: other }
            | Record::ExecutorEnded { key: other, .. } => other != key,
            _ => true,
        });
    }

    /// The end of a run, for the master's books. Told once: the next `Hello` shows it missing.
    pub(super) fn tell_ended(&mut self, key: &ExecutorKey, attempt: Attempt, status: i32) {
        if self.link.is_connected() {
            self.out.send.push(AgentToMaster::ExecutorEnded {
                key: key.clone(),
                attempt,
                status,
            });
        }
    }
}

/// The task as it is launched in its pod: with the executor's environment below its own, and as the executor's user if it
/// names none.
fn in_pod(spec: &TaskSpec, executor: nesos_wire::task::Command) -> TaskSpec {
    let mut spec = spec.clone();
    let own = std::mem::take(&mut spec.command.environment);
    spec.command.environment = executor.environment.into_iter().chain(own).collect();
    spec.command.user = spec
        .command
        .user
        .filter(|user| !user.is_empty())
        .or(executor.user);
    spec
}

/// One that cannot be taken takes all with it.
fn refuse_together(verdicts: &mut [(TaskSpec, Verdict)]) {
    let refused = verdicts.iter().find_map(|(spec, verdict)| match verdict {
        Verdict::Refuse(draft) | Verdict::Bounce(draft) => {
            Some((spec.key.task.clone(), draft.clone()))
        }
        Verdict::Take | Verdict::Ignore(_) => None,
    });
    let Some((task, draft)) = refused else { return };
    for (_, verdict) in verdicts
        .iter_mut()
        .filter(|(_, verdict)| matches!(verdict, Verdict::Take))
    {
        let message = format!(
            "Task {task} of the group cannot be launched: {}",
            draft.message
        );
        *verdict = Verdict::Refuse(Draft {
            message,
            ..draft.clone()
        });
    }
}

fn draft_gone(spec: &TaskSpec, why: &str) -> Draft {
    let lost = if spec.partition_aware {
        TaskState::Dropped
    } else {
        TaskState::Lost
    };
    Draft::agent(lost, Reason::ExecutorTerminated, why)
}
