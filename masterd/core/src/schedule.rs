//! The maintenance schedule: which machines will not be there when, and which are down now.
//!
//! Part of the registry, so it only judges and keeps what operators say; what follows for agents and frameworks is
//! `maintenance`'s. Invariants: a machine stands in the schedule once; a machine that is down stands in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nesos_wire::maintenance::{MachineId, Unavailability, Window};

/// Most machines in a schedule: as many as there can be agents. Some 50 bytes each in one record of the registry.
pub const MAX_MACHINES: usize = 10_000;

/// Longest host name, as in DNS.
const MAX_HOSTNAME: usize = 255;

/// Why an operator's wish about machines makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The sentences say it.
pub enum ScheduleError {
    #[error("List of machines in the maintenance window is empty")]
    EmptyWindow,
    #[error("List of machines is empty")]
    NoMachines,
    #[error("Unavailability 'duration' is negative")]
    NegativeDuration,
    #[error("Both 'hostname' and 'ip' for a machine are empty")]
    Nameless,
    #[error("'ip' of a machine is '{0}': expected an address such as 10.0.0.1")]
    Address(String),
    #[error("'hostname' of a machine has more than {MAX_HOSTNAME} bytes")]
    LongName,
    #[error("Machine '{}' appears more than once in the schedule", text(.0))]
    Twice(MachineId),
    #[error("More than {MAX_MACHINES} machines")]
    TooMany,
    #[error("Machine '{}' is deactivated and cannot be removed from the schedule", text(.0))]
    StillDown(MachineId),
    #[error("Machine '{}' is not part of a maintenance schedule", text(.0))]
    Unscheduled(MachineId),
    #[error("Machine '{}' is not in DRAINING mode and cannot be brought down", text(.0))]
    NotDraining(MachineId),
    #[error("Machine '{}' is not in DOWN mode and cannot be brought up", text(.0))]
    NotDown(MachineId),
}

/// A machine for people: `name (address)`.
pub(crate) fn text(machine: &MachineId) -> String {
    match (machine.hostname.as_str(), machine.ip.as_str()) {
        (name, "") => name.to_owned(),
        ("", ip) => ip.to_owned(),
        (name, ip) => format!("{name} ({ip})"),
    }
}

/// How a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In use, and nothing is planned.
    Up,
    /// In use, and scheduled to become unavailable.
    Draining,
    /// Down: no agent may register from it.
    Down,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Schedule {
    windows: Vec<Window>,
    down: BTreeSet<MachineId>,
    /// When each machine is unavailable: what `windows` says, to be found fast.
    times: BTreeMap<MachineId, Unavailability>,
}

impl Schedule {
    pub(crate) fn new(windows: Vec<Window>, down: BTreeSet<MachineId>) -> Self {
        let mut schedule = Self {
            windows,
            down,
            times: BTreeMap::new(),
        };
        schedule.index();
        schedule
    }

    /// The windows, as the operator gave them.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// How a machine is.
    pub fn mode(&self, machine: &MachineId) -> Mode {
        if self.down.contains(machine) {
            Mode::Down
        } else if self.times.contains_key(machine) {
            Mode::Draining
        } else {
            Mode::Up
        }
    }

    /// When a machine will not be there; none: nothing is planned.
    pub fn unavailability(&self, machine: &MachineId) -> Option<Unavailability> {
        self.times.get(machine).copied()
    }

    /// The machines in this mode; none are listed as up.
    pub fn machines(&self, mode: Mode) -> impl Iterator<Item = &MachineId> {
        let is_it = move |machine: &&MachineId| self.mode(machine) == mode;
        self.times.keys().filter(is_it)
    }

    /// Judges a schedule that is to replace this one.
    pub(crate) fn check_windows(&self, windows: &[Window]) -> Result<(), ScheduleError> {
        let mut machines = BTreeSet::new();
        for window in windows {
            if window.machines.is_empty() {
                return Err(ScheduleError::EmptyWindow);
            }
            if window.unavailability.duration_ns.is_some_and(|ns| ns < 0) {
                return Err(ScheduleError::NegativeDuration);
            }
            check_machines(&window.machines, &mut machines)?;
        }
        match self.down.iter().find(|down| !machines.contains(down)) {
            Some(down) => Err(ScheduleError::StillDown(down.clone())),
            None => Ok(()),
        }
    }

    /// Judges whether these machines can be taken down.
    pub(crate) fn check_start(&self, machines: &[MachineId]) -> Result<(), ScheduleError> {
        self.check_mode(machines, Mode::Draining, ScheduleError::NotDraining)
    }

    /// Judges whether these machines can be brought up.
    pub(crate) fn check_stop(&self, machines: &[MachineId]) -> Result<(), ScheduleError> {
        self.check_mode(machines, Mode::Down, ScheduleError::NotDown)
    }

    pub(crate) fn set(&mut self, windows: Vec<Window>) {
        self.windows = windows;
        self.index();
    }

    pub(crate) fn start(&mut self, machines: &[MachineId]) {
        let scheduled = machines.iter().filter(|one| self.times.contains_key(one));
        self.down.extend(scheduled.cloned());
    }

    pub(crate) fn stop(&mut self, machines: &[MachineId]) {
        let machines: BTreeSet<&MachineId> = machines.iter().collect();
        for window in &mut self.windows {
            window.machines.retain(|one| !machines.contains(one));
        }
        self.windows.retain(|window| !window.machines.is_empty());
        self.index();
    }

    /// What of it has to be stored.
    pub(crate) fn parts(&self) -> (&[Window], &BTreeSet<MachineId>) {
        (&self.windows, &self.down)
    }

    fn check_mode(
        &self,
        machines: &[MachineId],
        wanted: Mode,
        otherwise: fn(MachineId) -> ScheduleError,
    ) -> Result<(), ScheduleError> {
        if machines.is_empty() {
            return Err(ScheduleError::NoMachines);
        }
        check_machines(machines, &mut BTreeSet::new())?;
        for machine in machines {
            match self.mode(machine) {
                Mode::Up => return Err(ScheduleError::Unscheduled(machine.clone())),
                mode if mode != wanted => return Err(otherwise(machine.clone())),
                _ => {}
            }
        }
        Ok(())
    }

    fn index(&mut self) {
        self.times.clear();
        for window in &self.windows {
            let machines = window.machines.iter().cloned();
            self.times
                .extend(machines.map(|machine| (machine, window.unavailability)));
        }
        self.down.retain(|machine| self.times.contains_key(machine));
    }
}

/// Judges machines and adds them to those seen before.
fn check_machines<'a>(
    machines: &'a [MachineId],
    seen: &mut BTreeSet<&'a MachineId>,
) -> Result<(), ScheduleError> {
    for machine in machines {
        if machine.hostname.is_empty() && machine.ip.is_empty() {
            return Err(ScheduleError::Nameless);
        }
        if machine.hostname.len() > MAX_HOSTNAME {
            return Err(ScheduleError::LongName);
        }
        if !machine.ip.is_empty() && machine.ip.parse::<IpAddr>().is_err() {
            return Err(ScheduleError::Address(machine.ip.clone()));
        }
        if !seen.insert(machine) {
            return Err(ScheduleError::Twice(machine.clone()));
        }
        if seen.len() > MAX_MACHINES {
            return Err(ScheduleError::TooMany);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(hostname: &str, ip: &str) -> MachineId {
        MachineId {
            hostname: hostname.into(),
            ip: ip.into(),
        }
    }

    fn window<const N: usize>(start_ns: i64, machines: [&MachineId; N]) -> Window {
        Window {
            machines: machines.map(MachineId::clone).to_vec(),
            unavailability: Unavailability {
                start_ns,
                duration_ns: Some(1),
            },
        }
    }

    #[test]
    fn schedules_are_judged_as_in_mesos() {
        let schedule = Schedule::default();
        let (a, b) = (machine("a", "10.0.0.1"), machine("", "10.0.0.2"));
        let good = [window(0, [&a]), window(1, [&b, &machine("c", "")])];
        assert_eq!(schedule.check_windows(&good), Ok(()));
        assert_eq!(schedule.check_windows(&[]), Ok(()));
        let same = machine("A", "10.0.0.1");
        let mut negative = window(0, [&a]);
        negative.unavailability.duration_ns = Some(-1);
        for (bad, error) in [
            (vec![window(0, [])], ScheduleError::EmptyWindow),
            (vec![negative], ScheduleError::NegativeDuration),
            (vec![window(0, [&machine("", "")])], ScheduleError::Nameless),
            (
                vec![window(0, [&machine("a", "10.0.0.256")])],
                ScheduleError::Address("10.0.0.256".into()),
            ),
            (
                vec![window(0, [&machine(&"a".repeat(256), "")])],
                ScheduleError::LongName,
            ),
            (
                vec![window(0, [&a]), window(1, [&same])],
                ScheduleError::Twice(same),
            ),
        ] {
            assert_eq!(schedule.check_windows(&bad), Err(error));
        }
        let many: Vec<MachineId> = (0..=MAX_MACHINES)
            .map(|n| machine(&format!("m{n}"), ""))
            .collect();
        let many = Window {
            machines: many,
            ..window(0, [])
        };
        let many = schedule.check_windows(&[many]);
        assert_eq!(many, Err(ScheduleError::TooMany));
    }

    #[test]
    fn machines_go_down_and_up() {
        let (a, b) = (machine("a", "10.0.0.1"), machine("b", "10.0.0.2"));
        let mut schedule = Schedule::default();
        schedule.set(vec![window(5, [&a, &b])]);
        assert_eq!(
            (schedule.mode(&a), schedule.mode(&machine("a", ""))),
            (Mode::Draining, Mode::Up)
        );
        let unscheduled = ScheduleError::Unscheduled(machine("c", ""));
        assert_eq!(
            schedule.check_start(&[a.clone(), machine("c", "")]),
            Err(unscheduled)
        );
        assert_eq!(schedule.check_start(&[]), Err(ScheduleError::NoMachines));
        let one = [machine("A", "10.0.0.1")];
        assert_eq!(schedule.check_start(&one), Ok(()));
        assert!(schedule.check_stop(&one).is_err());
        schedule.start(&one);
        assert_eq!(schedule.mode(&a), Mode::Down);
        assert!(schedule.check_start(&one).is_err() && schedule.check_stop(&one).is_ok());
        let without = [window(5, [&b])];
        assert!(schedule.check_windows(&without).is_err());
        // Scheduled anew, it stays down.
        schedule.set(vec![window(6, [&b]), window(7, [&a])]);
        assert_eq!(
            (schedule.mode(&a), schedule.mode(&b)),
            (Mode::Down, Mode::Draining)
        );
        let (windows, down) = schedule.parts();
        assert_eq!(Schedule::new(windows.to_vec(), down.clone()), schedule);
        schedule.stop(&one);
        assert_eq!(schedule.mode(&a), Mode::Up);
        assert_eq!(schedule.windows(), [window(6, [&b])]);
    }
}
