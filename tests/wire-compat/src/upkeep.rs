//! Samples of the commands by which operators keep agents and share the cluster out.
//!
//! Called by `samples` only. Invariant: as for all samples, every field is set.

use std::collections::BTreeMap;

use nesos_wire::AgentId;
use nesos_wire::command::{Command, Drain, QuotaRecord, Upkeep, WeightRecord};
use nesos_wire::resource::Scalar;

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
    let cpus = |amount| BTreeMap::from([("cpus".to_owned(), Scalar(amount))]);
    let quota = QuotaRecord {
        role: "lab".into(),
        guarantees: cpus(1000),
        limits: cpus(2000),
    };
    let weight = WeightRecord {
        role: "lab".into(),
        weight: 2.5,
    };
    vec![
        sample("Command::SetUpkeep", set),
        sample("Command::MarkGone", Command::MarkGone { agent, since: 2.5 }),
        sample("Command::SetQuotas", Command::SetQuotas(vec![quota])),
        sample("Command::SetWeights", Command::SetWeights(vec![weight])),
    ]
}
