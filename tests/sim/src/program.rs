//! Custom executors: programs of frameworks that hold several tasks and speak with their agent over streams that break.
//!
//! Each is a container whose process subscribes, takes tasks, says what becomes of them and says it again until it is
//! acknowledged, as executor libraries do. It outlives the agent's process, not its container. Called by `board` (what the
//! agent says), `container` (its beginning and end) and the world's plan. Invariants: a task is handed over once; events of
//! one stream stay in order.

use std::collections::BTreeMap;

use agentd_core::{Event, ExecutorCall, ExecutorEvent};
use nesos_base::time::Instant;
use nesos_wire::task::{Source, TaskSpec, TaskState, TaskStatus};
use nesos_wire::{ContainerId, ExecutorId, ExecutorKey, TaskId, Uuid};

use crate::container::Exit;
use crate::mutant::Mutant;
use crate::planned::Planned;
use crate::world::World;

/// What a program does next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Subscribes, if its agent is there.
    Subscribe,
    /// An event of a stream reaches it.
    Hear {
        stream: u64,
        event: Box<ExecutorEvent>,
    },
    /// One of its tasks comes to this.
    Say { task: TaskId, state: TaskState },
}

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Program {
    board: usize,
    key: ExecutorKey,
    stream: Option<u64>,
    tasks: BTreeMap<TaskId, Given>,
    is_ending: bool,
    last_event: Instant,
}

/// A task in a program's hands.
#[derive(Debug)]
struct Given {
    spec: TaskSpec,
    state: TaskState,
    /// Not acknowledged yet.
    updates: Vec<TaskStatus>,
    /// One was.
    is_known: bool,
}

impl Program {
    /// What it says when it subscribes.
    fn subscription(&self, stream: u64) -> ExecutorCall {
        let unknown = self.tasks.iter().filter(|(_, given)| !given.is_known);
        let updates = self.tasks.iter().flat_map(|(task, given)| {
            let updates = given.updates.iter();
            updates.map(|status| (task.clone(), status.clone()))
        });
        ExecutorCall::Subscribe {
            stream,
            tasks: unknown.map(|(task, _)| task.clone()).collect(),
            updates: updates.collect(),
        }
    }

    /// Tasks that have not ended.
    pub(crate) fn living(&self) -> impl Iterator<Item = &TaskSpec> {
        let living = self.tasks.values();
        let living = living.filter(|given| !given.state.is_terminal());
        living.map(|given| &given.spec)
    }
}

impl World {
    /// Its process runs.
    pub(crate) fn program_begins(&mut self, container: &ContainerId, board: usize, spec: TaskSpec) {
        let key = ExecutorKey {
            framework: spec.key.framework,
            executor: ExecutorId::new(spec.key.task.as_str()),
        };
        let program = Program {
            board,
            key,
            stream: None,
            tasks: BTreeMap::new(),
            is_ending: false,
            last_event: self.now,
        };
        self.programs.insert(container.clone(), program);
        // Some never say a word.
        if self.is_healed || !self.rng.once_in(30) {
            self.plan_step(container, (10, 2000), Step::Subscribe);
        }
    }

    /// Its container is over, and with it what nobody was told.
    pub(crate) fn program_ends(&mut self, container: &ContainerId) {
        let Some(program) = self.programs.remove(container) else {
            return;
        };
        if let Some(stream) = program.stream {
            let call = ExecutorCall::Lost { stream };
            self.executor_says(program.board, program.key, call);
        }
    }

    /// The agent's process is gone: streams are broken, programs whose containers are gone too are over.
    pub(crate) fn programs_lose_agent(&mut self, board: usize) {
        let containers = &self.containers;
        self.programs
            .retain(|container, _| containers.contains_key(container));
        let here = self.programs.iter_mut();
        let here = here.filter(|(_, program)| program.board == board && program.stream.is_some());
        let mut lonely = Vec::new();
        for (container, program) in here {
            program.stream = None;
            lonely.push(container.clone());
        }
        for container in lonely {
            self.plan_step(&container, (100, 3000), Step::Subscribe);
        }
    }

    /// The agent says something on a stream.
    pub(crate) fn tell_program(&mut self, stream: u64, event: ExecutorEvent) {
        let after = self.rng.latency();
        let Some((container, program)) = self.programs.iter_mut().find(|(_, program)| {
            // A stream's number is never used again.
            program.stream == Some(stream)
        }) else {
            return;
        };
        let at = (self.now + after).max(program.last_event);
        program.last_event = at;
        let again = event.clone();
        let step = Step::Hear {
            stream,
            event: Box::new(event),
        };
        let container = container.clone();
        if self.is(Mutant::HandsOverTwice) {
            let event = Box::new(again);
            let (container, step) = (container.clone(), Step::Hear { stream, event });
            self.plan_at(at, Planned::Program { container, step });
        }
        self.plan_at(at, Planned::Program { container, step });
    }

    /// The agent ends a stream; the program tries another one.
    pub(crate) fn close_program(&mut self, stream: u64) {
        let mut all = self.programs.iter();
        let found = all.find(|(_, program)| program.stream == Some(stream));
        if let Some(container) = found.map(|(container, _)| container.clone()) {
            // After what was said on it.
            let at = self.programs[&container].last_event;
            let after = at.saturating_duration_since(self.now).as_millis() + 1;
            self.plan_step(&container, (after, after + 2000), Step::Subscribe);
        }
    }

    pub(crate) fn program_step(&mut self, container: &ContainerId, step: Step) {
        match step {
            Step::Subscribe => self.program_subscribes(container),
            Step::Hear { stream, event } => self.program_hears(container, stream, *event),
            Step::Say { task, state } => self.program_says(container, &task, state),
        }
    }

    fn program_subscribes(&mut self, container: &ContainerId) {
        let Some(program) = self.programs.get_mut(container) else {
            return;
        };
        if program.is_ending {
            return;
        }
        if self.boards[program.board].agent.is_none() {
            return self.plan_step(container, (500, 3000), Step::Subscribe);
        }
        self.next_stream += 1;
        let stream = self.next_stream;
        program.stream = Some(stream);
        let (board, key) = (program.board, program.key.clone());
        let call = program.subscription(stream);
        self.trace(&format!("executor {key} on board {board} subscribes"));
        self.executor_says(board, key, call);
    }

    fn program_hears(&mut self, container: &ContainerId, stream: u64, event: ExecutorEvent) {
        let program = self.programs.get_mut(container);
        let Some(program) = program.filter(|program| program.stream == Some(stream)) else {
            return;
        };
        match event {
            ExecutorEvent::Launch { task } => self.program_takes(container, vec![*task]),
            ExecutorEvent::LaunchGroup { tasks } => self.program_takes(container, tasks),
            ExecutorEvent::Kill { task, .. } => {
                let state = TaskState::Killed;
                self.plan_step(container, (0, 500), Step::Say { task, state });
            }
            ExecutorEvent::Acknowledged { task, uuid } => {
                let Some(given) = program.tasks.get_mut(&task) else {
                    return;
                };
                given.updates.retain(|status| status.uuid != Some(uuid));
                given.is_known = true;
                if given.updates.is_empty() && given.state.is_terminal() {
                    program.tasks.remove(&task);
                }
            }
            ExecutorEvent::Shutdown => self.program_shuts_down(container),
            ExecutorEvent::Message { data } => {
                let (board, key) = (program.board, program.key.clone());
                self.executor_says(board, key, ExecutorCall::Message { data });
            }
            ExecutorEvent::Subscribed { .. } | ExecutorEvent::Heartbeat => {}
        }
    }

    fn program_takes(&mut self, container: &ContainerId, tasks: Vec<TaskSpec>) {
        for spec in tasks {
            self.trace(&format!(
                "an executor takes {} attempt {:x}",
                spec.key, spec.attempt.0
            ));
            if !self.launched.insert((spec.key.clone(), spec.attempt)) {
                return self.fail(format!(
                    "{} attempt {:x} is handed over twice",
                    spec.key, spec.attempt.0
                ));
            }
            let Some(program) = self.programs.get_mut(container) else {
                return;
            };
            let task = spec.key.task.clone();
            let given = Given {
                spec,
                state: TaskState::Staging,
                updates: Vec::new(),
                is_known: false,
            };
            program.tasks.insert(task.clone(), given);
            let end = match self.rng.chance(80) {
                true => TaskState::Finished,
                false => TaskState::Failed,
            };
            for (state, span) in [(TaskState::Running, (0, 40)), (end, (50, 40_000))] {
                let task = task.clone();
                self.plan_step(container, span, Step::Say { task, state });
            }
        }
    }

    fn program_says(&mut self, container: &ContainerId, task: &TaskId, state: TaskState) {
        let uuid = Uuid::from_random(self.rng.bytes());
        let is_torn = !self.is_healed && self.rng.once_in(40);
        let timestamp = self.wall();
        let Some(program) = self.programs.get_mut(container) else {
            return;
        };
        let (board, key) = (program.board, program.key.clone());
        let Some(given) = program.tasks.get_mut(task) else {
            return;
        };
        if given.state.is_terminal() {
            return;
        }
        given.state = state;
        let status = status(state, uuid, timestamp);
        given.updates.push(status.clone());
        if let Some(stream) = program.stream.take_if(|_| is_torn) {
            self.trace(&format!("the stream of executor {key} breaks"));
            self.executor_says(board, key, ExecutorCall::Lost { stream });
            return self.plan_step(container, (0, 3000), Step::Subscribe);
        }
        if program.stream.is_some() {
            let status = Box::new(status);
            let task = task.clone();
            self.executor_says(board, key, ExecutorCall::Update { task, status });
        }
    }

    /// Most end what they have and themselves; some are deaf.
    fn program_shuts_down(&mut self, container: &ContainerId) {
        if self.rng.once_in(10) {
            return;
        }
        let Some(program) = self.programs.get_mut(container) else {
            return;
        };
        program.is_ending = true;
        let living: Vec<TaskId> = program.living().map(|spec| spec.key.task.clone()).collect();
        for task in living {
            let state = TaskState::Killed;
            self.plan_step(container, (0, 200), Step::Say { task, state });
        }
        let after = self.rng.millis(200, 6000);
        let ends = Planned::ContainerEnds {
            container: container.clone(),
            exit: Exit::Code(0),
        };
        self.plan(after, ends);
    }

    fn executor_says(&mut self, board: usize, key: ExecutorKey, call: ExecutorCall) {
        self.board_event(board, Event::Executor { key, call });
    }

    fn plan_step(&mut self, container: &ContainerId, (least, most): (u64, u64), step: Step) {
        let after = self.rng.millis(least, most);
        let container = container.clone();
        self.plan(after, Planned::Program { container, step });
    }
}

fn status(state: TaskState, uuid: Uuid, timestamp: f64) -> TaskStatus {
    TaskStatus {
        state,
        source: Source::Executor,
        reason: None,
        message: String::new(),
        timestamp,
        uuid: Some(uuid),
        agent: None,
        executor: None,
        container: None,
        healthy: None,
        check: None,
        data: Vec::new(),
        unreachable_time: None,
        extra: Vec::new(),
    }
}
