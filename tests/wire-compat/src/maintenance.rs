//! Samples of the commands by which operators maintain machines.
//!
//! Called by `samples` only. Invariant: as for all samples, every field is set.

use nesos_wire::command::Command;
use nesos_wire::maintenance::{MachineId, Unavailability, Window};

use super::{Sample, sample};

pub(super) fn commands() -> Vec<Sample> {
    let machines = vec![MachineId {
        hostname: "board-1".into(),
        ip: "10.0.0.1".into(),
    }];
    let window = Window {
        machines: machines.clone(),
        unavailability: Unavailability {
            start_ns: 1_700_000_000_000_000_000,
            duration_ns: Some(60_000_000_000),
        },
    };
    let set = Command::SetSchedule {
        windows: vec![window],
    };
    let start = Command::StartMaintenance {
        machines: machines.clone(),
    };
    vec![
        sample("Command::SetSchedule", set),
        sample("Command::StartMaintenance", start),
        sample(
            "Command::StopMaintenance",
            Command::StopMaintenance { machines },
        ),
    ]
}
