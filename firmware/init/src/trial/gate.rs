//! When a slot on trial has proven itself, and when it has failed. Pure; the parent module gathers the facts and acts.
//!
//! Invariant: there is a verdict at [`LIMIT`] plus [`SETTLE`] at the latest.

use embassy_time::{Duration, Instant};

/// From the kernel's start until every daemon must have said that it works. A bad image costs a board at most this, the restart and the
/// old image's boot: a minute.
pub(super) const LIMIT: Duration = Duration::from_secs(40);
/// How long all must go on to work: daemons that die of what they do first do it by then.
pub(super) const SETTLE: Duration = Duration::from_secs(5);
/// So many ends of daemons are no accident.
const ENDS_MAX: u32 = 3;

/// What is known of the board.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// A phase of the boot that failed.
    pub(super) failed_phase: Option<&'static str>,
    /// How many times a daemon has ended.
    pub(super) daemon_ends: u32,
    /// What nobody has said yet, in words; empty: all works.
    pub(super) missing: Vec<&'static str>,
    /// What was tested and does not work.
    pub(super) failed_test: Option<String>,
}

/// What to do with the slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again later.
    Wait,
    /// It has proven itself.
    Commit,
    /// It has not, and why.
    Fail(String),
}

/// Watches one trial.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Since when all works, and the ends counted then.
    working: Option<(Instant, u32)>,
}

impl Gate {
    /// The verdict at `now`, which counts from the kernel's start.
    pub(super) fn step(&mut self, facts: &Facts, now: Instant) -> Verdict {
        if let Some(phase) = facts.failed_phase {
            return Verdict::Fail(format!("the boot's phase '{phase}' failed"));
        }
        if let Some(why) = &facts.failed_test {
            return Verdict::Fail(format!("agentd's self-test failed: {why}"));
        }
        if facts.daemon_ends >= ENDS_MAX {
            return Verdict::Fail(format!("daemons ended {} times", facts.daemon_ends));
        }
        if !facts.missing.is_empty() {
            self.working = None;
            let late = now >= Instant::from_ticks(0) + LIMIT;
            return match late {
                true => Verdict::Fail(format!(
                    "after {} s: {}",
                    LIMIT.as_secs(),
                    facts.missing.join(", ")
                )),
                false => Verdict::Wait,
            };
        }
        match self.working {
            Some((since, ends)) if ends == facts.daemon_ends => match now >= since + SETTLE {
                true => Verdict::Commit,
                false => Verdict::Wait,
            },
            _ => {
                self.working = Some((now, facts.daemon_ends));
                Verdict::Wait
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn missing() -> Facts {
        Facts {
            missing: vec!["agentd has joined no master"],
            ..Facts::default()
        }
    }

    #[test]
    fn what_works_for_a_while_is_committed() {
        let mut gate = Gate::default();
        assert_eq!(gate.step(&missing(), at(1000)), Verdict::Wait);
        assert_eq!(gate.step(&Facts::default(), at(3000)), Verdict::Wait);
        assert_eq!(gate.step(&Facts::default(), at(7999)), Verdict::Wait);
        assert_eq!(gate.step(&Facts::default(), at(8000)), Verdict::Commit);
    }

    #[test]
    fn a_daemon_that_ends_begins_the_time_anew_and_three_ends_are_too_many() {
        let mut gate = Gate::default();
        let ends = |daemon_ends| Facts {
            daemon_ends,
            ..Facts::default()
        };
        assert_eq!(gate.step(&ends(0), at(3000)), Verdict::Wait);
        assert_eq!(gate.step(&ends(1), at(7000)), Verdict::Wait);
        assert_eq!(gate.step(&ends(1), at(11_000)), Verdict::Wait);
        assert_eq!(gate.step(&ends(1), at(12_000)), Verdict::Commit);
        let verdict = gate.step(&ends(3), at(12_500));
        assert_eq!(verdict, Verdict::Fail("daemons ended 3 times".into()));
    }

    #[test]
    fn what_is_missing_at_the_limit_is_named() {
        let mut gate = Gate::default();
        assert_eq!(gate.step(&missing(), at(39_999)), Verdict::Wait);
        let why = "after 40 s: agentd has joined no master";
        assert_eq!(gate.step(&missing(), at(40_000)), Verdict::Fail(why.into()));
        // What works just before it may still settle.
        let mut gate = Gate::default();
        assert_eq!(gate.step(&Facts::default(), at(39_999)), Verdict::Wait);
        assert_eq!(gate.step(&Facts::default(), at(44_999)), Verdict::Commit);
    }

    #[test]
    fn faults_end_the_trial_at_once() {
        let phase = Facts {
            failed_phase: Some("data"),
            ..Facts::default()
        };
        let test = Facts {
            failed_test: Some("no cgroup".into()),
            ..missing()
        };
        for (facts, word) in [(phase, "'data' failed"), (test, "no cgroup")] {
            match Gate::default().step(&facts, at(10)) {
                Verdict::Fail(why) => assert!(why.contains(word), "{why}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
