//! The order in which a board stops: daemons first, then everything else, each asked before it is killed. Pure;
//! `shutdown` sends the signals.
//!
//! Invariant: every stage has a limit, so the list ends within [`TOTAL_MAX`] whatever hangs.

use embassy_time::{Duration, Instant};

/// Time for the daemons to write down what they hold.
const DAEMONS: Duration = Duration::from_secs(5);
/// Time for tasks and their helpers to end themselves.
const OTHERS: Duration = Duration::from_secs(3);
/// Time for the kernel to bury what was killed.
const KILLED: Duration = Duration::from_secs(2);
/// All stages together.
#[cfg(test)]
const TOTAL_MAX: Duration = Duration::from_secs(12);

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// SIGTERM to the daemons.
    AskDaemons,
    /// SIGKILL to the daemons.
    KillDaemons,
    /// SIGTERM to everything.
    AskAll,
    /// SIGKILL to everything.
    KillAll,
    /// Sync, unmount, end.
    Finish,
}

/// What still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alive {
    /// A supervised daemon.
    pub(crate) daemons: bool,
    /// Any child of PID 1.
    pub(crate) children: bool,
}

const STAGES: [(Order, Duration); 4] = [
    (Order::AskDaemons, DAEMONS),
    (Order::KillDaemons, KILLED),
    (Order::AskAll, OTHERS),
    (Order::KillAll, KILLED),
];

/// Walks through the stages.
#[derive(Debug, Default)]
pub(crate) struct Shutdown {
    stage: usize,
    until: Option<Instant>,
}

impl Shutdown {
    /// What to do at `now`; `None` means wait until [`Shutdown::deadline`] or until something ends.
    pub(crate) fn step(&mut self, alive: Alive, now: Instant) -> Option<Order> {
        while let Some((order, limit)) = STAGES.get(self.stage) {
            let needed = match order {
                Order::AskDaemons | Order::KillDaemons => alive.daemons,
                _ => alive.children,
            };
            match self.until {
                None if needed => {
                    self.until = Some(now + *limit);
                    return Some(*order);
                }
                Some(until) if needed && now < until => return None,
                _ => {
                    self.stage += 1;
                    self.until = None;
                }
            }
        }
        Some(Order::Finish)
    }

    /// When to call [`Shutdown::step`] at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn alive(daemons: bool, children: bool) -> Alive {
        Alive { daemons, children }
    }

    #[test]
    fn a_board_whose_programs_end_by_themselves_kills_nothing() {
        let mut shutdown = Shutdown::default();
        let now = Instant::from_secs(1);
        assert_eq!(
            shutdown.step(alive(true, true), now),
            Some(Order::AskDaemons)
        );
        assert_eq!(shutdown.step(alive(true, true), now), None);
        assert_eq!(shutdown.step(alive(false, true), now), Some(Order::AskAll));
        assert_eq!(shutdown.step(alive(false, false), now), Some(Order::Finish));
    }

    #[test]
    fn a_board_whose_programs_hang_ends_all_the_same() {
        let mut shutdown = Shutdown::default();
        let (mut now, mut orders) = (Instant::from_secs(1), Vec::new());
        loop {
            match shutdown.step(alive(true, true), now) {
                Some(Order::Finish) => break,
                Some(order) => orders.push(order),
                None => now = shutdown.deadline().unwrap(),
            }
        }
        assert_eq!(
            orders,
            [
                Order::AskDaemons,
                Order::KillDaemons,
                Order::AskAll,
                Order::KillAll
            ]
        );
        assert_eq!(now, Instant::from_secs(1) + TOTAL_MAX);
    }

    #[test]
    fn an_empty_board_ends_at_once() {
        assert_eq!(
            Shutdown::default().step(alive(false, false), Instant::from_secs(1)),
            Some(Order::Finish)
        );
    }
}
