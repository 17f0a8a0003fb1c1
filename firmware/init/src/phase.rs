//! The boot as a list: which phase comes next, what its end means, and its line on the console. Pure: no clock, no
//! console, no futures; `boot` runs the functions.
//!
//! Invariant: phases run once each, in order; only the failure of an essential one ends the list early.

use embassy_time::{Duration, Instant};

/// One step of the boot. `F` is what the shell calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phase<F> {
    /// One word for the console, at most [`NAME_WIDTH`] characters.
    pub(crate) name: &'static str,
    /// True if the board is useless without it: its failure restarts the board.
    pub(crate) essential: bool,
    /// When to go on without it.
    pub(crate) limit: Duration,
    /// What to run.
    pub(crate) run: F,
}

/// Width of the name column.
const NAME_WIDTH: usize = 10;

/// How a phase ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done, with a few words on the result.
    Done(String),
    /// Done in a worse way than wanted, with a sentence for the person at the console.
    Degraded(String),
    /// Not done, with the reason.
    Failed(String),
    /// Still busy when its time was over; it may finish later.
    TimedOut,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step<'a, F> {
    /// Run this phase.
    Run(&'a Phase<F>),
    /// The list is done.
    Finished,
    /// The essential phase of this name failed.
    GiveUp(&'static str),
}

/// Walks through a list of phases.
#[derive(Debug)]
pub(crate) struct Sequence<'a, F> {
    phases: &'a [Phase<F>],
    position: usize,
    gave_up: Option<&'static str>,
}

impl<'a, F> Sequence<'a, F> {
    /// Begins with the first phase.
    pub(crate) fn new(phases: &'a [Phase<F>]) -> Sequence<'a, F> {
        Sequence {
            phases,
            position: 0,
            gave_up: None,
        }
    }

    /// What to do now; the same answer until [`Sequence::ended`] is called.
    pub(crate) fn step(&self) -> Step<'a, F> {
        match (self.gave_up, self.phases.get(self.position)) {
            (Some(name), _) => Step::GiveUp(name),
            (None, Some(phase)) => Step::Run(phase),
            (None, None) => Step::Finished,
        }
    }

    /// Takes the end of the current phase and returns its line for the console.
    pub(crate) fn ended(&mut self, outcome: &Outcome, started: Instant, now: Instant) -> String {
        let Some(phase) = self.phases.get(self.position) else {
            return String::new();
        };
        self.position += 1;
        if phase.essential && matches!(outcome, Outcome::Failed(_) | Outcome::TimedOut) {
            self.gave_up = Some(phase.name);
        }
        let took = now.saturating_duration_since(started).as_millis();
        let (word, detail) = match outcome {
            Outcome::Done(detail) => ("ok", detail.clone()),
            Outcome::Degraded(detail) => ("WARN", detail.clone()),
            Outcome::Failed(detail) => ("FAIL", detail.clone()),
            Outcome::TimedOut => (
                "LATE",
                format!("not done after {} ms, going on", phase.limit.as_millis()),
            ),
        };
        let gap = if detail.is_empty() { "" } else { " " };
        console_line(
            now,
            phase.name,
            &format!("{word:<4}{gap}{detail} ({took} ms)"),
        )
    }
}

/// A console line of `init`: seconds since the kernel started, who speaks, what it says.
pub(crate) fn console_line(now: Instant, who: &str, text: &str) -> String {
    let millis = now.as_millis();
    format!(
        "[{:>4}.{:03}] {who:<NAME_WIDTH$} {text}",
        millis / 1000,
        millis % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [Phase<u8>; 3] = [
        Phase {
            name: "mounts",
            essential: true,
            limit: Duration::from_secs(5),
            run: 1,
        },
        Phase {
            name: "network",
            essential: false,
            limit: Duration::from_secs(10),
            run: 2,
        },
        Phase {
            name: "daemons",
            essential: true,
            limit: Duration::from_secs(5),
            run: 3,
        },
    ];

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn name<F>(step: &Step<'_, F>) -> &'static str {
        match step {
            Step::Run(phase) => phase.name,
            Step::Finished => "finished",
            Step::GiveUp(_) => "gave up",
        }
    }

    #[test]
    fn phases_run_in_order_and_lines_show_time_and_result() {
        let mut boot = Sequence::new(&LIST);
        assert_eq!(name(&boot.step()), "mounts");
        assert_eq!(
            boot.ended(&Outcome::Done(String::new()), at(100), at(102)),
            "[   0.102] mounts     ok   (2 ms)"
        );
        assert_eq!(
            boot.ended(&Outcome::Done("dhcp 10.0.2.15/24".into()), at(102), at(412)),
            "[   0.412] network    ok   dhcp 10.0.2.15/24 (310 ms)"
        );
        assert_eq!(name(&boot.step()), "daemons");
        boot.ended(&Outcome::Degraded("half".into()), at(412), at(413));
        assert_eq!(name(&boot.step()), "finished");
    }

    #[test]
    fn only_an_essential_failure_ends_the_boot() {
        let mut boot = Sequence::new(&LIST);
        boot.ended(&Outcome::Degraded("no /dev/shm".into()), at(0), at(1));
        let late = boot.ended(&Outcome::TimedOut, at(1), at(10_001));
        assert_eq!(
            late,
            "[  10.001] network    LATE not done after 10000 ms, going on (10000 ms)"
        );
        assert_eq!(name(&boot.step()), "daemons");
        boot.ended(&Outcome::Failed("no masterd".into()), at(2), at(3));
        assert!(matches!(boot.step(), Step::GiveUp("daemons")));
    }
}
