//! Containers: tasks' processes on the boards, which outlive the agent's process but not their board's power.
//!
//! Called by `board` (actions of the agent) and by the world's plan. Invariant: of each container exactly one end is told.

use std::collections::{BTreeMap, BTreeSet};

use agentd_core::{ContainerEvent, Event, Finish};
use nesos_wire::ContainerId;
use nesos_wire::executor::{ExitRecord, Outcome};
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::resource::Resources;
use nesos_wire::task::TaskSpec;

use crate::mutant::Mutant;
use crate::planned::Planned;
use crate::world::World;

/// How a container ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(u8),
    Killed,
    /// The launch comes to nothing.
    NoLaunch,
}

/// Where a container is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stage {
    /// Its files are fetched.
    Launching,
    /// Its helper is there.
    Starting,
    Running,
    Ended(ExitRecord),
}

/// A container: what is on the board, whether or not an agent looks.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) board: usize,
    pub(crate) spec: TaskSpec,
    pub(crate) stage: Stage,
    /// The agent process that gets its events.
    pub(crate) watcher: Option<u64>,
    is_killed: bool,
}

impl World {
    pub(crate) fn launch(&mut self, board: usize, container: ContainerId, spec: TaskSpec) {
        self.trace(&format!(
            "board {board} launches {} attempt {:x}",
            spec.key, spec.attempt.0
        ));
        if !self.launched.insert((spec.key.clone(), spec.attempt)) {
            self.fail(format!(
                "{} attempt {:x} is launched twice",
                spec.key, spec.attempt.0
            ));
        }
        let watcher = Some(self.boards[board].generation);
        let stage = Stage::Launching;
        let mut spec = spec;
        if self.is(Mutant::Overcommits) {
            let again = spec.resources.clone();
            spec.resources.add(&again);
        }
        self.containers.insert(
            container.clone(),
            Container {
                board,
                spec,
                stage,
                watcher,
                is_killed: false,
            },
        );
        self.check_commitment(board, &container, &Resources::new());
        let after = self.rng.millis(5, 1500);
        if self.rng.chance(5) {
            self.plan(
                after,
                Planned::ContainerEnds {
                    container,
                    exit: Exit::NoLaunch,
                },
            );
        } else {
            self.plan(after, Planned::ContainerStarts { container });
        }
    }

    pub(crate) fn adopt(&mut self, board: usize, container: ContainerId) {
        let generation = self.boards[board].generation;
        let event = match self.containers.get_mut(&container) {
            None => ContainerEvent::Vanished,
            Some(known) => {
                known.watcher = Some(generation);
                match &known.stage {
                    Stage::Launching => return,
                    Stage::Starting => ContainerEvent::Started,
                    Stage::Running => ContainerEvent::Running,
                    Stage::Ended(record) => ContainerEvent::Finished(Finish {
                        record: record.clone(),
                        limitation: None,
                    }),
                }
            }
        };
        let moment = self.moment();
        if let Some(agent) = &mut self.boards[board].agent {
            agent.step(Event::Container { container, event }, moment);
        }
    }

    pub(crate) fn kill_container(&mut self, container: &ContainerId, grace_ms: u64) {
        let late = self.rng.millis(0, grace_ms + 20);
        let Some(known) = self.containers.get_mut(container) else {
            return;
        };
        known.is_killed = true;
        let exit = if known.stage == Stage::Launching {
            Exit::NoLaunch
        } else {
            Exit::Killed
        };
        self.plan(
            late,
            Planned::ContainerEnds {
                container: container.clone(),
                exit,
            },
        );
    }

    pub(crate) fn container_starts(&mut self, container: &ContainerId) {
        let after = self.rng.millis(0, 200);
        let Some(known) = self
            .containers
            .get_mut(container)
            .filter(|c| c.stage == Stage::Launching)
        else {
            return;
        };
        known.stage = Stage::Starting;
        let container = container.clone();
        self.tell(&container, ContainerEvent::Started);
        self.plan(after, Planned::ContainerRuns { container });
    }

    pub(crate) fn container_runs(&mut self, container: &ContainerId) {
        let length = self.rng.millis(50, 40_000);
        let code = if self.rng.chance(80) { 0 } else { 1 };
        let Some(known) = self
            .containers
            .get_mut(container)
            .filter(|c| c.stage == Stage::Starting)
        else {
            return;
        };
        known.stage = Stage::Running;
        let (board, spec) = (known.board, known.spec.clone());
        if spec.kind == ExecutorKind::Custom {
            self.program_begins(container, board, spec);
            return self.tell(container, ContainerEvent::Running);
        }
        self.plan(
            length,
            Planned::ContainerEnds {
                container: container.clone(),
                exit: Exit::Code(code),
            },
        );
        self.tell(container, ContainerEvent::Running);
    }

    /// The helper is killed, and with it what it held; nothing is left that says how the task ended.
    pub(crate) fn container_vanishes(&mut self, container: &ContainerId) {
        let Some(known) = self.containers.remove(container) else {
            return;
        };
        let event = match known.stage {
            Stage::Launching => ContainerEvent::LaunchFailed {
                message: "the helper was killed".into(),
            },
            Stage::Starting | Stage::Running | Stage::Ended(_) => ContainerEvent::Vanished,
        };
        self.program_ends(container);
        if known.watcher == Some(self.boards[known.board].generation) {
            let container = container.clone();
            self.board_event(known.board, Event::Container { container, event });
        }
    }

    pub(crate) fn container_ends(&mut self, container: &ContainerId, exit: Exit) {
        let at_ms = self.now.as_millis();
        let Some(known) = self.containers.get_mut(container) else {
            return;
        };
        let record = |outcome| ExitRecord {
            outcome,
            kill_requested: known.is_killed,
            at_ms,
        };
        let record = match (&known.stage, exit) {
            (Stage::Ended(_), _) => return,
            (Stage::Launching, _) => record(Outcome::NotStarted("no such program".into())),
            (Stage::Running, Exit::Code(code)) => record(Outcome::Exit(code)),
            (Stage::Starting | Stage::Running, _) => record(Outcome::Signal(15)),
        };
        if self.mutant != Some(Mutant::LeaksProcesses) {
            known.stage = Stage::Ended(record.clone());
        }
        self.program_ends(container);
        self.tell(
            container,
            ContainerEvent::Finished(Finish {
                record,
                limitation: None,
            }),
        );
    }

    fn tell(&mut self, container: &ContainerId, event: ContainerEvent) {
        let Some(known) = self.containers.get(container) else {
            return;
        };
        let board = known.board;
        if known.watcher == Some(self.boards[board].generation) {
            self.board_event(
                board,
                Event::Container {
                    container: container.clone(),
                    event,
                },
            );
        }
    }

    /// As agentd does at its start with whatever its checkpoint does not speak of.
    pub(crate) fn bury_strangers(&mut self, board: usize) {
        let Some(agent) = &self.boards[board].agent else {
            return;
        };
        let tasks = agent.tasks();
        let tasks = tasks.filter(|view| view.spec.kind != ExecutorKind::Custom);
        let of_tasks = tasks.filter_map(|view| view.container);
        let of_executors = agent.executors().map(|view| view.container);
        let known: BTreeSet<&ContainerId> = of_tasks.chain(of_executors).collect();
        let is_strange = |id: &ContainerId, container: &Container| {
            container.board == board && !known.contains(id)
        };
        let mut all = self.containers.iter();
        let alive = all.find(|(id, container)| {
            is_strange(id, container) && !matches!(container.stage, Stage::Ended(_))
        });
        if let Some((id, _)) = alive {
            let what = format!("board {board} has forgotten {id}, which is alive");
            return self.fail(what);
        }
        self.containers
            .retain(|id, container| !is_strange(id, container));
    }

    /// What it may use from now on.
    pub(crate) fn resize(&mut self, board: usize, container: &ContainerId, spec: TaskSpec) {
        let Some(known) = self.containers.get_mut(container) else {
            return;
        };
        let before = std::mem::replace(&mut known.spec, spec).resources;
        let known = &self.boards[board];
        let used = known.agent.as_ref().map(agentd_core::Agent::used);
        if used.is_some_and(|used| !known.total().contains(&used)) {
            // It has come back with less; the tasks were taken before.
            return;
        }
        self.check_commitment(board, container, &before);
    }

    /// What is alive on each board, in resources.
    pub(crate) fn alive_on(&self, board: usize) -> BTreeMap<&ContainerId, &Container> {
        let alive = |container: &&Container| {
            container.board == board && !matches!(container.stage, Stage::Ended(_))
        };
        self.containers
            .iter()
            .filter(|(_, container)| alive(container))
            .collect()
    }
}
