//! Looks at all containers of a board, from which its agent makes out what it can lend and who has to go for it.
//!
//! Called by `board` and the world's plan. A look belongs to the agent process that wanted it. Invariant: no randomness is
//! drawn in runs whose laws have no lending.

use std::collections::BTreeMap;

use agentd_core::Event;
use agentd_core::slack::{Measured, Rules, Sample, Tolerance, Waits};
use nesos_base::time::Duration;
use nesos_wire::resource::Resources;
use nesos_wire::{ContainerId, resource_text};

use crate::board::Board;
use crate::planned::Planned;
use crate::world::World;

/// From one look to the next: a tenth of Mesos's, so that tasks of seconds are watched for a whole window.
const PAUSE: Duration = Duration::from_millis(1500);
/// Waits of which a few reach it.
const TOLERANCE: Tolerance = Tolerance {
    cpu: 80.0,
    memory: 90.0,
};

impl World {
    /// This agent process looks again and again.
    pub(crate) fn plan_look(&mut self, board: usize) {
        if self.laws.has_lending {
            let generation = self.boards[board].generation;
            self.plan(PAUSE, Planned::Look { board, generation });
        }
    }

    fn lent(&self, board: usize) -> Resources {
        let agent = self.boards[board].agent.as_ref();
        agent.map(|agent| agent.lent()).unwrap_or_default()
    }

    pub(crate) fn look(&mut self, board: usize, generation: u64) {
        if self.boards[board].generation != generation || self.boards[board].agent.is_none() {
            return;
        }
        self.plan_look(board);
        let alive: Vec<ContainerId> = self.alive_on(board).into_keys().cloned().collect();
        let now_us = self.now.as_micros();
        let mut containers = BTreeMap::new();
        for id in alive {
            // Each uses the same all its life, and sometimes more memory.
            let kind = id.as_str().bytes().map(u64::from).sum::<u64>() % 4;
            let more = self.rng.once_in(20).then(|| self.rng.between(1, 64));
            let measured = Measured {
                cpu_us: now_us / 20 * (1 + kind),
                memory: (1 + kind + more.unwrap_or(0)) << 20,
                waits: Some(Waits {
                    cpu: self.rng.between(0, 100) as f64,
                    memory: self.rng.between(0, 100) as f64,
                }),
            };
            containers.insert(id, measured);
        }
        let rules = Rules {
            lends: true,
            evicts: (!self.is_healed).then_some(TOLERANCE),
        };
        let sample = Box::new(Sample {
            containers,
            machine: Waits::default(),
        });
        let before = self.lent(board);
        self.board_event(board, Event::Measured { rules, sample });
        let lent = self.lent(board);
        if lent != before {
            let text = resource_text::text(&lent);
            self.trace(&format!("board {board} lends {text}"));
        }
    }
}

impl Board {
    /// What tasks may be given on it, as its agent says.
    pub(crate) fn total(&self) -> Resources {
        let agent = self.agent.iter();
        let mut total = Resources::new();
        for agent in agent {
            total.add(&agent.resources());
            total.add(&agent.lent());
        }
        total
    }
}
