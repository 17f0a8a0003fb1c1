//! What goes wrong, and that it stops.
//!
//! Invariant: after `Planned::Heal` no new fault happens, and everything that is down comes back by itself.

use agentd_core::Event;
use nesos_base::time::{Duration, Instant};

use crate::net::partition_length;
use crate::planned::Planned;
use crate::world::World;

/// A fault.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    BreakLink,
    BreakStream,
    Partition,
    AgentCrash,
    PowerLoss,
    MasterCrash,
    DiskFull,
    SchedulerCrash,
    AgentShutdown,
}

impl World {
    pub(crate) fn plan_fault(&mut self) {
        let after = self.rng.millis(100, 12_000);
        let fault = match self.rng.between(0, 99) {
            0..25 => Fault::BreakLink,
            25..40 => Fault::BreakStream,
            40..55 => Fault::Partition,
            55..70 => Fault::AgentCrash,
            70..76 => Fault::PowerLoss,
            76..84 => Fault::MasterCrash,
            84..90 => Fault::DiskFull,
            90..97 => Fault::SchedulerCrash,
            _ => Fault::AgentShutdown,
        };
        self.plan(after, Planned::Fault(fault));
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        if self.is_healed {
            return;
        }
        self.plan_fault();
        self.trace(&format!("fault {fault:?}"));
        let board = self.rng.between(0, self.boards.len() as u64 - 1) as usize;
        match fault {
            Fault::BreakLink => {
                if let Some(conn) = self.boards[board].conn {
                    self.break_conn(conn);
                }
            }
            Fault::BreakStream => self.break_some_stream(),
            Fault::Partition => {
                let length = partition_length(self);
                self.boards[board].partitioned_until = self.now + length;
            }
            Fault::AgentCrash => self.board_crash(board, false),
            Fault::PowerLoss => self.board_crash(board, true),
            Fault::MasterCrash => self.master_crash(),
            Fault::DiskFull => {
                let length = self.rng.millis(100, 20_000);
                self.boards[board].disk_full_until = self.now + length;
            }
            Fault::SchedulerCrash => {
                let scheduler = self.some_scheduler();
                self.scheduler_crash(scheduler);
            }
            Fault::AgentShutdown => self.board_event(board, Event::Shutdown),
        }
    }

    pub(crate) fn heal(&mut self) {
        self.trace("everything heals");
        self.is_healed = true;
        for board in &mut self.boards {
            board.disk_full_until = Instant::from_secs(0);
            // Not at once: what is under way was planned for the end of the partition.
            board.partitioned_until = board
                .partitioned_until
                .min(self.now + Duration::from_secs(60));
        }
    }
}
