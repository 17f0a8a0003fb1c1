//! When to terminate, when to kill, when it is over: the task's life as a pure state machine.
//!
//! Driven by `hold`, which reaps, signals and looks at the clock. Invariants: SIGTERM is ordered once; a repeated kill
//! only moves SIGKILL nearer; it is over only after the main process was reaped.

use std::time::{Duration, Instant};

use nesos_sys::reap::Exit;
use nesos_wire::executor::Outcome;

use crate::client::outcome;

/// How long what the main process left behind may resist SIGKILL (a process in an uninterruptible system call does)
/// before the end is reported all the same.
const SWEEP_LIMIT: Duration = Duration::from_secs(5);
/// First pause between two rounds of SIGKILL; doubled up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Longest pause between two rounds.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// Nothing until the deadline.
    Wait,
    /// SIGKILL to everything that is left.
    KillAll,
    /// All is over; this became of the main process.
    Finish(Outcome),
}

/// One task from its start to its end.
#[derive(Debug)]
pub(crate) struct Life {
    main: u32,
    outcome: Option<Outcome>,
    kill_requested: bool,
    /// When the next round of SIGKILL is due.
    kill_at: Option<Instant>,
    pause: Duration,
    /// When waiting for what is left behind ends.
    sweep_until: Option<Instant>,
}

impl Life {
    /// The main process has started.
    pub(crate) fn new(main: u32) -> Life {
        Life {
            main,
            outcome: None,
            kill_requested: false,
            kill_at: None,
            pause: FIRST_PAUSE,
            sweep_until: None,
        }
    }

    /// Somebody asks for its end. True: send SIGTERM now.
    pub(crate) fn ask_to_end(&mut self, now: Instant, grace: Duration) -> bool {
        if self.outcome.is_some() {
            return false;
        }
        let first = !self.kill_requested;
        self.kill_requested = true;
        let at = now + grace;
        self.kill_at = Some(self.kill_at.map_or(at, |before| before.min(at)));
        first
    }

    /// A child was reaped.
    pub(crate) fn reaped(&mut self, now: Instant, pid: u32, exit: Exit) {
        if pid == self.main && self.outcome.is_none() {
            self.outcome = Some(outcome(exit));
            self.kill_at = Some(now);
            self.pause = FIRST_PAUSE;
            self.sweep_until = Some(now + SWEEP_LIMIT);
        }
    }

    /// What is due; `children`: whether any child is left.
    pub(crate) fn next(&mut self, now: Instant, children: bool) -> Act {
        let swept = !children || self.sweep_until.is_some_and(|until| until <= now);
        if let Some(outcome) = &self.outcome
            && swept
        {
            return Act::Finish(outcome.clone());
        }
        if self.kill_at.is_none_or(|at| at > now) {
            return Act::Wait;
        }
        self.kill_at = Some(now + self.pause);
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        Act::KillAll
    }

    /// When [`Life::next`] has to be called at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.kill_at, self.sweep_until].into_iter().flatten().min()
    }

    /// Whether its end was asked for.
    pub(crate) fn kill_requested(&self) -> bool {
        self.kill_requested
    }

    /// Whether the main process still exists, so that its number is still its own.
    pub(crate) fn main_exists(&self) -> bool {
        self.outcome.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_second_request_only_shortens() {
        let (start, mut life) = (Instant::now(), Life::new(7));
        assert!(life.ask_to_end(start, 10 * SECOND));
        assert!(!life.ask_to_end(start, 60 * SECOND));
        assert_eq!(life.deadline(), Some(start + 10 * SECOND));
        assert!(!life.ask_to_end(start, SECOND));
        assert_eq!(life.deadline(), Some(start + SECOND));
        assert_eq!(life.next(start, true), Act::Wait);
        assert_eq!(life.next(start + SECOND, true), Act::KillAll);
        assert_eq!(life.next(start + SECOND, true), Act::Wait);
        assert_eq!(life.next(start + 2 * SECOND, true), Act::KillAll);
    }

    #[test]
    fn the_end_waits_for_what_is_left_but_not_for_ever() {
        let (start, mut life) = (Instant::now(), Life::new(7));
        life.reaped(start, 8, Exit::Code(1));
        assert!(life.main_exists());
        life.reaped(start, 7, Exit::Signal(9));
        assert_eq!(life.next(start, true), Act::KillAll);
        assert_eq!(life.next(start, true), Act::Wait);
        assert_eq!(
            life.next(start + SWEEP_LIMIT, true),
            Act::Finish(Outcome::Signal(9))
        );
    }

    #[test]
    fn without_children_it_is_over_at_once() {
        let (start, mut life) = (Instant::now(), Life::new(7));
        assert_eq!(life.next(start, true), Act::Wait);
        assert_eq!(life.deadline(), None);
        life.reaped(start, 7, Exit::Code(255));
        assert!(!life.ask_to_end(start, SECOND));
        assert_eq!(life.next(start, false), Act::Finish(Outcome::Exit(255)));
    }
}
