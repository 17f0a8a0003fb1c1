//! Samples of the commands by which operators keep agents.
//!
//! Called by `samples` only. Invariant: as for all samples, every field is set.

use nesos_wire::AgentId;
use nesos_wire::command::{Command, Drain, Upkeep};

use super::{Sample, sample};

pub(super) fn commands() -> Vec<Sample> {
    let agent = AgentId::new("m-S0");
    let drain = Drain {
        is_drained: false,
        max_grace_ns: Some(5_000_000_000),
        mark_gone: true,
        since: 2.5,
    };
    let set = Command::SetUpkeep {
        agent: agent.clone(),
        upkeep: Upkeep {
            deactivated: true,
            drain: Some(drain),
        },
    };
    vec![
        sample("Command::SetUpkeep", set),
        sample("Command::MarkGone", Command::MarkGone { agent, since: 2.5 }),
    ]
}
