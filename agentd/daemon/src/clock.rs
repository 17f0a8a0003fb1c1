//! The moment for the core, with the master's wall clock where the board has none.
//!
//! A board without a battery starts in 1970; the master's time then only shifts the timestamps of statuses. The system's
//! clock is init's business. Called by `run`.

use std::cell::Cell;

use agentd_core::Moment;
use nesos_shell::clock::Clock;

/// 2024-01-01: a wall clock before it was never set.
const PLAUSIBLE: f64 = 1_704_067_200.0;

/// Both clocks.
#[derive(Debug)]
pub(crate) struct Clocks {
    pub(crate) ticks: Clock,
    /// Seconds to add to an implausible wall clock.
    offset: Cell<f64>,
}

impl Clocks {
    pub(crate) fn new() -> Self {
        Self {
            ticks: Clock::new(),
            offset: Cell::new(0.0),
        }
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment {
            now: self.ticks.now(),
            unix: self.unix(),
        }
    }

    /// Seconds since 1970 as well as they are known.
    pub(crate) fn unix(&self) -> f64 {
        let wall = Clock::wall();
        if wall < PLAUSIBLE {
            wall + self.offset.get()
        } else {
            wall
        }
    }

    /// The master's clock says so.
    pub(crate) fn follow(&self, unix: f64) {
        let wall = Clock::wall();
        if wall < PLAUSIBLE && unix >= PLAUSIBLE {
            self.offset.set(unix - wall);
        }
    }
}
