//! A plot: somebody is killed whenever some task is at some point of its life: always the same, or anybody at any point.
//!
//! Called by the world after every step. Invariant: a strike hits a board on which a task is at that point right now.

use agentd_core::Phase;
use nesos_base::time::{Duration, Instant};
use nesos_wire::ContainerId;
use nesos_wire::task::TaskStatus;

use crate::container::Exit;
use crate::world::World;

/// Strikes in one run: enough to hit several tasks, few enough that others come to their ends in peace.
const MAX_STRIKES: usize = 6;
/// From one strike to the next: long enough to recover, mostly.
const PAUSE: Duration = Duration::from_secs(8);

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// agentd, by SIGKILL.
    Agent,
    /// The helper that holds the task, and the task with it.
    Helper,
    /// The task's process.
    Task,
    /// masterd, the other child of init.
    Master,
    /// The board loses its power.
    Board,
}

impl Victim {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Agent,
        Self::Helper,
        Self::Task,
        Self::Master,
        Self::Board,
    ];
}

/// When it is killed: what a task is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hour {
    /// Its files are fetched.
    Fetching,
    /// Its helper is there, its process not yet.
    Starting,
    /// Its process runs.
    Running,
    /// It was told to end.
    Killing,
    /// A status of it was sent and is not acknowledged.
    Unacknowledged,
}

impl Hour {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Fetching,
        Self::Starting,
        Self::Running,
        Self::Killing,
        Self::Unacknowledged,
    ];
}

/// What is done to a run.
#[derive(Debug)]
pub(crate) struct Plot {
    /// Always this one at this point; none: drawn for each strike.
    cell: Option<(Victim, Hour)>,
    pub(crate) strikes: Vec<(Victim, Hour)>,
    not_before: Instant,
}

impl Plot {
    pub(crate) fn new(cell: Option<(Victim, Hour)>) -> Self {
        Self {
            cell,
            strikes: Vec::new(),
            not_before: Instant::from_secs(0),
        }
    }
}

impl World {
    pub(crate) fn strike(&mut self) {
        let Some(plot) = &self.plot else { return };
        let is_over = plot.strikes.len() >= MAX_STRIKES || self.now < plot.not_before;
        let cell = plot.cell;
        if self.is_healed || is_over || !self.rng.chance(20) {
            return;
        }
        let (victim, hour) = cell.unwrap_or_else(|| {
            let drawn = self.rng.next() as usize;
            (Victim::ALL[drawn % 5], Hour::ALL[drawn / 5 % 5])
        });
        let targets = self.targets(hour);
        if targets.is_empty() {
            return;
        }
        let (board, container) = targets[self.rng.next() as usize % targets.len()].clone();
        if let Some(plot) = &mut self.plot {
            plot.strikes.push((victim, hour));
            plot.not_before = self.now + PAUSE;
        }
        self.trace(&format!(
            "{victim:?} of {container} on board {board} is killed, {hour:?}"
        ));
        match victim {
            Victim::Agent => self.board_crash(board, false),
            Victim::Helper => self.container_vanishes(&container),
            Victim::Task => self.container_ends(&container, Exit::Killed),
            Victim::Master => self.master_crash(),
            Victim::Board => self.board_crash(board, true),
        }
    }

    /// Tasks that are at this point, by board and container.
    fn targets(&self, hour: Hour) -> Vec<(usize, ContainerId)> {
        let mut targets = Vec::new();
        for board in &self.boards {
            for view in board.agent.iter().flat_map(|agent| agent.tasks()) {
                let is_due = match hour {
                    Hour::Fetching => view.phase == Phase::Launching,
                    Hour::Starting => view.phase == Phase::Starting,
                    Hour::Running => view.phase == Phase::Running,
                    Hour::Killing => {
                        matches!(view.phase, Phase::Killing { .. } | Phase::Aborting { .. })
                    }
                    Hour::Unacknowledged => {
                        let uuid =
                            |status: Option<&TaskStatus>| status.and_then(|status| status.uuid);
                        uuid(view.status) != uuid(view.acknowledged)
                    }
                };
                let container = view.container.filter(|_| is_due);
                targets.extend(container.map(|container| (board.index, container.clone())));
            }
        }
        targets
    }
}
