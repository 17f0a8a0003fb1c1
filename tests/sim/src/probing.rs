//! Checks of tasks: which tasks have some, and what a look at one finds.
//!
//! Called by `launching` and `board`. A look belongs to the agent process that wanted it, and is lost with it.

use agentd_core::{Event, ProbeKind};
use nesos_wire::ContainerId;
use nesos_wire::check::{Check, CheckStatus, Checks, HealthCheck, Probe};

use crate::container::Stage;
use crate::planned::Planned;
use crate::world::World;

impl World {
    /// Checks for some tasks.
    pub(crate) fn draw_checks(&mut self) -> Option<Box<Checks>> {
        if !self.rng.chance(25) {
            return None;
        }
        let (delay_ms, interval_ms) = (self.rng.between(0, 3000), self.rng.between(500, 9000));
        let check = Check {
            probe: Probe::Tcp {
                port: 80,
                is_ipv6: false,
            },
            delay_ms,
            interval_ms,
            timeout_ms: 1000,
        };
        let health = HealthCheck {
            check: check.clone(),
            consecutive_failures: 3,
            grace_ms: self.rng.between(0, 5000),
        };
        Some(Box::new(Checks {
            health: self.rng.chance(70).then_some(health),
            check: self.rng.chance(50).then_some(check),
        }))
    }

    /// The agent looks at a task.
    pub(crate) fn probe(&mut self, board: usize, container: ContainerId, kind: ProbeKind) {
        let after = self.rng.millis(1, 1000);
        let generation = self.boards[board].generation;
        self.plan(
            after,
            Planned::Probed {
                board,
                generation,
                container,
                kind,
            },
        );
    }

    /// The look is over.
    pub(crate) fn probed(
        &mut self,
        board: usize,
        generation: u64,
        container: ContainerId,
        kind: ProbeKind,
    ) {
        let runs = |known: &crate::container::Container| known.stage == Stage::Running;
        let is_there = self.containers.get(&container).is_some_and(runs);
        let result = match self.rng.between(0, 9) {
            0 => Err("too late".into()),
            1 | 2 => Ok(CheckStatus::Tcp(Some(false))),
            _ => Ok(CheckStatus::Tcp(Some(is_there))),
        };
        if self.boards[board].generation == generation {
            let event = Event::Probed {
                container,
                kind,
                result,
            };
            self.board_event(board, event);
        }
    }
}
