//! Commands of scripts about machines: the schedule, down and up, and what the master says of them.
//!
//! Used by the driver beside it.

use std::fmt::Write as _;

use masterd_core::schedule::Mode;
use masterd_core::{Call, Order};
use nesos_wire::maintenance::{MachineId, Unavailability, Window};

use super::Script;

const NANOS: i64 = 1_000_000_000;

impl Script {
    /// Says whether the words are of these.
    pub(crate) fn run_maintenance(&mut self, words: &[&str]) -> bool {
        let machines = |words: &[&str]| words.iter().copied().map(machine).collect();
        match words {
            ["schedule", windows @ ..] => {
                let windows = windows.iter().copied().map(window);
                self.order(Order::SetSchedule(windows.collect()));
            }
            ["machine-down", names @ ..] => self.order(Order::StartMaintenance(machines(names))),
            ["machine-up", names @ ..] => self.order(Order::StopMaintenance(machines(names))),
            ["maintenance"] => self.show_maintenance(),
            _ => return false,
        }
        true
    }

    pub(crate) fn answer_inverse(
        &self,
        accepts: bool,
        offers: &[&str],
        refuse_seconds: Option<f64>,
    ) -> Call {
        Call::AnswerInverseOffers {
            offers: offers.iter().flat_map(|ids| self.offer_ids(ids)).collect(),
            accepts,
            refuse_seconds,
        }
    }

    fn show_maintenance(&mut self) {
        let mut lines = Vec::new();
        for mode in [Mode::Draining, Mode::Down] {
            for machine in self.master.schedule().machines(mode) {
                let mut line = format!("{mode:?} {}", machine.hostname);
                for agent in self.master.agents().filter(|a| a.machine() == *machine) {
                    let maintained = self.master.maintained(&agent.id);
                    for (framework, stance) in maintained.iter().flat_map(|m| &m.stances) {
                        let says = match stance.accepts {
                            None => "was asked",
                            Some(true) => "accepts",
                            Some(false) => "declines",
                        };
                        write!(line, ", {framework} {says} at {}", stance.since).unwrap();
                    }
                }
                lines.push(line);
            }
        }
        lines.iter().for_each(|line| self.say(line));
    }
}

/// `START[+SECONDS]:machine,machine`, a window of the schedule.
fn window(word: &str) -> Window {
    let (when, machines) = word.split_once(':').expect("start:machines");
    let (start, duration) = match when.split_once('+') {
        Some((start, duration)) => (start, Some(duration)),
        None => (when, None),
    };
    let nanos = |seconds: &str| seconds.parse::<i64>().unwrap() * NANOS;
    Window {
        machines: machines
            .split(',')
            .filter(|m| !m.is_empty())
            .map(machine)
            .collect(),
        unavailability: Unavailability {
            start_ns: nanos(start),
            duration_ns: duration.map(nanos),
        },
    }
}

/// `hostname` on 127.0.0.1, or `hostname/ip`.
fn machine(word: &str) -> MachineId {
    let (hostname, ip) = word.split_once('/').unwrap_or((word, "127.0.0.1"));
    MachineId {
        hostname: hostname.into(),
        ip: ip.into(),
    }
}

/// `START[+SECONDS]`.
pub(crate) fn span(unavailability: &Unavailability) -> String {
    let duration = unavailability
        .duration_ns
        .map(|ns| format!("+{}", ns / NANOS));
    format!(
        "{}{}",
        unavailability.start_ns / NANOS,
        duration.unwrap_or_default()
    )
}
