//! What the registry's commands say in the log.
//!
//! Called by the loop once they are durable. Invariant: names from outside are quoted and short.

use nesos_wire::command::{Command, Upkeep};
use nesos_wire::maintenance::MachineId;

/// Longest part of a foreign name in a log line, characters.
const MAX_LOGGED_NAME: usize = 64;

/// A name as it may stand in the log: quoted and short, because it comes from outside.
fn quoted(name: &str) -> String {
    let short: String = name.chars().take(MAX_LOGGED_NAME).collect();
    format!("{short:?}")
}

/// Says what was made durable.
pub(super) fn command(command: &Command) {
    match command {
        Command::MasterStarted { start } => tracing::info!("this is start {start} of the registry"),
        Command::AdmitAgent(record) => {
            tracing::info!(
                "admitted agent {} ({}, node {})",
                record.agent,
                quoted(&record.hostname),
                record.node
            );
        }
        Command::MarkUnreachable { agent, .. } => tracing::warn!("agent {agent} is unreachable"),
        Command::MarkReachable { agent } => tracing::info!("agent {agent} is reachable again"),
        Command::RemoveAgent { agent } => tracing::info!("removed agent {agent}"),
        Command::PutFramework(record) => {
            tracing::info!(
                "framework {} ({}) is registered",
                record.framework,
                quoted(&record.facts.name)
            );
        }
        Command::RemoveFramework { framework } => tracing::info!("framework {framework} has ended"),
        Command::SetUpkeep { agent, upkeep } => {
            tracing::info!("agent {agent} is {}", state(upkeep))
        }
        Command::MarkGone { agent, .. } => tracing::warn!("agent {agent} is gone for ever"),
        Command::SetQuotas(quotas) => {
            for quota in quotas {
                let role = quoted(&quota.role);
                match quota.is_default() {
                    true => tracing::info!("role {role} has no quota any more"),
                    false => tracing::info!("role {role} has other quota"),
                }
            }
        }
        Command::SetWeights(weights) => {
            for weight in weights {
                tracing::info!("role {} has weight {}", quoted(&weight.role), weight.weight);
            }
        }
        Command::SetSchedule { windows } => {
            let machines: usize = windows.iter().map(|window| window.machines.len()).sum();
            tracing::info!("{machines} machines are scheduled for maintenance");
        }
        Command::StartMaintenance { machines } => machines.iter().for_each(|machine| {
            tracing::warn!("machine {} is down for maintenance", named(machine))
        }),
        Command::StopMaintenance { machines } => machines
            .iter()
            .for_each(|machine| tracing::info!("machine {} is up again", named(machine))),
        // All masters tell of them, where they are applied.
        Command::PutMaster(_) | Command::RemoveMaster { .. } | Command::PutMasterVersion { .. } => {
        }
        Command::PutService(record) => match &record.deployment {
            Some(_) => tracing::info!("service {} is being deployed", quoted(&record.id)),
            None => tracing::info!("service {} is as it is to be", quoted(&record.id)),
        },
        Command::RemoveService { id } => tracing::info!("service {} is kept no more", quoted(id)),
        Command::PutJob(record) => tracing::debug!("job {} got on", quoted(&record.name)),
        Command::RemoveJob { name } => tracing::info!("job {} is kept no more", quoted(name)),
        Command::PutInstance(_) | Command::RemoveInstance { .. } => {}
    }
}

fn named(machine: &MachineId) -> String {
    format!("{} ({})", quoted(&machine.hostname), quoted(&machine.ip))
}

fn state(upkeep: &Upkeep) -> &'static str {
    match upkeep.drain {
        Some(drain) if drain.is_drained => "drained",
        Some(_) => "being drained",
        None if upkeep.deactivated => "deactivated",
        None => "active",
    }
}
