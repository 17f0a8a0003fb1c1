//! What was written loads again; damage is named.
#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use super::*;
use crate::schedule::Mode;
use nesos_wire::command::FrameworkFacts;
use nesos_wire::maintenance::Unavailability;

fn agent(n: u32) -> AgentRecord {
    AgentRecord {
        agent: AgentId::new(format!("m-S{n}")),
        node: NodeId::new(format!("node{n}")),
        hostname: "h".into(),
        ip: "10.0.0.1".into(),
        port: 5051,
        unreachable_since: None,
        upkeep: Upkeep::default(),
    }
}

fn master(number: u64) -> MasterRecord {
    MasterRecord {
        number,
        name: "pi".into(),
        address: "10.0.0.1:5050".into(),
        is_to_vote: true,
    }
}

fn framework(n: u32) -> FrameworkRecord {
    FrameworkRecord {
        framework: FrameworkId::new(format!("m-{n:04}")),
        info: vec![1, 2],
        facts: FrameworkFacts {
            name: "f".into(),
            user: "root".into(),
            roles: vec!["*".into()],
            principal: None,
            failover_timeout: 0.0,
            checkpoint: false,
            capabilities: Vec::new(),
        },
    }
}

/// Two machines are scheduled, one goes down and one was brought up.
fn maintenance() -> Vec<Command> {
    let machines: Vec<MachineId> = (0..3)
        .map(|n| MachineId {
            hostname: format!("h{n}"),
            ip: String::new(),
        })
        .collect();
    let unavailability = Unavailability {
        start_ns: 5,
        duration_ns: None,
    };
    let window = Window {
        machines: machines.clone(),
        unavailability,
    };
    let windows = vec![window];
    vec![
        Command::SetSchedule { windows },
        Command::StartMaintenance {
            machines: machines[..2].to_vec(),
        },
        Command::StopMaintenance {
            machines: machines[..1].to_vec(),
        },
    ]
}

fn write(registry: &mut Registry, database: &mut BTreeMap<String, Vec<u8>>, commands: &[Command]) {
    for change in commands.iter().flat_map(|command| registry.apply(command)) {
        match change.value {
            Some(value) => database.insert(change.key, value),
            None => database.remove(&change.key),
        };
    }
}

fn speaks(number: u64, version: u16) -> Command {
    Command::PutMasterVersion {
        number,
        version: Version(version),
    }
}

/// Sixty come, of which all but the last end.
fn frameworks() -> impl Iterator<Item = Command> {
    let come = (0..60).map(|n| Command::PutFramework(framework(n)));
    come.chain((0..59).map(|n| Command::RemoveFramework {
        framework: framework(n).framework,
    }))
}

/// Three come, of which one is sent away.
fn masters() -> Vec<Command> {
    let mut commands: Vec<Command> = (1..4).map(|n| Command::PutMaster(master(n))).collect();
    commands.extend([speaks(1, 2), speaks(2, 3), speaks(3, 2)]);
    commands.push(Command::RemoveMaster { number: 2 });
    commands
}

#[test]
fn what_was_written_loads_again() {
    let mut registry = Registry::default();
    let mut database = BTreeMap::new();
    let mut commands = vec![Command::MasterStarted { start: 3 }];
    commands.extend((0..3).map(|n| Command::AdmitAgent(agent(n).into())));
    commands.push(Command::MarkUnreachable {
        agent: agent(1).agent,
        since: 5.5,
    });
    commands.push(Command::RemoveAgent {
        agent: agent(2).agent,
    });
    commands.push(Command::AdmitAgent(agent(3).into()));
    commands.push(Command::MarkGone {
        agent: agent(3).agent,
        since: 7.0,
    });
    let upkeep = Upkeep {
        deactivated: true,
        drain: None,
    };
    commands.push(Command::SetUpkeep {
        agent: agent(1).agent,
        upkeep,
    });
    commands.extend(frameworks());
    commands.push(Command::MarkReachable {
        agent: AgentId::new("nobody"),
    });
    commands.extend(maintenance());
    commands.extend(masters());
    write(&mut registry, &mut database, &commands);
    let loaded = Registry::load(database.iter().map(|(k, v)| (k.as_str(), v.as_slice()))).unwrap();
    assert_eq!(loaded, registry);
    let mut rows = registry.rows();
    rows.sort();
    let written: Vec<_> = database.into_iter().collect();
    assert_eq!(rows, written, "what is told is what was written");
    let masters: Vec<u64> = loaded.masters().map(|master| master.number).collect();
    assert_eq!(masters, [1, 3]);
    assert!(loaded.is_dismissed(2) && !loaded.is_dismissed(1));
    assert_eq!(
        (loaded.version_of(1), loaded.version_of(2)),
        (Version(2), Version(1))
    );
    assert_eq!(
        (
            loaded.start(),
            loaded.agents().count(),
            loaded.frameworks().count()
        ),
        (3, 2, 1)
    );
    assert_eq!(
        loaded.agent(&agent(1).agent).unwrap().unreachable_since,
        Some(5.5)
    );
    assert_eq!(loaded.upkeep(&agent(1).agent), upkeep);
    // By their boards: those that are here, as they are now.
    let of_nodes = (0..4).map(|n| loaded.agent_of_node(&agent(n).node));
    let of_nodes: Vec<_> = of_nodes.flatten().collect();
    assert_eq!(of_nodes, loaded.agents().collect::<Vec<_>>());
    assert_eq!(loaded.admitted(), 2);
    let modes = [Mode::Draining, Mode::Down].map(|mode| loaded.schedule().machines(mode).count());
    assert_eq!(modes, [1, 1]);
    assert!(loaded.is_gone(&agent(3).agent) && !loaded.is_gone(&agent(2).agent));
    assert!(
        !loaded.is_removed(&framework(0).framework) && loaded.is_removed(&framework(58).framework)
    );
}

#[test]
fn a_damaged_record_is_named() {
    for (bytes, expected) in [
        (&[0_u8][..], "is damaged"),
        (&[][..], "is damaged"),
        (&[0xff, 1][..], "a later masterd has written it"),
    ] {
        let error = Registry::load([("start", bytes)]).unwrap_err().to_string();
        assert!(
            error.contains("\"start\"") && error.contains(expected),
            "{error}"
        );
    }
    let newest = Record::Dismissed([7].into());
    let newest = postcard::to_allocvec(&newest).unwrap();
    assert_eq!(newest[0], Record::KINDS - 1, "a kind was added: count it");
}

#[test]
fn the_groups_version_is_the_lowest_of_its_masters() {
    let mut registry = Registry::default();
    assert_eq!(registry.version(), Version(1));
    let mut apply = |command: Command| {
        registry.apply(&command);
        (registry.version().0, registry.rows().len())
    };
    assert_eq!(apply(speaks(1, 2)), (1, 0), "it is no master");
    assert_eq!(apply(Command::PutMaster(master(1))), (1, 1));
    assert_eq!(apply(speaks(1, 3)), (3, 2));
    assert_eq!(
        apply(Command::PutMaster(master(2))),
        (1, 3),
        "it has not said"
    );
    assert_eq!(apply(speaks(2, 2)), (2, 4));
    assert_eq!(
        apply(Command::PutMaster(master(2))),
        (2, 4),
        "a new address"
    );
    assert_eq!(apply(speaks(2, 1)), (1, 3), "it has gone back");
    assert_eq!(apply(Command::RemoveMaster { number: 2 }), (3, 3));
    assert_eq!(apply(Command::PutMaster(master(2))), (1, 3), "let in again");
    assert!(!registry.is_dismissed(2));
}

#[test]
fn of_masters_sent_away_some_are_remembered() {
    let mut registry = Registry::default();
    for number in 1..=100 {
        registry.apply(&Command::PutMaster(master(number)));
        registry.apply(&Command::RemoveMaster { number });
        registry.apply(&Command::RemoveMaster { number });
    }
    let known = (1..=100).filter(|number| registry.is_dismissed(*number));
    assert_eq!(known.collect::<Vec<_>>(), (37..=100).collect::<Vec<_>>());
}

#[test]
fn an_agent_that_moves_to_another_board_leaves_its_own() {
    let mut registry = Registry::default();
    let moved = AgentRecord {
        node: NodeId::new("elsewhere"),
        ..agent(1)
    };
    for record in [agent(1), moved.clone()] {
        registry.apply(&Command::AdmitAgent(record.into()));
    }
    assert_eq!(registry.agent_of_node(&agent(1).node), None);
    assert_eq!(registry.agent_of_node(&moved.node), Some(&moved));
}
