//! Samples of the commands by which the registry knows agents and frameworks.
//!
//! Called by `samples` only. Invariant: as for all samples, every field is set.

use nesos_wire::command::{AgentRecord, Command, FrameworkFacts, FrameworkRecord, Upkeep};
use nesos_wire::version::Version;
use nesos_wire::{AgentId, NodeId};

use super::masters::master;
use super::{Sample, framework, sample};

pub(super) fn commands() -> Vec<Sample> {
    let (agent, node) = (AgentId::new("m-S0"), NodeId::new("n"));
    let record = AgentRecord {
        agent: agent.clone(),
        node,
        hostname: "home-n".into(),
        ip: "10.0.0.1".into(),
        port: 5051,
        unreachable_since: Some(2.5),
        upkeep: Upkeep::default(),
    };
    let facts = FrameworkFacts {
        name: "f".into(),
        user: "root".into(),
        roles: vec!["*".into()],
        principal: Some("p".into()),
        failover_timeout: 10.0,
        checkpoint: true,
        capabilities: vec!["PARTITION_AWARE".into()],
    };
    vec![
        sample(
            "Command::MasterStarted",
            Command::MasterStarted { start: 2 },
        ),
        sample("Command::AdmitAgent", Command::AdmitAgent(record.into())),
        sample(
            "Command::MarkUnreachable",
            Command::MarkUnreachable {
                agent: agent.clone(),
                since: 2.5,
            },
        ),
        sample(
            "Command::MarkReachable",
            Command::MarkReachable {
                agent: agent.clone(),
            },
        ),
        sample("Command::RemoveAgent", Command::RemoveAgent { agent }),
        sample(
            "Command::PutFramework",
            Command::PutFramework(FrameworkRecord {
                framework: framework(),
                info: vec![1],
                facts,
            }),
        ),
        sample(
            "Command::RemoveFramework",
            Command::RemoveFramework {
                framework: framework(),
            },
        ),
        sample("Command::PutMaster", Command::PutMaster(master())),
        sample("Command::RemoveMaster", Command::RemoveMaster { number: 9 }),
        sample(
            "Command::PutMasterVersion",
            Command::PutMasterVersion {
                number: 9,
                version: Version(2),
            },
        ),
    ]
}
