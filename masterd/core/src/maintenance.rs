//! Maintenance of machines: what the schedule and its modes mean for agents and their offers.
//!
//! The schedule itself is the registry's (`schedule`), the frameworks' say is `inverse`'s. Called by `order`, and by
//! `agents` and `liveness` when agents come and go. Invariants: `Master::maintained` holds exactly the agents present
//! whose machine is scheduled, with the schedule's time; no agent is present on a machine that is down.

use std::collections::{BTreeMap, BTreeSet};

use nesos_base::time::Instant;
use nesos_wire::command::Command;
use nesos_wire::maintenance::{MachineId, Unavailability, Window};
use nesos_wire::message::{Hello, MasterToAgent};
use nesos_wire::{AgentId, FrameworkId, OfferId};

use crate::agents::frameworks_of;
use crate::event::LinkId;
use crate::liveness::Parting;
use crate::master::Master;
use crate::ready::Answer;
use crate::schedule::{Mode, Schedule, ScheduleError, text};
use crate::state::{Agent, AgentCondition};

/// What a framework said to losing a machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stance {
    /// `None`: it was asked and has not answered.
    pub accepts: Option<bool>,
    /// When it was asked or, later, answered: seconds since 1970.
    pub since: f64,
}

/// An agent whose machine is scheduled for maintenance.
#[derive(Debug, Clone, PartialEq)]
pub struct Maintained {
    /// When it will not be there.
    pub unavailability: Unavailability,
    /// What the frameworks that were asked said.
    pub stances: BTreeMap<FrameworkId, Stance>,
    pub(crate) outstanding: BTreeMap<FrameworkId, OfferId>,
    /// Who is not to be asked again before when.
    pub(crate) filters: BTreeMap<FrameworkId, Instant>,
}

impl Agent {
    /// The machine it is on.
    pub fn machine(&self) -> MachineId {
        MachineId {
            hostname: self.hostname.to_string(),
            ip: self.ip.to_string(),
        }
    }
}

impl Master {
    /// The maintenance schedule.
    pub fn schedule(&self) -> &Schedule {
        self.registry.schedule()
    }

    /// What is planned for an agent's machine, if anything.
    pub fn maintained(&self, agent: &AgentId) -> Option<&Maintained> {
        self.maintained.get(agent)
    }

    /// All agents present whose machines are scheduled.
    pub fn all_maintained(&self) -> impl Iterator<Item = (&AgentId, &Maintained)> {
        self.maintained.iter()
    }

    pub(crate) fn set_schedule(&mut self, windows: Vec<Window>) -> Answer {
        if let Err(error) = self.schedule().check_windows(&windows) {
            return refused(error);
        }
        self.propose(Command::SetSchedule { windows });
        for id in self.agents.keys().cloned().collect::<Vec<_>>() {
            self.refresh_maintenance(&id);
        }
        Answer::Done
    }

    pub(crate) fn start_maintenance(&mut self, machines: Vec<MachineId>) -> Answer {
        if let Err(error) = self.schedule().check_start(&machines) {
            return refused(error);
        }
        self.propose(Command::StartMaintenance { machines });
        let is_down = |agent: &Agent| self.schedule().mode(&agent.machine()) == Mode::Down;
        let down = self.agents.values().filter(|agent| is_present(agent));
        let down: Vec<AgentId> = down
            .filter(|agent| is_down(agent))
            .map(|agent| agent.id.clone())
            .collect();
        for id in down {
            self.shut_down(&id);
        }
        Answer::Done
    }

    pub(crate) fn stop_maintenance(&mut self, machines: Vec<MachineId>) -> Answer {
        if let Err(error) = self.schedule().check_stop(&machines) {
            return refused(error);
        }
        self.propose(Command::StopMaintenance { machines });
        Answer::Done
    }

    /// Whether an agent may register from its machine; if not it is told why, and to end what it runs. Its link is the
    /// caller's to close.
    pub(crate) fn admit_machine(&mut self, link: LinkId, hello: &Hello) -> bool {
        let machine = MachineId {
            hostname: hello.hostname.clone(),
            ip: hello.ip.clone(),
        };
        if self.schedule().mode(&machine) != Mode::Down {
            return true;
        }
        self.say_down(link, &machine, frameworks_of(hello));
        false
    }

    /// Brings what is known of an agent's maintenance in line with the schedule; what is on offer under other assumptions is
    /// taken back.
    pub(crate) fn refresh_maintenance(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.get(id) else {
            return;
        };
        let planned = match is_present(agent) {
            true => self.schedule().unavailability(&agent.machine()),
            false => None,
        };
        let known = self.maintained.get(id).map(|known| known.unavailability);
        if planned == known {
            return;
        }
        self.rescind_agent_offers(id);
        self.forget_maintenance(id);
        if let Some(unavailability) = planned {
            let maintained = Maintained {
                unavailability,
                stances: BTreeMap::new(),
                outstanding: BTreeMap::new(),
                filters: BTreeMap::new(),
            };
            self.maintained.insert(id.clone(), maintained);
            self.inverse_due.insert(id.clone());
        }
    }

    /// The agent is gone, or nothing is planned for it any more.
    pub(crate) fn forget_maintenance(&mut self, id: &AgentId) {
        self.rescind_inverse_offers(id);
        self.clear_inverse_filters(id);
        self.maintained.remove(id);
        self.inverse_due.remove(id);
    }

    fn shut_down(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.get(id) else {
            return;
        };
        let (machine, frameworks) = (agent.machine(), agent.frameworks());
        if let Some(link) = agent.link() {
            self.rescind_agent_offers(id);
            self.say_down(link, &machine, frameworks);
        }
        self.remove_agent(id, Parting::Goodbye);
    }

    fn say_down(&mut self, link: LinkId, machine: &MachineId, frameworks: BTreeSet<FrameworkId>) {
        self.shut_down_frameworks(link, frameworks);
        let reason = format!(
            "machine {} is down for maintenance, until an operator stops that",
            text(machine)
        );
        self.out
            .to_agents
            .push((link, MasterToAgent::Refused { reason }));
    }
}

/// Whether the master counts the agent as a part of the cluster now.
pub(crate) fn is_present(agent: &Agent) -> bool {
    matches!(
        agent.condition,
        AgentCondition::Connected(_) | AgentCondition::Disconnected
    )
}

fn refused(error: ScheduleError) -> Answer {
    Answer::Invalid(error.to_string())
}
